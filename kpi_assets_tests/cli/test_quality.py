"""`kpi quality`: the scores of a load_date for people and for programs, also of a load_date that was held."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.small import FIRST, NAME, upload, write_sql
from kpi_assets_tests.pipeline_harness import RAW_THINGS

DAY, HELD = FIRST + timedelta(days=70), FIRST + timedelta(days=71)
WORDS = "quality: {at_least: %s}\nchecks:\n  not_null: {columns: [weight], severity: warn}\n@end */"


def sql_with(folder: Path, at_least: int) -> dict[str, str]:
    sql = write_sql(folder)
    (sql / NAME / "raw/things.sql").write_text(RAW_THINGS.replace("@end */", WORDS % at_least))
    return {"KPI_SQL_DIR": str(sql)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quality")


@pytest.fixture(scope="module")
def lenient(root: Path) -> dict[str, str]:
    return sql_with(root / "lenient", 80)


@pytest.fixture(scope="module")
def strict(root: Path) -> dict[str, str]:
    return sql_with(root / "strict", 90)


def test_the_scores_of_a_load_date_are_printed_for_people_and_programs(
    kpi: CliHarness, lenient: dict[str, str], strict: dict[str, str]
) -> None:
    kpi.fails(
        "No table of instacart has a quality score: write `quality: {}` into a header, then run one.",
        *("quality", "instacart"),
    )
    for day in (DAY, HELD):
        upload(kpi, day)
    kpi("run", NAME, "--load-date", DAY, **lenient)
    held = kpi("run", NAME, "--load-date", HELD, code=3, **strict)
    assert "83.33 of 100, at least 90 is wanted: completeness 50 (not_null: 1 of 2 rows)" in held.out

    said = kpi("quality", NAME, "--load-date", DAY, **lenient)
    assert said.out.splitlines()[0].rstrip() == f"{NAME}, load_date {DAY}: quality"
    assert said.line("raw.things", "published") == "raw.things 83.33 80 50.00 100.00 100.00 2 published"
    assert said.line("in all") == "in all 83.33 50.00 100.00 100.00 2"
    assert said.line("raw.things completeness ") == "raw.things completeness not_null 1 2"
    assert said.line("raw.things validity ") == "raw.things validity quarantine 0 2"

    found = json.loads(kpi("quality", NAME, "--format", "json", **strict).out)
    [table] = found["tables"]
    assert (found["load_date"], found["score"], table["state"], table["is_held"], table["at_least"]) == (
        *(str(HELD), 83.33, "held", True, 90),
    )
    assert [part["dimension"] for part in table["dimensions"]] == ["completeness", "uniqueness", "validity"]
    assert kpi("quality", NAME, **strict).line("raw.things", "held") == "raw.things 83.33 90 50.00 100.00 100.00 2 held"


@pytest.mark.nightly
def test_scores_of_several_runs_are_told_apart(
    kpi: CliHarness, root: Path, lenient: dict[str, str], strict: dict[str, str]
) -> None:
    """The mart is scored too, and then the raw table alone: the two scores are of different runs."""
    upload(kpi, DAY)
    for folder in ("lenient", "strict"):
        mart = root / folder / NAME / "marts/things.sql"
        mart.write_text(mart.read_text().replace("checks:", "quality: {}\nchecks:"))
    kpi("run", NAME, "--load-date", DAY, **lenient)
    kpi("run", NAME, "--load-date", DAY, "--select", "raw.things", **lenient)
    said = kpi("quality", NAME, "--load-date", DAY, **lenient)
    runs = {said.line(name, "published").split()[-1] for name in ("raw.things", "marts.things")}
    assert len(runs) == 2 == len({run for run in runs if len(run) == 8})
    kpi("run", NAME, "--load-date", DAY, "--select", "raw.things", code=3, **strict)
    said = kpi("quality", NAME, "--load-date", DAY, **strict)
    assert said.line("raw.things", "held").endswith(" 2 held")
    assert said.line("These are the scores of run").endswith(
        ", which did not publish everything. Left out are those of earlier runs: marts.things."
    )

    checks = kpi("checks", NAME, "--load-date", DAY, **lenient)
    assert checks.line("raw.things quality:") == "raw.things quality: by dimension"
    assert '{"score": 50.0, "checks": [{"bad": 1, "name": "not_null", "rows": 2}], "dimension": "completeness"}' in (
        checks.out
    )
