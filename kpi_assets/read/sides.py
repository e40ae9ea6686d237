"""The two sides of a comparison: where the rows of each are, and what the ledger knows of them.

A side is asked for by an object with the method `find`: what is published of a load_date, the candidate that is held of
one, or an earlier publish whose rows are kept. Another kind is one more class here.

Belongs here: finding the rows. Not here: comparing them (diff.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Protocol

from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.ledger import holds, kept, publishes
from kpi_assets.model.names import BATCH, LOAD_DATE, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read.lake_rows import rows_of_lake, rows_of_snapshot
from kpi_assets.read.rows import find_publish
from kpi_assets.warehouse.content import published_rows
from kpi_assets.warehouse.ddl import identifier, types_of


@dataclass(frozen=True)
class Side:
    """Rows that can be compared: `rows` is what FROM reads, without an alias; it has load_date and columns of `types`.

    `count` and `checksum` are those of the ledger, None if it has none; `checksum_kind` says whose hashes it sums.
    The key of a side that is not `is_unique` may have several rows. A side that `is_added` would be added to the rows
    of the other, and replace none.
    """

    name: str  # in a sentence
    rows: sql.Composable
    types: Mapping[str, str]
    count: int | None = None
    checksum: str | None = None
    is_unique: bool = True
    is_added: bool = False
    note: str = ""  # a sentence for people
    checksum_kind: str | None = None


class Asked(Protocol):
    """One side that somebody asks for."""

    def find(self, connection: Connection[Any], pipeline: Pipeline, table: Table, *, place: str) -> Side:
        """Return the side. Raises UserError, which names the `place` of the data, if there is none."""
        ...


@dataclass(frozen=True)
class Published:
    """What is published of a load_date."""

    load_date: date

    def find(self, connection: Connection[Any], pipeline: Pipeline, table: Table, *, place: str) -> Side:
        """Return its rows. Raises UserError also if they are gone."""
        publish = find_publish(connection, pipeline, table, self.load_date, place=place)
        types = publish.types or table.types
        fetched = rows_of_lake(table, publish)
        found = Side(
            str(self.load_date),
            published_rows(connection, table, self.load_date) if fetched is None else fetched,
            types,
            publish.rows,
            publish.checksum,
            checksum_kind=publish.checksum_kind,
        )
        if fetched is not None:
            return found
        stored = types_of(connection, table.relation)
        if any(stored.get(name, type_) != type_ for name, type_ in types.items()):  # other load_dates have wider ones
            columns = sql.SQL(", ").join(
                sql.SQL("r.{0}::{1} as {0}").format(sql.Identifier(name), sql.SQL(type_))
                for name, type_ in {LOAD_DATE: "date", **types}.items()
            )
            return replace(found, rows=sql.SQL("(select {} from {} as r)").format(columns, found.rows))
        return found


@dataclass(frozen=True)
class Held:
    """The candidate that is held of a load_date."""

    load_date: date

    def find(self, connection: Connection[Any], pipeline: Pipeline, table: Table, *, place: str) -> Side:
        """Return its rows. Of a table that grows, they are those of the batch that was held, if it was one."""
        if not table.storage.stores_rows:
            raise UserError(
                f"{table.relation} stores no rows, so that it has no candidates: compare {table.origin.relation}, "
                "which it shows."
            )
        held = holds.last_candidate(connection, table.relation, self.load_date)
        types = types_of(connection, held.relation) if held and held.relation else {}
        if held and held.is_latest and held.snapshot and held.key:
            rows = rows_of_snapshot(table, held.snapshot, self.load_date, table.types, held.key.rows)
            name, note = f"the held candidate of {self.load_date}", f"Build {held.build_id} was {held.message}."
            return Side(name, rows, table.types, held.key.rows, held.key.checksum, is_unique=held.is_unique, note=note)
        if held is None or held.relation is None or not types:
            dropped = f" (build {held.build_id} was held, and a later build has dropped its candidate)" if held else ""
            raise UserError(
                f"No candidate of {table.relation} of {self.load_date} is held in {place}{dropped}: there is nothing "
                f"to compare; `kpi plan {pipeline.name}` says what is held."
            )
        del types[LOAD_DATE]
        is_added = table.grows and self._is_added(connection, table, identifier(held.relation))
        return Side(
            f"the held candidate of {self.load_date}",
            identifier(held.relation),
            types,
            None if is_added or held.key is None else held.key.rows,
            None if is_added or held.key is None else held.key.checksum,
            is_unique=held.is_unique,
            is_added=is_added,
            note=f"Build {held.build_id} was {held.message}.",
        )

    def _is_added(self, connection: Connection[Any], table: Table, rows: sql.Composable) -> bool:
        """Return whether the candidate of a table that grows is a batch: a load_date built as a whole is batch 1."""
        found = connection.execute(sql.SQL("select {} from {} limit 1").format(sql.Identifier(BATCH), rows)).fetchone()
        if found is None:
            raise UserError(f"The held candidate of {table.relation} of {self.load_date} has no rows to compare.")
        return bool(found[0] > 1)


@dataclass(frozen=True)
class Earlier:
    """What readers saw of a load_date by one publish, which may be what they see now."""

    publish_id: int
    load_date: date | None = None  # that it must be of, if that is known

    def find(self, connection: Connection[Any], pipeline: Pipeline, table: Table, *, place: str) -> Side:
        """Return its rows: those that are kept, or those that readers see if they are the same."""
        publish = publishes.of_id(connection, self.publish_id)
        if publish is None or publish.asset != str(table.relation) or self.load_date not in {None, publish.load_date}:
            which = f" of {self.load_date}" if self.load_date else ""
            raise UserError(
                f"There is no publish {self.publish_id} of {table.relation}{which} in {place}: `kpi publishes "
                f"{pipeline.name} {table.relation} --load-date D` prints them."
            )
        if not table.storage.stores_rows:
            raise UserError(
                f"{table.relation} stores no rows: compare publishes of {table.origin.relation}, which it shows."
            )
        name = f"publish {publish.publish_id} of {publish.load_date}"
        current = publishes.current(connection, [table.relation], publish.load_date).get(table.relation)
        if current and (current.content, current.columns) == (publish.content, publish.columns):
            return replace(Published(publish.load_date).find(connection, pipeline, table, place=place), name=name)
        found = kept.find(connection, publish)
        if found is None:
            raise UserError(
                f"The rows of {name} of {table.relation} are not kept: `rollback: {{keep: 2}}` in pipeline.yaml keeps "
                "those that are superseded from then on."
            )
        types = publish.types or table.types
        return Side(name, identifier(Relation.parse(found.relation)), types, publish.rows, publish.checksum)


def refuse_unpublished(
    connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date, *, place: str
) -> None:
    """Raise UserError if a load_date with a held candidate was never published, so that all its rows would be new."""
    if load_date in publishes.current_between(connection, [table.relation], load_date, load_date):
        return
    before = publishes.latest_load_date(connection, table.relation, before=load_date)
    instead = "there is nothing to compare it with"
    if before:
        command = f"kpi diff {pipeline.name} {table.relation} {before} --load-date {load_date} --candidate"
        instead = f"`{command}` compares it with the load_date before"
    raise UserError(
        f"{table.relation} of {load_date} is not published in {place}, so that all rows of its held candidate would be "
        f"new: {instead}."
    )
