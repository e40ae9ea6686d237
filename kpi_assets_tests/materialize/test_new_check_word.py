"""To add a check word, registering it is enough: it works from the header to `kpi recheck`."""

import os
import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.progress import to_log
from kpi_assets.assets.resources import plain_s3, run_log
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.new_check_words import registered
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness

THREE = GOOD + b"3,saw,1.00\n"
RESOURCES = {"s3": plain_s3, "run_log": run_log, "progress": dg.ResourceDefinition.hardcoded_resource(to_log)}


@pytest.fixture(autouse=True)
def _words() -> Iterator[None]:
    with registered():
        yield


def file_with(lab: PipelineHarness, checks: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("@end", f"checks:\n  {checks}\n@end"))


def recorded(lab: PipelineHarness, name: str) -> list[tuple[object, ...]]:
    return lab.rows(
        "select subject, load_date, status, metric_value, threshold, message from ops.data_quality_results "
        f"where check_name = '{name}' order by id"
    )


@pytest.mark.parametrize(
    ("checks", "line", "sentence"),
    [
        ("max_rows: {at_most: 0}", 13, "checks.max_rows.at_most: 0 is too small: write 1 or more"),
        ("max_rows: 7", 13, "checks.max_rows: 7 is not a set of words: write each on a line of its own below it, or "),
        ("max_rows: {most: 7}", 13, "unknown word 'checks.max_rows.most': write 'at_most'"),
        ("max_row: {at_most: 7}", 13, "unknown word 'checks.max_row': write 'max_rows', or else a check of your own"),
        ("spread:\n    weight: wide", 14, "checks.spread.weight: 'wide' is not a number: write a plain decimal number"),
        ("spread:\n    size: 1", 14, "checks.spread.size: 'size' is not one of the columns (thing_id, name, weight)"),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_line(
    lab: PipelineHarness, checks: str, line: int, sentence: str
) -> None:
    file_with(lab, checks)
    with pytest.raises(ModelError) as caught:
        lab.pipeline()
    assert str(caught.value).startswith(f"{lab.folder}/raw/things.sql:{line}: {sentence}")


def test_a_new_word_holds_a_build_or_passes_and_is_recorded(lab: PipelineHarness) -> None:
    file_with(lab, "max_rows: {at_most: 2, of_previous: 1}\n  spread: {weight: 10}")
    lab.put_things(GOOD)
    assert not lab.build("raw.things").held, "a single weight has a spread of 0"
    lab.put_things(THREE, NEXT)
    outcome = lab.build("raw.things", NEXT)
    assert outcome.held
    assert {result.name for result in outcome.results if not result.passed} == {"max_rows", "spread__weight"}
    assert recorded(lab, "max_rows") == [
        ("candidate", DAY, "pass", 2, 2, ""),
        ("candidate", NEXT, "fail", 3, 2, "3 rows, at most 2 are wanted"),
    ]
    assert recorded(lab, "spread__weight") == [
        ("candidate", DAY, "pass", 0, 10, ""),
        ("candidate", NEXT, "fail", 19.5, 10, "weight spreads over 19.5"),
    ]
    file_with(lab, "max_rows: {at_most: 9, of_previous: 1.5}\n  spread: {weight: 19.5}")
    assert not lab.build("raw.things", NEXT).held
    assert recorded(lab, "max_rows")[-1] == ("candidate", NEXT, "pass", 3, 3, "")


def test_dagster_shows_a_new_word_as_a_check_of_the_asset(lab: PipelineHarness) -> None:
    file_with(lab, "max_rows: {at_most: 1}")
    lab.put_things(GOOD)
    lab.prepared()
    assets = pipeline_assets(lab.pipeline())
    declared = {spec.name: spec for asset in assets for spec in asset.check_specs}
    assert (declared["max_rows"].description, declared["max_rows"].blocking) == ("At most 1 rows.", True)
    run = dg.materialize(
        assets,
        partition_key=str(DAY),
        instance=dg.DagsterInstance.ephemeral(),
        resources=RESOURCES,
        raise_on_error=False,
    )
    [found] = [each for each in run.get_asset_check_evaluations() if each.check_name == "max_rows"]
    assert (found.passed, found.partition, found.description) == (False, str(DAY), "2 rows, at most 1 are wanted")


@pytest.mark.nightly
def test_kpi_recheck_makes_the_check_of_a_new_word(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(THREE)
    lab.build("raw.things")
    said = []
    for at_most, code in ((3, 0), (2, 3)):
        file_with(lab, f"max_rows: {{at_most: {at_most}}}")
        words = ["recheck", lab.name, "--load-date", str(DAY)]
        found = subprocess.run(
            [sys.executable, "-m", "kpi_assets_tests.new_check_words", *words],
            env={**os.environ, "KPI_SQL_DIR": str(lab.root), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        assert found.returncode == code, found.stdout + found.stderr
        said.append(found.stdout)
    assert "3 rows, at most 2 are wanted" in said[1]
    assert [row[:3] for row in recorded(lab, "max_rows")] == [("published", DAY, "pass"), ("published", DAY, "fail")]
