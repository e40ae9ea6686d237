"""The product without a superuser: a bootstrap by an administrator, then all work as a login that has two roles."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import Connection, errors
from psycopg.conninfo import make_conninfo

from kpi_assets.local.stack import Stack
from kpi_assets_tests.cli.command import Site

ADMIN, PRODUCT, LOADER_ONLY = "test_admin", "test product", "test_loader"  # a name that must be quoted
PASSWORD = "p@ss:w/rd-of-a-test"
GOOD = date(2025, 6, 1)  # the demo's
SCHEMAS = ["builds", "marts", "ops", "raw", "stg"]

ACCESS = """
select 'database', datname, datdba::regrole::text, datacl::text from pg_database where datname = current_database()
union all select 'schema', nspname, nspowner::regrole::text, nspacl::text from pg_namespace where nspname = any(%s)
union all select 'relation', relname, relowner::regrole::text,
    coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))::text
    from pg_class where relnamespace::regnamespace::text = any(%s) and relkind in ('r', 'p', 'v', 'S')
union all select 'default', defaclnamespace::regnamespace::text, defaclrole::regrole::text, defaclacl::text
    from pg_default_acl
union all select 'role', rolname, rolsuper::text, (rolcreaterole, rolcreatedb, rolcanlogin)::text
    from pg_roles where rolname ~ '^(kpi|test)'
order by 1, 2, 3
"""


def url_of(user: str, database: str, port: int, password: str = PASSWORD) -> str:
    quoted = {
        name: value.replace("@", "%40").replace(":", "%3A").replace("/", "%2F").replace(" ", "%20")
        for name, value in {"user": user, "password": password}.items()
    }
    return f"postgresql://{quoted['user']}:{quoted['password']}@127.0.0.1:{port}/{database}"


class Deployment(Site):
    """A server on which nothing of kpi_assets is but an administrator who is no superuser."""

    def __init__(self, stack: Stack, folder: Any) -> None:
        super().__init__(stack, folder)
        with psycopg.connect(self.servers["KPI_POSTGRES_URL"], autocommit=True) as superuser:
            self.port = superuser.info.port
            superuser.execute(f"create role {ADMIN} login createrole createdb password '{PASSWORD}'")
            superuser.execute(f"create role {LOADER_ONLY} login password '{PASSWORD}'")
        self.secrets.append(PASSWORD)
        self.s3_only = {name: value for name, value in self.servers.items() if name != "KPI_POSTGRES_URL"}
        self.environment.update(self.s3_only, KPI_POSTGRES_URL=url_of(PRODUCT, "postgres", self.port))

    def bootstrap(self, code: int = 0) -> str:
        said = self("bootstrap", code=code, KPI_ADMIN_POSTGRES_URL=url_of(ADMIN, "postgres", self.port))
        return " ".join((said.out + said.err).split())

    @contextmanager
    def login(self, user: str, database: str = "instacart") -> Iterator[Connection[Any]]:
        conninfo = make_conninfo(url_of(user, database, self.port))
        with psycopg.connect(conninfo, autocommit=True) as session:
            yield session

    def access(self) -> list[tuple[Any, ...]]:
        return self.rows(ACCESS, SCHEMAS, SCHEMAS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("roles")
    with Stack(folder / "home") as stack:
        yield Deployment(stack, folder)


@pytest.fixture(scope="module")
def ran(site: Deployment) -> str:
    """Bootstrapped, and a day of the demo landed and run as the product's login; what the bootstrap said."""
    said = site.bootstrap()
    site.lay(GOOD, site.sample(GOOD, 1000))
    run = site("run", "instacart", "--load-date", GOOD)
    assert f"published instacart, load_date {GOOD}: 18 assets" in run.out
    return said


def test_the_bootstrap_says_what_it_made(ran: str) -> None:
    assert ran == (
        "ready database instacart ready database dagster ready login test product, with kpi_loader and kpi_builder"
    )


def test_the_product_has_two_roles_and_no_power(site: Deployment, ran: str) -> None:
    with site.login(PRODUCT) as session:
        assert session.execute(
            "select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls from pg_roles "
            "where rolname = current_user"
        ).fetchall() == [(False,) * 5]
        assert session.execute(
            "select roleid::regrole::text from pg_auth_members "
            "where member = quote_ident(current_user)::regrole order by 1"
        ).fetchall() == [("kpi_builder",), ("kpi_loader",)]


def test_each_table_belongs_to_the_role_of_its_layer(site: Deployment, ran: str) -> None:
    owners = site.rows(
        "select distinct c.relnamespace::regnamespace::text, c.relowner::regrole::text from pg_class as c "
        "where c.relkind in ('r', 'p', 'v') and c.relnamespace::regnamespace::text = any(%s) order by 1, 2",
        ["raw", "stg", "marts"],
    )
    assert owners == [("marts", "kpi_builder"), ("raw", "kpi_loader"), ("stg", "kpi_builder")]
    builds = site.rows(
        "select distinct split_part(relname, '__', 1), relowner::regrole::text from pg_class "
        "where relnamespace = 'builds'::regnamespace and relkind = 'r' order by 1"
    )
    assert builds == [("marts", "kpi_builder"), ("raw", "kpi_loader"), ("stg", "kpi_builder")]


