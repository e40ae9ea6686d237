"""The product without a superuser: an administrator runs the bootstrap, and a login with two roles does all work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection, errors, sql
from psycopg.conninfo import make_conninfo

from kpi_assets_tests.deploy.compose import ADMIN, Deployment
from kpi_assets_tests.deploy.conftest import DAY

PRODUCT, LOADER_ONLY = "kpi_app", "test_loader"
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


@contextmanager
def acting(deployment: Deployment, login: str, role: str) -> Iterator[Connection[Any]]:
    """Open a session of a login that has set a role."""
    with deployment.session(deployment.secret(login)) as session:
        session.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        yield session


def access(deployment: Deployment) -> list[tuple[Any, ...]]:
    return deployment.rows(ACCESS, SCHEMAS, SCHEMAS)


def bootstrap(deployment: Deployment) -> str:
    return deployment.bootstrap(KPI_ADMIN_POSTGRES_URL=deployment.secret("kpi_admin_postgres_url")).out


def test_the_bootstrap_says_what_it_made(bootstrapped: str) -> None:
    assert bootstrapped == (
        "ready database ecommerce ready database instacart ready database dagster "
        "ready login kpi_app, with kpi_loader, kpi_builder, kpi_reader ready login kpi_serve, with kpi_reader"
    )


def test_the_login_of_the_product_has_three_roles_and_no_further_rights(deployment: Deployment, built: None) -> None:
    with deployment.session(deployment.secret("kpi_postgres_url")) as session:
        assert session.execute(
            "select current_user::text, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls "
            "from pg_roles where rolname = current_user"
        ).fetchall() == [(PRODUCT, False, False, False, False, False)]
        assert session.execute(
            "select roleid::regrole::text from pg_auth_members where member = current_user::regrole order by 1"
        ).fetchall() == [("kpi_builder",), ("kpi_loader",), ("kpi_reader",)]


def test_each_table_belongs_to_the_role_of_its_layer(deployment: Deployment, built: None) -> None:
    owners = deployment.rows(
        "select distinct relnamespace::regnamespace::text, relowner::regrole::text from pg_class "
        "where relkind in ('r', 'p', 'v') and relnamespace::regnamespace::text = any(%s) order by 1, 2",
        ["raw", "stg", "marts"],
    )
    assert owners == [("marts", "kpi_builder"), ("raw", "kpi_loader"), ("stg", "kpi_builder")]
    builds = deployment.rows(
        "select distinct split_part(relname, '__', 1), relowner::regrole::text from pg_class "
        "where relnamespace = 'builds'::regnamespace and relkind = 'r' order by 1"
    )
    assert builds == [("marts", "kpi_builder"), ("raw", "kpi_loader"), ("stg", "kpi_builder")]


def test_tables_in_builds_are_readable_for_the_role_that_builds_from_them(deployment: Deployment, built: None) -> None:
    """Slices are filled from tables of the raw layer in builds; readers see published tables only."""
    found = deployment.rows(
        "select r.rolname, bool_and(has_table_privilege(r.oid, c.oid, 'select')), "
        "bool_or(has_table_privilege(r.oid, c.oid, 'insert')) "
        "from pg_class as c cross join pg_roles as r where r.rolname in ('kpi_builder', 'kpi_reader') "
        "and c.relnamespace = 'builds'::regnamespace and c.relkind = 'r' and starts_with(c.relname, 'raw__') "
        "group by r.rolname order by 1"
    )
    assert found == [("kpi_builder", True, False), ("kpi_reader", False, False)]


def test_readers_see_what_the_product_published(deployment: Deployment, built: None) -> None:
    with acting(deployment, "kpi_admin_postgres_url", "kpi_reader") as session:
        assert session.execute("select sum(total_orders) from marts.kpi_orders_by_dow_latest").fetchone() == (1000,)
        assert session.execute("select count(*) from ops.published").fetchone() == (14,)
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
def test_a_role_may_do_nothing_beyond_its_layer(deployment: Deployment, built: None, role: str, statement: str) -> None:
    with acting(deployment, "kpi_postgres_url", role) as session, pytest.raises(errors.InsufficientPrivilege):
        session.execute(statement.encode())


def test_a_login_that_may_only_load_replaces_a_raw_table_and_builds_nothing(
    deployment: Deployment, built: None
) -> None:
    deployment.execute(f"create role {LOADER_ONLY} login password '{deployment.secrets[0]}' in role kpi_loader")
    before = deployment.published(DAY)
    url = deployment.secret("kpi_postgres_url")
    context = {
        "KPI_POSTGRES_URL": deployment.url_as(LOADER_ONLY, deployment.secrets[0]),
        "KPI_DAGSTER_POSTGRES_URL": f"{url.rpartition('/')[0]}/dagster",
    }
    said = deployment("run", "instacart", "--load-date", DAY, "--select", "+stg.stg_orders", code=1, **context)
    after = deployment.published(DAY)
    assert {name for name in after if after[name] != before[name]} == {"raw.orders"}
    assert "building stg.stg_orders failed (InsufficientPrivilege: permission denied for schema stg" in said.out


def test_repeating_the_bootstrap_changes_nothing(deployment: Deployment, bootstrapped: str, built: None) -> None:
    before = access(deployment)
    assert len(before) > 40
    assert bootstrap(deployment) == bootstrapped
    assert access(deployment) == before


def test_tables_that_were_made_before_there_were_roles_are_handed_over(deployment: Deployment, built: None) -> None:
    before = access(deployment)
    for name, kind in deployment.rows(
        "select oid::regclass::text, relkind::text from pg_class where relkind in ('r', 'p', 'v') "
        "and relowner in ('kpi_loader'::regrole, 'kpi_builder'::regrole)"
    ):
        deployment.execute(f"alter {'view' if kind == 'v' else 'table'} {name} owner to {ADMIN}")
    assert access(deployment) != before
    bootstrap(deployment)
    owners = [line[:3] for line in before if line[0] == "relation"]
    assert [line[:3] for line in access(deployment) if line[0] == "relation"] == owners


def test_if_the_login_may_not_create_something_the_error_names_the_administrator(
    deployment: Deployment, built: None
) -> None:
    ask = "and the user of KPI_POSTGRES_URL may not change that: have an administrator run `kpi bootstrap`."
    words = ("recheck", "instacart", "--load-date", DAY)
    [(newest,)] = deployment.rows("select max(version) from ops.migrations")
    deployment.execute(f"update ops.migrations set version = 0 where version = {newest}")
    try:
        deployment.fails(f"The database 'instacart' is at version {newest - 1} of ops, {ask}", *words)
    finally:
        deployment.execute(f"update ops.migrations set version = {newest} where version = 0")
    deployment.execute("alter schema stg rename to elsewhere")
    try:
        deployment.fails(f"The database 'instacart' lacks the schema stg, {ask}", *words)
    finally:
        deployment.execute("alter schema elsewhere rename to stg")


def test_only_the_owner_bootstraps(deployment: Deployment, built: None) -> None:
    deployment.fails(
        "The database 'ecommerce' belongs to somebody else: name its owner in KPI_ADMIN_POSTGRES_URL.",
        "bootstrap",
        KPI_ADMIN_POSTGRES_URL=deployment.secret("kpi_postgres_url"),
    )


def test_a_bootstrap_without_the_url_of_the_product_is_wrong_usage(deployment: Deployment) -> None:
    deployment.fails(
        "KPI_ADMIN_POSTGRES_URL is set, and KPI_POSTGRES_URL is not: set it to the URL that kpi_assets uses; "
        "`kpi bootstrap` creates its login if it is missing.",
        "bootstrap",
        code=2,
        KPI_SECRETS_DIR=str(deployment.root),
        KPI_ADMIN_POSTGRES_URL=deployment.secret("kpi_admin_postgres_url"),
    )


def test_a_login_with_odd_characters_in_name_and_password_works(deployment: Deployment, built: None) -> None:
    url = deployment.url_as("test%20odd%22", "p%40ss%3A%2F%27%22%5C%C3%A9")
    said = deployment.bootstrap(
        KPI_ADMIN_POSTGRES_URL=deployment.secret("kpi_admin_postgres_url"), KPI_POSTGRES_URL=url
    )
    assert 'ready login test odd", with kpi_loader, kpi_builder, kpi_reader ' in said.out
    with deployment.session(make_conninfo(url)) as session:
        assert session.execute("select current_user::text").fetchone() == ('test odd"',)
