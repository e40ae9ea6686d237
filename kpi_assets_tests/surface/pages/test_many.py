"""Years of load_dates, tens of thousands of rows, hundreds of KPIs: pages stay small, and say what they leave out."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.read.breakdown import Breakdown
from kpi_assets.read.kpis import KpiState, Restatement, Stop
from kpi_assets.read.lineage import CheckOnTheWay, Lineage, Node, SourceFile
from kpi_assets.settings import Settings
from kpi_assets.surface.pages import breakdown, kpi, overview
from kpi_assets.surface.pages.kpi import Asked
from kpi_assets.surface.pages.window import window_of
from kpi_assets.surface.render import problem_page
from kpi_assets_tests.surface.api.made import NOW, point, state, values
from kpi_assets_tests.surface.pages.test_pages import words

FIRST = date(2024, 1, 1)
DAYS, ROWS = 400, 50_000
LAST = FIRST + timedelta(days=DAYS - 1)
ASKED = Asked("/kpi/shop/heavy", "kilograms", None, None, "90", None, None)


class Reading:
    """What a page reads: nothing, since all is made by hand."""

    now = NOW
    problem = None

    def of(self, _: object) -> Any:
        return None

    def has(self, _: object) -> bool:
        return True


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KpiState:
    points = []
    for number in range(DAYS):
        day, now = FIRST + timedelta(number), values(str(1000 + 37 * number % 500))
        was = [Restatement(day, 1000 + number, number, NOW, "its SQL was changed", values("7"), now)]
        points.append(point(day, 1000 + number, now, restated=was if number % 20 == 0 else ()))
    held = Stop(LAST + timedelta(1), "held", NOW, "raw.things", 1, "run")
    found = state(tmp_path, *points, stops=(held,))
    monkeypatch.setattr(kpi, "read_kpis", lambda *_, **__: [found])
    monkeypatch.setattr(kpi, "read_lineage", lambda *_: lineage())
    rows = [[f"The name of a label, number {number}", str(ROWS - number)] for number in range(15)]
    monkeypatch.setattr(
        breakdown,
        "read_breakdown",
        lambda *_, **__: Breakdown(LAST, 1, ["label", "weight"], ["text", "numeric"], rows, ROWS, 7),
    )
    return found


def lineage() -> Lineage:
    """Return a window of 28 load_dates of ten tables with a file and seven checks each."""
    at = datetime(2025, 1, 1, tzinfo=timezone.utc)
    nodes, checks = [], []
    for number in range(280):
        day, asset = LAST - timedelta(number // 10), f"raw.table_{number % 10}"
        file = SourceFile("kpi-shop", f"raw/{number}.csv", 1000, "e", "a" * 64, 10, at)
        nodes.append(Node(number, asset, day, "raw", 1, "run", 10, "c" * 16, at, None, [], [file], 10))
        checks += [
            CheckOnTheWay(asset, day, f"check_{each}", "pass", Decimal(0), Decimal(0), "What it demands.", at)
            for each in range(7)
        ]
    return Lineage(nodes[::-1], checks)


def body(found: KpiState, **asked: Any) -> str:
    made = kpi._body(Reading(), found.pipeline, found.table, replace(ASKED, **asked), Settings())  # type: ignore[arg-type]
    return made.content.decode()


@pytest.mark.parametrize("last", ["30", "90", "365", "all"])
def test_a_page_of_years_stays_small(made: KpiState, last: str) -> None:
    text = body(made, last=last)
    assert len(text) < 150_000
    read = words(text)
    assert "The 15 highest of 50,000; all are in the CSV" in read
    assert "last 30 last 90 last 365 all 401" in read
    assert "1,960 checks on the way to this number, 1,960 passed" in read


def test_a_range_shows_its_days_alone(made: KpiState) -> None:
    text = body(made, first_day=FIRST, last_day=FIRST + timedelta(9))
    assert text.count('class="pt"') == 2 * 10 + 2 * 0
    assert "from=2024-01-01" in text
    assert "No load_date lies in this range." in words(body(made, first_day=date(2031, 1, 1)))


def test_places_that_several_days_share_lead_to_these_days(made: KpiState) -> None:
    text = body(made, last="all")
    assert "?measure=kilograms&amp;from=2024-01-01&amp;to=2024-01-05" in text
    assert "1 Jan to 5 Jan 2024" in text


def test_a_window_offers_what_it_does_not_show_already() -> None:
    def choices(number: int) -> list[str]:
        return window_of([FIRST + timedelta(each) for each in range(number)], "90", None, None).choices

    assert [choices(number) for number in (10, 30, 31, 91, 400)] == [
        [],
        [],
        ["30", "all"],
        ["30", "90", "all"],
        ["30", "90", "365", "all"],
    ]


def test_an_overview_of_hundreds_shows_the_first_of_each_pipeline(made: KpiState) -> None:
    kpis = [replace(made, points=made.points[-30:])] * 150
    cards = list(overview._cards(kpis))
    section = overview.Section(made.pipeline, "Shop", kpis, [], [], [overview.Board("", "", cards)])
    shown = overview._body("overview", [section], Reading()).content.decode()  # type: ignore[arg-type]
    assert shown.count("<article") == overview.SOME
    assert "All of Shop: 288 more" in words(shown)
    found = overview._body("overview", [section], Reading(), find="weight").content.decode()  # type: ignore[arg-type]
    assert found.count("<article") == 150
    alone = overview._body("pipeline", [section], Reading(), is_all=True).content.decode()  # type: ignore[arg-type]
    assert alone.count("<article") == 300


def test_boards_order_and_group_tiles_and_the_others_come_last(made: KpiState) -> None:
    boards = {"Heavy things": ["marts.heavy.labels"], "Nothing": ["other.measure"]}
    config = made.pipeline.config.model_copy(update={"boards": boards})
    found = overview._boards(replace(made.pipeline, config=config), [made])
    assert [(each.title, each.address, [card.title for card in each.cards]) for each in found] == [
        ("Heavy things", "/boards/shop/Heavy%20things", ["Labels"]),
        ("Other KPIs", "", ["Weight"]),
    ]
    assert [card.is_lead for board in found for card in board.cards] == [True, True]


def test_a_problem_has_the_look_of_the_pages_and_escapes_what_it_says() -> None:
    text = problem_page(503, "Not available now", "<b>The warehouse</b> does not answer.").decode()
    assert "<b>The warehouse" not in text
    assert "Not available now <b>The warehouse</b> does not answer. Back to the overview" in words(text)
    assert 'type="password"' in problem_page(401, "A key is needed").decode()
