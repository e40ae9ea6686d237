"""Each migration of the schema ops is applied once, even by several processes at once; newer databases are refused."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kpi_assets.docs.ops_schema import relations
from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.ledger import schema
from kpi_assets.materialize.prepare import prepare
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE, eventually
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, NEXT, RAW_THINGS, PipelineHarness

# A released migration is never edited, so that old and new databases are made by the same statements.
RELEASED = {
    "0001_initial.sql": "e0462363bd2f880bb2538d9ec7db82a05b90663d3f863fc159c9c2dc68203fe1",
    "0002_alerts.sql": "9b8984a6f25a12221ff34b81de76731cd5a866d6b91ae10c227a13167602717f",
    "0003_automation.sql": "4f4716d9d8ccfa12166359fb8c7f9250d06c4faffc73a4e0d9488b5cf8405382",
    "0004_retention.sql": "a436136f33b9bacdd17e4a4f356e47947d9d4cdd4ae5941ae799d1d76509d202",
    "0005_columns.sql": "e64308cc975d2de25931a9b1e4ed6b725dd3bce33145146a2dacd1a6d000c652",
    "0006_locks.sql": "3e6556d4d5678063bfa37ae63b1f2b58dacfa3b25042712072f0194a35acc712",
    "0007_signals.sql": "2463ee69ec98ccf08c8998692f5277af36be334744f108dbe0945ade2ea28353",
    "0008_descriptions.sql": "f1110ea5d49c988115273cb52e1178a6e688825d58cf3b663953d363f80a90de",
    "0009_parts.sql": "d72662f410e1524e2fb6e93e8c649880ad6a2f6c46ac91e0f40edaf9294f4d40",
    "0010_set_aside.sql": "6ac23cd0a2a9eb049db9c5fbbbf6e7b255770b8bec7fb8fc88dcf537807c8c73",
    "0011_quality.sql": "0b7d8529b130f6cbe7aa872661e9e6af434611693301dfa388225efa3fd27f28",
    "0012_histories.sql": "c3b2a3dfcf2e6663bbe9ffafa39c3565b7c7aaceb0a8400ac75ba17bbaff6702",
    "0013_apis.sql": "32b9df6ecb0e42bdca8b91f97ca0f6f6151e56a58d1b019b15916c838a5a2994",
    "0014_kpi_values.sql": "0edde9c896d4c842df91b757aa4b3eba160005d14d1281022dc4384009d8403c",
    "0015_streams.sql": "b00dd2415dc08a3ff35612a9245235b67faac8dada50dd00ddb9605017a9cf3e",
    "0016_batches.sql": "d2fb4db9e1863b3cac43cbd109e4c7ae49a810654ab712922ffc8209490d6f63",
    "0017_drift.sql": "74d56c1f6f4472ef58a485f9174450fd357455929d7377a935e4f5abcf530859",
    "0018_growth.sql": "fec1adb453a8834a6d0e9fbf990ff591397c125cd9ee3e2abc8ff4d35c64790d",
    "0019_upkeep.sql": "e2089b34332a587c6ba10f9751eafd618e9a9184fe569c39735402f140f47f25",
    "0020_grown.sql": "8f746f42441a0f649d92d8646e4d723e2bc4b3ef278f0e2204fc524d849a50cd",
    "0021_rulings.sql": "3371eacbb4fa143b2ec0e1adc7ebac527698fefb5bd808d81dbae4b804503df4",
    "0022_restatements.sql": "3f192e7e2df8664d722bda172a45fe19d4a9694fcc3b34eb0323de85cf0ff23f",
    "0023_waived.sql": "1dc25eddb94e113f438632559aa643013ba52607ffdfff1d3c89f9bb1246ba40",
    "0024_versions.sql": "67ada8ab7e299391e15e16cb5e2d208aaf33fb88ba471e2802148c95c2b36aba",
    "0025_releases.sql": "024fe9e664c65bb22dd002d8b53a2528ae8de1253c87880ce9f7f79075879bd9",
    "0026_erasures.sql": "01938db3c88253dc8d7ce30a28e4be0cdf80df953b0df2bfca2a06db633baf28",
    "0027_final.sql": "746b07c3ac5e068a38e1457b67f0e54c6feb0d6b22554d00df9876b65f95140d",
    "0028_erasures_behind.sql": "3c39d6fd1fbf196fd9fc39d72c934ad2693b15747111aadf4bc20cfc58926e2b",
    "0029_compared.sql": "f1410126cd4a03fceab23d29edece2152334b038118d25bc00e6a7e60259656c",
    "0030_emptied.sql": "0fbddcf9c9455ed684981317f3c035ec903e339ae46f30014d56aceedbc33fa7",
    "0031_lake.sql": "f0711dcede00301c221ba131bbacf958cf2fe5eda1a825eec36d0e560ed39f97",
    "0032_mirrors.sql": "73ae48c42d995b18fe62660c4bb49fb94d9a298ebcd219c76a3a2fb17e20254b",
}
NUMBERS = [number for number, _ in schema.migrations()]
TABLES = [
    *("alert_deliveries", "alerts", "api_turns", "bad_rows", "batches", "data_quality_results", "drift"),
    *("erased_keys", "erasures", "growth", "holds"),
    *("kpi_tiles", "kpi_trust", "kpi_values", "kpis", "locks", "manifest_links", "manifest_parts", "manifests"),
    *(
        "migrations",
        "mirrors",
        "pipeline_runs",
        "published",
        "publishes",
        "quarantine",
        "releases",
        "requests",
        "restatements",
    ),
    "rulings",
    *("stream_closings", "stream_objects", "stream_positions", "versions"),
]
RELATIONS = "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v') order by 1"


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    return lab


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS


def test_released_migrations_are_not_edited() -> None:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for _, path in schema.migrations()}
    assert digests == RELEASED, "do not edit a released migration: add a new one, and its digest to RELEASED"


OLD_RUN = {"run_id": "old", "load_date": NEXT}
# A row of each table of the first version, as that version wrote it
FIRST_VERSION: dict[str, dict[str, Any]] = {
    "pipeline_runs": {
        **OLD_RUN,
        "pipeline_name": "old",
        "job": "raw.things",
        "status": "held",
        "error_message": "held",
    },
    "data_quality_results": {
        **OLD_RUN,
        "build_id": 1,
        "check_name": "grain",
        "table_name": "raw.things",
        "status": "fail",
        "blocking": True,
        "subject": "candidate",
    },
    "manifests": {
        **OLD_RUN,
        "object": "things",
        "bucket": "b",
        "key": "k",
        "size_bytes": 1,
        "etag": "e",
        "manifest_hash": "m",
        "last_modified": "2025-03-02",
    },
    "publishes": {
        **OLD_RUN,
        "asset": "raw.things",
        "build_id": 1,
        "manifest_hash": "m",
        "code_version": "c",
        "rows": 1,
        "checksum": "1",
        "size_bytes": 1,
        "inputs": "{}",
    },
    "quarantine": {
        **OLD_RUN,
        "build_id": 1,
        "table_name": "raw.things",
        "object_key": "k",
        "line": 2,
        "record": "x",
        "reason": "y",
    },
}
SHAPE = """
select 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text,
    attidentity::text, pg_get_expr(d.adbin, d.adrelid), col_description(attrelid, attnum)
