"""Folds: the rows of one load_date are put into the versions of a history, or taken out of them.

The versions are the rows of all published load_dates, run-length encoded: a version says that each of them from its
effective_date to its end_date has the same row for a key, and a load_date says what holds until the next published one.
Nothing is lost, so the rows of every load_date can be read back, and load_dates may be folded in any order, and again.
A fold changes only keys that its load_date says otherwise, and of those only the versions that hold on the day before
it, on it, and on the next published load_date.

Two rows are the same if every bit of them is: NULL and '', 1.0 and 1.00 are a change. Otherwise the versions would
depend on the order of the folds.
Belongs here: the SQL of a fold. Not here: the published table with its keys and columns (kinds/history.py), and which
versions a SELECT reads (model/history.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.bitwise import differs, is_plain
from kpi_assets.model.history import EFFECTIVE, END
from kpi_assets.model.names import LOAD_DATE, Relation, quoted
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets.warehouse.ddl import identifier

# The keys whose rows differ from the versions that hold on the load_date: the key of that version, if there is one, and
# the row; load_date is NULL if the load_date has no row for the key.
_TOUCHED = """
create temporary table touched as
select h.{number}, c.{load_date}, {key_of_both}{other_of_rows}
from {rows} as c
full join (select * from {versions} as h where {holds}) as h on {same_key}
where c.{load_date} is null or h.{effective} is null or {differs}
"""
_CHANGES = """
select
    count(*) filter (where {number} is null),
    count(*) filter (where {number} is not null and {load_date} is not null),
    count(*) filter (where {load_date} is null)
from touched
"""
# What holds for those keys on the day before the load_date, from the load_date to the next one, and on the next one.
_PIECES = """
create temporary table pieces on commit drop as
select h.{number}, {h_columns}, h.{effective}, {day} - 1 as {end}
from touched as c cross join lateral ({on_day_before}) as h where {until_day_before}
union all
select null, {columns}, {day}, {following} - 1 from touched where {load_date} is not null
"""
_NEXT_PIECES = """
union all
select h.{number}, {h_columns}, {following}, h.{end}
from touched as c cross join lateral ({on_following}) as h where {until_following}
"""
# All versions of the keys of which two neighbors have the same row.
_OF_EQUAL_NEIGHBORS = """
create temporary table pieces on commit drop as
select {number}, {columns}, {effective}, {end}
from (
    select *, bool_or("goes on") over (partition by {key}) as "is in pieces"
    from (
        select *, {goes_on} as "goes on" from {versions} window k as (partition by {key} order by {effective})
    ) as n
) as p
where "is in pieces"
"""
# An array, not a join: a join would read all versions where a few are to be found by their key.
_DELETE = "delete from {versions} where {number} = any(array({outdated}))"
_OUTDATED = "select {number} from touched union select {number} from pieces"
_OUTDATED_PIECES = "select {number} from pieces"
# Neighbors with the same row become one version. The names with a blank cannot be those of columns.
_INSERT = """
insert into {versions} ({number}, {columns}, {effective}, {end})
select
    {number_of}, {columns}, {effective},
    case when lead({effective}) over k is null then "last end" else lead("end before") over k end
from (
    select
        *, lag({end}) over k as "end before",
        last_value({end}) over (k rows between unbounded preceding and unbounded following) as "last end",
        {goes_on} as "goes on"
    from pieces
    window k as (partition by {key} order by {effective})
) as p
where not "goes on"
window k as (partition by {key} order by {effective})
"""
# Whether a version or piece has the row of the one of its key that ends on the day before.
_GOES_ON = """
coalesce(lag({end}) over k = {effective} - 1 and row({columns_before})::record *= row({columns})::record, false)
"""
# Each piece must be found in the versions again, and no version on the load_date where it has no row.
_LOST = """
select count(*)
from (
    select
    from pieces as c left join lateral ({on_start}) as h on true
    where h.{effective} is null
        or coalesce(h.{end}, 'infinity') < coalesce(c.{end}, 'infinity')
        or row({c_columns})::record *<> row({h_columns})::record
    union all
    select
    from touched as c cross join lateral ({on_day}) as h where c.{load_date} is null and {until_day}
) as l
"""
# The latest version of a key that began up to a day, of which the index finds the last one: LIMIT keeps the planner
# from joining all versions.
_BEGUN = """
select * from {versions} as h where {same_key} and h.{effective} <= {day} order by h.{effective} desc limit 1
"""
# The rows of the first load_date that has some: no version can be touched, and there are no neighbors.
_INSERT_FIRST = """
insert into {versions} ({number}, {columns}, {effective}, {end})
select {number_of}, {columns}, {effective}, {end}
from (select {columns}, {day} as {effective}, {following} - 1 as {end} from {rows} as c) as p
"""
_LOST_OF_FIRST = """
select count(*)
from {rows} as c
full join {versions} as h on {same_key}
where c.{load_date} is null or h.{effective} is distinct from {day} or h.{end} is distinct from {following} - 1
    or {differs}
