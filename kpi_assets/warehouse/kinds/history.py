"""storage: history. Each row is a version: what a key had from one load_date to another, both included.

A publish folds the rows of its load_date into the versions (warehouse/versions.py).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.history import CURRENT, EFFECTIVE, END, HistorySpec
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse.alter import alter_columns, drop_columns, find_changes, match_columns
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import DefinitionError, identifier, types_of
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.kinds.strategy import StorageStrategy
from kpi_assets.warehouse.shape import Changes, Published
from kpi_assets.warehouse.versions import Compared, VersionChanges, Versions, holds_on, rows_on
from kpi_assets.warehouse.views import drop_masked_view

# The unique indexes: whether it is the primary key, whether it is partial, and its columns in order.
_KEYS = """
select i.indisprimary, i.indpred is not null, array(
    select a.attname::text from unnest(i.indkey) with ordinality as k (attnum, n)
    inner join pg_attribute as a on i.indrelid = a.attrelid and k.attnum = a.attnum order by k.n
)
from pg_index as i where i.indrelid = %s::regclass and i.indisunique
"""
# The generated columns of a relation: (name, type, expression as Postgres prints it).
_GENERATED = """
select a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid)
from pg_attribute as a inner join pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
where a.attrelid = %s::regclass and a.attgenerated <> ''
"""
Generated = Mapping[str, tuple[str, str]]  # name -> (type, expression)


class History(StorageStrategy):
    """A publish changes the versions of those keys whose rows differ; readers with older snapshots keep theirs."""

    name = "history"

    def ensure(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> Sequence[str]:
        """Create or alter the table as StorageStrategy says; columns that no load_date needs are dropped here.

        A new table gets its keys after its first rows, which is far quicker.

        Raises DefinitionError also if the grain or the surrogate key differs from those of the published table.
        """
        wanted = _wanted_generated(connection, table)
        if not types_of(connection, table.relation):
            _create(connection, table)
            return ()
        _check_keys(connection, table)
        stored = _generated(connection, identifier(table.relation))
        outdated = [name for name, made in stored.items() if wanted.get(name) != made]
        if outdated:
            drop_masked_view(connection, table)  # it reads them; the caller makes it again
        _drop_generated(connection, table, outdated)
        needed = _find_changes(connection, table, others)
        if needed.drop:
            drop_masked_view(connection, table)
        if needed.retype or needed.drop:
            # These rows are replaced. Without them the values fit the new types, and all versions have NULL in a column
            # that is dropped, so that no neighbors become equal by that.
            _versions(connection, table).take_out(connection, load_date)
        alter_columns(connection, table, needed)
        drop_columns(connection, table.relation, needed.drop)
        if needed.retype:
            _follow_types(connection, table)
        _add_generated(connection, table, [name for name in wanted if name not in stored or name in outdated])
        return ()

    def compare(self, connection: Connection[Any], candidate: Candidate) -> Compared | None:
        types = _row_types(connection, candidate.table)
        if types != types_of(connection, candidate.relation):
            return None  # a publish alters columns first
        versions = _versions(connection, candidate.table)
        changes = versions.compare(connection, candidate.load_date, candidate.name)
        return Compared(candidate.relation, versions, changes)

    def publish(
        self, connection: Connection[Any], candidate: Candidate, compared: Compared | None = None
    ) -> VersionChanges:
        versions = _versions(connection, candidate.table)
        match_columns(connection, candidate, _row_types(connection, candidate.table))
        is_compared = compared is not None and (compared.candidate, compared.versions) == (candidate.relation, versions)
        changes = versions.fold(connection, candidate.load_date, candidate.name, is_compared=is_compared)
        connection.execute(sql.SQL("drop table {}").format(candidate.name))
        add_keys(connection, candidate.table)
        return changes

    def remove(self, connection: Connection[Any], table: Table, load_date: date) -> None:
        """Remove the rows of a load_date; raises DefinitionError if the file has another grain or surrogate key."""
        _check_keys(connection, table)
        _versions(connection, table).take_out(connection, load_date)

    def publish_swaps(
        self, connection: Connection[Any], table: Table, load_date: date, others: Sequence[Published]
    ) -> bool:
        """Return whether a publish rewrites the table, for other types or other generated columns."""
        if CURRENT not in types_of(connection, table.relation):
            return False  # it does not exist, or has another storage, which `ensure` refuses
        if _generated(connection, identifier(table.relation)) != _wanted_generated(connection, table):
            return True
        return bool(_find_changes(connection, table, others).retype)

    def recognizes(self, connection: Connection[Any], relation: Relation, relkind: str) -> bool:
        columns = types_of(connection, relation)
        return relkind == self.kind.relkind and {EFFECTIVE, END, CURRENT} <= {*columns} and LOAD_DATE not in columns

    def rows_of(self, source: sql.Composable, load_date: date) -> sql.Composable:
        return rows_on(source, sql.SQL("{}::date").format(sql.Literal(load_date)))

    def find_lost(self, connection: Connection[Any], relation: Relation, load_dates: Collection[date]) -> set[date]:
        missing = sql.SQL(
            "select d.day from unnest(%s::date[]) as d (day) where not exists (select 1 from {} as h where {})"
        ).format(identifier(relation), holds_on(sql.SQL("d.day")))
        return {day for (day,) in connection.execute(missing, [list(load_dates)])}


def _spec(table: Table) -> HistorySpec:
    spec = table.header.history
    assert spec is not None
    return spec


def _versions(connection: Connection[Any], table: Table) -> Versions:
    """Return the versions of a table as they are stored, with columns that are kept for other load_dates."""
    columns = {name: type_ for name, type_ in _row_types(connection, table).items() if name != LOAD_DATE}
    return Versions(table.relation, _spec(table).surrogate_key, table.header.grain, columns)


def _row_types(connection: Connection[Any], table: Table) -> dict[str, str]:
    """Return the stored columns that a candidate has too: load_date, and all that the history does not add."""
    added = {_spec(table).surrogate_key, EFFECTIVE, END, *_generated(connection, identifier(table.relation))}
    stored = types_of(connection, table.relation)
    return {LOAD_DATE: "date", **{name: type_ for name, type_ in stored.items() if name not in added}}


def _find_changes(connection: Connection[Any], table: Table, others: Sequence[Published]) -> Changes:
    return find_changes(table, _row_types(connection, table), others)


def _create(connection: Connection[Any], table: Table) -> None:
    """Create the table without its keys."""
    key, generated = _spec(table).surrogate_key, _generated_definitions(table)
    not_null = {key, EFFECTIVE, *table.header.grain}
    columns = [
        generated.get(column)
        or sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(type_ + " not null" * (column in not_null)))
        for column, type_ in table.readable_types.items()
    ]
    connection.execute(sql.SQL("create table {} ({})").format(identifier(table.relation), sql.SQL(", ").join(columns)))


def add_keys(connection: Connection[Any], table: Table) -> None:
    """Give a new history its keys, in the transaction that creates it.

    The partial index keeps a key from having two versions that have not ended, and the next fold reads it.
    """
    name, grain = identifier(table.relation), sql.SQL(", ").join(map(sql.Identifier, table.header.grain))
    if connection.execute(_KEYS, [name.as_string(connection)]).fetchone():
        return
    connection.execute(
        sql.SQL("alter table {} add primary key ({}), add unique ({}, {})").format(
            name, sql.Identifier(_spec(table).surrogate_key), grain, sql.Identifier(EFFECTIVE)
        )
    )
    connection.execute(
        sql.SQL("create unique index on {} ({}) where {} is null").format(name, grain, sql.Identifier(END))
    )


def _check_keys(connection: Connection[Any], table: Table) -> None:
    """Raise DefinitionError if the published versions have another surrogate key or grain, or lack a unique index."""
    indexes = connection.execute(_KEYS, [identifier(table.relation).as_string(connection)]).fetchall()
    key, grain = _spec(table).surrogate_key, table.header.grain
    remedy = f"run `kpi drop {table.pipeline} {table.relation}` and backfill."
    for kind, word, wanted in (
        ((True, False), "surrogate_key", [key]),
        ((False, False), "grain", [*grain, EFFECTIVE]),
        ((False, True), "grain", [*grain]),
    ):
        found = [columns for *of_index, columns in indexes if tuple(of_index) == kind]
        if not found:
            raise DefinitionError(
                f"{table.path}: {table.relation} has lost its unique index of {', '.join(wanted)}"
                f"{f' where {END} is null' if kind[1] else ''}, without which a key could have two versions at once: "
                f"create it again, or {remedy}"
            )
        if wanted not in found:
            before = ", ".join(name for name in found[0] if name != EFFECTIVE)
            raise DefinitionError(
                f"{table.path}: {table.relation} was published with the {word} {before}, of which its versions are "
                f"made: keep it, or {remedy}"
            )


def _follow_types(connection: Connection[Any], table: Table) -> None:
    """Merge neighbors that differed only in the old types, such as 5 and 5.00.

    Raises DefinitionError if a surrogate key, which is made of texts, does not follow from the new types.
    """
    versions = _versions(connection, table)
    if not versions.have_numbers(connection):
        raise DefinitionError(
            f"{table.path}: a column of the grain cannot get its new type, because the surrogate keys of published "
            f"versions are made of the old one: keep the type, or run `kpi drop {table.pipeline} {table.relation}` "
            "and backfill."
        )
    versions.merge(connection)


# ---- generated columns: is_current, and those of the word `adds`


def _generated_definitions(table: Table) -> dict[str, sql.Composable]:
    """Return the definitions of the generated columns, by name."""
    found = {CURRENT: ("boolean not null", f"{END} is null")}
    # The type and the expression are safe as SQL: the model has an allow-list of types, and parsed the expression.
    found |= {name: (added.type, f"({added.value}\n)::{added.type}") for name, added in _spec(table).adds.items()}
    return {
        name: sql.SQL("{} {} generated always as ({}) stored").format(
            sql.Identifier(name), sql.SQL(type_), sql.SQL(value)
        )
        for name, (type_, value) in found.items()
    }


def _generated(connection: Connection[Any], name: sql.Composable) -> Generated:
    """Return the generated columns of a relation."""
    found = connection.execute(_GENERATED, [name.as_string(connection)]).fetchall()
    return {column: (type_, expression) for column, type_, expression in found}


def _wanted_generated(connection: Connection[Any], table: Table) -> Generated:
    """Return the generated columns that the file declares, in the form in which Postgres stores them.

    Raises DefinitionError if Postgres cannot generate a column so.
    """
    columns = [sql.SQL(f"{EFFECTIVE} date, {END} date"), *_generated_definitions(table).values()]
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("create temporary table probe ({})").format(sql.SQL(", ").join(columns)))
            return _generated(connection, sql.Identifier("pg_temp", "probe"))
    except psycopg.ProgrammingError as error:
        reason = error.diag.message_primary or one_line(
            error, table.pii
        )  # without the lines of a statement that nobody wrote
        raise DefinitionError(
            f"{table.path}: the columns of `adds` cannot be generated ({reason}): correct the expression; it "
            "may use only functions that give the same for the same dates in every session."
        ) from None


def _drop_generated(connection: Connection[Any], table: Table, names: Sequence[str]) -> None:
    steps = [sql.SQL("drop column {}").format(sql.Identifier(name)) for name in names]
    _alter(connection, table, steps)


def _add_generated(connection: Connection[Any], table: Table, names: Sequence[str]) -> None:
    definitions = _generated_definitions(table)
    _alter(connection, table, [sql.SQL("add column {}").format(definitions[name]) for name in names])


def _alter(connection: Connection[Any], table: Table, steps: Sequence[sql.Composable]) -> None:
    if not steps:
        return
    try:
        connection.execute(sql.SQL("alter table {} {}").format(identifier(table.relation), sql.SQL(", ").join(steps)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.DuplicateColumn) as error:
        raise DefinitionError(
            f"{table.path}: the columns of `adds` of {table.relation} cannot be changed "
            f"({one_line(error, table.pii)}): drop what depends on them, or give the column another name."
        ) from None
