"""The interface of a storage kind in Postgres: how every other module changes and reads a published table.

Belongs here: the methods of a kind, with defaults for a kind that stores all rows in one relation with a load_date
column. Not here: the traits of a kind that need no database (model/kinds.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any, ClassVar

from psycopg import Connection, sql

from kpi_assets.model.kinds import STORAGES, StorageKind
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.alter import alter_columns, find_changes
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import column_definitions, identifier, object_type, types_of
from kpi_assets.warehouse.shape import Published
from kpi_assets.warehouse.versions import Compared, VersionChanges


class StorageStrategy(ABC):
    """One storage kind. It has no state: each method takes the table and the session.

    Methods that change a table must be called in a transaction with a lock_timeout.
    """

    name: ClassVar[str]  # as in model/kinds.py

    @property
    def kind(self) -> StorageKind:
        """The traits of this kind."""
        return STORAGES[self.name]

    # ---- changing published rows

    @abstractmethod
    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        """Create the published relation, or alter it so that it can take a build; `others` keep their rows.

        Return the columns that no load_date needs any more; the caller drops them after it has replaced the views.
        Raises DefinitionError if no type holds the values of all load_dates, or if other objects depend on a column
        that must change.
        """

    def compare(self, connection: Connection[Any], candidate: Candidate) -> Compared | None:
        """Find what a publish of the candidate would change now, for its audit and its publish.

        None if the kind keeps no versions, or if a publish would alter columns first.
        """
        return None

    @abstractmethod
    def publish(
        self, connection: Connection[Any], candidate: Candidate, compared: Compared | None = None
    ) -> VersionChanges | None:
        """Replace the published rows of the candidate's load_date by those of the candidate, which may be empty.

        `compared` is what this session has found last, if nothing of the table was published or removed since.
        Return what changed in the versions of a kind that keeps versions.
        """

    def add(self, connection: Connection[Any], candidate: Candidate) -> int:
        """Add the rows of a candidate to the published ones of its load_date, which has some; return their bytes.

        Only tables that grow have batches to add, and they have one storage.
        """
        raise NotImplementedError

    def keep(self, connection: Connection[Any], kept: Candidate, types: Mapping[str, str]) -> int:
        """Set the published rows of a load_date aside in the table of `kept`, before others replace them.

        `types` are the columns with which they were published. Return the bytes of that table. `publish` of `kept`
        shows the rows again.
        """
        columns = sql.SQL(", ").join(
            sql.SQL("p.{0}::{1} as {0}").format(sql.Identifier(name), sql.SQL(type_))
            for name, type_ in {LOAD_DATE: "date", **types}.items()
        )
        rows = self.rows_of(identifier(kept.table.relation), kept.load_date)
        connection.execute(sql.SQL("create table {} as select {} from {} as p").format(kept.name, columns, rows))
        return candidates.size_of(connection, kept)

    def prove(self, connection: Connection[Any], table: Table) -> None:  # noqa: B027  most kinds have nothing to prove
        """Prove what `declare` declares, in short transactions before the one of a publish, for which nobody waits."""

    def declare(self, connection: Connection[Any], table: Table) -> None:  # noqa: B027
        """Declare constraints that are proven to hold, at the end of the transaction of a publish; wait for nobody."""

    @abstractmethod
    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Remove the published rows of a load_date."""

    def drop(self, connection: Connection[Any], relation: Relation) -> None:
        """Drop the published relation with all load_dates. Raises psycopg.errors.DependentObjectsStillExist."""
        connection.execute(sql.SQL("drop {} {}").format(object_type(self.kind.relkind), identifier(relation)))

    # ---- effects on readers with older snapshots

    def removal_swaps(self, connection: Connection[Any], table: Table, load_date: date) -> bool:
        """Return whether removing a load_date drops a relation, so that a reader with an older snapshot finds no rows.

        Rows that are removed by DELETE stay visible for such a reader.
        """
        return False

    def publish_swaps(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> bool:
        """Return whether a publish of a load_date does that, by dropping a partition or by rewriting the table."""
        stored = types_of(connection, table.relation)
        if not stored:
            return False
        if self.removal_swaps(connection, table, load_date):
            return True
        return bool(find_changes(table, stored, others).retype)

    # ---- reading published rows

    def recognizes(self, connection: Connection[Any], relation: Relation, relkind: str) -> bool:
        """Return whether a relation of the database, which has this relkind, is stored as this kind."""
        return relkind == self.kind.relkind

    def rows_of(self, source: sql.Composable, load_date: date) -> sql.Composable:
        """Return the published rows of a load_date, with load_date, as a subquery for FROM without an alias.

        `source` is the published relation, or a subquery with its columns.
        """
        return sql.SQL("(select * from {} as s where s.{} = {})").format(
            source, sql.Identifier(LOAD_DATE), sql.Literal(load_date)
        )

    def find_lost(self, connection: Connection[Any], relation: Relation, load_dates: Collection[date]) -> set[date]:
        """Return those of the load_dates, each published with at least one row, of which the relation has no rows."""
        # To find the first load_date from a day on is one look into the index of the key. A join would read the rows of
        # all load_dates, since a build has no nested loops.
        first = sql.SQL("select t.{day} from {} as t where t.{day} >= d.day order by t.{day} limit 1")
        missing = sql.SQL("select d.day from unnest(%s::date[]) as d (day) where ({}) is distinct from d.day").format(
            first.format(identifier(relation), day=sql.Identifier(LOAD_DATE))
        )
        return {day for (day,) in connection.execute(missing, [list(load_dates)])}

    # ---- a candidate before it is published

    def preview_from(self, candidate: Candidate) -> sql.Composable:
        """Return the rows that a build would publish, for FROM: a relation or a subquery without an alias."""
        return candidate.name

    def size(self, connection: Connection[Any], candidate: Candidate) -> int:
        """Return the bytes on disk that a build would publish, including slices and indexes."""
        return candidates.size_of(connection, candidate)


class StoredRows(StorageStrategy):
    """The base of kinds that store rows: `ensure` creates or alters a table as its file declares it."""

    create: ClassVar[sql.SQL] = sql.SQL("create table {} ({})")

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        stored: Mapping[str, str] = types_of(connection, table.relation)
        if not stored:
            connection.execute(self.create.format(identifier(table.relation), column_definitions(table)))
            return ()
        needed = find_changes(table, stored, others)
        if needed.retype:
            self.remove(connection, table, load_date)  # these rows are replaced, so they need not fit the new types
        alter_columns(connection, table, needed)
        return needed.drop