from pg_attribute as a left join pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
where attnum > 0 and not attisdropped
    and attrelid in (select oid from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v'))
union all select 'relation', relname, relkind::text, pg_get_viewdef(oid), obj_description(oid, 'pg_class'), '', '', ''
from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v')
union all select 'constraint', conrelid::regclass::text, pg_get_constraintdef(oid), '', '', '', '', ''
from pg_constraint where connamespace = 'ops'::regnamespace
union all select 'index', tablename, indexdef, '', '', '', '', '' from pg_indexes where schemaname = 'ops'
order by 1, 2, 3, 4
"""


COMMENTS = """
select relname, attname, col_description(c.oid, attnum)
from pg_class as c inner join pg_attribute as a on attrelid = c.oid and attnum > 0 and not attisdropped
where relnamespace = 'ops'::regnamespace and relname <> 'migrations'
and (relkind = 'r' or relkind = 'v' and (starts_with(relname, 'kpi_') or relname = 'restatements'))
union all select relname, '', obj_description(oid, 'pg_class')
from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v') and relname <> 'migrations'
order by 1, 2
"""


def ops_of(lab: PipelineHarness, first: int) -> list[tuple[Any, ...]]:
    """Create ops at version `first` with a row of pipeline_runs, migrate it to the latest version, return its shape."""
    with lab.session() as session:
        session.execute("drop schema if exists ops cascade")
        session.execute("create schema ops")
        with pytest.MonkeyPatch.context() as patch:
            known = [(number, path) for number, path in schema.migrations() if number <= first]
            patch.setattr(schema, "migrations", lambda: known)
            assert schema.migrate(session) == [number for number, _ in known]
        session.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job) values ('old', 'lab', 'raw.things')"
        )
        assert schema.pending(session) == [number for number in NUMBERS if number > first]
        assert schema.migrate(session) == [number for number in NUMBERS if number > first]
        assert schema.version(session) == NUMBERS[-1]
        assert session.execute("select run_id from ops.pipeline_runs").fetchall() == [("old",)]
        return session.execute(SHAPE).fetchall()


@pytest.mark.parametrize("first", few(4, NUMBERS))
def test_a_database_migrated_from_any_version_equals_a_new_one(lab: PipelineHarness, first: int) -> None:
    lab.prepared()
    new = lab.rows(SHAPE)
    assert len(new) > 50
    assert ops_of(lab, first) == new


@pytest.fixture
def later(lab: PipelineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of migrations of a later release, with a database at the version of this release."""
    lab.prepared()
    folder = Path(shutil.copytree(schema.MIGRATIONS, tmp_path / "later"))
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    return folder


LATER = NUMBERS[-1] + 1


def test_a_later_release_migrates_a_database_of_this_one(lab: PipelineHarness, later: Path) -> None:
    (later / f"{LATER:04}_more.sql").write_text("alter table ops.publishes add note text default '100% sure';\n")
    (later / f"{LATER + 1:04}_most.sql").write_text("update ops.pipeline_runs set job = job || '%s';\n")
    with lab.session() as session:
        session.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job) values ('old', 'lab', 'raw.things')"
        )
        assert schema.pending(session) == [LATER, LATER + 1]
        assert schema.migrate(session) == [LATER, LATER + 1]
        assert schema.pending(session) == []
    assert lab.rows("select version, name from ops.migrations order by 1 desc limit 2") == [
        (LATER + 1, f"{LATER + 1:04}_most.sql"),
        (LATER, f"{LATER:04}_more.sql"),
    ]
    assert lab.rows("select column_default from information_schema.columns where column_name = 'note'") == [
        ("'100% sure'::text",)
    ]
    assert lab.rows("select job from ops.pipeline_runs") == [("raw.things%s",)]


