"""Rights: kpi_reader reads its schemas and ops, other roles read nothing; provisioning again changes nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.ops_relations import FOR_READERS
from kpi_assets.warehouse import provision
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets.warehouse.provision import MAKERS, READER, ensure_database
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness
from kpi_assets_tests.warehouse.test_tables import BEFORE, KPI, things

STRANGER = "kpi_test_stranger"
PASSWORD = "of-a-stranger"


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """A pipeline with a raw table, a KPI stored as rows and one stored as partitions, all published."""
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("shop")) as lab:
        lab.file("raw/things.sql", RAW_THINGS)
        lab.file("marts/things.sql", things(BEFORE, ["1, 'anvil', 7"], more=KPI))
        lab.put_things(b"thing_id,name,weight\n1,anvil,20.50\n")
        for name in ("raw.things", "marts.things"):
            assert not lab.build(name).held
        prepare(lab.pipeline(), lab.server, stack.credentials.reader_password)
        lab.file("marts/large.sql", things(BEFORE, ["2, 'saw', 8"], storage="partitions"))
        assert not lab.build("marts.large").held, "a table that is made after provisioning is readable too"
        yield lab


@pytest.fixture(scope="module")
def reader(shop: PipelineHarness, stack: Stack) -> Iterator[Connection[Any]]:
    with connect(_as(shop, READER, stack.credentials.reader_password), shop.name, "reader") as session:
        yield session


@pytest.fixture
def stranger(shop: PipelineHarness) -> Iterator[SecretStr]:
    """The URL of another role of the server, which may connect to the database postgres as by default in PostgreSQL."""
    name = sql.Identifier(STRANGER)
    with connect(shop.server, "postgres", "test") as session:
        session.execute(sql.SQL("create role {} login password {}").format(name, PASSWORD))
        session.execute(sql.SQL("grant connect on database postgres to {}").format(name))
        try:
            yield _as(shop, STRANGER, SecretStr(PASSWORD))
        finally:
            session.execute(sql.SQL("drop owned by {0}; drop role {0}").format(name))


def _as(lab: PipelineHarness, user: str, password: SecretStr) -> SecretStr:
    return SecretStr(make_conninfo(lab.server.get_secret_value(), user=user, password=password.get_secret_value()))


GRAINS = [("marts.large", 0), ("marts.things", 0), ("raw.things", 0)]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select thing_id, name from marts.things", [(1, "anvil")]),
        ("select load_date, thing_id from marts.things_latest", [(DAY, 1)]),
        ("select thing_id from marts.large", [(2,)]),
        ("select asset from ops.published order by 1", [("marts.large",), ("marts.things",), ("raw.things",)]),
        ("select distinct status from ops.pipeline_runs", [("success",)]),
        ("select count(*) from ops.quarantine", [(0,)]),
        ("select table_name, line, column_name from ops.quarantine", []),
        (
            "select distinct table_name, metric_value from ops.data_quality_results where check_name = 'grain' "
            "order by 1",
            GRAINS,
        ),
        (
            "select distinct dimension, rows_examined > 0, rows_bad from ops.data_quality_results "
            "where check_name = 'grain'",
            [("uniqueness", True, 0)],
        ),
        ("select * from ops.publishes where false", []),
        ("select kind, load_date, opened_at from ops.alerts", []),
        ("select distinct status from ops.data_quality_results", [("pass",)]),
        ("select object from ops.manifests", [("things",)]),
    ],
)
def test_the_reader_reads_marts_and_ops(reader: Connection[Any], query: str, rows: list[tuple[Any, ...]]) -> None:
    assert reader.execute(query.encode()).fetchall() == rows


LOCKS = [
    f"select {function}({key})"
    for function in (
        *("pg_advisory_lock", "pg_advisory_lock_shared", "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared"),
        *("pg_try_advisory_lock", "pg_try_advisory_lock_shared"),
        *("pg_try_advisory_xact_lock", "pg_try_advisory_xact_lock_shared"),
    )
    for key in ("1", "1, 2")
]


def test_the_reader_cannot_fill_the_table_of_locks(shop: PipelineHarness, reader: Connection[Any]) -> None:
    for statement in LOCKS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
            reader.execute(statement.encode())
    for role in MAKERS:
        with shop.session() as session:
            session.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
            for statement in (*LOCKS, "select pg_advisory_unlock(1), pg_advisory_unlock_all()"):
                session.execute(statement.encode())


def test_the_reader_may_have_half_of_the_sessions_unless_an_administrator_sets_a_limit(
    shop: PipelineHarness, stack: Stack
) -> None:
    limit = "select rolconnlimit, current_setting('max_connections') from pg_roles where rolname = 'kpi_reader'"
    assert shop.rows(limit) == [(50, "100")]
    with shop.session() as session:
        session.execute("alter role kpi_reader connection limit 7")
        try:
            prepare(shop.pipeline(), shop.server, stack.credentials.reader_password)
            assert shop.rows(limit) == [(7, "100")]
        finally:
            session.execute("alter role kpi_reader connection limit 50")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from raw.things",
        "create table raw.mine (a integer)",
        "create table marts.mine (a integer)",
        "create table public.mine (a integer)",
        "create schema mine",
        "insert into marts.things values (current_date, 9, 'x', 1)",
        "update marts.things set weight = 0",
        "delete from marts.things",
        "truncate marts.things",
        "drop view marts.things_latest",
        "alter table marts.things add column mine integer",
        "insert into ops.publishes default values",
        "delete from ops.pipeline_runs",
        "create role mine",
        "copy marts.things to program 'true'",
        "copy marts.things to '/tmp/mine'",
        "select pg_read_file('/etc/passwd')",
        "set role kpi",
        "select * from ops.quarantine",
        "select record from ops.quarantine",
        "select value from ops.quarantine",
        "select reason from ops.quarantine",
        "select samples from ops.data_quality_results",
        "select message from ops.data_quality_results",
        "select error_message from ops.pipeline_runs",
        "select details from ops.alerts",
        "select last_error from ops.alert_deliveries",
    ],
)
def test_the_reader_may_do_nothing_else(reader: Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement.encode())


def test_the_reader_cannot_read_builds(shop: PipelineHarness, reader: Connection[Any]) -> None:
    [(build,)] = shop.rows("select relname from pg_class where relispartition and relkind = 'r'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema builds"):
        reader.execute(sql.SQL("select * from builds.{}").format(sql.Identifier(build)))


def test_every_table_of_ops_but_three_has_columns_for_readers(shop: PipelineHarness) -> None:
    found = shop.rows("select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind in ('r', 'v')")
    assert {name for (name,) in found} == {*FOR_READERS, "locks", "erased_keys", "versions"}


def test_the_reviewer_reads_all_of_ops(shop: PipelineHarness) -> None:
    with shop.session() as session:
        session.execute("set role kpi_reviewer")
        for name in FOR_READERS:
            session.execute(sql.SQL("select * from {}").format(sql.Identifier("ops", name)))
        for table in ("marts.things", "raw.things", "builds.any"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"select * from {table}".encode())


def test_grants_of_an_earlier_version_are_revoked(shop: PipelineHarness, reader: Connection[Any]) -> None:
    with shop.session() as session:
        session.execute("grant select on all tables in schema ops to kpi_reader")
        session.execute("alter default privileges in schema ops grant select on tables to kpi_reader")
    assert reader.execute("select samples from ops.data_quality_results limit 0").fetchall() == []
    prepare(shop.pipeline(), shop.server)
    with shop.session() as session:
        session.execute("create table ops.of_tomorrow (secret text)")
    try:
        for columns, table in (("samples", "data_quality_results"), ("*", "locks"), ("secret", "of_tomorrow")):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"select {columns} from ops.{table}".encode())
    finally:
        with shop.session() as session:
            session.execute("drop table ops.of_tomorrow")


@pytest.mark.parametrize("database", ["postgres", "template1", "dagster"])
def test_the_reader_cannot_connect_to_other_databases(shop: PipelineHarness, stack: Stack, database: str) -> None:
    """This holds for the embedded server, where kpi_assets manages every database."""
    ensure_database(shop.server, "dagster")
    login = _as(shop, READER, stack.credentials.reader_password)
    with pytest.raises(WarehouseError, match=rf"\(permission denied for database \"{database}\""):
        connect(login, database, "test").__enter__()


def test_a_role_without_a_grant_cannot_connect(shop: PipelineHarness, stranger: SecretStr) -> None:
    with (
        pytest.raises(WarehouseError, match=rf"\(permission denied for database \"{shop.name}\" DETAIL: User does not"),
        connect(stranger, shop.name, "test"),
    ):
        pass


def test_a_user_without_createdb_is_told_what_an_administrator_must_run(
    shop: PipelineHarness, stranger: SecretStr
) -> None:
    with pytest.raises(
        WarehouseError,
        match=r"^The database 'kpi_test_shop' does not exist and the user of KPI_POSTGRES_URL may not create it: have "
        r"an administrator run `kpi bootstrap`, or `create database \"kpi_test_shop\" owner <that user>`\.$",
    ):
        ensure_database(stranger, "kpi_test_shop")


def test_preparing_a_database_again_changes_nothing(shop: PipelineHarness) -> None:
    state = """
        select array_agg(n.nspname || ' ' || n.nspacl::text order by n.nspname),
            (select array_agg(relname || ' ' || relacl::text order by relname) from pg_class where relacl is not null
                and relnamespace in ('marts'::regnamespace, 'ops'::regnamespace)),
            (select datacl::text from pg_database where datname = current_database()),
            (select max(version) from ops.migrations), (select count(*) from ops.migrations)
        from pg_namespace as n where n.nspname in ('raw', 'stg', 'marts', 'ops', 'builds')
    """
    before = shop.rows(state)
    prepare(shop.pipeline(), shop.server)
    prepare(shop.pipeline(), shop.server)
    assert shop.rows(state) == before


def test_a_new_database_has_these_schemas_and_utf8(shop: PipelineHarness) -> None:
    assert shop.rows(
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1"
    ) == [("builds",), ("marts",), ("ops",), ("public",), ("raw",), ("stg",)]
    assert shop.rows("select pg_encoding_to_char(encoding) from pg_database where datname = current_database()") == [
        ("UTF8",)
    ]


def test_a_schema_that_readers_lost_in_pipeline_yaml_is_closed_to_them(lab: PipelineHarness, stack: Stack) -> None:
    lab.file("marts/things.sql", things(BEFORE, ["1, 'anvil', 7"], more=KPI))
    assert not lab.build("marts.things").held
    password = stack.credentials.reader_password
    prepare(lab.pipeline(), lab.server, password)
    with connect(_as(lab, READER, password), lab.name, "reader") as session:
        assert session.execute("select count(*) from marts.things").fetchone() == (1,)

    config = lab.folder / "pipeline.yaml"
    config.write_text(config.read_text().replace("readers: [marts]", "readers: []"))
    prepare(lab.pipeline(), lab.server, password)

    with connect(_as(lab, READER, password), lab.name, "reader") as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("select count(*) from marts.things")
        assert session.execute("select count(*) from ops.published").fetchone() == (1,)


@pytest.mark.parametrize("role", MAKERS)
def test_only_the_owner_writes_the_table_of_migrations(shop: PipelineHarness, role: str) -> None:
    """The roles that build may write into the other tables of ops."""
    with shop.session() as session, session.transaction(force_rollback=True):
        session.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        for allowed in ("select * from ops.migrations", "update ops.pipeline_runs set error_message = error_message"):
            session.execute(allowed.encode())
        for statement in ("insert into ops.migrations default values", "update ops.migrations set version = 99"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
                session.execute(statement.encode())


def test_a_user_without_createrole_creates_no_roles_and_no_error(
    shop: PipelineHarness, stranger: SecretStr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "ROLES", ("kpi_test_loader", "kpi_test_builder"))
    provision.ensure_roles(SecretStr(make_conninfo(stranger.get_secret_value(), dbname="postgres")))
    assert shop.rows("select rolname from pg_roles where rolname like 'kpi_test_%er' order by 1") == [(STRANGER,)]


def test_an_owner_who_may_not_act_as_the_roles_builds_as_himself(
    stack: Stack, stranger: SecretStr, tmp_path: Path
) -> None:
    with PipelineHarness.open(stack, tmp_path) as lab:
        lab.in_postgres(f"alter role {STRANGER} createdb")
        lab.file("raw/things.sql", RAW_THINGS)
        lab.put_things(b"thing_id,name,weight\n1,anvil,20.50\n")
        context = replace(lab.context(), server=stranger)
        prepare(context.pipeline, stranger)
        table = context.pipeline.table("raw.things")
        assert not verify(context, table, DAY).held
        assert build(context, table, DAY).rows == 1
        owners = "select distinct tableowner::text from pg_tables where schemaname in ('raw', 'ops', 'builds')"
        assert lab.rows(owners) == [(STRANGER,)]


def test_existing_tables_and_views_are_handed_to_the_role_of_their_layer(lab: PipelineHarness) -> None:
    with lab.session() as session:
        session.execute("create table raw.old (a integer); create view marts.old as select 1 as a")
        session.execute('create table builds.raw__old (a integer); create table builds."else" (a integer)')
        [(user,)] = session.execute("select current_user::text").fetchall()
    lab.prepared()
    owners = (
        "select oid::regclass::text, pg_get_userbyid(relowner)::text from pg_class "
        "where relkind in ('r', 'v') and relname in ('old', 'raw__old', 'else') order by 1"
    )
    assert lab.rows(owners) == [
        ('builds."else"', user),
        ("builds.raw__old", "kpi_loader"),
        ("marts.old", "kpi_builder"),
        ("raw.old", "kpi_loader"),
    ]
