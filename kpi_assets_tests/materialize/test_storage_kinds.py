"""To add a storage kind, an entry in each of two registries is enough: two kinds of this file work everywhere.

`unlogged` stores rows in an unlogged table; `snapshot` is a materialized view.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pytest
from psycopg import Connection, sql
from typer.testing import CliRunner

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.cli import workspace
from kpi_assets.cli.app import app
from kpi_assets.ledger import publishes
from kpi_assets.materialize import retention
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.recheck import AS_PUBLISHED, recheck
from kpi_assets.model.kinds import STORAGES, StorageKind
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.table import Table
from kpi_assets.plan.collect import collect
from kpi_assets.settings import settings
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import DefinitionError, identifier, renamed, types_of
from kpi_assets.warehouse.kinds import STRATEGIES
from kpi_assets.warehouse.kinds.rows import Rows
from kpi_assets.warehouse.kinds.view import View
from kpi_assets.warehouse.shape import Published
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness, failed

THINGS = Relation("raw", "things")
LATER = GOOD + b"3,nail,0.01\n"
SNAPSHOT = """\
/* @asset
description: Things as delivered, under the names that people use.
owner: team:tests
grain: [thing_id]
storage: snapshot
columns:
  thing_id: {type: integer, description: Thing.}
  kilograms: {type: "numeric(6,2)", description: "Kilograms; NULL if it was not weighed."}
@end */
select
    thing_id,
    weight as kilograms
