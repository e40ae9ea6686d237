"""Iceberg tables: a branch for each candidate, a tag for each publish, and `main` as a mirror of what is published.

The ledger in Postgres says which snapshot of which table is published; readers of the ledger read these snapshots, and
no build reads `main`. `main` is for readers who know the catalog only: it is moved after the ledger, so it may lag and
never leads. A load_date that is published again takes two commits of it, and between them it lacks the load_date there.
A table names the ledger that it belongs to, and another ledger is refused: two of them would sweep each other's rows.

Belongs here: the statements for the life of a table. Not here: what fills it (statements.py), which snapshots the
ledger names and when they change (materialize/).
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from kpi_assets.lake.session import COMMIT_REFUSED, Engine, EngineError
from kpi_assets.lake.sql_text import constant, name_of, quoted
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.portable.types import declared

OWNER = "kpi_assets.ledger"  # the property of a table that names the ledger which it belongs to
CHECKSUM_KIND = "spark xxhash64"  # of the checksums below, which are compared within their kind
_PROPERTIES = {
    "format-version": "2",
    # A build writes one load_date: distributing its rows by load_date would give them all to one task.
    "write.distribution-mode": "none",
    # Load_dates are built at once, and each commit of one makes those of the others try again.
    "commit.retry.num-retries": "20",
}
_TRIES = 5  # of a commit that is refused since another build has committed, each on what that one left
_HELD_BY = {"smallint": "int", "integer": "int"}  # Iceberg has no smallint
_DECIMAL = "decimal("


class Ref(NamedTuple):
    """A branch or a tag of a table, and when its snapshot was committed."""

    name: str
    kind: str  # BRANCH or TAG
    snapshot: int
    committed_at: datetime


@dataclass(frozen=True)
class LakeTable:
    """A table of the lake: its name in the catalog, and the declared columns without load_date (name -> type)."""

    catalog: str
    namespace: str
    table: str
    types: Mapping[str, str]
    description: str = ""

    @property
    def name(self) -> str:
        """The name as the ledger has it: catalog.namespace.table."""
        return f"{self.catalog}.{self.namespace}.{self.table}"

    @property
    def sql(self) -> str:
        """The name as SQL."""
        return quoted(self.catalog, self.namespace, self.table)

    @property
    def columns(self) -> dict[str, str]:
        """All columns, the load_date first: name -> declared type."""
        return {LOAD_DATE: "date", **self.types}

    def rows(self, load_date: date, snapshot: int) -> str:
        """Return the rows of a load_date in a snapshot as a SELECT, with the declared types."""
        return rows_of(self.sql, self.columns, {load_date: snapshot})


def namespace_of(pipeline: str, schema: str) -> str:
    """Return the namespace of the tables of one schema of a pipeline."""
    return f"{pipeline}_{schema}"


def rows_of(table: str, columns: Mapping[str, str], snapshots: Mapping[date, int]) -> str:
    """Return a SELECT of the rows of some load_dates, each in its snapshot; of no load_date, one without rows.

    Each column is cast to its declared type, since Iceberg has fewer types and a table may have wider ones.
    """
    chosen = ", ".join(f"cast({quoted(name)} as {name_of(type_)}) as {quoted(name)}" for name, type_ in columns.items())
    if not snapshots:
        nulls = ", ".join(f"cast(null as {name_of(type_)}) as {quoted(name)}" for name, type_ in columns.items())
        return f"select {nulls} where false"
    by_snapshot: dict[int, list[date]] = {}
    for day, number in sorted(snapshots.items()):
        by_snapshot.setdefault(number, []).append(day)
    return " union all ".join(
        f"select {chosen} from {table} version as of {number:d} "
        f"where {quoted(LOAD_DATE)} in ({', '.join(map(constant, days))})"
        for number, days in by_snapshot.items()
    )


def checksum_of(columns: Mapping[str, str]) -> str:
    """Return the aggregate that sums a hash of each row, so that the order of the rows does not matter.

    The hash passes over NULL, so whether a value is NULL is hashed too. The sum is a decimal, which bigints overflow.
    It must never change for the same rows: else every replay would look as if it had produced other rows.
    """
    values = (
        f"cast({quoted(name)} as {name_of(type_)}), {quoted(name)} is null" for name, type_ in sorted(columns.items())
    )
    hashed = f"xxhash64({', '.join(values)})" if columns else "0"
    return f"cast(coalesce(sum(cast({hashed} as decimal(38, 0))), 0) as string)"


def rows_and_checksum(engine: Engine, rows: str, columns: Mapping[str, str]) -> tuple[int, str]:
    """Return the number of rows of a SELECT, and their checksum over columns (name -> type)."""
    [(count, checksum)] = engine.rows(f"select count(*), {checksum_of(columns)} from (\n{rows}\n) as `q`")
    return int(count), str(checksum)


class Tables:
    """The tables of one ledger on an engine. `ledger` is the identity of the database with the ledger."""

    def __init__(self, engine: Engine, ledger: str) -> None:
        self._engine, self._ledger = engine, ledger

    # ---- the table

    def exists(self, table: LakeTable) -> bool:
        """Whether the catalog has the table."""
        return self._properties(table) is not None

    def ensure(self, table: LakeTable) -> None:
        """Create the table, or alter it so that it takes rows with the declared columns.

        A column that the file no longer declares stays, for the load_dates that have it. Raises EngineError if the
        table is that of another ledger, or a stored type does not hold the declared one.
        """
        # Whatever fails: another build may have made or altered the table meanwhile.
        self._try(table, lambda: self._ensure(table), lambda error: not error.transient or _is_refused(error))

    def _ensure(self, table: LakeTable) -> None:
        engine = self._engine
        if (properties_there := self._properties(table)) is None:
            engine.execute(f"create namespace if not exists {quoted(table.catalog, table.namespace)}")
            columns = ", ".join(f"{quoted(name)} {_held_as(type_)}" for name, type_ in table.columns.items())
            properties = ", ".join(
                f"{constant(name)} = {constant(value)}" for name, value in {**_PROPERTIES, OWNER: self._ledger}.items()
            )
            engine.execute(
                f"create table if not exists {table.sql} ({columns}) using iceberg "
                f"partitioned by ({quoted(LOAD_DATE)}) tblproperties ({properties})"
                + (f" comment {constant(table.description)}" if table.description else "")
            )
            properties_there = self._properties(table) or {}
        self._check_owner(table, properties_there.get(OWNER))
        stored = self._stored(table)
        added = {name: type_ for name, type_ in table.columns.items() if name not in stored}
        if added:
            columns = ", ".join(f"{quoted(name)} {_held_as(type_)}" for name, type_ in added.items())
            engine.execute(f"alter table {table.sql} add columns ({columns})")
        for name, type_ in table.columns.items():
            wanted, found = _held_as(type_), stored.get(name)
            if found is None or _holds(found, wanted):
                continue
            if not _holds(wanted, found):
                raise EngineError(
                    f"{table.name} has the column {name} as {found}, which Iceberg cannot change to {wanted}: give "
                    f"the column another name, or run `kpi drop` and backfill."
                )
            engine.execute(f"alter table {table.sql} alter column {quoted(name)} type {wanted}")

    def _commit(self, table: LakeTable, statement: str) -> None:
        """Execute a statement that commits to a table, and again on what other builds have committed meanwhile."""
        self._try(table, lambda: self._engine.execute(statement), _is_refused)

    def _try(self, table: LakeTable, act: Callable[[], None], may_repeat: Callable[[EngineError], bool]) -> None:
        for _ in range(_TRIES - 1):
            try:
                return act()
            except EngineError as error:
                if not may_repeat(error):
                    raise
            with suppress(EngineError):
                self._engine.execute(f"refresh table {table.sql}")
        return act()

    def _stored(self, table: LakeTable) -> dict[str, str]:
        stored: dict[str, str] = {}
        for name, type_, *_ in self._engine.rows(f"describe table {table.sql}"):
            if not name or name.startswith("#"):
                break  # below are the partitions
            stored[name] = type_
        return stored

    def check_owner(self, table: LakeTable) -> None:
        """Raise EngineError if the table belongs to another ledger, or to none."""
        self._check_owner(table, (self._properties(table) or {}).get(OWNER))

    def _properties(self, table: LakeTable) -> dict[str, str] | None:
        """Return the properties of a table; None if it is not there."""
        try:
            return dict(self._engine.rows(f"show tblproperties {table.sql}"))
        except EngineError as error:
            if "NOT_FOUND" in error.condition:
                return None
            raise

    def _check_owner(self, table: LakeTable, found: str | None) -> None:
        if found != self._ledger:
            whose = f"belongs to the ledger {found}" if found else "was not made by kpi_assets"
            raise EngineError(
                f"{table.name} {whose}, and this one is {self._ledger}: two of them would take each other's rows away; "
                "give the pipeline another name or another catalog, or, if that ledger is no more, set the property "
                f"{OWNER} of the table to {self._ledger!r}."
            )

    def drop(self, table: LakeTable) -> None:
        """Drop the table with its files."""
        if self.exists(table):
            self.check_owner(table)
            self._engine.execute(f"drop table if exists {table.sql} purge")

    # ---- a candidate

    def fill(self, table: LakeTable, load_date: date, build_id: int, select: str) -> int:
        """Write the rows of a SELECT, which has the declared columns in order, to a branch; return its snapshot.

        The rows that the branch has of the load_date are deleted first: an append alone would double them, and an
        overwrite with no row would keep them.
        """
        branch = branch_of(build_id)
        there = quoted(table.catalog, table.namespace, table.table, f"branch_{branch}")
        stored = self._stored(table)
        self._commit(table, f"alter table {table.sql} create or replace branch {quoted(branch)}")
        self._commit(table, f"delete from {there} where {quoted(LOAD_DATE)} = {constant(load_date)}")
        chosen = {name: f"`q`.{quoted(name)}" for name in table.types}
        self._commit(table, _insert(there, stored, {LOAD_DATE: constant(load_date), **chosen}, select))
        return self.snapshot(table, branch)

    def snapshot(self, table: LakeTable, ref: str) -> int:
        """Return the snapshot of a branch or a tag. Raises EngineError if there is none."""
        found = self._engine.value(f"select snapshot_id from {table.sql}.`refs` where name = {constant(ref)}")
        if found is None:
            raise EngineError(f"{table.name} has no branch or tag {ref}: somebody dropped it; build it again.")
        return int(found)

    def size(self, table: LakeTable, load_date: date, snapshot: int) -> tuple[int, int]:
        """Return the bytes and the number of the files that have a load_date in a snapshot."""
        [(size, files)] = self._engine.rows(
            f"select coalesce(sum(file_size_in_bytes), 0), count(*) from {table.sql}.`files` "
            f"version as of {snapshot:d} where partition.{quoted(LOAD_DATE)} = {constant(load_date)}"
        )
        return int(size), int(files)

    def rows_and_checksum(
        self, table: LakeTable, load_date: date, snapshot: int, columns: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Return the number of rows of a load_date in a snapshot, and their checksum over columns (name -> type)."""
        columns = table.types if columns is None else columns
        rows = rows_of(table.sql, {LOAD_DATE: "date", **columns}, {load_date: snapshot})
        return rows_and_checksum(self._engine, rows, columns)

    def drop_branch(self, table: LakeTable, build_id: int) -> None:
        """Drop the branch of a candidate, if it is there."""
        self._commit(table, f"alter table {table.sql} drop branch if exists {quoted(branch_of(build_id))}")

    # ---- a publish

    def tag(self, table: LakeTable, build_id: int, snapshot: int) -> None:
        """Keep a snapshot under the tag of a build, before the ledger names it. It may be there already."""
        self._commit(
            table,
            f"alter table {table.sql} create or replace tag {quoted(tag_of(build_id))} as of version {snapshot:d}",
        )

    def drop_tag(self, table: LakeTable, build_id: int) -> None:
        """Drop the tag of a build, if it is there; its files go when the snapshots expire."""
        self._commit(table, f"alter table {table.sql} drop tag if exists {quoted(tag_of(build_id))}")

    def mirror(self, table: LakeTable, load_date: date, snapshot: int | None) -> None:
        """Give `main` the rows that a load_date has in a snapshot, or none.

        Call it after the ledger's transaction, and while nobody else moves `main`: what is picked twice would be there
        twice.
        A load_date that `main` has with other rows is deleted first, by a commit of its own: Iceberg refuses to pick a
        snapshot that replaces what has changed since.
        """
        engine = self._engine
        engine.execute(f"refresh table {table.sql}")
        if found := self._files(table, load_date, None):
            if snapshot is not None and found == self._files(table, load_date, snapshot):
                return
            self._commit(table, f"delete from {table.sql} where {quoted(LOAD_DATE)} = {constant(load_date)}")
        if snapshot is None or not self._files(table, load_date, snapshot):
            return
        try:
            self._commit(
                table,
                f"call {quoted(table.catalog)}.system.cherrypick_snapshot(table => "
                f"{constant(f'{table.namespace}.{table.table}')}, snapshot_id => {snapshot:d})",
            )
        except EngineError as error:
            # It was picked before, and other rows took its place since; or main never had what it was cut from.
            if error.transient or "herrypick" not in str(error):
                raise
            chosen = {name: f"`q`.{quoted(name)}" for name in table.columns}
            rows = rows_of(table.sql, table.columns, {load_date: snapshot})
            self._commit(table, _insert(table.sql, self._stored(table), chosen, rows))

    def snapshots(self, table: LakeTable) -> set[int]:
        """Return the snapshots that a table has."""
        return {int(number) for (number,) in self._engine.rows(f"select snapshot_id from {table.sql}.`snapshots`")}

    def differing(self, table: LakeTable, published: Mapping[date, int]) -> list[date]:
        """Return the load_dates of which `main` has other rows than the snapshots that are `published`, and all others.

        Whoever may write to the catalog may have changed it. A snapshot that is gone is not compared.
        """
        self._engine.execute(f"refresh table {table.sql}")
        known = self.snapshots(table)
        there = self._engine.rows(f"select distinct partition.{quoted(LOAD_DATE)} from {table.sql}.`files`")
        gone = [day for (day,) in there if day not in published]
        behind = [
            day
            for day, snapshot in published.items()
            if snapshot in known and not self._is_mirrored(table, day, snapshot)
        ]
        return sorted([*behind, *gone])

    def _is_mirrored(self, table: LakeTable, load_date: date, snapshot: int) -> bool:
        """Whether `main` has the rows of a snapshot: the same files, or others with the same rows."""
        there, here = self._files(table, load_date, snapshot), self._files(table, load_date, None)
        if there == here or not (there and here):
            return there == here
        head = self._engine.value(f"select snapshot_id from {table.sql}.`refs` where name = 'main'")
        of_main = self.rows_and_checksum(table, load_date, int(head))
        return of_main == self.rows_and_checksum(table, load_date, snapshot)

    def _files(self, table: LakeTable, load_date: date, snapshot: int | None) -> set[str]:
        """Return the files with the rows of a load_date, in a snapshot or in `main`."""
        at = "" if snapshot is None else f" version as of {snapshot:d}"
        rows = self._engine.rows(
            f"select file_path from {table.sql}.`files`{at} where partition.{quoted(LOAD_DATE)} = {constant(load_date)}"
        )
        return {path for (path,) in rows}

    # ---- what nobody needs any more

    def refs(self, table: LakeTable) -> list[Ref]:
        """Return the branches and tags of a table, without `main`."""
        rows = self._engine.rows(
            f"select r.name, r.type, r.snapshot_id, s.committed_at from {table.sql}.`refs` as r "
            f"inner join {table.sql}.`snapshots` as s on r.snapshot_id = s.snapshot_id where r.name <> 'main'"
        )
        return sorted(Ref(*row) for row in rows)

    def sweep(
        self, table: LakeTable, refs: Collection[Ref], keep: Collection[int], published: Collection[int]
    ) -> list[str]:
        """Drop those of the branches and tags that belong to other builds than these, and return their names.

        `refs` were read before the ledger was asked for the builds, so that none that began or ended meanwhile loses
        its own. `keep` are the builds that are held, and those that still run. Of the `published` ones the tag is kept:
        a build that died after it was published has left its branch. A branch or tag that is not named as those of
        builds is left alone.
        """
        dropped = []
        for ref in refs:
            prefix, number = ref.name[:1], ref.name[1:]
            if {"c": "BRANCH", "p": "TAG"}.get(prefix) != ref.kind or not number.isascii() or not number.isdigit():
                continue
            if int(number) not in keep and not (prefix == "p" and int(number) in published):
                self._commit(table, f"alter table {table.sql} drop {ref.kind.lower()} if exists {quoted(ref.name)}")
                dropped.append(ref.name)
        return dropped

    def expire(self, table: LakeTable, older_than: datetime) -> None:
        """Remove the snapshots, and their files, that no branch and no tag has and that are older than a time in UTC.

        A build that began before that time may still read one of them.
        """
        self._commit(
            table,
            f"call {quoted(table.catalog)}.system.expire_snapshots(table => "
            f"{constant(f'{table.namespace}.{table.table}')}, older_than => timestamp "
            f"'{older_than:%Y-%m-%d %H:%M:%S}', retain_last => 1)",
        )


