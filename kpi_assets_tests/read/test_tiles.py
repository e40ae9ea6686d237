"""The tile of a measure: its text, how it compares, its target, and what it was before."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from kpi_assets.model.measure import Measure
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpis import KpiState, Point, Restatement
from kpi_assets.read.tiles import Tile, tile_of, tiles_of

DAY = date(2026, 11, 24)
NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def point(days: int, restated: list[Restatement] | None = None, **values: str | None) -> Point:
    made = {name: None if value is None else Decimal(value) for name, value in values.items()}
    return Point(DAY - timedelta(days=days), 50 - days, 4, "run", NOON, 1, "code", made, 6, 0, restated or [])


def state(pipeline: Pipeline, measure: Mapping[str, Any], *points: Point, beyond: tuple[Point, ...] = ()) -> KpiState:
    words = {"title": "Sold", "value": "sum(weight)", **measure}
    measures = {"sold": Measure.model_validate(words), "others": Measure(title="Others", value="count(*)")}
    table = pipeline.table("marts.heavy")
    return KpiState(pipeline, table, points, [], None, late=False, measures=measures, beyond=beyond)


def tile(pipeline: Pipeline, was: str | None, now: str | None, **measure: Any) -> Tile:
    return tile_of(state(pipeline, measure, point(7, sold=was), point(0, sold=now)), "sold")


@pytest.mark.parametrize(
    ("style", "was", "now", "text", "delta", "direction"),
    [
        ("integer", "7480", "7701", "7,701", "+3.0 %", "up"),
        ("integer", "7701", "7480", "7,480", "−2.9 %", "down"),
        ("integer", "100000", "100001", "100,001", "no change", "flat"),
        ("integer", "7", "7", "7", "no change", "flat"),
        ("integer", "-10", "-5", "−5", "+50.0 %", "up"),
        ("integer", "1", "1234", "1,234", "+123,300.0 %", "up"),
        ("integer", "0", "5", "5", "+5", "up"),
        ("decimal2", "0.00", "-0.25", "−0.25", "−0.25", "down"),
        ("integer", "0", "0", "0", "no change", "flat"),
        ("percent1", "0.910", "0.918", "91.8 %", "+0.8 pp", "up"),
        ("percent1", "0.918", "0.910", "91.0 %", "−0.8 pp", "down"),
        ("percent1", "0.9180", "0.9184", "91.8 %", "no change", "flat"),
        ("percent0", "0", "0.5", "50 %", "+50 pp", "up"),
        ("EUR2", "10", "10.55", "10.55 EUR", "+5.5 %", "up"),
    ],
)
def test_delta(pipeline: Pipeline, style: str, was: str, now: str, text: str, delta: str, direction: str) -> None:
    found = tile(pipeline, was, now, format=style)
    assert found.delta
    assert (found.text, found.delta.text, found.delta.direction) == (text, delta, direction)
    assert (found.delta.load_date, found.delta.value) == (DAY - timedelta(days=7), Decimal(was))


@pytest.mark.parametrize(("was", "now"), [(None, "1"), ("1", None), ("NaN", "1"), ("1", "Infinity")])
def test_nothing_is_compared_with_nothing(pipeline: Pipeline, was: str | None, now: str | None) -> None:
    assert tile(pipeline, was, now).delta is None


@pytest.mark.parametrize(
    ("better", "now", "good"),
    [
        ("up", "8", True),
        ("up", "6", False),
        ("down", "8", False),
        ("down", "6", True),
        (None, "8", None),
        ("up", "7", None),
    ],
)
def test_good_is_what_the_header_calls_better(pipeline: Pipeline, better: str, now: str, good: bool | None) -> None:
    found = tile(pipeline, "7", now, **({"better": better} if better else {})).delta
    assert found
    assert found.good is good


def test_it_is_compared_with_a_load_date_that_is_shown(pipeline: Pipeline) -> None:
    assert tile_of(state(pipeline, {}, point(6, sold="1"), point(0, sold="2")), "sold").delta is None
    found = state(pipeline, {"compare": 9}, point(0, sold="2"), beyond=(point(9, sold="1"),))
    assert (delta := tile_of(found, "sold").delta)
    assert delta.text == "+100.0 %"
    assert tile_of(found, "sold").series == [(DAY, Decimal(2))]


def test_values_of_other_expressions_are_not_compared(pipeline: Pipeline) -> None:
    points = [
        replace(point(days, sold=value), versions={"sold": version})
        for days, value, version in ((14, "1", "a"), (7, "2", "a"), (0, "3", "b"))
    ]
    kpi = state(pipeline, {}, *points)
    assert tile_of(kpi, "sold").delta is None
    assert tile_of(kpi, "sold", DAY - timedelta(days=7)).delta


def test_another_load_date(pipeline: Pipeline) -> None:
    kpi = state(pipeline, {}, point(14, sold="4"), point(7, sold="8"), point(0, sold="9"))
    found = tile_of(kpi, "sold", DAY - timedelta(days=7))
    assert found.delta
    assert (found.text, found.delta.text) == ("8", "+100.0 %")
    gone = tile_of(kpi, "sold", DAY - timedelta(days=1))
    assert (gone.point, gone.value, gone.text, gone.delta) == (None, None, "–", None)


@pytest.mark.parametrize(
    ("target", "now", "met", "text"),
    [
        ({"at_least": 7500}, "7500", True, "target of at least 7,500 met"),
        ({"at_least": 7500}, "7499.9", False, "target of at least 7,500 missed"),
        ({"at_most": 7500}, "7500.1", False, "target of at most 7,500 missed"),
    ],
)
def test_target(pipeline: Pipeline, target: dict[str, int], now: str, met: bool, text: str) -> None:
    found = tile(pipeline, "1", now, target=target).target
    assert found
    assert (found.met, found.text) == (met, text)


def test_no_value_meets_no_target(pipeline: Pipeline) -> None:
    assert tile(pipeline, "1", None, target={"at_least": 1}).target is None
    assert tile(pipeline, "1", "NaN", target={"at_least": 1}).target is None
    assert tile(pipeline, "1", "2").target is None


def test_what_was_restated_is_told_if_its_text_changed(pipeline: Pipeline) -> None:
    def restated(days: int, was: Mapping[str, str], now: Mapping[str, str]) -> Restatement:
        values = [{name: Decimal(value) for name, value in each.items()} for each in (was, now)]
        return Restatement(DAY - timedelta(days=days), 50 - days, 9, NOON, "its SQL was changed", *values)

    kpi = state(
        pipeline,
        {},
        point(3, [restated(3, {"sold": "8840"}, {"sold": "8512"})], sold="8512"),
        point(2, [restated(2, {"sold": "1.1"}, {"sold": "1.4"})], sold="1.4"),
        point(1, [restated(1, {"others": "1"}, {"sold": "1", "others": "2"})], sold="1"),
        point(0, [restated(0, {"sold": "1"}, {"sold": "2"}), restated(0, {"sold": "2"}, {"sold": "3"})], sold="3"),
    )
    found = tile_of(kpi, "sold").restated
    assert [(each.load_date, each.was_text, each.now_text) for each in found] == [
        (DAY, "2", "3"),
        (DAY, "1", "2"),
        (DAY - timedelta(days=3), "8,840", "8,512"),
    ]
    assert (found[2].was, found[2].now, found[2].why) == (Decimal(8840), Decimal(8512), "its SQL was changed")
    assert [each.name for each in tiles_of(kpi)] == ["sold", "others"]
