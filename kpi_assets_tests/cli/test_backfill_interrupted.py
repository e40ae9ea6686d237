"""A backfill that is killed, and one during which a file changes. `make nightly` makes 30 load_dates of each."""

import signal
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.examples import ALL
from kpi_assets_tests.machine import PATIENCE, eventually

pytestmark = pytest.mark.nightly

BUCKET = "kpi-interrupted"
FIRST = date(2025, 9, 1)
COUNT = 30 if ALL else 6
LAST = FIRST + timedelta(days=COUNT - 1)
RANGE = ("--from", FIRST, "--to", LAST)
ROWS = "select 'raw', load_date, count(*) from raw.things group by 2 union all "
ROWS += "select 'marts', load_date, count(*) from marts.things group by 2 order by 2, 1"
PUBLISHES = "select asset, load_date, publish_id from ops.publishes where superseded_at is null order by 3"
CODE = "select count(*), count(distinct code_version) from ops.published where asset = 'marts.things'"
CHECKSUMS = "select asset, load_date, rows, checksum from ops.published order by 1, 2"
LEFT = "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind in ('r', 'p')"


@pytest.fixture
def name(kpi: CliHarness, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A pipeline of its own, whose load_dates have landed."""
    name = request.node.name.removeprefix("test_")[:20]
    kpi.environment["KPI_SQL_DIR"] = str(small.write_sql(tmp_path / "sql", name=name, bucket=BUCKET))
    for number in range(COUNT):
        small.upload(kpi, FIRST + timedelta(days=number), bucket=BUCKET)
    kpi("bootstrap")
    yield name
    del kpi.environment["KPI_SQL_DIR"]


def published(kpi: CliHarness, name: str) -> list[tuple[str, date, int]]:
    return kpi.rows(PUBLISHES, database=name)


def test_killed_backfill_is_resumed_where_it_ended(kpi: CliHarness, name: str) -> None:
    with kpi.start("backfill", name, *RANGE) as process:
        eventually(lambda: len(published(kpi, name)) >= COUNT)  # half of two tables
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    sessions = "select count(*) from pg_stat_activity where datname = %s and backend_type = 'client backend'"
    eventually(lambda: kpi.rows(sessions, name, database="postgres") == [(0,)])
    before = published(kpi, name)
    assert COUNT <= len(before) < 2 * COUNT

    kpi("backfill", name, *RANGE, "--only", "missing,stale,failed")

    after = published(kpi, name)
    assert len(after) == 2 * COUNT
    whole = {day for asset, day, _ in before if asset == "marts.things"}
    assert [each for each in after if each[1] in whole] == [each for each in before if each[1] in whole]
    days = [FIRST + timedelta(days=number) for number in range(COUNT)]
    rows = [(layer, day, count) for day in days for layer, count in (("marts", 1), ("raw", 2))]
    assert kpi.rows(ROWS, database=name) == rows
    assert kpi.rows("select count(*) from ops.pipeline_runs where status = 'running'", database=name) == [(0,)]
    assert kpi.rows(LEFT, database=name) == []
    found = kpi.rows(CHECKSUMS, database=name)
    kpi("backfill", name, *RANGE)
    assert kpi.rows(CHECKSUMS, database=name) == found, "an undisturbed backfill gives the same"


def test_edited_file_counts_from_the_next_backfill_on(kpi: CliHarness, name: str) -> None:
    file = Path(kpi.environment["KPI_SQL_DIR"], name, "marts/things.sql")
    with kpi.start("backfill", name, *RANGE) as process:
        eventually(lambda: len(published(kpi, name)) >= 2)
        file.write_text(file.read_text().replace("    weight\nfrom", "    (weight * 2)::numeric(6, 2) as weight\nfrom"))
        assert len(published(kpi, name)) < 2 * COUNT, "the backfill has not ended yet"
        assert process.wait(PATIENCE) == 0
    assert kpi.rows(CODE, database=name) == [(COUNT, 1)], "all load_dates have the SQL with which it began"
    weights = "select distinct weight::text from marts.things"
    assert kpi.rows(weights, database=name) == [("20.50",)]
    assert kpi("plan", name, *RANGE).out.splitlines()[-1] == f"{COUNT} stale."

    half = FIRST + timedelta(days=COUNT // 2 - 1)
    kpi("backfill", name, "--from", FIRST, "--to", half, "--only", "stale")

    assert kpi.rows(CODE, database=name) == [(COUNT, 2)]
    assert kpi.rows(
        "select p.load_date <= %s, count(distinct p.code_version), count(*), min(t.weight)::text, max(t.weight)::text "
        "from ops.published as p inner join marts.things as t on t.load_date = p.load_date "
        "where p.asset = 'marts.things' group by 1 order by 1",
        half,
        database=name,
    ) == [(False, 1, COUNT - COUNT // 2, "20.50", "20.50"), (True, 1, COUNT // 2, "41.00", "41.00")]
    assert kpi("plan", name, *RANGE).out.splitlines()[-1] == f"{COUNT // 2} published, {COUNT - COUNT // 2} stale."
