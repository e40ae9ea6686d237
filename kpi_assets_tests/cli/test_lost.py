"""Lost rows, and tables that no file describes, are named by commands that read and repaired by those that write."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.cli.small import FIRST, NAME, upload, write_sql

SECOND = FIRST + timedelta(days=1)
LAST = ("--from", FIRST, "--to", SECOND)


class SmallPipeline:
    """The command on a small pipeline with two published load_dates."""

    def __init__(self, kpi: CliHarness, folder: Path) -> None:
        self.kpi, self.sql = kpi, write_sql(folder / "sql")
        for day in (FIRST, SECOND):
            upload(kpi, day)
        self("backfill", NAME, *LAST)

    def __call__(self, *words: object, code: int = 0) -> Output:
        return self.kpi(*words, code=code, KPI_SQL_DIR=str(self.sql))

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.kpi.url(NAME), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def small(kpi: CliHarness, tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    return SmallPipeline(kpi, tmp_path_factory.mktemp("small"))


@pytest.mark.nightly
def test_lost_rows_are_named_and_built_again(small: SmallPipeline) -> None:
    small.execute("drop schema marts cascade")
    planned = json.loads(small("plan", NAME, *LAST, "--format", "json", code=1).out)
    reason = "Published, but their rows are gone from the database: marts.things."
    assert [(found["state"], found["reason"]) for found in planned] == [("lost", reason)] * 2
    assert small("plan", NAME, *LAST, code=1).line("2 lost.") == "2 lost."
    small.kpi.fails(
        f"The rows of marts.things of {FIRST} are gone from the database, which the ledger calls published: "
        f"`kpi run small --load-date {FIRST}` makes them again.",
        *("show", NAME, "marts.things", "--load-date", FIRST),
        KPI_SQL_DIR=str(small.sql),
    )
    assert small("doctor", code=1).line("broken", "small") == (
        f"broken database small: the rows of marts.things of {FIRST} and of 1 more load_dates are gone, although "
        f"the ledger says they are published: `kpi backfill small --from {FIRST} --to {SECOND} --only lost` builds "
        "them again"
    )
    before = small.kpi.rows("select count(*) from ops.publishes where asset = 'raw.things'", database=NAME)
    assert "2 run." in small("backfill", NAME, *LAST, "--only", "lost").out
    assert small("show", NAME, "marts.things", "--format", "csv").out == "thing_id,weight\n1,20.50\n"
    assert small.kpi.rows("select count(*) from ops.publishes where asset = 'raw.things'", database=NAME) == before


@pytest.mark.nightly
def test_a_warning_is_named_by_plan_and_doctor(small: SmallPipeline) -> None:
    same = f"the object has the same bytes as s3://kpi-small/raw/things/load_date={FIRST}/things.csv of {FIRST}"
    warning = f"not_seen_before of raw.things of {SECOND}: {same}"
    assert small("plan", NAME, *LAST).line("warning") == f"warning {warning}."
    assert "warning" not in small("plan", NAME, "--from", FIRST, "--to", FIRST).out
    assert small("doctor").line("not_seen_before") == (
        f"advice database small: {warning} (a warning): `kpi checks small` prints the rows"
    )


@pytest.mark.nightly
def test_a_table_that_is_stored_in_another_way_than_its_file_says_is_named(small: SmallPipeline) -> None:
    path = small.sql / NAME / "raw/things.sql"
    text = path.read_text()
    path.write_text(text.replace("grain:", "storage: partitions\ngrain:"))
    drop = "run `kpi drop small raw.things` and backfill"
    sentence = f"{path}: raw.things was published with storage: rows; to change it, {drop}"
    assert small("plan", NAME, *LAST).line("mismatch") == f"mismatch {sentence}."
    assert small("doctor", code=1).line("broken") == f"broken database small: {sentence}"
    path.write_text(text)
    assert "mismatch" not in small("plan", NAME, *LAST).out


@pytest.mark.nightly
def test_a_changed_value_is_found_by_doctor_deep_and_by_recheck(small: SmallPipeline) -> None:
    small.execute(f"update marts.things set weight = 21 where load_date = '{FIRST}'")
    assert small("doctor").line("database small", "--deep compares").startswith("ok database small: all that is")
    message = "the rows differ from what was published: somebody changed them; run it again"
    assert (
        small("doctor", "--deep", code=1).line("broken") == f"broken database small: marts.things of {FIRST}: {message}"
    )
    said = small("recheck", NAME, "--load-date", FIRST, "--select", "marts.things", code=3)
    assert said.line("as_published") == f"marts.things as_published fail 1 1 {message}"
    small("run", NAME, "--load-date", FIRST, "--select", "marts.things")
    small("recheck", NAME, "--load-date", FIRST, "--select", "marts.things")


@pytest.mark.nightly
def test_a_renamed_file_leaves_a_table_that_is_named_until_it_is_dropped(small: SmallPipeline) -> None:
    path = small.sql / NAME / "marts/things.sql"
    path.rename(path.with_name("weighed.sql"))
    orphan = f"marts.things (2 load_dates from {FIRST} to {SECOND}, 2 rows)"
    advice = (
        f"no file describes {orphan}, which readers still see: put the file back, or run `kpi drop small marts.things`"
    )
    assert small("plan", NAME).line("orphan") == f"orphan {advice}."
    assert small("doctor").line("no file describes") == f"advice database small: {advice}"

    asked = small.kpi.process("drop", NAME, "marts.things", code=2, KPI_SQL_DIR=str(small.sql))
    assert f"{orphan} will be dropped; no file describes it." in asked.out
    assert "error: Nobody answered, so nothing was dropped: give --yes to drop it." in asked.err
    assert small.kpi.rows("select count(*) from marts.things", database=NAME) == [(2,)], (
        "the question was not answered with yes"
    )
    assert small("drop", NAME, "marts.things", "--yes").line("dropped marts") == (
        f"dropped {orphan}; the ledger keeps what was published."
    )
    assert small.kpi.rows("select to_regclass('marts.things')", database=NAME) == [(None,)]
    assert "orphan" not in small("plan", NAME).out
    small.kpi.fails(
        f"Nothing of marts.things is published in small of the home {small.kpi.home}: there is raw.things.",
        *("drop", NAME, "marts.things", "--yes"),
        code=2,
        KPI_SQL_DIR=str(small.sql),
    )
    path.with_name("weighed.sql").rename(path)
    assert small("plan", NAME).line("2 stale.") == "2 stale."
    small("backfill", NAME, *LAST)
    assert small("plan", NAME).line("2 published.") == "2 published."


@pytest.mark.nightly
def test_a_removed_pipeline_is_named(small: SmallPipeline, tmp_path: Path) -> None:
    other = shutil.copytree(small.sql, tmp_path / "sql")
    (other / NAME).rename(other / "tiny")
    assert small.kpi("doctor", KPI_SQL_DIR=str(other)).line("database small") == (
        "advice database small: no folder below KPI_SQL_DIR describes it any more; it has 2 published tables and 0 "
        "open incidents: put the folder back, or drop the database"
    )
