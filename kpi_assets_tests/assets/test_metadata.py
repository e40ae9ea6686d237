"""The UI shows delivered text as text: it is not markup, and it breaks out of no table cell or line."""

import base64
import re
import xml.etree.ElementTree as ET
from datetime import date
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest

from kpi_assets import drawing
from kpi_assets.assets.chart import INLINE, markdown
from kpi_assets.assets.chart import bars as bar_table
from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.metadata import (
    CELL,
    check_metadata,
    markdown_table,
    pages_metadata,
    table_key,
    value_metadata,
    window_metadata,
)
from kpi_assets.model.kpi import Chart
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import Relation
from kpi_assets.model.results import ChartRows, CheckResult
from kpi_assets.settings import settings
from kpi_assets_tests import shipped

SVG = "{http://www.w3.org/2000/svg}"


# ---- a preview


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("plain", "plain"),
        (None, "*NULL*"),
        ("*NULL*", r"\*NULL\*"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[link](http://example.com)", r"\[link\](http://example.com)"),
        ("`code` _low_", r"\`code\` \_low\_"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("~~gone~~", r"\~\~gone\~\~"),
        ("one\ntwo", r"one\\ntwo"),
        ("one\r\ntwo", r"one\\r\\ntwo"),
        ("one\u2028two\x0bthree", r"one\\u2028two\\x0bthree"),
        ("", ""),
        (0, "0"),
        (False, "False"),
        (-1.5, "-1.5"),
        ("x" * CELL, "x" * CELL),
        ("x" * (CELL + 1), "x" * (CELL - 1) + "…"),
        ("|" * (CELL + 1), r"\|" * (CELL - 1) + "…"),
    ],
)
def test_a_value_in_a_preview_is_escaped_text(value: Any, cell: str) -> None:
    assert markdown_table([{"name": value}]).value == f"| name |\n| --- |\n| {cell} |"


def test_a_preview_has_the_columns_in_order_and_a_line_for_each_row() -> None:
    rows = [{"id": 1, "name": "anvil"}, {"name": "saw", "id": 2}]
    assert markdown_table(rows).value == "| id | name |\n| --- | --- |\n| 1 | anvil |\n| 2 | saw |"
    assert markdown_table([]).value == "no rows"


# ---- a chart


def chart(rows: list[tuple[str, float | None]], title: str = "marts.kpi, 2025-03-01") -> ET.Element:
    return ET.fromstring(drawing.svg(rows, f"orders by hour: {title}"))


def texts(picture: ET.Element) -> list[str]:
    return [found.text or "" for found in picture.iter(f"{SVG}text")]


def bars(picture: ET.Element) -> list[int]:
    return [int(found.attrib["width"]) for found in list(picture.iter(f"{SVG}rect"))[1:]]


@pytest.mark.parametrize(
    "label", ["<script>alert(1)</script>", "</text></svg>", "a & b", "&lt;", "\"quoted\" and 'so'", "]]>", "<!--"]
)
def test_a_label_of_a_chart_is_text(label: str) -> None:
    picture = chart([(label, 1.0)])
    assert texts(picture) == ["orders by hour: marts.kpi, 2025-03-01", label, "1"]
    assert len(list(picture.iter())) == 6, "the chart, its background, its title; a label, a bar and a number"


@pytest.mark.parametrize("letter", ["\x00", "\x01", "\x1b", "\x0b", "\ufffe", "\ud800"])
def test_a_character_that_xml_forbids_is_escaped_in_a_chart(letter: str) -> None:
    written = f"\\x{ord(letter):02x}" if letter < "\u0100" else f"\\u{ord(letter):04x}"
    assert texts(chart([(f"a{letter}b", 1.0)]))[1] == f"a{written}b"


def test_the_title_of_a_chart_is_text() -> None:
    assert texts(chart([], "<b> & more"))[0] == "orders by hour: <b> & more"


def test_bars_are_as_long_as_their_values_and_null_has_none() -> None:
    picture = chart([("a", 4.0), ("b", 2.0), ("c", None), ("d", 0.0), ("e", -3.0), ("f", 1234567.0)])
    assert texts(picture)[1:] == ["a", "4", "b", "2", "c", "NULL", "d", "0", "e", "-3", "f", "1.23457e+06"]
    room = drawing.WIDTH - 90 - (drawing.LETTER + 16)
    assert bars(picture)[2:] == [0, 0, 0, room]
    assert bars(chart([("a", 4.0), ("b", 2.0)])) == [room, room // 2 + room % 2]
    assert bars(chart([("a", 0.0), ("b", None)])) == [0, 0], "0 is not divided by 0"
    assert bars(chart([("a", -1.0), ("b", -4.0)])) == [0, 0], (
        "a negative value has no bar and does not change the other bars"
    )
    endless = chart([("a", float("inf")), ("b", float("nan")), ("c", -float("inf")), ("d", 2.0)])
    assert texts(endless)[2::2] == ["Infinity", "NaN", "-Infinity", "2"]
    assert bars(endless) == [room, 0, 0, room], "the bar of an infinite value has the full length"


def test_long_labels_are_cut_and_bars_begin_after_the_longest() -> None:
    letters = drawing.LETTERS
    picture = chart([("x" * letters, 1.0), ("y" * (letters + 1), 1.0)])
    assert texts(picture)[1::2] == ["x" * letters, "y" * (letters - 1) + "…"]
    starts = [int(found.attrib["x"]) for found in list(picture.iter(f"{SVG}rect"))[1:]]
    assert starts == [letters * drawing.LETTER + 16] * 2


def test_a_chart_is_embedded_in_the_metadata() -> None:
    rows = ChartRows([("a", 1.0)], 1)
    text = markdown(Chart(x="hour", y="orders"), rows, Relation("marts", "kpi"), "2025-03-01").value
    begin, _, image = text.partition("base64,")
    assert begin == "![orders by hour](data:image/svg+xml;"
    assert base64.b64decode(image.removesuffix(")")).decode() == drawing.svg(
        [("a", 1.0)], "orders by hour: marts.kpi, 2025-03-01"
    )


@pytest.mark.parametrize(("letters", "pressed"), [(89, None), (90, "624")])
def test_a_title_that_is_too_long_for_its_line_is_compressed(letters: int, pressed: str | None) -> None:
    """A title is not cut off, because its end says how many bars there are."""
    heading = next(ET.fromstring(drawing.small_svg([], "h" * letters)).iter(f"{SVG}text"))
    assert heading.get("textLength") == pressed


def test_a_chart_that_shows_only_the_highest_says_so() -> None:
    rows = ChartRows([("18", 9.0), ("9", 7.0)], 1024)
    text = markdown(Chart(x="hour", y="orders", top=2), rows, Relation("marts", "kpi"), "2025-03-01").value
    picture = ET.fromstring(base64.b64decode(text.partition("base64,")[2].removesuffix(")")))
    assert texts(picture)[0] == "orders by hour: marts.kpi, 2025-03-01 (the 2 highest of 1,024)"


def test_the_bars_are_a_table_that_fits_the_page() -> None:
    rows = [("anvil", 4.0), ("a | b", 2.0), ("saw", None), ("wrench", -1.0)]
    assert bar_table(Chart(x="tool", y="orders"), rows).value.splitlines() == [
        "| tool | orders |",
        "| --- | --- |",
        f"| anvil | {'█' * 20} 4 |",
        f"| a \\| b | {'█' * 10} 2 |",
        "| saw | NULL |",
        "| wrench | -1 |",
    ]
    assert bar_table(Chart(x="tool", y="orders"), []).value == "no rows"
    long = bar_table(Chart(x="tool", y="orders"), [("l" * 40, 1234567.0), ("m", 0.5)]).value.splitlines()[2:]
    assert long == [f"| {'l' * 17}… | {'█' * 7} 1.23457e+06 |", "| m | 0.5 |"]


@pytest.mark.parametrize("label", ["a" * 200, "*" * 200, "<script>", "█" * 30])
@pytest.mark.parametrize("count", [1, 7, 15, 24, 40])
def test_the_bars_are_short_enough_to_be_shown_at_once(label: str, count: int) -> None:
    """The table also says how many rows are left out."""
    text = bar_table(Chart(x="x" * 63, y="y" * 63), [(label, -1.234567e-300 * n) for n in range(count)]).value
    assert len(text) < INLINE
    lines = text.splitlines()[2:]
    left_out = re.match(r"\| and (\d+) more \|", lines[-1])
    assert (len(lines) - 1 + int(left_out[1]) if left_out else len(lines)) == count


def test_the_small_chart_is_low_enough_for_a_description() -> None:
    """Bars are vertical if the labels are short; otherwise the first rows are drawn and the others counted."""
    hours = ET.fromstring(drawing.small_svg([(str(n), 1000.0 + n) for n in range(24)], "by hour"))
    assert (hours.attrib["height"], len(list(hours.iter(f"{SVG}rect")))) == ("190", 25)
    assert texts(hours) == ["by hour", *map(str, range(24)), "1,023"], "only the highest bar has room for its value"
    days = ET.fromstring(drawing.small_svg([("Mon", 5.0), ("Tue", None), ("<b>", float("inf"))], "by day & more"))
    assert texts(days) == ["by day & more", "Mon", "5", "Tue", "NULL", "<b>", "Infinity"]
    assert [found.attrib["height"] for found in days.iter(f"{SVG}rect")] == ["190", "120", "0", "120"]
    names = ET.fromstring(drawing.small_svg([(f"product number {n}", 1.0) for n in range(15)], "by product"))
    assert names.attrib["height"] == "190"
    assert texts(names)[1::2] == [*(f"product number {n}" for n in range(6)), "and 9 more"]
    lowest = max(float(found.attrib["y"]) for found in names.iter(f"{SVG}text"))
    assert lowest < 190
    assert texts(ET.fromstring(drawing.small_svg([], "nothing"))) == ["nothing"]


def test_a_kpi_without_a_chart_says_why_in_lines_that_fit() -> None:
    picture = ET.fromstring(drawing.message_svg("marts.kpi", f"<b> & {'word ' * 60}end"))
    assert texts(picture)[0] == "marts.kpi"
    assert max(map(len, texts(picture))) < drawing.WIDTH // drawing.LETTER
    assert " ".join(texts(picture)[1:]) == f"<b> & {'word ' * 60}end"
    assert int(picture.attrib["height"]) <= 190


# ---- checks and windows


def test_a_check_shows_its_metric_and_the_bad_rows() -> None:
    result = CheckResult("range", False, True, 2, 0, "2 bad rows", [{"id": 1, "name": "ñ|"}, {"id": 2, "name": None}])
    assert check_metadata(result, {"candidate": "builds.x"}) == {
        "candidate": "builds.x",
        "metric": 2.0,
        "threshold": 0.0,
        "bad_row_1": '{"id": 1, "name": "ñ|"}',
        "bad_row_2": '{"id": 2, "name": null}',
    }
    errored = CheckResult("range", False, True, None, None, "the check itself failed", errored=True)
    assert check_metadata(errored, {}) == {}
    counted = CheckResult("range", True, True, 0, 0, dimension="validity", examined=7, bad=0)
    assert check_metadata(counted, {}) == {
        "metric": 0.0,
        "threshold": 0.0,
        "dimension": "validity",
        "rows_examined": 7,
        "rows_bad": 0,
    }


def test_a_score_shows_each_dimension_as_a_number_to_plot() -> None:
    checks = [{"name": "range", "bad": 1, "rows": 8}]
    part = {"dimension": "validity", "score": 87.5, "checks": checks}
    result = CheckResult("quality", True, False, 87.5, None, samples=[part], examined=8, is_report=True)
    assert check_metadata(result, {}) == {
        "metric": 87.5,
        "validity": 87.5,
        "validity/checks": '[{"name": "range", "bad": 1, "rows": 8}]',
    }


def test_a_window_shows_how_many_of_its_load_dates_were_published() -> None:
    window = Window(date(2025, 3, 1), date(2025, 3, 3), (date(2025, 3, 1), date(2025, 3, 3)))
    assert window_metadata(window) == {
        "window/load_dates": 3,
        "window/load_dates_there": 2,
        "window/absent": "2025-03-02",
    }
    whole = Window(date(2025, 3, 3), date(2025, 3, 3), (date(2025, 3, 3),))
    assert window_metadata(whole)["window/absent"] == "none"
    assert window_metadata(None) == {}


# ---- the numbers of a KPI, and its page for readers


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("7790", 7790),
        ("7790.00", 7790),
        ("-3", -3),
        ("9.9512345678901234567", 9.951234567890123),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", 9007199254740992.0),
        ("0.9999999999999999999999", 1.0),
    ],
)
def test_a_measure_is_a_number_that_the_ui_plots(value: str, number: float) -> None:
    [(name, found)] = value_metadata({"orders": Decimal(value)}).items()
    assert (name, found, type(found)) == ("kpi/orders", number, type(number))


