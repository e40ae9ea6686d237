"""The number of sessions of a command on the server does not grow with its work."""

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from kpi_assets.instance import folder
from kpi_assets.instance.storage import open_instance
from kpi_assets.settings import settings
from kpi_assets_tests.cli import small
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.pipeline_harness import PipelineHarness

LOAD_DATES, MOST = 8, 12


@pytest.mark.nightly
def test_a_backfill_has_as_many_sessions_at_its_end_as_at_its_beginning(tmp_path: Path) -> None:
    last = small.FIRST + timedelta(days=LOAD_DATES - 1)
    with small.of_few_sessions(tmp_path, LOAD_DATES, MOST) as kpi:
        kpi.process("bootstrap")
        kpi.count_sessions(small.NAME)
        said = kpi("backfill", small.NAME, "--from", small.FIRST, "--to", last)
        assert said.line("not landed") == f"{LOAD_DATES} load_dates run, 0 not landed"
        seen = kpi.sessions(small.NAME)
        _is_told_that_no_session_is_left(kpi)
    assert len(seen) == 2 * LOAD_DATES
    assert seen[2 * 4 : 2 * 5] == seen[-2:]
    assert max(seen) <= 6


def _is_told_that_no_session_is_left(kpi: CliHarness) -> None:
    with ExitStack() as others:
        with pytest.raises(psycopg.OperationalError, match="too many clients already"):
            for _ in range(MOST + 1):
                others.enter_context(psycopg.connect(kpi.url("postgres")))
        said = kpi("plan", small.NAME, code=1, **kpi.servers)
    assert "accepts no more sessions of user 'kpi'" in said.err
    assert "(sorry, too many clients already): end sessions that nobody needs" in said.err
    assert "raise max_connections" in said.err
    assert "start it" not in said.err


@pytest.mark.usefixtures("stack")
def test_an_instance_ends_its_sessions_when_it_is_closed(lab: PipelineHarness) -> None:
    folder.prepare(settings())
    sessions = "select count(*) from pg_stat_activity where datname = 'dagster' and backend_type = 'client backend'"
    [(before,)] = lab.in_postgres(sessions)
    with open_instance() as instance:
        instance.get_runs(dg.RunsFilter(), limit=1)
        instance.all_asset_keys()
        assert lab.in_postgres(sessions) == [(before + 2,)]
    assert lab.in_postgres(sessions) == [(before,)]