def test_a_migration_that_fails_rolls_back_all_of_them(lab: PipelineHarness, later: Path) -> None:
    (later / f"{LATER:04}_more.sql").write_text("create table ops.more (n integer);\n")
    (later / f"{LATER + 1:04}_wrong.sql").write_text("create table ops.most (n integer);\ndrop table ops.not_there;\n")
    with lab.session() as session, pytest.raises(psycopg.errors.UndefinedTable):
        schema.migrate(session)
    assert lab.rows("select to_regclass('ops.more'), to_regclass('ops.most')") == [(None, None)]
    assert lab.rows("select max(version) from ops.migrations") == [(NUMBERS[-1],)]


def test_a_second_migration_waits_for_the_first_and_applies_nothing(lab: PipelineHarness, later: Path) -> None:
    (later / f"{LATER:04}_more.sql").write_text("create table ops.more (n integer);\n")
    waiting = "select count(*) from pg_locks where relation = 'ops.migrations'::regclass and not granted"
    with ThreadPoolExecutor(1) as pool, lab.session() as first, lab.session() as second:
        with first.transaction():
            assert schema.migrate(first) == [LATER]
            late = pool.submit(schema.migrate, second)
            eventually(lambda: lab.rows(waiting) == [(1,)])
        assert late.result(20) == []
    assert lab.rows(f"select count(*) from ops.migrations where version = {LATER}") == [(1,)]


def test_each_migration_is_applied_once(lab: PipelineHarness) -> None:
    lab.prepared()
    first = lab.rows("select version, name, applied_at from ops.migrations order by 1")
    assert [(number, name) for number, name, _ in first] == [(n, path.name) for n, path in schema.migrations()]
    with lab.session() as session:
        assert schema.version(session) == NUMBERS[-1]
        assert schema.migrate(session) == []
    lab.prepared()
    assert lab.rows("select version, name, applied_at from ops.migrations order by 1") == first
    assert [name for (name,) in lab.rows(RELATIONS)] == TABLES


def test_a_database_without_migrations_is_at_version_0_and_gets_all_of_them(lab: PipelineHarness) -> None:
    lab.prepared()
    with lab.session() as session:
        session.execute("drop schema ops cascade")
        session.execute("create schema ops")
        assert schema.version(session) == 0
        assert schema.migrate(session) == NUMBERS


def everything(lab: PipelineHarness, tables: list[str]) -> dict[str, list[tuple[str]]]:
    """Return every row of `tables` without its NULL values, since a column that is added later is NULL."""
    return {n: lab.rows(f"select jsonb_strip_nulls(to_jsonb(t))::text from ops.{n} as t order by 1") for n in tables}