"""
# 63 bits of a hash of the key and the first day: the same in whatever order load_dates are folded.
_NUMBER_OF = """
(('x' || encode(substring(sha256(convert_to(json_build_array({key}, {effective})::text, 'UTF8')) for 8), 'hex'))
::bit(64) >> 1)::bigint
"""


@dataclass(frozen=True)
class VersionChanges:
    """The number of keys whose version a fold began, replaced by another, or ended."""

    new: int = 0
    changed: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Compared:
    """What a fold of a candidate would change in versions; their session has the keys in a temporary table."""

    candidate: Relation
    versions: "Versions"
    changes: VersionChanges


@dataclass(frozen=True)
class Versions:
    """The versions of a history: their table, its surrogate key, its grain, and the columns of its rows."""

    relation: Relation
    surrogate_key: str
    grain: Sequence[str]
    columns: Mapping[str, str]  # name -> type

    @property
    def number_of(self) -> sql.Composable:
        """The value of the surrogate key, of the grain and the effective_date of a version."""
        return self._columns["number_of"]

    def compare(self, connection: Connection[Any], load_date: date, rows: sql.Composable) -> VersionChanges:
        """Return what a fold of `rows` would change; the keys stay in a temporary table of the session for `fold`."""
        words = self._words(load_date, _next_published(connection, self.relation, load_date), rows)
        with connection.transaction():
            return self._find_touched(connection, words)

    def fold(
        self, connection: Connection[Any], load_date: date, rows: sql.Composable, *, is_compared: bool = False
    ) -> VersionChanges:
        """Replace the rows of a load_date by `rows`, which have the columns and load_date; return what changed.

        `rows` are a relation or a subquery without an alias, unique by the grain. Call this in the transaction that
        changes the ledger, under the lock of a publish: the ledger must know the next published load_date. With
        `is_compared`, this session has compared them last, and nothing of the history was published or removed since.
        Raises WarehouseError if the versions do not give back the rows.
        """
        following = _next_published(connection, self.relation, load_date)
        words = self._words(load_date, following, rows)
        if not self._has_some(connection):
            new = connection.execute(sql.SQL(_INSERT_FIRST).format(**words)).rowcount
            self._read_back(connection, load_date, sql.SQL(_LOST_OF_FIRST).format(**words))
            return VersionChanges(new=new)
        changes = self._count_touched(connection, words) if is_compared else self._find_touched(connection, words)
        if changes != VersionChanges():
            connection.execute("analyze touched")
            pieces = _PIECES if following is None else _PIECES + _NEXT_PIECES
            for statement in (pieces, _DELETE.replace("{outdated}", _OUTDATED), _INSERT):
                connection.execute(sql.SQL(statement).format(**words))
            self._read_back(connection, load_date, sql.SQL(_LOST).format(**words))
            connection.execute("drop table pieces")
        connection.execute("drop table touched")
        return changes

    def take_out(self, connection: Connection[Any], load_date: date) -> VersionChanges:
        """Remove the rows of a load_date: from then on holds what the one before says, or nothing if there is none."""
        return self.fold(connection, load_date, rows_on(identifier(self.relation), _day(load_date) + sql.SQL(" - 1")))

    def merge(self, connection: Connection[Any]) -> None:
        """Merge neighbors that have become equal because the type of a column changed."""
        words = self._columns
        for statement in (_OF_EQUAL_NEIGHBORS, _DELETE.replace("{outdated}", _OUTDATED_PIECES), _INSERT):
            connection.execute(sql.SQL(statement).format(**words))
        connection.execute("drop table pieces")

    def have_numbers(self, connection: Connection[Any]) -> bool:
        """Return whether every version has the surrogate key that follows from its grain and its first day."""
        query = "select not exists (select 1 from {versions} where {number} <> {number_of})"
        return connection.execute(sql.SQL(query).format(**self._columns)).fetchone() == (True,)

    @cached_property
    def _columns(self) -> dict[str, sql.Composable]:
        """The parts of the statements that are the same for every load_date."""
        others = [name for name in self.columns if name not in self.grain]
        words: dict[str, sql.Composable] = {
            "versions": identifier(self.relation),
            "number": sql.Identifier(self.surrogate_key),
            "effective": sql.Identifier(EFFECTIVE),
            "end": sql.Identifier(END),
            "load_date": sql.Identifier(LOAD_DATE),
            "key": _list(self.grain),
            "columns": _list(self.columns),
            "c_columns": _list(self.columns, "c"),
            "h_columns": _list(self.columns, "h"),
            "differs": sql.SQL(differs((self.columns[name], *_both(name)) for name in self._compared)),
            "columns_before": _each("lag({}) over k", self.columns),
            "key_of_both": _each("coalesce(c.{0}, h.{0}) as {0}", self.grain),
            "other_of_rows": sql.SQL("").join(sql.SQL(", c.{}").format(sql.Identifier(name)) for name in others),
            "same_key": _each("c.{0} = h.{0}", self.grain, " and "),
        }
        made = {"number_of": _NUMBER_OF, "goes_on": _GOES_ON}
        return {**words, **{name: sql.SQL(text.strip()).format(**words) for name, text in made.items()}}

    @property
    def _compared(self) -> list[str]:
        """The columns that may differ between rows with the same key; a key of 1.0 is 1.00 too."""
        return [name for name, type_ in self.columns.items() if name not in self.grain or not is_plain(type_)]

    def _words(self, load_date: date, following: date | None, rows: sql.Composable) -> dict[str, sql.Composable]:
        """Return the parts of the statements of a fold."""
        day = _day(load_date)
        day_before = day + sql.SQL(" - 1")
        words = {
            **self._columns,
            "rows": rows,
            "day": day,
            "following": _day(following),
            # No version ends on or after the latest load_date, and the partial index finds those that have not ended.
            "holds": _until(None) if following is None else holds_on(day),
            "until_day": _until(day),
            "until_day_before": _until(day_before),
            "until_following": _until(_day(following)),
        }
        starts = {
            "on_day": day,
            "on_day_before": day_before,
            "on_following": _day(following),
            "on_start": sql.SQL("c.{effective}").format(**words),
        }
        begun = {name: sql.SQL(_BEGUN.strip()).format(**{**words, "day": start}) for name, start in starts.items()}
        return {**words, **begun}

    def _has_some(self, connection: Connection[Any]) -> bool:
        query = sql.SQL("select exists (select from {versions})").format(**self._columns)
        return connection.execute(query).fetchone() == (True,)

    def _find_touched(self, connection: Connection[Any], words: dict[str, sql.Composable]) -> VersionChanges:
        """Make the table of the touched keys, in the place of one that was not used, and count them."""
        connection.execute("drop table if exists touched")
        connection.execute(sql.SQL(_TOUCHED).format(**words))
        return self._count_touched(connection, words)

    def _count_touched(self, connection: Connection[Any], words: dict[str, sql.Composable]) -> VersionChanges:
        [counted] = connection.execute(sql.SQL(_CHANGES).format(**words)).fetchall()
        return VersionChanges(*counted)

    def _read_back(self, connection: Connection[Any], load_date: date, query: sql.Composed) -> None:
        """Raise WarehouseError if the versions do not say what was folded; the query counts the rows that differ."""
        [(lost,)] = connection.execute(query).fetchall()
        if lost:
            raise WarehouseError(
                f"{self.relation} of {load_date} was not published: read back from the versions, {lost:,} rows differ "
                "from those that were put in; if the table has a trigger or a rule, drop it, and else report this as "
                "an error of kpi_assets."
            )


def rows_on(source: sql.Composable, day: sql.Composable) -> sql.Composable:
    """Return the versions that hold on a day, with the day as load_date, as a subquery for FROM without an alias.

    `source` is the table of the versions, or a subquery with its columns.
    """
    return sql.SQL("(select {} as {}, h.* from {} as h where {})").format(
        day, sql.Identifier(LOAD_DATE), source, holds_on(day)
    )


def current_rows(relation: Relation, day: sql.Composable) -> sql.Composable:
    """Return the versions that have not ended, which are the rows of the latest load_date, as `rows_on` does."""
    return sql.SQL("(select {} as {}, h.* from {} as h where {})").format(
        day, sql.Identifier(LOAD_DATE), identifier(relation), _until(None)
    )


def holds_on(day: sql.Composable) -> sql.Composable:
    """Return the condition that a version with the alias h holds on a day."""
    return sql.SQL("h.{} <= {} and {}").format(sql.Identifier(EFFECTIVE), day, _until(day))


def _until(day: sql.Composable | None) -> sql.Composable:
    """Return the condition that a version with the alias h has not ended before a day; None: that it has not ended."""
    end = sql.Identifier("h", END)
    is_open = sql.SQL("{} is null").format(end)
    return is_open if day is None else sql.SQL("({} or {} >= {})").format(is_open, end, day)


def _next_published(connection: Connection[Any], relation: Relation, load_date: date) -> date | None:
    row = connection.execute(
        "select min(p.load_date) from ops.published as p where p.asset = %s and p.load_date > %s",
        [str(relation), load_date],
    ).fetchone()
    return row[0] if row else None


def _both(name: str) -> tuple[str, str]:
    """Return the SQL of a column of the rows, and of the versions."""
    return quoted("c", name), quoted("h", name)


def _day(day: date | None) -> sql.Composable:
    return sql.SQL("{}::date").format(sql.Literal(day))


def _list(columns: Iterable[str], *alias: str) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(*alias, name) for name in columns)


def _each(pattern: str, columns: Iterable[str], between: str = ", ") -> sql.Composable:
    return sql.SQL(between).join(sql.SQL(pattern).format(sql.Identifier(name)) for name in columns)
