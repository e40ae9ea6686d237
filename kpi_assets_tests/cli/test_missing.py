"""A load_date that has not landed is no error and sends no alert, and the command says what to do."""

from datetime import timedelta
from pathlib import Path

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.small import BUCKET, FIRST, NAME, upload, write_sql

DAY = FIRST + timedelta(days=60)


def test_a_run_of_a_missing_load_date_says_so_and_what_to_do(kpi: CliHarness, tmp_path: Path) -> None:
    small = {"KPI_SQL_DIR": str(write_sql(tmp_path))}
    kpi.stack.make_bucket(BUCKET)
    said = kpi("run", NAME, "--load-date", DAY, code=1, **small)
    assert said.out.splitlines() == [
        f"missing s3.things: s3://{BUCKET}/raw/things/load_date={DAY}/things.csv is not there",
        f"The objects were looked for in the home {kpi.home}.",
        f"Nothing is wrong with {NAME}, load_date {DAY}: "
        "land what is missing (`kpi land`), then run the load_date again.",
    ]
    assert "emitted no result" not in said.err, "the warning of Dagster about checks of skipped steps"
    assert kpi.rows(
        "select job, status from ops.pipeline_runs where load_date = %s order by id", DAY, database=NAME
    ) == [
        (NAME, "missing"),
        ("s3.things", "missing"),
    ]
    assert kpi("alerts", NAME, **small).out == f"No incident of {NAME} is open.\n"
    assert " missing " in kpi("plan", NAME, "--from", DAY, "--to", DAY, **small).out
    upload(kpi, DAY)
    assert kpi("run", NAME, "--load-date", DAY, **small).line("published", NAME) == (
        f"published {NAME}, load_date {DAY}: 3 assets"
    )
