"""The first weeks of somebody who loads a shop's files, with `kpi up` running beside: 46 days, of which 35 have files.

No day is held that a person would not hold, none is built twice for the same files, and each KPI of each day is what
DuckDB makes of it.
"""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from kpi_assets.cli import HELD
from kpi_assets.embedded.stack import Stack
from kpi_assets.model.names import Relation
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.cli.command import Site
from kpi_assets_tests.e2e import giftshop
from kpi_assets_tests.e2e.giftshop import CUT_OFF, DAYS, FIRST, LAST, OPEN, ORACLE, Oracle
from kpi_assets_tests.machine import eventually, free_port

NAME, BUCKET = "giftshop", "kpi-giftshop"
SQL = Path(__file__).with_name("sql")
TABLES = ["raw.lines", "raw.cancellations", "stg.stg_lines", *ORACLE]
LATEST = OPEN[-1]  # lands last, when automation is on
SESSIONS = 30  # of `kpi up` and of the command, of which the greater part are Dagster's


def test_the_first_weeks_of_a_shop(tmp_path: Path) -> None:
    for day in OPEN:
        giftshop.deliver(day).write(tmp_path / "files" / str(day))
    giftshop.cut_off(giftshop.deliver(CUT_OFF)).write(tmp_path / "cut off")
    with Stack(tmp_path / "home") as stack:
        kpi = Site(stack, tmp_path)
        stack.make_bucket(BUCKET)
        kpi.environment["KPI_SQL_DIR"] = str(shutil.copytree(SQL, tmp_path / "sql"))
        for day in OPEN[:-1]:
            _lay(kpi, day, tmp_path / ("cut off" if day == CUT_OFF else f"files/{day}"))
        kpi("bootstrap")
        kpi.count_sessions(NAME)
        with _up(kpi):
            _build_all_days(kpi)
            _correct(kpi, tmp_path / "files" / str(CUT_OFF))
            _switch_on(kpi, tmp_path / "files" / str(LATEST))
            _is_quiet(kpi)
        _is_each_built_once(kpi)
        _equals_duckdb(kpi, Oracle(tmp_path / "files"))


def _build_all_days(kpi: Site) -> None:
    """The first KPI, then all days at once: of those on which the shop was open one is held."""
    said = kpi("run", NAME, "--load-date", FIRST)
    assert said.line("load_date 2010-12-01") == f"published {NAME}, load_date {FIRST}: {len(TABLES) + 2} assets"
    said = kpi("backfill", NAME, "--from", OPEN[1], "--to", CUT_OFF, code=HELD)
    assert said.line("not landed") == "33 landed, 10 of the 43 load_dates not landed"
    assert _states(kpi, HELD) == {"published": 33, "held": 1, "missing": 12}
    [held] = _incidents(kpi)
    assert (held["load_date"], held["kind"]) == (str(CUT_OFF), "held")


def _correct(kpi: Site, files: Path) -> None:
    """The whole file comes, and what the plan says is built."""
    kpi("land", NAME, "--load-date", CUT_OFF, "--from", files, "--replace")
    kpi("backfill", NAME, "--from", FIRST, "--to", LAST, "--only", "missing,stale,held,failed")
    assert _states(kpi) == {"published": 34, "missing": 12}


def _switch_on(kpi: Site, files: Path) -> None:
    """What lands from now on is built by itself."""
    kpi("enable", NAME)
    kpi("land", NAME, "--load-date", LATEST, "--from", files)
    eventually(lambda: _states(kpi) == {"published": 35, "missing": 11}, 90)


def _is_quiet(kpi: Site) -> None:
    """One message of the day that was cut off and one that it is there; no session is left open."""
    assert _incidents(kpi) == []
    told = kpi.rows("select kind, load_date from ops.alerts where load_date is not null order by id", database=NAME)
    assert told == [("held", CUT_OFF), ("recovered", CUT_OFF)]
    assert max(kpi.sessions(NAME)) <= SESSIONS, "one that is left open by each load_date would be 35 more"


def _is_each_built_once(kpi: Site) -> None:
    published = kpi.rows("select asset, load_date from ops.publishes", database=NAME)
    expected = Counter((table, day) for table in TABLES for day in OPEN)
    # The day of which a file was corrected is built as a whole: these were published with the first delivery too.
    expected.update((table, CUT_OFF) for table in ("raw.cancellations", "marts.returns_by_country"))
    assert Counter(published) == expected


def _equals_duckdb(kpi: Site, oracle: Oracle) -> None:
    tables = load_pipelines(SQL)[NAME].tables
    for table in ORACLE:
        columns = ", ".join(tables[Relation.parse(table)].header.columns)
        for day in OPEN:
            query = f"select {columns} from {table} where load_date = %s"
            assert sorted(kpi.rows(query, day, database=NAME)) == sorted(oracle.rows(table, day)), (table, day)


def _lay(kpi: Site, day: date, folder: Path) -> None:
    for file in folder.iterdir():
        key = f"raw/{file.stem}/load_date={day}/{file.name}"
        kpi.s3.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())


def _states(kpi: Site, code: int = 0) -> dict[str, int]:
    """How many of the 46 load_dates stand in which state; `kpi plan` ends with the code."""
    plan = json.loads(kpi("plan", NAME, "--from", FIRST, "--to", LAST, "--format", "json", code=code).out)
    assert [standing["load_date"] for standing in plan] == [str(day) for day in DAYS]
    return dict(Counter(standing["state"] for standing in plan))


def _incidents(kpi: Site) -> list[dict[str, object]]:
    """What is open of load_dates."""
    query = "select load_date::text, kind from ops.alerts where closed_at is null and load_date is not null order by id"
    return [{"load_date": day, "kind": kind} for day, kind in kpi.rows(query, database=NAME)]


@contextmanager
def _up(kpi: Site) -> Iterator[None]:
    """`kpi up` beside, ended by Ctrl-C."""
    process = kpi.start("up", "--port", free_port())
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
