"""`kpi retention` shows rows that are older than the retention and drops them with --drop; a run replays them."""

from datetime import date, timedelta

import pytest

from kpi_assets_tests.cli.command import BUCKET, OBJECTS, CliHarness, key
from kpi_assets_tests.cli.test_plan import ThreeObjectPipeline

OLD, RECENT = date(2025, 4, 1), date.today() - timedelta(days=1)  # noqa: DTZ011
OLDER = "select asset, rows from ops.published where load_date = '{}' order by 1"


@pytest.fixture(scope="module")
def attic(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> ThreeObjectPipeline:
    """A pipeline with two published load_dates, one of them older than the retention of raw."""
    opened = ThreeObjectPipeline(kpi, tmp_path_factory.mktemp("attic"), "attic")
    path = opened.raw.parent / "pipeline.yaml"
    path.write_text(path.read_text() + "retention: {raw: 400}\n")
    files = kpi.sample(OLD, 300)
    for day in (OLD, RECENT):
        kpi.upload(day, files)
        opened("run", "--load-date", day)
    for file in OBJECTS:  # other tests plan what lies in this bucket
        kpi.s3.delete_object(Bucket=BUCKET, Key=key(file, RECENT))
    return opened


@pytest.mark.nightly
def test_old_rows_are_shown_dropped_and_replayed(attic: ThreeObjectPipeline) -> None:
    rows = attic.kpi.rows(OLDER.format(OLD), database="attic")
    assert [name for name, _ in rows] == ["raw.aisles", "raw.departments", "raw.products"]
    shown = attic("retention")
    assert shown.out.splitlines()[0].strip() == "attic: older than its retention"
    assert shown.line("raw.aisles").startswith(f"raw.aisles 1 {OLD} {OLD} {rows[0][1]} ")
    assert shown.out.splitlines()[-1] == "Nothing was dropped: --drop drops it."
    assert attic.kpi.rows(OLDER.format(OLD), database="attic") == rows

    done = attic("retention", "--drop")
    assert done.out.splitlines()[0].strip() == "attic: dropped"
    assert done.line("raw.aisles") == shown.line("raw.aisles")
    assert attic.kpi.rows(OLDER.format(OLD), database="attic") == []
    assert len(attic.kpi.rows(OLDER.format(RECENT), database="attic")) == 3
    assert attic("retention").out == "Nothing of attic is older than its retention.\n"
    assert attic.kpi("status", KPI_SQL_DIR=str(attic.sql)).line(str(OLD), "dropped") == f"{OLD} published dropped"
    said = attic("show", "raw.aisles", "--load-date", OLD, code=1)
    assert said.err == (
        f"error: It cannot be shown: the rows of raw.aisles of {OLD} were dropped by retention; "
        f"`kpi run attic --load-date {OLD}` replays them from S3.\n"
    )

    attic("run", "--load-date", OLD)
    assert attic.kpi.rows(OLDER.format(OLD), database="attic") == rows
    assert attic("retention", "--drop").out == "Nothing of attic is older than its retention.\n"


def test_a_pipeline_without_retention_keeps_everything(kpi: CliHarness) -> None:
    said = kpi.process("retention", "instacart", code=2)
    assert said.err.startswith("error: instacart keeps everything: write retention, such as {raw: 400} days, into ")