def test_a_measure_without_a_number_is_left_out() -> None:
    values = {"none": None, "nan": Decimal("NaN"), "huge": Decimal("1E+400"), "orders": Decimal(7)}
    assert value_metadata(values) == {"kpi/orders": 7}


def test_a_kpi_links_to_its_page_and_shows_its_tile() -> None:
    pipeline = shipped.PIPELINES["instacart"]
    found = pages_metadata(pipeline, pipeline.table("marts.kpi_orders_by_dow"), "https://kpi.example.com")
    assert {name: value.value for name, value in found.items()} == {
        "dashboard": "https://kpi.example.com/kpi/instacart/kpi_orders_by_dow",
        "tile": "![tile](https://kpi.example.com/embed/instacart/kpi_orders_by_dow.svg)",
    }
    assert pages_metadata(pipeline, pipeline.table("marts.fact_orders"), "https://kpi.example.com") == {}
    assert pages_metadata(pipeline, pipeline.table("marts.kpi_orders_by_dow"), None) == {}


def test_the_asset_of_a_kpi_has_them_where_the_address_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = shipped.PIPELINES["instacart"]
    key = table_key("instacart", Relation("marts", "kpi_orders_by_dow"))

    def dashboard() -> Any:
        settings.cache_clear()
        assets = [asset for asset in pipeline_assets(pipeline) if isinstance(asset, dg.AssetsDefinition)]
        [found] = [asset.metadata_by_key[key] for asset in assets if key in asset.keys]
        return found.get("dashboard")

    monkeypatch.delenv("KPI_SERVE_URL", raising=False)
    assert dashboard() is None
    monkeypatch.setenv("KPI_SERVE_URL", "https://kpi.example.com")
    assert dashboard() == dg.MetadataValue.url("https://kpi.example.com/kpi/instacart/kpi_orders_by_dow")
    monkeypatch.undo()
    settings.cache_clear()
