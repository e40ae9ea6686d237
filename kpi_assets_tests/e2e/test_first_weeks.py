"""The first weeks of a user who loads the files of a shop while `kpi up` runs: 46 days, 35 of them with files.

No day is held that a person would not hold, no day is built twice for the same files, and each KPI of each day is what
DuckDB computes. The first days alone show the same within a minute; what is usual on a weekday, and windows of 28
days, need all the weeks (nightly).
"""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from kpi_assets.cli import HELD
from kpi_assets.embedded.stack import Stack
from kpi_assets.model.names import Relation
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.e2e import giftshop
from kpi_assets_tests.e2e.giftshop import FIRST, LAST, OPEN, ORACLE, Oracle
from kpi_assets_tests.machine import PATIENCE, eventually, free_port

NAME, BUCKET = "giftshop", "kpi-giftshop"
SQL = Path(__file__).with_name("sql")
TABLES = ["raw.lines", "raw.cancellations", "stg.stg_lines", *ORACLE]
SESSIONS = 30  # of `kpi up` and of the command; most of them belong to Dagster
# A few days do not show what is usual on a weekday: then the day before is the measure.
OF_USUAL, OF_PREVIOUS = "{of_usual: 0.4}", "{of_previous: 0.2}"


@dataclass(frozen=True)
class Weeks:
    """The load_dates up to the last; the first delivery of the last but one is cut off."""

    last: date

    @property
    def days(self) -> list[date]:
        return [FIRST + timedelta(days=n) for n in range((self.last - FIRST).days + 1)]

    @property
    def open(self) -> list[date]:
        return [day for day in OPEN if day <= self.last]

    @property
    def cut_off(self) -> date:
        return self.open[-2]

    @property
    def latest(self) -> date:
        """The load_date that lands last, when automation is on."""
        return self.open[-1]


@pytest.mark.nightly
def test_the_first_weeks_of_a_shop(tmp_path: Path) -> None:
    weeks = Weeks(LAST)
    assert (len(weeks.days), len(weeks.open), weeks.cut_off) == (46, 35, giftshop.CUT_OFF)
    _play(weeks, tmp_path, Path(shutil.copytree(SQL, tmp_path / "sql")))


@pytest.mark.nightly
def test_the_first_days_of_a_shop(tmp_path: Path) -> None:
    sql = Path(shutil.copytree(SQL, tmp_path / "sql"))
    lines = sql / NAME / "raw" / "lines.sql"
    assert OF_USUAL in lines.read_text()
    lines.write_text(lines.read_text().replace(OF_USUAL, OF_PREVIOUS))
    with (sql / NAME / "pipeline.yaml").open("a") as config:
        config.write("automation: {interval_seconds: 5, settle_seconds: 1}\n")
    _play(Weeks(date(2010, 12, 6)), tmp_path, sql)


def _play(weeks: Weeks, folder: Path, sql: Path) -> None:
    files = folder / "files"
    for day in weeks.open:
        giftshop.deliver(day).write(files / str(day))
    giftshop.cut_off(giftshop.deliver(weeks.cut_off)).write(folder / "cut off")
    with Stack(folder / "home") as stack:
        kpi = CliHarness(stack, folder)
        stack.make_bucket(BUCKET)
        kpi.environment["KPI_SQL_DIR"] = str(sql)
        for day in weeks.open[:-1]:
            _lay(kpi, day, folder / "cut off" if day == weeks.cut_off else files / str(day))
        kpi("bootstrap")
        kpi.count_sessions(NAME)
        with _up(kpi):
            _build_all_days(kpi, weeks)
            _correct(kpi, weeks, files / str(weeks.cut_off))
            _switch_on(kpi, weeks, files / str(weeks.latest))
            _is_quiet(kpi, weeks)
        _is_each_built_once(kpi, weeks)
        _equals_duckdb(kpi, weeks, Oracle(files))


