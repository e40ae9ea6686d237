"""What a live run tells Dagster: little while nothing changes but numbers, and every verdict that changes."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kpi_assets.assets.live_events import KPI_EVERY, OTHERS_EVERY, LiveEvents
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.grow import Grown
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import ChartRows, CheckResult
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.clicks_pipeline import PIPELINE_YAML, TABLES

DAY = date(2025, 3, 1)
RAW, STG, KPI = Relation("raw", "clicks"), Relation("stg", "clicks"), Relation("marts", "kpi_clicks")
THROUGH = datetime(2025, 3, 1, 12, 0, 3, tzinfo=timezone.utc)
PASSED = CheckResult("grain", passed=True, blocking=True, metric=0, threshold=0)
FAILED = CheckResult("grain", passed=False, blocking=True, metric=2, threshold=0, message="2 rows share a key")
WARNED = CheckResult("late", passed=False, blocking=False, metric=1, threshold=0, message="1 row")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    root: Path = tmp_path_factory.mktemp("sql")
    for name, text in TABLES.items():
        (root / "clicks" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "clicks" / name).write_text(text)
    (root / "clicks/pipeline.yaml").write_text(PIPELINE_YAML.format(bucket="bucket"))
    return load_pipelines(root)["clicks"]


@dataclass
class Told:
    """A live run's events, of a clock that the test moves; `publish` is what the ledger says of every table."""

    pipeline: Pipeline
    now: float = 1000.0
    publish: Publish = field(
        default_factory=lambda: Publish(
            *(7, "stg.clicks", DAY, 3, "run", "manifest1", "code1", 120, "sum1", 4096, {}, THROUGH, None)
        )
    )

    def __post_init__(self) -> None:
        instance = dg.DagsterInstance.ephemeral()
        self.events = LiveEvents(instance, self.pipeline, DAY, lambda _: self.publish, lambda: self.now)

    def after(self, *outcomes: Any) -> list[str]:
        return [named(each) for each in self.events.after(outcomes)]

    def at_end(self) -> list[str]:
        return [named(each) for each in self.events.at_end()]


@pytest.fixture
def told(pipeline: Pipeline) -> Told:
    return Told(pipeline)


def named(event: Any) -> str:
    """Return an event in one line."""
    name = ".".join(event.asset_key.path[1:])
    assert event.partition == "2025-03-01"
    if isinstance(event, dg.AssetMaterialization):
        return name
    verdict = "passed" if event.passed else event.severity.value
    return f"{name} {event.check_name} {verdict}"


def grown(*results: CheckResult, relation: Relation = STG, batch: int = 1, publish_id: int | None = 7) -> Grown:
    return Grown(relation, DAY, batch, 3, publish_id, 2, 100, 90, 9, 1, THROUGH, list(results))


def built(*results: CheckResult, measures: dict[str, Decimal | None] | None = None) -> BuildOutcome:
    return BuildOutcome(
        relation=KPI,
        load_date=DAY,
        build_id=4,
        publish_id=8,
        candidate=Relation("builds", "c"),
        rows=1,
        checksum="c",
        size_bytes=1,
        manifest_hash="m",
        inputs={},
        window=None,
        results=list(results),
        warnings=[],
        measure_warnings=[],
        preview=[],
        chart=ChartRows([], 0),
        seconds={"load": 0.25, "check": 0.5},
        measures=measures or {},
    )


def test_the_first_batch_is_told_with_the_result_of_each_check(told: Told) -> None:
    assert told.after(grown(PASSED, WARNED)) == ["stg.clicks", "stg.clicks grain passed", "stg.clicks late WARN"]


def test_a_tick_that_changes_numbers_alone_tells_nothing_until_the_time_has_passed(told: Told) -> None:
    told.after(grown(PASSED), built(PASSED))
    told.now += KPI_EVERY - 1
    assert told.after(grown(PASSED, batch=2), built(PASSED)) == []
    told.now += 1
    assert told.after() == ["marts.kpi_clicks"]
    assert told.after() == []
    told.now += OTHERS_EVERY - KPI_EVERY - 1
    assert told.after() == []
    told.now += 1
    assert told.after() == ["stg.clicks"]


def test_without_anything_new_nothing_is_told(told: Told) -> None:
    told.after(grown(PASSED))
    told.now += 10 * OTHERS_EVERY
    assert told.after() == []
    assert told.at_end() == []


