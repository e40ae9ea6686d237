"""Live views: what they show, who may read them, and how they follow their files."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from typer.testing import CliRunner

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.automation.jobs import pipeline_job
from kpi_assets.cli import workspace
from kpi_assets.cli.app import app
from kpi_assets.definitions import build_defs
from kpi_assets.doctor.content import content
from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UsageError
from kpi_assets.ledger import schema
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.tree import load_sound
from kpi_assets.plan.collect import collect
from kpi_assets.settings import CHECKOUT, settings
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, NEXT, RAW_THINGS, PipelineHarness

SHOP = CHECKOUT / "sql" / "ecommerce"
FILES = [*SHOP.glob("audit/*.sql"), SHOP / "warehouse" / "daily_metrics.sql"]
FACT = """\
/* @asset
description: Things as facts.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
@end */
select thing_id from raw.things where load_date = %(load_date)s
"""
HELD = """\
/* @asset
description: Builds that were held.
owner: team:tests
grain: [id]
storage: live
columns:
  id: {type: bigint, description: Number of the build.}
  job: {type: text, description: What was built.}
@end */
select id, job from audit.pipeline_runs where status = 'held'
"""
LIVE = ["audit.bad_records", "audit.dq_failures", "audit.held", "audit.pipeline_runs", "warehouse.daily_metrics"]


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with live views in two layers, of which BI users may read both."""
    for path in FILES:
        lab.file(f"{path.parent.name}/{path.name}", path.read_text())
    lab.file("audit/held.sql", HELD)
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("warehouse/fact_orders.sql", FACT)
    yaml = lab.folder / "pipeline.yaml"
    text = yaml.read_text().replace("stg: staging, marts: marts", "warehouse: marts, audit: marts")
    yaml.write_text(text.replace("[marts]", "[warehouse, audit]"))
    return lab


@pytest.fixture
def week(lab: PipelineHarness, stack: Stack) -> PipelineHarness:
    """A load_date that was built twice and published, and one that was held with a record that was set aside."""
    lab.put_things(GOOD)
    for _ in range(2):
        lab.build("raw.things")
    lab.build("warehouse.fact_orders")
    lab.put_things(DOUBLED + b"x,nail,\n", NEXT)
    lab.build("raw.things", NEXT)
    prepare(lab.pipeline(), lab.server, stack.credentials.reader_password)
    return lab


@pytest.fixture
def reader(week: PipelineHarness, stack: Stack) -> Iterator[Connection[object]]:
    password = stack.credentials.reader_password.get_secret_value()
    url = make_conninfo(week.server.get_secret_value(), user="kpi_reader", password=password)
    with connect(SecretStr(url), week.name, "reader") as session:
        yield session


def views(lab: PipelineHarness) -> list[str]:
    query = (
        "select relnamespace::regnamespace || '.' || relname from pg_class "
        "where relkind = 'v' and relnamespace in ('warehouse'::regnamespace, 'audit'::regnamespace) order by 1"
    )
    return [name for (name,) in lab.rows(query)]


def refusal(lab: PipelineHarness, name: str, text: str) -> str:
    path = lab.file(name, text)
    with pytest.raises(DefinitionError) as failure:
        prepare(lab.pipeline(), lab.server)
    return str(failure.value).removeprefix(f"{path}: ")


