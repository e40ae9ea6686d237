"""What the daily digest of a pipeline says: its numbers, how they compare, and whether they can be trusted."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

from kpi_assets.model.measure import Measure
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.digest import Digest, digest_of, read_digest
from kpi_assets.read.kpis import KpiState, Point, Restatement, Stop
from kpi_assets_tests.read.kpi_shop import KpiShop
from kpi_assets_tests.read.test_said import stop

DAY, NEXT = date(2026, 11, 24), date(2026, 11, 25)
NOW = datetime(2026, 11, 26, 8, tzinfo=timezone.utc)
MEASURES = {
    "sold": Measure(title="Sold", value="sum(weight)", unit="kg", better="up", target={"at_least": 7500}),
    "share": Measure(title="Heavy", value="avg(weight)", format="percent1", unit="of things"),
}


def point(days: int, sold: str, share: str | None, restated: list[Restatement] | None = None) -> Point:
    values = {"sold": Decimal(sold), "share": Decimal(share) if share else None}
    return Point(DAY - timedelta(days=days), 9, 4, "run", NOW, 1, "code", values, 6, 0, restated or [])


def state(pipeline: Pipeline, *points: Point, stops: tuple[Stop, ...] = ()) -> KpiState:
    table = pipeline.table("marts.heavy")
    return KpiState(pipeline, table, points, stops, None, late=False, measures=MEASURES)


def test_a_digest_has_each_number_with_its_change_its_target_and_its_day(pipeline: Pipeline) -> None:
    found = digest_of(pipeline, [state(pipeline, point(7, "7480", "0.910"), point(0, "7701", "0.918"))], NOW)
    assert found.texts == [
        "shop: the numbers of Tue 24 Nov",
        "▪ heavy",
        "Sold: 7,701 kg, +3.0 % vs Tue 17 Nov (7,480), target of at least 7,500 met; Tue 24 Nov",
        "Heavy: 91.8 % of things, +0.8 pp vs Tue 17 Nov (91.0 %); Tue 24 Nov",
    ]


def test_a_digest_begins_with_what_is_held_and_what_was_restated_since_yesterday(pipeline: Pipeline) -> None:
    def restated(hours: int, was: str) -> Restatement:
        values = {"sold": Decimal(was)}, {"sold": Decimal(7701)}
        return Restatement(DAY, 9, 8, NOW - timedelta(hours=hours), "the object was replaced", *values)

    shown = point(0, "7701", None, [restated(25, "1"), restated(23, "8840"), restated(1, "7701.2")])
    found = digest_of(pipeline, [state(pipeline, shown, stops=(stop(load_date=NEXT),))], NOW)
    assert found.title == "shop: Wed 25 Nov is held: its data did not pass"
    assert found.news[0].startswith(
        "Wed 25 Nov is held: its data did not pass. It shows Tue 24 Nov, the last good day."
    )
    assert found.news[1:] == [
        "Tue 24 Nov was restated: Sold 8,840 → 7,701; the object was replaced.",
    ], "not what was told yesterday, nor what nobody can see"
    [board] = found.boards
    assert [line.partition("; ")[2] for line in board.lines] == ["Tue 24 Nov, the last good day"] * 2
    assert board.lines[1].startswith("Heavy: –;")


def test_the_boards_of_pipeline_yaml_choose_and_order_the_tiles(pipeline: Pipeline) -> None:
    boards = {"Weights": ["heavy.labels"], "Both": ["heavy.labels", "heavy.kilograms"]}
    with_boards = replace(pipeline, config=pipeline.config.model_copy(update={"boards": boards}))
    table = with_boards.table("marts.heavy")
    assert table.header.kpi
    states = [
        KpiState(with_boards, each, [], [], None, late=False, measures=each.header.kpi.measures)
        for each in with_boards.tables.values()
        if each.header.kpi
    ]
    assert digest_of(with_boards, states, NOW) == Digest(
        "shop: nothing is published yet",
        [],
        digest_of(with_boards, states, NOW).boards,
    )
    assert digest_of(with_boards, states, NOW).texts[1:] == [
        "▪ Weights",
        "Labels: –; nothing is published yet",
        "▪ Both",
        "Labels: –; nothing is published yet",
        "Weight: –; nothing is published yet",
    ]


def test_the_digest_of_published_load_dates_is_read_as_readers_see_them(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.reader() as reader:
        found = read_digest(reader, kpi_shop.pipeline(), kpi_shop.noon(kpi_shop.day + timedelta(days=1)))
    assert found
    [board] = found.boards
    tile = kpi_shop.kpi().latest
    assert tile
    assert board.name == "heavy"
    assert board.lines[0].startswith(f"Weight: {tile.values['kilograms']:.1f} kg")