def test_a_verdict_that_changes_is_told_at_once_and_the_others_are_not(told: Told) -> None:
    told.after(grown(PASSED, WARNED))
    better = replace(WARNED, passed=True, message="")
    assert told.after(grown(PASSED, better, batch=2)) == ["stg.clicks", "stg.clicks late passed"]
    assert told.after(grown(PASSED, better, batch=3)) == []


def test_a_held_batch_is_no_materialization_and_its_checks_are_told(told: Told) -> None:
    told.after(grown(PASSED))
    told.after(grown(PASSED, batch=2))
    assert told.after(grown(FAILED, batch=3, publish_id=None)) == ["stg.clicks grain ERROR"]
    assert told.after(grown(FAILED, batch=3, publish_id=None)) == []
    told.now += OTHERS_EVERY
    assert told.after() == ["stg.clicks"], "batch 2 is published"
    assert told.after(grown(PASSED, batch=3)) == ["stg.clicks", "stg.clicks grain passed"]


def test_at_the_end_each_asset_is_told_with_all_its_results(told: Told) -> None:
    told.after(grown(PASSED), built(PASSED))
    told.after(grown(PASSED, batch=2), built(PASSED))
    assert told.at_end() == [
        *("stg.clicks", "stg.clicks grain passed"),
        *("marts.kpi_clicks", "marts.kpi_clicks grain passed"),
    ]
    assert told.at_end() == []


def test_at_the_end_the_results_of_a_held_batch_are_not_told_about_the_published_rows(told: Told) -> None:
    told.after(grown(PASSED))
    told.after(grown(PASSED, batch=2), grown(FAILED, batch=3, publish_id=None))
    assert told.at_end() == ["stg.clicks"]


def test_the_objects_of_a_stream_are_told_before_the_raw_table_that_reads_them(told: Told) -> None:
    assert told.after(grown(PASSED, relation=RAW)) == ["s3.clicks", "raw.clicks", "raw.clicks grain passed"]


def test_a_materialization_has_the_versions_of_a_build_and_the_figures_of_what_is_published(told: Told) -> None:
    objects, raw, _ = told.events.after([grown(PASSED, relation=RAW)])
    assert objects.tags == {"dagster/data_version": "manifest1"}
    assert raw.tags == {"dagster/data_version": "120-sum1", "dagster/code_version": "code1"}
    values = {name: value.value for name, value in raw.metadata.items()}
    assert values == {
        "verdict": "1 of 1 checks passed",
        "dagster/row_count": 120,
        "dagster/partition_row_count": 120,
        "bytes": 4096,
        "checksum": "sum1",
        "publish_id": 7,
        "manifest_hash": "manifest1",
        "batch": 1,
        "batch/objects": 2,
        "batch/records": 100,
        "batch/rows": 90,
        "batch/repeats": 9,
        "batch/quarantined": 1,
        "through": THROUGH.timestamp(),
    }


def test_the_materializations_between_have_few_figures(told: Told) -> None:
    told.events.after([grown(PASSED), built(PASSED)])
    list(told.events.after([]))
    told.after(grown(PASSED), built(PASSED))
    told.now += OTHERS_EVERY
    few = grown(PASSED, batch=2)
    stg, kpi = told.events.after(
        [replace(few, repeats=0, quarantined=0, objects=0), built(PASSED, measures={"n": Decimal(5)})]
    )
    assert [*stg.metadata] == ["dagster/row_count", "batch", "batch/records", "batch/rows", "through"]
    assert [*kpi.metadata] == ["dagster/row_count", "kpi/n", "seconds"]


def test_a_kpi_has_its_measures_as_numbers_that_dagster_plots(told: Told) -> None:
    kpi, _ = told.events.after([built(PASSED, measures={"clicks": Decimal("12")})])
    values = {name: value.value for name, value in kpi.metadata.items()}
    assert (values["kpi/clicks"], values["seconds"]) == (12, 0.75)


def test_a_batch_through_an_instant_that_nobody_knows_says_nothing_of_it(told: Told) -> None:
    kpi, _ = told.events.after([replace(grown(PASSED), through=None)])
    assert "through" not in kpi.metadata


def test_what_was_taken_out_since_is_not_told(told: Told) -> None:
    told.publish = None  # type: ignore[assignment]
    assert told.after(built()) == []