def test_a_database_of_the_first_version_is_migrated_with_all_its_rows(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_of_them = schema.migrations()
    lab.prepared()
    with lab.session() as session:
        session.execute("drop schema ops cascade")
        monkeypatch.setattr(schema, "migrations", lambda: all_of_them[:1])
        assert schema.migrate(session) == [1]
        for table, words in FIRST_VERSION.items():
            values = sql.SQL("insert into ops.{} ({}) values ({})").format(
                sql.Identifier(table),
                sql.SQL(", ").join(map(sql.Identifier, words)),
                sql.SQL(", ").join(map(sql.Literal, words.values())),
            )
            session.execute(values)
    old = [name for (name,) in lab.rows(RELATIONS) if name != "migrations"]
    before = everything(lab, old)
    assert all(before.values()), "every table of the first version has a row"

    monkeypatch.setattr(schema, "migrations", lambda: all_of_them)
    lab.prepared()

    assert lab.rows("select version from ops.migrations order by 1") == [(number,) for number in NUMBERS]
    after = everything(lab, old)
    assert [json.loads(row).pop("state") for (row,) in after["quarantine"]] == ["waiting"], "nobody has decided on it"
    after["quarantine"] = [(row.replace('"state": "waiting", ', ""),) for (row,) in after["quarantine"]]
    for name in ("publishes", "published"):
        assert [json.loads(row)["rulings"] for (row,) in after[name]] == [[]], "nobody has ruled on it"
        assert [json.loads(row)["lacks"] for (row,) in after[name]] == [[]], "nobody knows what a window lacked"
        without = [row.replace('"rulings": [], ', "").replace('"lacks": [], ', "") for (row,) in after[name]]
        after[name] = [(row,) for row in without]
    assert after == before
    assert [name for (name,) in lab.rows(RELATIONS)] == TABLES
    assert lab.rows("select count(*) from ops.alerts") == [(0,)], "no alert is sent for old events"
    assert lab.rows("select has_column_privilege('kpi_reader', 'ops.alerts', 'kind', 'select')") == [(True,)]
    lab.put_things(DOUBLED)
    assert lab.build("raw.things").held
    assert lab.rows("select load_date, kind from ops.alerts") == [(DAY, "held")]
    assert lab.rows("select publish_id, columns from ops.published") == [(1, None)]


def test_four_processes_may_prepare_a_new_database_at_once(lab: PipelineHarness) -> None:
    command = [sys.executable, "-m", "kpi_assets_tests.ledger.migrate_in_subprocess", str(lab.root), lab.name]
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
        said = [process.communicate(timeout=PATIENCE) for process in processes]
        assert [(process.returncode, err) for process, (_, err) in zip(processes, said, strict=True)] == [(0, b"")] * 4
    assert lab.rows("select version from ops.migrations order by 1") == [(number,) for number in NUMBERS]


@pytest.fixture
def labs(stack: Stack, tmp_path: Path) -> Iterator[list[PipelineHarness]]:
    """Four pipelines, each with its own database."""
    with ExitStack() as opened:
        found = [opened.enter_context(PipelineHarness.open(stack, tmp_path / str(number))) for number in range(4)]
        for each in found:
            each.file("raw/things.sql", RAW_THINGS)
        yield found


def test_several_pipelines_may_be_prepared_at_once_although_they_share_roles(
    labs: list[PipelineHarness], stack: Stack
) -> None:
    def three_times(lab: PipelineHarness) -> None:
        for _ in range(3):
            prepare(lab.pipeline(), lab.server, stack.credentials.reader_password)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(three_times, labs))

    for lab in labs:
        assert lab.rows("select version from ops.migrations order by 1") == [(number,) for number in NUMBERS]
        assert lab.rows("select has_schema_privilege('kpi_reader', 'marts', 'usage')") == [(True,)]
        assert lab.rows("select has_schema_privilege('kpi_reader', 'raw', 'usage')") == [(False,)]


def test_a_database_ahead_of_the_code_is_refused_and_left_alone(lab: PipelineHarness) -> None:
    lab.prepared()
    lab.rows("insert into ops.migrations (version, name) values (9999, '9999_of_tomorrow.sql') returning 1")
    with pytest.raises(UserError) as failure:
        lab.prepared()
    assert str(failure.value) == (
        f"The ops schema of {lab.name} is at version 9999, ahead of this kpi_assets ({NUMBERS[-1]}): "
        "install the newer kpi_assets that made it."
    )
    assert lab.rows("select max(version) from ops.migrations") == [(9999,)]


def test_every_table_and_column_is_described_as_on_the_page_of_the_schema(lab: PipelineHarness) -> None:
    said = {(name, ""): each.description for name, each in relations().items()}
    for name, each in relations().items():
        said.update({(name, column): each.columns[column] for column in each.types if not each.shows})
    lab.prepared()
    found = {(name, column): text for name, column, text in lab.rows(COMMENTS)}
    assert [place for place, text in found.items() if not text] == []
    assert said == found