def test_readers_see_what_the_product_published(site: Deployment, ran: str) -> None:
    with site.login(ADMIN) as session:
        session.execute("grant kpi_reader to current_user with set true")
        session.execute("set role kpi_reader")
        assert session.execute("select sum(total_orders) from marts.kpi_orders_by_dow_latest").fetchone() == (1000,)
        assert session.execute("select count(*) from ops.published").fetchone() == (13,)
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute("select 1 from raw.orders")


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("kpi_builder", "delete from raw.orders"),
        ("kpi_builder", "drop table raw.orders"),
        ("kpi_builder", "create table raw.mine ()"),
        ("kpi_loader", "select 1 from stg.stg_orders"),
        ("kpi_loader", "select 1 from marts.fact_orders"),
        ("kpi_loader", "create table marts.mine ()"),
        *(
            (role, statement)
            for role in ("kpi_loader", "kpi_builder")
            for statement in (
                "delete from ops.publishes",
                "truncate ops.pipeline_runs",
                "drop table ops.quarantine",
                "insert into ops.migrations (version, name) values (9999, 'mine')",
                "update ops.migrations set version = 9999",
                "create table ops.mine ()",
                "create table public.mine ()",
                "create schema mine",
                "create role mine",
                "create database mine",
                "grant kpi_reader to kpi_loader",
                "copy ops.migrations to '/tmp/mine'",
            )
        ),
    ],
)
def test_a_role_may_do_no_more_than_its_own(site: Deployment, ran: str, role: str, statement: str) -> None:
    with site.login(PRODUCT) as session:
        session.execute(f"set role {role}".encode())
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(statement.encode())


def test_a_login_that_may_only_load_replaces_a_raw_table_and_builds_nothing(site: Deployment, ran: str) -> None:
    with site.login(ADMIN) as session:
        session.execute(f"grant kpi_loader to {LOADER_ONLY}")
    before = site.published(GOOD)
    context = {
        "KPI_POSTGRES_URL": url_of(LOADER_ONLY, "postgres", site.port),
        "KPI_DAGSTER_POSTGRES_URL": url_of(PRODUCT, "dagster", site.port),
    }
    said = site("run", "instacart", "--load-date", GOOD, "--select", "+stg.stg_orders", code=1, **context)
    after = site.published(GOOD)
    assert {name for name in after if after[name] != before[name]} == {"raw.orders"}
    assert "building stg.stg_orders failed (InsufficientPrivilege: permission denied for schema stg" in said.out


def test_repeating_the_bootstrap_changes_nothing(site: Deployment, ran: str) -> None:
    before = site.access()
    assert len(before) > 40
    assert site.bootstrap() == ran
    assert site.access() == before


def test_tables_that_were_made_before_there_were_roles_are_handed_over(site: Deployment, ran: str) -> None:
    before = site.access()
    names = site.rows(
        "select c.oid::regclass::text, c.relkind::text from pg_class as c where c.relkind in ('r', 'p', 'v') "
        "and c.relowner in ('kpi_loader'::regrole, 'kpi_builder'::regrole)"
    )
    site.execute(*(f"alter {'view' if kind == 'v' else 'table'} {name} owner to {ADMIN}" for name, kind in names))
    assert site.access() != before
    site.bootstrap()
    owners = {(kind, name): owner for kind, name, owner, _ in before if kind == "relation"}
    assert {(kind, name): owner for kind, name, owner, _ in site.access() if kind == "relation"} == owners


def test_what_the_product_may_not_make_is_asked_of_an_administrator(site: Deployment, ran: str) -> None:
    ask = "and the user of KPI_POSTGRES_URL may not change that: have an administrator run `kpi bootstrap`."
    words = ("show", "instacart", "marts.kpi_orders_by_dow")
    [(newest,)] = site.rows("select max(version) from ops.migrations")
    site.execute(f"update ops.migrations set version = 0 where version = {newest}")
    try:
        older = max(newest - 1, 0)
        site.fails(f"The database 'instacart' is at version {older} of ops, {ask}", *words)
    finally:
        site.execute(f"update ops.migrations set version = {newest} where version = 0")
    site.execute("alter schema stg rename to elsewhere")
    try:
        site.fails(f"The database 'instacart' lacks the schema stg, {ask}", *words)
    finally:
        site.execute("alter schema elsewhere rename to stg")


def test_only_the_owner_bootstraps(site: Deployment, ran: str) -> None:
    said = site("bootstrap", code=1, KPI_ADMIN_POSTGRES_URL=url_of(LOADER_ONLY, "postgres", site.port))
    assert said.err == (
        "error: The database 'instacart' belongs to somebody else: name its owner in KPI_ADMIN_POSTGRES_URL.\n"
    )


def test_an_administrator_without_a_product_is_told_so(site: Deployment) -> None:
    said = site("bootstrap", code=2, KPI_POSTGRES_URL="", KPI_ADMIN_POSTGRES_URL=url_of(ADMIN, "postgres", site.port))
    assert "KPI_POSTGRES_URL" in said.err