def branch_of(build_id: int) -> str:
    """Return the name of the branch with the candidate of a build."""
    return f"c{build_id:d}"


def tag_of(build_id: int) -> str:
    """Return the name of the tag of a build that is published."""
    return f"p{build_id:d}"


def _is_refused(error: EngineError) -> bool:
    """Whether a commit is refused since another one came first, so that nothing of it is there."""
    return error.condition == COMMIT_REFUSED


def _insert(there: str, stored: Mapping[str, str], chosen: Mapping[str, str], select: str) -> str:
    """Return the INSERT of a SELECT, whose rows are `q`; a stored column that the file does not declare gets NULL."""
    values = [chosen.get(name, f"cast(null as {type_})") for name, type_ in stored.items()]
    names = ", ".join(map(quoted, stored))
    return f"insert into {there} ({names}) select {', '.join(values)} from (\n{select}\n) as `q`"


def _held_as(type_: str) -> str:
    """Return the type in which Iceberg stores a declared type, as Spark calls it."""
    if declared(type_) is None:
        raise EngineError(f"no engine holds a {type_} as Postgres does.")
    return _HELD_BY.get(type_) or name_of(type_)


def _holds(stored: str, wanted: str) -> bool:
    """Whether a stored type holds each value of another, so that Iceberg can also change that one to it."""
    if stored == wanted or (stored, wanted) == ("bigint", "int"):
        return True
    if stored.startswith(_DECIMAL) and wanted.startswith(_DECIMAL):
        (digits, scale), (least, same) = (
            map(int, each.removeprefix(_DECIMAL).rstrip(")").split(",")) for each in (stored, wanted)
        )
        return scale == same and digits >= least
    return False


def drop_quietly(tables: Tables, table: LakeTable, build_id: int, *, tag: bool = False) -> None:
    """Drop the branch of a candidate, and its tag if asked; if that fails, the sweep does it."""
    with suppress(EngineError):
        tables.drop_branch(table, build_id)
        if tag:
            tables.drop_tag(table, build_id)
