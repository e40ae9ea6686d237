"""What the API answers about a KPI that was made by hand."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from kpi_assets.surface.api.answers import kpi_answer, restatements_answer, series_answer, trust_of
from kpi_assets.surface.api.exact import write
from kpi_assets_tests.surface.api.made import BEFORE, DAY, at, point, restated, state, values


def test_a_kpi_with_its_measures_and_their_trust(tmp_path: Path) -> None:
    kpi = state(tmp_path, point(BEFORE, 11, values("20.00")), point(DAY, 12, values("20.60", "1"), warnings=1))
    found = json.loads(write(kpi_answer(kpi)), parse_float=Decimal)
    assert found["id"] == "shop/heavy"
    assert found["measures"] == [
        {
            "name": "kilograms",
            "title": "Weight",
            "description": None,
            "unit": "kg",
            "format": "decimal1",
            "better": "up",
            "value": Decimal("20.60"),
            "text": "20.6",
            "target": None,
            "compared": {
                "load_date": "2025-03-01",
                "value": Decimal("20.00"),
                "text": "+3.0 %",
                "direction": "up",
                "good": True,
            },
        },
        {
            "name": "labels",
            "title": "Labels",
            "description": None,
            "unit": "",
            "format": "integer",
            "better": None,
            "value": 1,
            "text": "1",
            "target": {"at_least": 2, "at_most": None, "met": False},
            "compared": {
                "load_date": "2025-03-01",
                "value": 3,
                "text": "−66.7 %",
                "direction": "down",
                "good": None,
            },
        },
    ]
    assert found["trust"] == {
        "load_date": "2025-03-02",
        "publish_id": 12,
        "published_at": "2025-03-03T08:00:00+00:00",
        "as_of": None,
        "gate": {"state": "warned", "since": None, "load_date": None, "table": None, "reason": None},
        "late": False,
        "due_by": None,
        "through": None,
        "checks": 4,
        "warnings": 1,
        "waived": [],
        "restated": 0,
        "final": None,
        "final_at": None,
        "final_through": None,
        "rows": 3,
        "code_version": "0123456789abcdef",
        "owner": "team:tests",
    }
    assert found["links"]["rows"] == "/api/v1/kpis/shop/heavy/rows"


def test_a_kpi_of_which_nothing_is_published(tmp_path: Path) -> None:
    found = kpi_answer(state(tmp_path))
    assert [(each.value, each.text, each.compared) for each in found.measures] == [(None, "–", None)] * 2
    assert (found.trust.load_date, found.trust.gate.state, found.trust.checks) == (None, "none", 0)


def test_a_restatement_is_one_that_a_reader_would_see(tmp_path: Path) -> None:
    unseen, seen = restated(DAY, 13, "20.61", "20.60", 9), restated(DAY, 14, "20.60", "21.00", 10)
    kpi = state(tmp_path, point(BEFORE, 11, values("20.00")), point(DAY, 14, values("21.00"), restated=[unseen, seen]))
    [found] = restatements_answer(kpi).restatements
    assert (found.measure, found.was, found.now, found.was_text, found.now_text) == (
        *("kilograms", Decimal("20.60"), Decimal("21.00"), "20.6", "21.0"),
    )
    assert (found.was_publish_id, found.publish_id, found.at, found.why) == (13, 14, at(10), "its SQL changed")
    series = series_answer(kpi, "kilograms")
    assert [(each.load_date, each.value, each.restated_from) for each in series.points] == [
        (BEFORE, Decimal("20.00"), []),
        (DAY, Decimal("21.00"), [Decimal("20.60")]),
    ]
    assert [each.restated_from for each in series_answer(kpi, "labels").points] == [[], []]
    assert (trust_of(kpi).restated, trust_of(kpi, kpi.points[0]).restated) == (1, 0)


def test_values_before_are_the_oldest_first(tmp_path: Path) -> None:
    twice = [restated(DAY, 13, "1", "2", 9), restated(DAY, 14, "2", "3", 10)]
    kpi = state(tmp_path, point(DAY, 14, values("3"), restated=twice))
    [found] = series_answer(kpi, "kilograms").points
    assert found.restated_from == [Decimal(1), Decimal(2)]
    assert [each.publish_id for each in restatements_answer(kpi).restatements] == [14, 13]


def test_a_range_has_no_other_load_dates(tmp_path: Path) -> None:
    kpi = state(tmp_path, point(BEFORE, 11, values("1")), point(DAY, 12, values("2")))
    assert [each.load_date for each in series_answer(kpi, "labels", BEFORE, BEFORE).points] == [BEFORE]
    assert [each.load_date for each in series_answer(kpi, "labels", DAY).points] == [DAY]


def test_a_number_that_is_none_stays_one(tmp_path: Path) -> None:
    kpi = state(tmp_path, point(BEFORE, 11, values("NaN")), point(DAY, 12, values(None)))
    found = json.loads(write(series_answer(kpi, "kilograms")))
    assert [(each["value"], each["text"]) for each in found["points"]] == [("NaN", "not a number"), (None, "–")]


def test_links_keep_the_instant(tmp_path: Path) -> None:
    kpi = replace(state(tmp_path, point(DAY, 12, values("2"))), as_of=at(9, 30))
    links = kpi_answer(kpi, DAY).links
    assert links["csv"] == (
        "/api/v1/kpis/shop/heavy/rows?load_date=2025-03-02&as_of=2025-03-03T09%3A30%3A00%2B00%3A00&format=csv"
    )
