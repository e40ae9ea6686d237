"""The bench: a database in which a case finds its inputs published and nothing else, and its table is really built.

Belongs here: putting inputs in place, and what was built as values. Not here: what is expected (cases.py).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.ledger import publishes, runs
from kpi_assets.materialize.context import BuildContext, BuildOutcome
from kpi_assets.materialize.table import build
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.model.query import parse_query
from kpi_assets.warehouse import candidates, tables
from kpi_assets.warehouse.candidates import Candidate, identifier
from kpi_assets.warehouse.provision import BUILDS, ensure_grants, ensure_schemas, role_of
from kpi_assets_tests import pipeline_harness
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.sql.cases import Case

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Built:
    """One build of a case's table: its outcome and rows, by the grain, and those that readers see of the load_date."""

    outcome: BuildOutcome
    rows: list[Row]
    published: list[Row]


class Bench:
    """A pipeline of the repository's own in a database for one case at a time."""

    def __init__(self, lab: PipelineHarness, context: BuildContext, session: Connection[Any]) -> None:
        self._lab, self._context, self._session = lab, context, session

    @classmethod
    @contextmanager
    def open(cls, lab: PipelineHarness) -> Iterator["Bench"]:
        """A bench with a session of its own; builds open theirs."""
        context = lab.prepared()
        with lab.session() as session:
            yield cls(lab, context, session)

    @property
    def pipeline(self) -> Pipeline:
        """Its files, read once."""
        return self._context.pipeline

    def table(self, case: Case) -> Table:
        """The table under test, with the mistake that the case makes in its SELECT."""
        table, mistake = self.pipeline.table(case.table), case.file.mistake
        if mistake is None:
            return table
        assert table.query is not None
        body = table.query.sql
        assert body.count(mistake.replace) == 1, f"{case.id}: {mistake.replace!r} must stand once in {table.path.name}"
        edited = body.replace(mistake.replace, mistake.by)
        query = parse_query(edited, table.path, lookback=table.header.lookback is not None)
        return replace(table, query=replace(query, keys=table.query.keys))

    def build(self, case: Case, table: Table) -> Built:
        """Forget the case before, publish the inputs, and build."""
        load_date = case.file.load_date
        forget(self._session, self.pipeline)
        for relation, day, rows in case.inputs():
            publish(self._session, self.pipeline, relation, day, rows)
        if table.header.source:
            assert case.object is not None, f"{case.folder}: add object.csv, the object of {table.relation}"
            self._lab.put(table.object_key(load_date), case.object)
            verified = verify(self._context, table, load_date)
            assert not verified.held, verified.results
        outcome = build(self._context, table, load_date)
        published = _rows(self._session, table, table.relation, load_date)
        made = _rows(self._session, table, outcome.candidate, load_date) if outcome.held else published
        return Built(outcome, made, published)

    def typed(self, table: Table, rows: bytes) -> list[Row]:
        """The rows of expect.csv as values of the table's columns, with every digit that is written there."""
        columns = sql.SQL(", ").join(
            sql.SQL("{} ").format(sql.Identifier(name)) + sql.SQL(re.sub(r"^numeric\(.*", "numeric", column.type))
            for name, column in table.header.columns.items()
        )
        with self._session.transaction(), self._session.cursor() as cursor:
            cursor.execute(sql.SQL("create temporary table expected ({}) on commit drop").format(columns))
            with cursor.copy("copy pg_temp.expected from stdin with (format csv, header match)") as copy:
                copy.write(rows)
            return _rows(self._session, table, Relation("pg_temp", "expected"))


def forget(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Drop every table of a pipeline, and what ops knows of them."""
    layers = pipeline.config.layers
    schemas = sql.SQL(", ").join(map(sql.Identifier, (*layers, BUILDS)))
    with connection.transaction():
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(schemas))
        ensure_schemas(connection, layers)
        ensure_grants(connection, layers, pipeline.config.readers)
        pipeline_harness.forget(connection)


def publish(connection: Connection[Any], pipeline: Pipeline, relation: Relation, load_date: date, rows: bytes) -> int:
    """Publish the rows of a CSV as they are: the checks of an input are not what is tested here.

    Those of a view go into the table that it shows, which must have the same columns. Returns the publish id.
    """
    table = pipeline.table(str(relation))
    run_id, behind = "inputs", {}
    if table.header.storage == "view":
        shown, _ = table.shows
        behind = {str(shown): publish(connection, pipeline, shown, load_date, rows)}
    build_id = runs.open_row(connection, run_id=run_id, pipeline=pipeline.name, job=str(relation), load_date=load_date)
    candidate = Candidate(table, load_date, build_id)
    with connection.transaction():
        role = sql.Identifier(role_of(pipeline.layer(relation)))  # a build of it must be able to replace it
        connection.execute(sql.SQL("set local role {}").format(role))
        candidates.create_empty(connection, candidate)
        count = candidates.copy_in(connection, candidate, [rows], lambda _done: None)
        if behind:
            candidates.drop(connection, candidate.relation)
        tables.ensure(connection, table, load_date, [])
        tables.publish_candidate(connection, candidate)
        publish_id = publishes.record(
            connection,
            relation,
            load_date,
            build_id=build_id,
            run_id=run_id,
            manifest_hash=f"{relation} {load_date}",
            code_version=table.code_version,
            rows=count,
            checksum="",
            size_bytes=len(rows),
            inputs=behind,
            columns=table.types,
        )
        counts = runs.Counts(None, count, None)
        runs.close_build(connection, build_id, "success", layer=pipeline.layer(relation), counts=counts)
    return publish_id


def _rows(connection: Connection[Any], table: Table, relation: Relation, load_date: date | None = None) -> list[Row]:
    """The rows of a relation with a table's columns, by the grain; none where there is no such relation."""
    if not candidates.types_of(connection, relation):
        return []
    grain = table.header.grain
    order = [*grain, *(column for column in table.columns if column not in grain)]
    one_day = sql.SQL("{} = {}").format(sql.Identifier(LOAD_DATE), load_date) if load_date else sql.SQL("true")
    return connection.execute(
        sql.SQL("select {} from {} where {} order by {}").format(
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            identifier(relation),
            one_day,
            sql.SQL(", ").join(map(sql.Identifier, order)),
        )
    ).fetchall()
