"""What readers are told in sentences: of a check, of a load_date that stopped, and of several KPIs at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kpi_assets.model.measure import Measure
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read import said
from kpi_assets.read.kpi_state import Decided
from kpi_assets.read.kpis import FailedCheck, KpiState, Point, Stop, Waived

DAY, NEXT = date(2026, 11, 24), date(2026, 11, 25)
NOON = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("asset", "name", "metric", "bad", "text"),
    [
        ("raw.things", "grain", 1, 2, "1 row of things stands twice"),
        ("raw.things", "grain", 2, 4, "2 rows of things stand twice"),
        ("raw.things", "grain", 2048, 9000, "2,048 rows of things stand more than once"),
        ("raw.things", "grain", 1, 1, "1 row of things has no key"),
        ("raw.things", "grain", None, None, "rows of things stand more than once"),
        ("raw.things", "not_ruled_out", 1, None, "a person keeps things out as it was built"),
        ("raw.things", "min_rows", 0, None, "no row of things came"),
        ("raw.things", "min_rows", 12, None, "only 12 rows of things came, fewer than are plausible"),
        ("raw.things", "not_null", 1, 1, "1 row of things lacks a value that must be there"),
        (
            "raw.things",
            "accepted_values__eval_set",
            2,
            2,
            "2 rows of things have a value in eval set that is not accepted",
        ),
        ("raw.things", "range__weight", 1, 1, "1 row of things has a value in weight that is out of range"),
        ("marts.weighed", "unique__weights", 3, 7, "3 values of weights stand in several rows of weighed"),
        ("raw.things", "foreign_key__label_id", 1, 1, "1 row of things has a value in label id that refers to nothing"),
        ("marts.weighed", "reconcile", 4, 4, "weighed does not agree with things"),
        ("raw.things", "rows_accounted", -2, None, "2 records of things are not accounted for"),
        ("raw.things", "rows_accounted", None, None, "the object of things could not be read to its end"),
        ("raw.things", "quarantine", 3, 3, "3 records of things cannot be read, more than are allowed"),
        ("marts.weighed", "quarantine", 1, 1, "1 row of weighed breaks a rule, more than are allowed"),
        ("raw.things", "not_seen_before", 1, None, "the object of things was delivered before"),
        ("raw.things", "fields_there", 1, None, "1 field of things is in no record"),
        ("raw.things", "fields_known", 2, None, "things came with 2 fields that are not known"),
        (
            "raw.things",
            "max_changed",
            "0.351",
            None,
            "35.1 % of things changed since the load_date before, more than is plausible",
        ),
        ("raw.things", "quality", "81.25", None, "the quality score of things is 81.3 of 100, below 90"),
        ("marts.heavy", "as_published", 3, None, "the rows of heavy are not those that were published"),
        ("marts.weighed", "no_anvils", 1, 1, "1 row of weighed does not pass the check no anvils"),
        ("marts.weighed", "totals", "1.5", None, "weighed did not pass the check totals"),
        ("marts.light", "grain", 1, 2, "1 row of What is light stands twice"),
        ("s3.things", "not_empty", 1, None, "the object of things is empty"),
        ("s3.gone", "header", 1, None, "the object of gone does not begin as it should"),
        ("s3.things", "a_new_one", 1, None, "the object of things did not pass"),
        ("raw.gone", "a_new_one", 2, 2, "2 rows of gone do not pass the check a new one"),
    ],
)
def test_what_a_check_found(
    pipeline: Pipeline, asset: str, name: str, metric: int | str | None, bad: int | None, text: str
) -> None:
    check = FailedCheck(asset, name, None if metric is None else Decimal(metric), Decimal(90), bad)
    assert said.reason(pipeline, check) == text


def test_a_check_that_could_not_be_made(pipeline: Pipeline) -> None:
    check = FailedCheck("raw.things", "range__weight", None, None, None, errored=True)
    assert said.reason(pipeline, check) == "the check range of weight of things could not be made"


def stop(state: str = "held", load_date: date = NEXT, kept: int | None = None, asset: str = "raw.things") -> Stop:
    checks = [FailedCheck(asset, "grain", Decimal(1), Decimal(0), 2)] * 2 if state == "held" else []
    return Stop(load_date, state, NOON, asset, 7, "run", checks, ["slack"], kept)  # type: ignore[arg-type]


KEPT_OUT = FailedCheck(
    "raw.things", "not_ruled_out", Decimal(1), Decimal(0), None, decided=Decided("ana", "the tills were wrong")
)


def kpi(
    pipeline: Pipeline,
    *stops: Stop,
    table: str = "heavy",
    late: bool = False,
    warnings: int = 0,
    latest: date | None = DAY,
    waived: Sequence[str] = (),
) -> KpiState:
    rulings = [Waived(1, "marts.weighed", DAY, [], by, "the weight is right", NOON) for by in waived]
    points = [Point(latest, 5, 4, "run", NOON, 1, "code", {}, 6, warnings, waived=rulings)] if latest else []
    return KpiState(
        pipeline, pipeline.table(f"marts.{table}"), points, stops, NOON if late else None, late, next_due=NEXT
    )


STATES = [
    ([], {}, "Tue 24 Nov", "It shows Tue 24 Nov.", ""),
    (
        [],
        {"waived": ["ana", "ben", "ana"]},
        "Tue 24 Nov, published on ana's and ben's word",
        "It shows Tue 24 Nov.",
        "Tue 24 Nov is published on ana's and ben's word.",
    ),
    ([], {"warnings": 2}, "Tue 24 Nov, with 2 warnings", "It shows Tue 24 Nov.", ""),
    (
        [],
        {"late": True},
        "Tue 24 Nov; Wed 25 Nov is late",
        "It shows Tue 24 Nov.",
        "Wed 25 Nov is late: it is not published yet.",
    ),
    ([], {"latest": None}, "nothing is published yet", "It shows nothing yet.", ""),
    (
        [stop()],
        {},
        "Tue 24 Nov, the last good day",
        "It shows Tue 24 Nov, the last good day.",
        "Wed 25 Nov is held: its data did not pass.",
    ),
    (
        [stop(load_date=DAY, kept=5)],
        {},
        "Tue 24 Nov, a correction is held",
        "It shows Tue 24 Nov as it was before.",
        "A correction of Tue 24 Nov is held: its data did not pass.",
    ),
    (
        [replace(stop(load_date=DAY, kept=5), checks=[KEPT_OUT])],
        {},
        "Tue 24 Nov, newer rows are kept out",
        "It shows Tue 24 Nov as it was before.",
        "Newer rows of Tue 24 Nov are kept out.",
    ),
    (
        [replace(stop(), checks=[KEPT_OUT])],
        {},
        "Tue 24 Nov, the last good day",
        "It shows Tue 24 Nov, the last good day.",
        "Wed 25 Nov is kept out.",
    ),
    (
        [stop("failed")],
        {},
        "Tue 24 Nov; Wed 25 Nov failed",
        "It shows Tue 24 Nov, the last good day.",
        "Wed 25 Nov could not be built.",
    ),
    (
        [stop("running")],
        {},
        "Tue 24 Nov; Wed 25 Nov is being built",
        "It shows Tue 24 Nov until then.",
        "Wed 25 Nov is being built.",
    ),
    (
        [stop("running", load_date=DAY, kept=5)],
        {},
        "Tue 24 Nov, it is being built again",
        "It shows Tue 24 Nov as it was before.",
        "Tue 24 Nov is being built again.",
    ),
    (
        [stop()],
        {"latest": None},
        "Wed 25 Nov is held: its data did not pass",
        "It shows nothing yet.",
        "Wed 25 Nov is held: its data did not pass.",
    ),
]


@pytest.mark.parametrize(("stops", "words", "gate", "shown", "headline"), STATES)
def test_the_state_of_a_kpi(
    pipeline: Pipeline, stops: Sequence[Stop], words: dict[str, object], gate: str, shown: str, headline: str
) -> None:
    found = kpi(pipeline, *stops, **words)  # type: ignore[arg-type]
    assert (said.gate(found), said.shown(found)) == (gate, shown)
    assert [banner.headline for banner in said.banners([found])] == ([headline] if headline else [])


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (stop(), "1 row of things stands twice"),
        (replace(stop(), checks=[KEPT_OUT]), "ana keeps things out as it was built: the tills were wrong"),
        (replace(stop(), checks=()), "things did not pass"),
        (stop("failed"), "things could not be built"),
        (stop("failed", asset="s3.things"), "the object of things could not be verified"),
        (stop("running", asset="s3.things"), "the object of things is being verified"),
    ],
)
def test_why_it_stopped(pipeline: Pipeline, found: Stop, text: str) -> None:
    assert said.reasons(pipeline, found) == [text]


def test_kpis_that_stopped_together_have_one_banner(pipeline: Pipeline) -> None:
    early = replace(stop(), since=NOON - timedelta(hours=1), told=["email", "slack"])
    every = [kpi(pipeline, stop()), kpi(pipeline, early, table="light", latest=DAY - timedelta(days=1))]
    [banner] = said.banners(every)
    assert (banner.state, banner.load_date, banner.is_correction) == ("held", NEXT, False)
    assert banner.shown == "All KPIs show Mon 23 Nov to Tue 24 Nov, the last good days."
    assert (banner.reasons, banner.told) == (["1 row of things stands twice"], ["slack", "email"])
    assert (banner.since, banner.kpis) == (early.since, every)


def test_the_gravest_banner_is_the_first(pipeline: Pipeline) -> None:
    every = [kpi(pipeline), kpi(pipeline, late=True), kpi(pipeline, stop(), table="light"), kpi(pipeline, late=True)]
    held, late = said.banners(every)
    assert (held.state, held.shown) == ("held", "What is light shows Tue 24 Nov, the last good day.")
    assert (late.state, late.shown, late.reasons) == ("late", "2 of 4 KPIs show Tue 24 Nov.", [])


@pytest.mark.parametrize(
    ("alert", "text"),
    [
        (None, ""),
        ({"below": 5000}, "below 5,000"),
        ({"below": 5000, "above": 9000}, "below 5,000 or above 9,000"),
        ({"change": {"more_than": 0.3}}, "a change of more than 30 %"),
        (
            {"above": 9, "change": {"more_than": 0.125}, "for": "3 load_dates"},
            "above 9 or a change of more than 12.5 %, for 3 load_dates",
        ),
    ],
)
def test_the_limits_of_a_measure(alert: dict[str, object] | None, text: str) -> None:
    words = {"title": "Sold", "value": "count(*)", **({"alert": alert} if alert else {})}
    assert said.limits(Measure.model_validate(words)) == text