def _build_all_days(kpi: CliHarness, weeks: Weeks) -> None:
    """Build the first KPI, then all days at once: one of the open days is held."""
    said = kpi("run", NAME, "--load-date", FIRST)
    assert said.line("load_date 2010-12-01") == f"published {NAME}, load_date {FIRST}: {len(TABLES) + 2} assets"
    said = kpi("backfill", NAME, "--from", weeks.open[1], "--to", weeks.cut_off, code=HELD)
    asked, landed = (weeks.cut_off - weeks.open[1]).days + 1, len(weeks.open) - 2
    assert said.line("not landed") == f"{landed} load_dates run, {asked - landed} not landed"
    assert _states(kpi, weeks, HELD) == _all_but(weeks, 1) | {"published": len(weeks.open) - 2, "held": 1}
    [held] = _incidents(kpi)
    assert (held["load_date"], held["kind"]) == (str(weeks.cut_off), "held")


def _correct(kpi: CliHarness, weeks: Weeks, files: Path) -> None:
    """Land the whole file, and build what the plan names."""
    kpi("land", NAME, "--load-date", weeks.cut_off, "--from", files, "--replace")
    kpi("backfill", NAME, "--from", FIRST, "--to", weeks.last, "--only", "missing,stale,held,failed")
    assert _states(kpi, weeks) == _all_but(weeks, 1)


def _switch_on(kpi: CliHarness, weeks: Weeks, files: Path) -> None:
    """Switch automation on, so that what lands from now on is built by itself."""
    kpi("enable", NAME)
    kpi("land", NAME, "--load-date", weeks.latest, "--from", files)
    eventually(lambda: _states(kpi, weeks) == _all_but(weeks, 0), every=2)


def _all_but(weeks: Weeks, missing: int) -> dict[str, int]:
    """Check that all load_dates with files are published but `missing` of them."""
    published = len(weeks.open) - missing
    return {"published": published, "missing": len(weeks.days) - published}


def _is_quiet(kpi: CliHarness, weeks: Weeks) -> None:
    """Check that there is one message about the cut-off day and one about its recovery, and no open session."""
    assert _incidents(kpi) == []
    told = kpi.rows("select kind, load_date from ops.alerts where load_date is not null order by id", database=NAME)
    assert told == [("held", weeks.cut_off), ("recovered", weeks.cut_off)]
    assert max(kpi.sessions(NAME)) <= SESSIONS, "a session left open by each load_date would make 35 more"


def _is_each_built_once(kpi: CliHarness, weeks: Weeks) -> None:
    published = kpi.rows("select asset, load_date from ops.publishes", database=NAME)
    expected = Counter((table, day) for table in TABLES for day in weeks.open)
    # The day with the corrected file is built as a whole: these tables were published with the first delivery too.
    expected.update((table, weeks.cut_off) for table in ("raw.cancellations", "marts.returns_by_country"))
    assert Counter(published) == expected


def _equals_duckdb(kpi: CliHarness, weeks: Weeks, oracle: Oracle) -> None:
    tables = load_pipelines(SQL)[NAME].tables
    for table in ORACLE:
        columns = ", ".join(tables[Relation.parse(table)].header.columns)
        for day in weeks.open:
            query = f"select {columns} from {table} where load_date = %s"
            assert sorted(kpi.rows(query, day, database=NAME)) == sorted(oracle.rows(table, day)), (table, day)


def _lay(kpi: CliHarness, day: date, folder: Path) -> None:
    for file in folder.iterdir():
        key = f"raw/{file.stem}/load_date={day}/{file.name}"
        kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())


def _states(kpi: CliHarness, weeks: Weeks, code: int = 0) -> dict[str, int]:
    """Return how many load_dates are in which state; `kpi plan` must end with `code`."""
    plan = json.loads(kpi("plan", NAME, "--from", FIRST, "--to", weeks.last, "--format", "json", code=code).out)
    assert [standing["load_date"] for standing in plan] == [str(day) for day in weeks.days]
    return dict(Counter(standing["state"] for standing in plan))


def _incidents(kpi: CliHarness) -> list[dict[str, object]]:
    """Return the open incidents of load_dates."""
    query = "select load_date::text, kind from ops.alerts where closed_at is null and load_date is not null order by id"
    return [{"load_date": day, "kind": kind} for day, kind in kpi.rows(query, database=NAME)]


@contextmanager
def _up(kpi: CliHarness) -> Iterator[None]:
    """Run `kpi up` meanwhile, and end it with Ctrl-C."""
    process = kpi.start("up", "--port", free_port())
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
