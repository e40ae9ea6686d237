"""The ops schema: each migration is applied once, also by several processes at once; a newer database is refused."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from kpi_assets.build.prepare import prepare
from kpi_assets.errors import UserError
from kpi_assets.local.stack import Stack
from kpi_assets.ops import schema
from kpi_assets_tests.build.test_publish import DOUBLED, GOOD
from kpi_assets_tests.lab import DAY, NEXT, RAW_THINGS, Lab

NUMBERS = [number for number, _ in schema.migrations()]
TABLES = [
    *("alert_deliveries", "alerts", "data_quality_results", "manifests", "migrations", "pipeline_runs"),
    *("published", "publishes", "quarantine"),
]
RELATIONS = "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v') order by 1"


@pytest.fixture
def lab(lab: Lab) -> Lab:
    lab.file("raw/things.sql", RAW_THINGS)
    return lab


def test_the_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS


def test_each_migration_is_applied_once(lab: Lab) -> None:
    lab.prepared()
    first = lab.rows("select version, name, applied_at from ops.migrations order by 1")
    assert [(number, name) for number, name, _ in first] == [(n, path.name) for n, path in schema.migrations()]
    with lab.session() as session:
        assert schema.version(session) == NUMBERS[-1]
        assert schema.migrate(session) == []
    lab.prepared()
    assert lab.rows("select version, name, applied_at from ops.migrations order by 1") == first
    assert [name for (name,) in lab.rows(RELATIONS)] == TABLES


def test_a_database_without_any_is_at_version_0_and_is_told_what_was_applied(lab: Lab) -> None:
    lab.prepared()
    with lab.session() as session:
        session.execute("drop schema ops cascade")
        session.execute("create schema ops")
        assert schema.version(session) == 0
        assert schema.migrate(session) == NUMBERS


def everything(lab: Lab, tables: list[str]) -> dict[str, list[tuple[str]]]:
    return {name: lab.rows(f"select t::text from ops.{name} as t order by 1") for name in tables}


def test_a_database_of_the_first_version_is_brought_up_to_date_with_all_it_holds(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = schema.migrations()
    monkeypatch.setattr(schema, "migrations", lambda: all_of_them[:1])
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    assert lab.rows("select version from ops.migrations") == [(1,)]
    lab.rows(
        "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status, error_message) "
        f"values ('old', '{lab.name}', 'raw.things', '{NEXT}', 'held', 'held by grain') returning 1"
    )
    lab.rows(
        "insert into ops.quarantine (build_id, run_id, table_name, load_date, object_key, line, record, reason) "
        f"values ({first.build_id}, 'old', 'raw.things', '{NEXT}', 'k', 2, 'x', 'y') returning 1"
    )
    old = [name for (name,) in lab.rows(RELATIONS) if name != "migrations"]
    before = everything(lab, old)
    assert all(before.values()), "every table of the first version holds something"

    monkeypatch.setattr(schema, "migrations", lambda: all_of_them)
    lab.prepared()

    assert lab.rows("select version from ops.migrations order by 1") == [(number,) for number in NUMBERS]
    assert everything(lab, old) == before
    assert [name for (name,) in lab.rows(RELATIONS)] == TABLES
    assert lab.rows("select count(*) from ops.alerts") == [(0,)], "what is over is not told now"
    assert lab.rows("select has_table_privilege('kpi_reader', 'ops.alerts', 'select')") == [(True,)]
    lab.put_things(DOUBLED)
    assert lab.build("raw.things").held
    assert lab.rows("select load_date, kind from ops.alerts") == [(DAY, "held")]
    assert lab.rows("select publish_id from ops.published") == [(first.publish_id,)]


def test_four_processes_make_one_new_database_ready_at_once(lab: Lab) -> None:
    command = [sys.executable, "-m", "kpi_assets_tests.ops.worker", str(lab.root), lab.name]
    with ExitStack() as ended:
        processes = []
        for _ in range(4):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            ended.enter_context(process)
            ended.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write(b"go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=60) for process in processes]
        assert [(process.returncode, err) for process, (_, err) in zip(processes, said, strict=True)] == [(0, b"")] * 4
    assert lab.rows("select version from ops.migrations order by 1") == [(number,) for number in NUMBERS]


@pytest.fixture
def labs(stack: Stack, tmp_path: Path) -> Iterator[list[Lab]]:
    """Four pipelines with databases of their own."""
    with ExitStack() as opened:
        found = [opened.enter_context(Lab.open(stack, tmp_path / str(number))) for number in range(4)]
        for each in found:
            each.file("raw/things.sql", RAW_THINGS)
        yield found


def test_several_pipelines_are_made_ready_at_once_although_they_share_the_readers_role(
    labs: list[Lab], stack: Stack
) -> None:
    def three_times(lab: Lab) -> None:
        for _ in range(3):
            prepare(lab.pipeline(), lab.server, stack.credentials.reader_password)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(three_times, labs))

    for lab in labs:
        assert lab.rows("select version from ops.migrations order by 1") == [(number,) for number in NUMBERS]
        assert lab.rows("select has_schema_privilege('kpi_reader', 'marts', 'usage')") == [(True,)]
        assert lab.rows("select has_schema_privilege('kpi_reader', 'raw', 'usage')") == [(False,)]


def test_a_database_ahead_of_the_code_is_left_alone(lab: Lab) -> None:
    lab.prepared()
    lab.rows("insert into ops.migrations (version, name) values (9999, '9999_of_tomorrow.sql') returning 1")
    with pytest.raises(UserError) as failure:
        lab.prepared()
    assert str(failure.value) == (
        f"The ops schema of {lab.name} is at version 9999, ahead of this kpi_assets ({NUMBERS[-1]}): "
        "install the newer kpi_assets that made it."
    )
    assert lab.rows("select max(version) from ops.migrations") == [(9999,)]