from raw.things
where load_date = %(load_date)s
"""


class Unlogged(Rows):
    """Rows in an unlogged table, which is written faster and is lost if the server crashes."""

    name = "unlogged"
    create = sql.SQL("create unlogged table {} ({})")

    def recognizes(self, connection: Connection[Any], relation: Relation, relkind: str) -> bool:
        name = identifier(relation).as_string(connection)
        query = "select relpersistence = 'u' from pg_class where oid = %s::regclass"
        return relkind == "r" and connection.execute(query, [name]).fetchone() == (True,)


class Snapshot(View):
    """A materialized view, whose rows are stored at its publish."""

    name = "snapshot"

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        origin, columns = table.origin
        if not types_of(connection, table.relation):
            connection.execute(
                sql.SQL("create materialized view {} as select {}, {} from {}").format(
                    identifier(table.relation), sql.Identifier(LOAD_DATE), renamed(columns), identifier(origin)
                )
            )
        return ()

    def publish(self, connection: Connection[Any], candidate: Candidate, _compared: object = None) -> None:
        connection.execute(sql.SQL("refresh materialized view {}").format(identifier(candidate.table.relation)))


@pytest.fixture
def added(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineHarness]:
    """A pipeline whose raw.things and marts.weighed are `unlogged`, with both kinds registered."""
    unlogged = StorageKind("unlogged", "its rows are not logged.", relkind="r")
    snapshot = StorageKind(
        "snapshot", "a materialized view.", relkind="m", stores_rows=False, has_checks=False, may_look_back=False
    )
    for kind, strategy in ((unlogged, Unlogged()), (snapshot, Snapshot())):
        monkeypatch.setitem(STORAGES, kind.name, kind)
        monkeypatch.setitem(STRATEGIES, kind.name, strategy)
    monkeypatch.setenv("KPI_SQL_DIR", str(lab.root))
    settings.cache_clear()
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: unlogged\ngrain:", 1))
    lab.file("marts/weighed.sql", MART.replace("grain:", "storage: unlogged\ngrain:", 1))
    yield lab
    monkeypatch.undo()
    settings.cache_clear()
    workspace.read_tree.cache_clear()


def kpi(*words: str) -> list[str]:
    """Run a command in this process, assert that it succeeds, and return its output."""
    workspace.read_tree.cache_clear()
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    return said.stdout.splitlines()


def states(lab: PipelineHarness) -> list[str]:
    """Return the states of DAY and NEXT."""
    with lab.session() as session:
        return [each.state for year in collect(lab.pipeline(), lab.store, session, DAY, NEXT) for each in year]


def publish_things(lab: PipelineHarness, *tables: str) -> None:
    """Build raw.things and `tables` for DAY and NEXT."""
    for day, body in ((DAY, GOOD), (NEXT, LATER)):
        lab.put_things(body, day)
        assert [name for name in ("raw.things", *tables) if lab.build(name, day).held] == []


def test_a_kind_with_rows_is_built_audited_and_published(added: PipelineHarness) -> None:
    added.put_things(DOUBLED)
    held = added.build("raw.things")
    assert (held.held, [*failed(held.results)]) == (True, ["grain"])
    publish_things(added, "marts.weighed")
    query = "select relname, relkind, relpersistence from pg_class where relname in ('things', 'weighed') order by 1"
    assert added.rows(query) == [("things", "r", "u"), ("weighed", "r", "u")]
    added.put_things(LATER)
    assert [added.build(name).rows for name in ("raw.things", "marts.weighed")] == [3, 2]
    assert states(added) == ["published", "published"]
    assert len(pipeline_assets(added.pipeline())) == 3


def test_a_kind_with_rows_is_shown_and_rechecked(added: PipelineHarness) -> None:
    publish_things(added, "marts.weighed")
    assert kpi("show", added.name, "raw.things", "--load-date", str(DAY), "--format", "csv") == [
        *("thing_id,name,weight", "1,anvil,20.50", "2,feather,")
    ]
    context = added.context()
    things = context.pipeline.table("raw.things")
    assert failed(recheck(context, things, DAY)) == {}
    assert failed(recheck(context, context.pipeline.table("marts.weighed"), NEXT)) == {}
    added.rows("update raw.things set name = 'saw' where thing_id = 1 returning 1")
    assert [*failed(recheck(context, things, DAY))] == [AS_PUBLISHED]
    added.rows(f"delete from raw.things where load_date = '{DAY}' returning 1")
    assert states(added) == ["lost", "published"]


def test_a_kind_with_rows_is_dropped_by_retention_and_by_kpi_drop(added: PipelineHarness) -> None:
    publish_things(added)
    context = added.context()
    with added.session() as session:
        due = [publishes.current(session, [THINGS], DAY)[THINGS]]
    assert [reason for _, reason in retention.drop_due(context, due)] == [""]
    assert added.rows("select distinct load_date from raw.things") == [(NEXT,)]
    assert kpi("drop", added.name, "raw.things", "--yes")[-1].startswith("dropped raw.things")
    assert added.rows("select to_regclass('raw.things')::text") == [(None,)]


def test_a_file_that_changes_the_kind_is_refused(added: PipelineHarness) -> None:
    publish_things(added)
    added.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:", 1))
    with pytest.raises(DefinitionError, match=r"raw\.things was published with storage: unlogged"):
        added.build("raw.things")


def test_a_kind_without_rows_shows_the_rows_of_its_table(added: PipelineHarness) -> None:
    added.file("stg/things.sql", SNAPSHOT)
    publish_things(added, "stg.things")
    rows = ["thing_id,kilograms", "1,20.50", "2,", "3,0.01"]
    assert kpi("show", added.name, "stg.things", "--format", "csv") == rows
    query = "select relkind, pg_get_userbyid(relowner) from pg_class where relname = 'things' order by 1"
    assert added.rows(query) == [("m", "kpi_builder"), ("r", "kpi_loader")]
    with added.session() as session:  # a view of another owner is handed to the role
        session.execute("alter materialized view stg.things owner to current_user")
    prepare(added.pipeline(), added.server)
    assert added.rows(query) == [("m", "kpi_builder"), ("r", "kpi_loader")]
    context = added.context()
    assert failed(recheck(context, context.pipeline.table("stg.things"), NEXT)) == {}
    added.put_things(GOOD, NEXT)
    added.build("raw.things", NEXT)
    assert added.build("stg.things", NEXT).preview[0] == {"thing_id": "1", "kilograms": "20.50"}
    assert kpi("show", added.name, "stg.things", "--format", "csv") == rows[:-1]
    assert kpi("drop", added.name, "stg.things", "--yes")[-1].startswith("dropped stg.things")
    assert added.rows("select to_regclass('stg.things')::text") == [(None,)]
    with pytest.raises(UpstreamError, match=r"stg\.things of 2025-03-02 is not published"):
        recheck(context, context.pipeline.table("stg.things"), NEXT)


@pytest.mark.parametrize("words", ["checks: {not_null: [kilograms]}", "lookback: 7", "versions: latest"])
def test_header_words_that_a_kind_does_not_allow_are_refused(added: PipelineHarness, words: str) -> None:
    added.file("stg/things.sql", SNAPSHOT.replace("storage:", f"{words}\nstorage:"))
    with pytest.raises(ModelError, match=r"a snapshot (shows|has)"):
        added.pipeline()
