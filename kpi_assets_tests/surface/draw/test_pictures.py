"""What is drawn, and what is not: a held day is a gap, and text is never markup."""

import re
import xml.dom.minidom
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kpi_assets.surface import draw
from kpi_assets.surface.draw.columns import fits

DAY = date(2026, 11, 16)
NASTY = '<script>alert("x")</script>\x1b[2J\u202e&'


def days(number: int) -> list[date]:
    return [DAY + timedelta(days=each) for each in range(number)]


def dots(values: Sequence[str | None], **more: Any) -> Mapping[date, draw.Dot]:
    return {
        day: draw.Dot(Decimal(value) if value is not None else None, [str(day), value or "–"], **more)
        for day, value in zip(days(len(values)), values, strict=True)
    }


def trend(values: Sequence[str | None], **words: Any) -> draw.Trend:
    return draw.Trend("Orders", "integer", words.pop("days", days(len(values))), dots(values), **words)


def parsed(picture: str) -> xml.dom.minidom.Document:
    """A picture is well-formed, and obeys the policy of pages: no script, no inline style."""
    found = xml.dom.minidom.parseString(picture)
    assert not found.getElementsByTagName("script")
    assert " style=" not in picture
    assert not re.search(r"\son\w+=", picture)
    assert not re.search(r" (c?[xy]|d|points|width|height)=.[^\"]*(nan|inf)", picture)
    return found


def elements(picture: str, name: str, kind: str) -> list[Any]:
    return [each for each in parsed(picture).getElementsByTagName(name) if kind in each.getAttribute("class").split()]


def lines(picture: str) -> list[str]:
    return [each.getAttribute("points") for each in elements(picture, "polyline", "line")]


def test_the_line_of_a_sparkline_breaks_at_a_held_day() -> None:
    values = {day: Decimal(number) for number, day in enumerate(days(5)) if number != 2}
    found = draw.spark(days(5), values, {days(5)[2]: "held"})
    assert lines(found) == ["29.6,48 84.8,38", "195.2,18 250.4,8"]
    [column] = elements(found, "rect", "stop")
    assert column.getAttribute("class") == "stop held"
    assert (column.getAttribute("x"), column.getAttribute("width")) == ("120.1", "39.7")


@pytest.mark.parametrize("value", ["5", "-5", "0", "1e40"])
def test_a_single_day_is_a_dash_in_the_middle(value: str) -> None:
    found = draw.spark(days(1), {DAY: Decimal(value)}, {})
    assert [each.getAttribute("d") for each in elements(found, "path", "line")] == ["M138 28h4"]


@pytest.mark.parametrize("values", [[], [None, None], ["NaN", "Infinity"]])
def test_without_numbers_there_is_no_line(values: list[str | None]) -> None:
    found = draw.spark(days(len(values)), {day: dot.value for day, dot in dots(values).items()}, {})
    assert found == "" if not values else (lines(found) == [] and "end" not in found)


def test_all_equal_values_are_a_level_line() -> None:
    found = draw.trend(trend(["8", "8", "8"]), draw.WIDE)
    [points] = lines(found)
    assert {point.split(",")[1] for point in points.split()} == {"134"}


def test_the_line_of_a_trend_never_bridges_what_is_not_shown() -> None:
    held = {days(5)[2]: draw.Gap("held", ["Wed", "held: nothing was published", "at orders"])}
    what = draw.Trend(
        "Orders", "integer", days(6), {**dots(["1", "2"]), days(5)[3]: draw.Dot(Decimal(3), ["d", "3"])}, held
    )
    found = draw.trend(what, draw.WIDE)
    assert [line.count(",") for line in lines(found)] == [2]
    assert len(elements(found, "path", "line")) == 1, "a day that stands alone is a dash"
    assert len(elements(found, "rect", "stop")) == 1
    assert "url(#hatch)" in found


def test_a_restated_day_has_a_ring_for_what_it_was() -> None:
    what = draw.Trend("Orders", "integer", days(1), dots(["8512"], was=[Decimal(8840), None, Decimal("NaN")]))
    found = draw.trend(what, draw.WIDE)
    [ring] = elements(found, "circle", "was")
    [dot] = elements(found, "circle", "dot")
    assert dot.getAttribute("class") == "dot re"
    assert float(ring.getAttribute("cy")) < float(dot.getAttribute("cy")), "it was more"


def test_a_day_with_a_link_is_one_and_another_can_be_reached_by_the_keyboard() -> None:
    found = draw.trend(draw.Trend("Orders", "integer", days(1), dots(["1"], link="?a=1&b=2")), draw.WIDE)
    [place] = elements(found, "a", "pt")
    assert place.getAttribute("href") == "?a=1&b=2"
    [place] = elements(draw.trend(trend(["1"]), draw.WIDE), "g", "pt")
    assert (place.getAttribute("tabindex"), place.getAttribute("aria-label")) == ("0", "2026-11-16, 1")