def test_a_live_view_shows_every_load_date_also_a_held_one(week: PipelineHarness, reader: Connection[object]) -> None:
    rows = "select run_date, orders_count, events_count, dq_failed_count from warehouse.daily_metrics order by 1"
    assert reader.execute(rows.encode()).fetchall() == [(DAY, 2, None, 0), (NEXT, None, None, 2)]
    seconds = (
        "select sum(execution_seconds) from ops.pipeline_runs where load_date = '2025-03-01' and id in (select max(id) "
        "from ops.pipeline_runs where job in ('raw.things', 'warehouse.fact_orders') group by job, load_date)"
    )
    assert week.rows("select runtime_seconds from warehouse.daily_metrics where run_date = '2025-03-01'") == week.rows(
        seconds
    )
    assert reader.execute(b"select job, load_date, status from audit.pipeline_runs order by id").fetchall() == [
        ("s3.things", DAY, "success"),
        ("raw.things", DAY, "success"),
        ("s3.things", DAY, "success"),
        ("raw.things", DAY, "success"),
        ("warehouse.fact_orders", DAY, "success"),
        ("s3.things", NEXT, "success"),
        ("raw.things", NEXT, "held"),
    ]
    failed = b"select table_name, load_date, check_name, status from audit.dq_failures"
    assert sorted(reader.execute(failed).fetchall()) == [
        ("raw.things", NEXT, "grain", "fail"),
        ("raw.things", NEXT, "quarantine", "fail"),
    ]
    aside = b"select table_name, load_date, line, column_name, rules, state from audit.bad_records"
    assert reader.execute(aside).fetchall() == [("raw.things", NEXT, 4, "thing_id", None, "waiting")]
    assert reader.execute(b"select job from audit.held").fetchall() == [("raw.things",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(b"select error_message from ops.pipeline_runs")


def test_no_run_and_no_plan_knows_a_live_view(week: PipelineHarness) -> None:
    pipeline = week.pipeline()
    assert sorted(map(str, pipeline.live)) == LIVE
    assert sorted(map(str, pipeline.tables)) == ["raw.things", "warehouse.fact_orders"]
    with pytest.raises(UsageError, match=r"audit\.held is a live view, of which nothing is built: `kpi show lab"):
        pipeline.table("audit.held")
    with week.session() as session:
        [statuses] = collect(pipeline, week.store, session, DAY, NEXT)
        assert [each.state for each in statuses] == ["published", "held"]
        found = list(content(session, pipeline, "database", deep=True))
    assert [each.state for each in found] == ["ok"], found
    assert {asset for (asset,) in week.rows("select distinct asset from ops.publishes")} == {
        "raw.things",
        "warehouse.fact_orders",
    }


def test_dagster_shows_live_views_and_runs_none(week: PipelineHarness) -> None:
    definitions = build_defs(tree=load_sound(week.root))
    graph = definitions.resolve_asset_graph()
    keys = {key.to_user_string(): key for key in graph.get_all_asset_keys()}
    metrics, held = (keys[f"{week.name}/{name}"] for name in ("warehouse/daily_metrics", "audit/held"))
    for key in (metrics, held):
        node = graph.get(key)
        assert (node.is_materializable, node.partitions_def) == (False, None)
    assert graph.get(metrics).group_name == f"{week.name}_warehouse"
    assert {key.to_user_string() for key in graph.get(held).parent_keys} == {f"{week.name}/audit/pipeline_runs"}
    job = definitions.resolve_job_def(pipeline_job(week.pipeline()).name)
    assert len(job.graph.nodes) == 3, "the object, the raw table and the fact"
    assert len(pipeline_assets(week.pipeline())) == 3 + len(LIVE)


@pytest.mark.nightly
def test_a_live_view_is_replaced_and_dropped_with_its_file(week: PipelineHarness) -> None:
    assert views(week) == LIVE
    week.in_postgres("grant select on audit.held to kpi_reviewer", database=week.name)
    oids = week.rows("select 'audit.held'::regclass::oid")
    prepare(week.pipeline(), week.server)
    assert week.rows("select 'audit.held'::regclass::oid") == oids
    week.file("audit/held.sql", HELD.replace("'held'", "'success'"))
    prepare(week.pipeline(), week.server)
    assert week.rows("select count(*) from audit.held") == [(6,)]
    assert week.rows("select 'audit.held'::regclass::oid") == oids, "replaced in place"

    more = HELD.replace("text, description: What was built.}", "varchar, description: What was built.}")
    week.file("audit/held.sql", more.replace("id, job from", "id, job::varchar as job from"))
    prepare(week.pipeline(), week.server)
    types = "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'audit.held'::regclass"
    assert week.rows(f"{types} and attnum = 2") == [("character varying",)]
    assert week.rows("select has_table_privilege('kpi_reviewer', 'audit.held', 'select')") == [(True,)]
    assert week.rows("select obj_description('audit.held'::regclass)") == [("Builds that were held.",)]

    (week.folder / "audit/held.sql").unlink()
    prepare(week.pipeline(), week.server)
    assert views(week) == [name for name in LIVE if name != "audit.held"]


def test_what_somebody_else_changed_is_made_again(week: PipelineHarness) -> None:
    week.in_postgres("create or replace view audit.held as select 1::bigint as id, 'x' as job", database=week.name)
    week.in_postgres("drop view audit.dq_failures", database=week.name)
    with week.session() as session:
        found = [each.text for each in content(session, week.pipeline(), "database", deep=False)]
    path = week.folder / "audit/held.sql"
    assert [sentence for sentence in found if "live" in sentence] == [
        "the live view audit.dq_failures is not there: the next run makes it again",
        f"the live view audit.held is not as {path} says: the next run makes it again",
    ]
    prepare(week.pipeline(), week.server)
    assert views(week) == LIVE
    assert week.rows("select job from audit.held") == [("raw.things",)]


def test_what_depends_on_a_live_view_keeps_it(week: PipelineHarness) -> None:
    week.in_postgres("create view warehouse.mine as select * from audit.held", database=week.name)
    (week.folder / "audit/held.sql").unlink()
    prepare(week.pipeline(), week.server)
    assert views(week) == [
        "audit.bad_records",
        "audit.dq_failures",
        "audit.held",
        "audit.pipeline_runs",
        *sorted(["warehouse.daily_metrics", "warehouse.mine"]),
    ]
    with week.session() as session:
        found = [each.text for each in content(session, week.pipeline(), "database", deep=False)]
    assert "no file describes the live view audit.held: the next run drops it" in found
    text = HELD.replace("select id, job", "select id, job::varchar as job").replace("text, desc", "varchar, desc")
    said = refusal(week, "audit/held.sql", text)
    assert said.startswith(f"{week.folder}: the live views cannot get other columns (cannot drop ")
    assert said.endswith("drop what depends on them first.")


UNFIT = [
    (
        "select id, status::varchar as job from ops.pipeline_runs",
        "the column 'job' of audit.held is character varying, and the header declares text: cast it in the SELECT, "
        "or correct the header.",
    ),
    (
        "select id, error_message as job from ops.pipeline_runs",
        "audit.held reads the column 'error_message' of ops.pipeline_runs, which may quote delivered values and "
        "which readers may not see: take it out of the SELECT.",
    ),
    (
        "select id, job from (select * from ops.pipeline_runs) as r",
        "audit.held reads the column 'error_message' of ops.pipeline_runs, which may quote delivered values and "
        "which readers may not see: take it out of the SELECT.",
    ),
    (
        "select id, jobs as job from ops.pipeline_runs",
        'audit.held cannot be made (column "jobs" does not exist LINE 10: select id, jobs ...',
    ),
]


@pytest.mark.parametrize(
    ("select", "said"),
    few(
        2,
        UNFIT,
    ),
)
def test_a_select_that_does_not_fit_is_one_sentence(week: PipelineHarness, select: str, said: str) -> None:
    found = refusal(week, "audit/held.sql", HELD.partition("select")[0] + select)
    assert found.startswith(said.removesuffix("...")), found
    assert views(week) == LIVE, "what was there before stays"
    assert week.rows("select job from audit.held") == [("raw.things",)]


@pytest.mark.nightly
def test_another_storage_needs_a_drop(week: PipelineHarness) -> None:
    path = week.file("warehouse/fact_orders.sql", HELD)
    with pytest.raises(DefinitionError) as failure:
        prepare(week.pipeline(), week.server)
    assert str(failure.value) == (
        f"{path}: warehouse.fact_orders was published with load_dates, and storage: live has none; to change it, run "
        f"`kpi drop {week.name} warehouse.fact_orders`."
    )
    week.file("warehouse/fact_orders.sql", FACT)
    week.in_postgres("create table audit.other (id bigint)", database=week.name)
    assert refusal(week, "audit/other.sql", HELD) == (
        "the database has a table or view audit.other that kpi_assets did not make: drop it there, or give the file "
        "another name."
    )


def test_a_migration_of_what_live_views_read_goes_through(
    week: PipelineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    week.in_postgres("grant select on warehouse.daily_metrics to kpi_reviewer", database=week.name)
    folder = shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    [(select,)] = week.rows("select pg_get_viewdef('ops.published'::regclass)")
    (folder / "0999_again.sql").write_text(f"drop view ops.published; create view ops.published as {select}")
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    prepare(week.pipeline(), week.server)
    assert week.rows("select max(version) from ops.migrations") == [(999,)]
    assert views(week) == LIVE
    assert week.rows("select has_table_privilege('kpi_reviewer', 'warehouse.daily_metrics', 'select')") == [(True,)]


def test_a_user_who_owns_nothing_makes_live_views_too(week: PipelineHarness) -> None:
    login = "kpi_test_live"
    week.in_postgres(f"create role {login} login password 'of-the-test'")
    week.in_postgres(f"grant kpi_loader, kpi_builder to {login}; grant connect on database postgres to {login}")
    try:
        url = make_conninfo(week.server.get_secret_value(), user=login, password="of-the-test")
        week.file("audit/held.sql", HELD.replace("'held'", "'success'"))
        prepare(week.pipeline(), SecretStr(url))
    finally:
        week.in_postgres(f"drop owned by {login}; drop role {login}")
    assert week.rows("select count(*) from audit.held") == [(6,)]
    assert week.rows("select pg_get_userbyid(relowner) from pg_class where oid = 'audit.held'::regclass") == [
        ("kpi_builder",)
    ]


@pytest.fixture
def commands(week: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineHarness]:
    """The pipeline, where commands of this process find it."""
    monkeypatch.setenv("KPI_SQL_DIR", str(week.root))
    settings.cache_clear()
    workspace.read_tree.cache_clear()
    yield week
    monkeypatch.undo()
    settings.cache_clear()
    workspace.read_tree.cache_clear()


def test_kpi_show_prints_a_live_view(commands: PipelineHarness) -> None:
    said = CliRunner().invoke(app, ["show", commands.name, "audit.held", "--format", "csv"])
    [(build_id,)] = commands.rows("select id from ops.pipeline_runs where status = 'held'")
    assert (said.exit_code, said.stdout) == (0, f"id,job\n{build_id},raw.things\n")
    said = CliRunner().invoke(app, ["show", commands.name, "audit.pipeline_runs", "--limit", "3"])
    assert said.stdout.splitlines()[0].strip() == "audit.pipeline_runs, live"
    assert "3 of 7 rows: --limit and --format csv show more." in said.stdout
    said = CliRunner().invoke(app, ["show", commands.name, "audit.held", "--load-date", str(DAY)])
    assert str(said.exception) == "audit.held is a live view and has no load_dates: leave --load-date out."
    commands.in_postgres("drop view audit.held", database=commands.name)
    said = CliRunner().invoke(app, ["show", commands.name, "audit.held"])
    assert str(said.exception).startswith("The live view audit.held is not there yet in the ")


def test_kpi_drop_says_what_drops_a_live_view(commands: PipelineHarness) -> None:
    said = CliRunner().invoke(app, ["drop", commands.name, "audit.held", "--yes"])
    path = commands.folder / "audit/held.sql"
    assert str(said.exception) == (
        f"audit.held is a live view, which stores nothing: remove {path}, and the next run drops it."
    )
    commands.file("warehouse/fact_orders.sql", HELD)
    workspace.read_tree.cache_clear()
    said = CliRunner().invoke(app, ["drop", commands.name, "warehouse.fact_orders", "--yes"])
    assert said.exit_code == 0, said.exception
    assert "its file is there, so the next run makes the live view." in " ".join(said.stdout.split())
    prepare(commands.pipeline(), commands.server)
    assert commands.rows("select job from warehouse.fact_orders") == [("raw.things",)]
