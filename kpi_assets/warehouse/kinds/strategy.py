"""What a storage kind does in Postgres: the methods by which every other module makes and reads a published table.

Belongs here: what is asked of a kind, with the answers for a kind whose rows lie in one relation, each with its
load_date. Not here: the traits that the model asks for (model/kinds.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from psycopg import Connection, sql

from kpi_assets.model.kinds import STORAGES, StorageKind
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.alter import alter_columns, changes_of
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import column_definitions, identifier, object_type, types_of
from kpi_assets.warehouse.shape import Published


class StorageStrategy(ABC):
    """One storage kind. An object of it has no state: a method is given the table, and the session that it uses.

    What changes a table runs inside the caller's transaction, which has a lock_timeout.
    """

    name: ClassVar[str]  # as in model/kinds.py

    @property
    def kind(self) -> StorageKind:
        """Its traits."""
        return STORAGES[self.name]

    # ---- changing what readers see

    @abstractmethod
    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        """Make the published relation take a build of a load_date as the file declares it; `others` keep their rows.

        Returns the columns that no load_date needs any more: the caller drops them, once no view of ours reads them.
        Raises DefinitionError where no type holds the rows of all, or where other objects depend on what must change.
        """

    @abstractmethod
    def publish(self, connection: Connection[Any], candidate: Candidate) -> None:
        """Replace what readers see of the candidate's load_date by the candidate, which may be empty."""

    @abstractmethod
    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Remove what readers see of a load_date."""

    def drop(self, connection: Connection[Any], relation: Relation) -> None:
        """Drop the published relation with all load_dates. Raises psycopg's DependentObjectsStillExist."""
        connection.execute(sql.SQL("drop {} {}").format(object_type(self.kind.relkind), identifier(relation)))

    # ---- what a change means for readers with older snapshots

    def removal_swaps(self, connection: Connection[Any], table: Table, load_date: date) -> bool:
        """Whether removing a load_date takes a relation away that a reader with an older snapshot would find empty.

        Rows that are deleted one by one stay for such a reader.
        """
        return False

    def publish_swaps(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> bool:
        """Whether a publish of a load_date does that: by removing what is there, or by writing the table anew."""
        stored = types_of(connection, table.relation)
        if not stored:
            return False
        if self.removal_swaps(connection, table, load_date):
            return True
        return bool(changes_of(table, stored, others).retype)

    # ---- reading what is published

    def recognizes(self, connection: Connection[Any], relation: Relation, relkind: str) -> bool:
        """Whether a relation of the database with this relkind is stored in this kind's way."""
        return relkind == self.kind.relkind

    def rows_of(self, relation: Relation, load_date: date) -> sql.Composable:
        """The published rows of a load_date, as a subquery for FROM without an alias; they have a load_date."""
        return sql.SQL("(select * from {} where {} = {})").format(
            identifier(relation), sql.Identifier(LOAD_DATE), sql.Literal(load_date)
        )

    def find_lost(self, connection: Connection[Any], relation: Relation, load_dates: Collection[date]) -> set[date]:
        """Those of the load_dates, published with at least one row, of which the relation holds nothing any more."""
        missing = sql.SQL("select d.day from unnest(%s::date[]) as d (day) where not exists ({})").format(
            sql.SQL("select 1 from {} as t where t.{} = d.day").format(identifier(relation), sql.Identifier(LOAD_DATE))
        )
        return {day for (day,) in connection.execute(missing, [list(load_dates)])}

    # ---- a candidate before it is published

    def preview_from(self, candidate: Candidate) -> sql.Composable:
        """What a build would publish, for FROM: a relation or a subquery without an alias, with the table's columns."""
        return candidate.name

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        """Bytes on disk of what a build would publish, slices and indexes included."""
        return candidates.size_of(connection, candidate)


class StoredRows(StorageStrategy):
    """What the kinds share that keep rows: a table that is created and altered as its file declares it."""

    create: ClassVar[sql.SQL] = sql.SQL("create table {} ({})")

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        stored: Mapping[str, str] = types_of(connection, table.relation)
        if not stored:
            connection.execute(self.create.format(identifier(table.relation), column_definitions(table)))
            return ()
        needed = changes_of(table, stored, others)
        if needed.retype:
            self.remove(connection, table, load_date)  # the rows that are replaced need not fit the new types
        alter_columns(connection, table, needed)
        return needed.drop