def test_a_bare_picture_has_no_places() -> None:
    found = draw.trend(trend(["1", "2"]), draw.NARROW, bare=True)
    assert not elements(found, "g", "pt")
    assert 'role="img"' in found


def test_many_days_share_places_and_name_months() -> None:
    asked: list[tuple[date, date]] = []

    def group(some: Sequence[date]) -> tuple[Sequence[str], str]:
        asked.append((some[0], some[-1]))
        return ["some", "days"], "?from=x"

    what = trend([str(number % 70) for number in range(400)], group=group)
    found = draw.trend(what, draw.WIDE)
    assert len(elements(found, "a", "pt")) == len(asked) == 80
    assert asked[:2] == [(DAY, DAY + timedelta(4)), (DAY + timedelta(5), DAY + timedelta(9))]
    [points] = lines(found)
    assert points.count(",") == 400, "the line has every day"
    labels = [each.firstChild.data for each in elements(found, "text", "mid")]
    assert labels[-1] == "Dec 2027"
    assert len(labels) < 10
    assert len(found) < 60_000


def test_a_line_of_thousands_of_days_keeps_its_extremes() -> None:
    values = ["5"] * 4000
    values[1234], values[3210] = "99", "-7"
    what = trend(values, group=lambda some: (["a", "b"], ""))
    found = draw.trend(what, draw.WIDE)
    [points] = lines(found)
    assert points.count(",") <= 900
    heights = sorted(float(point.split(",")[1]) for point in points.split())
    assert heights[0] < heights[1] == heights[-2] < heights[-1]


@pytest.mark.parametrize("size", [draw.WIDE, draw.NARROW])
@pytest.mark.parametrize(
    "values",
    [
        [None], ["NaN"], ["Infinity", "1"], ["-3", "-9"], ["1e30", "1e-30"], ["123456789012345678901234567890.12", "1"],
        ["0", "0"], [None, "4", None],
    ],
)  # fmt: skip
def test_odd_values_are_drawn_inside_the_picture(values: list[str | None], size: draw.Size) -> None:
    found = parsed(draw.trend(trend(values, target=Decimal(2)), size))
    for circle in found.getElementsByTagName("circle"):
        assert 0 <= float(circle.getAttribute("cx")) <= size.width
        assert 0 <= float(circle.getAttribute("cy")) <= size.height


def test_without_days_there_is_no_picture() -> None:
    assert draw.trend(trend([]), draw.WIDE) == ""
    assert draw.columns([], "integer", "Orders", draw.WIDE) == ""


def test_columns_have_a_tick_of_the_week_before() -> None:
    groups = [
        draw.Column("Sunday", Decimal(1000), Decimal(900), "Tue 17 Nov"),
        draw.Column("Monday", None),
        draw.Column("Tuesday", Decimal(-500)),
    ]
    found = draw.columns(groups, "integer", "Orders by day", draw.Size("wide", 690, 210, 40))
    first, none, below = elements(found, "rect", "bar")
    assert none.getAttribute("height") == "0"
    assert float(below.getAttribute("y")) == float(first.getAttribute("y")) + float(first.getAttribute("height"))
    assert len(elements(found, "path", "ref")) == 1
    assert "Sunday, 1,000, 900 on Tue 17 Nov" in found


def test_text_is_never_markup() -> None:
    column = draw.columns([draw.Column(NASTY, Decimal(1))], "integer", NASTY, draw.WIDE)
    line = draw.trend(draw.Trend(NASTY, "integer", days(1), {DAY: draw.Dot(Decimal(1), [NASTY, NASTY])}), draw.WIDE)
    for found in (column, line):
        assert not parsed(found).getElementsByTagName("script")
        assert "\x1b" not in found
        assert "\u202e" not in found
        assert "&lt;script&gt;" in found


@pytest.mark.parametrize(
    ("value", "highest", "width"),
    [
        ("5", "10", "55"), ("10", "10", "110"), ("0", "10", "0"), ("-5", "10", "0"), ("NaN", "10", "0"),
        ("5", "0", "0"), ("1e300", "1e300", "110"),
    ],
)  # fmt: skip
def test_a_bar_is_as_long_as_its_share(value: str, highest: str, width: str) -> None:
    [found] = elements(draw.bar(Decimal(value), Decimal(highest)), "rect", "bar")
    assert found.getAttribute("width") == width
    assert 'width="0"' in draw.bar(None, None)


def test_names_that_do_not_fit_below_bars_stand_in_a_table() -> None:
    assert fits(["Sunday", "Monday"], draw.WIDE)
    assert fits([str(number) for number in range(24)], draw.WIDE)
    assert not fits(["Hearth & Hill Double Pork Sausages"] * 15, draw.WIDE)
    assert not fits([], draw.WIDE)
