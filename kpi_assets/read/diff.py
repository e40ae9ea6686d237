"""Compares two sides of a table: which keys came, went or changed, in which columns, and what the numbers add up to.

Postgres joins the rows of both sides by the grain, once, and only keys that differ are read. Two values differ if they
are distinct: 1.0 and 1.00 are the same number, as in the checksum of the ledger. In a history they differ, because
there another value of any bit begins a version. Values that Postgres cannot compare, such as those of json, are
compared as texts. The number of the batch that brought a row is not compared, because a replay gives other ones.

If the ledger has the same checksum for both sides, no row is read. A held candidate may have a key more than once; such
a key is named, and its values are not compared.

Belongs here: the comparison, and what it found. Not here: its SQL (diff_query.py), where the rows of a side are
(sides.py), and how it is printed (cli/diff.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, Literal

import psycopg
from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.model.column_types import FLOATS, NUMBERS, base_of
from kpi_assets.model.names import BATCH, quoted
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read.diff_query import DiffQuery, Types, as_list
from kpi_assets.read.rows import hidden
from kpi_assets.read.sides import Asked, Held, Published, Side, refuse_unpublished
from kpi_assets.warehouse.connection import one_snapshot
from kpi_assets.warehouse.known_versions import is_history

Kind = Literal["came", "went", "changed", "repeated"]
_DIGITS = Context(prec=200_000, traps=[])  # more than a numeric of PostgreSQL can have


@dataclass(frozen=True)
class Change:
    """One key that differs; `columns` are those that changed, each with its old and its new value.

    A repeated key has several rows in a held candidate (`copies`), or is published and comes in another batch.
    """

    kind: Kind
    key: Sequence[str | None]
    columns: Mapping[str, tuple[str | None, str | None]]
    copies: int = 1


@dataclass(frozen=True)
class Sums:
    """What the values of a numeric column add up to on each side, without NULLs; None if there is no value."""

    before: str | None
    after: str | None

    @property
    def change(self) -> str | None:
        """What the sum changes by, exactly."""
        if self.before is None and self.after is None:
            return None
        return _text_of(_DIGITS.subtract(Decimal(self.after or 0), Decimal(self.before or 0)))


@dataclass(frozen=True)
class Difference:
    """The keys that differ between two sides, in the order of the grain, as texts of PostgreSQL.

    `changes` may be fewer than are counted because of a limit. `by_column` is the number of keys with another value in
    a column, and `sums` are those of the numeric columns. `types` are those that a column of both has on each side, and
    `only_before` and `only_after` are the columns of one side alone. Of sides with equal checksums nothing was read.
    """

    before: Side
    after: Side
    grain: Sequence[str]
    types: Types
    changes: Sequence[Change]
    came: int
    went: int
    changed: int
    unchanged: int
    repeated: int = 0
    by_column: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, Sums] = field(default_factory=dict)
    only_before: Sequence[str] = ()
    only_after: Sequence[str] = ()
    was_read: bool = True

    @property
    def differing(self) -> int:
        """The number of keys that differ."""
        return self.came + self.went + self.changed + self.repeated


def read_difference(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    before: Asked,
    after: Asked,
    *,
    place: str,
    limit: int | None = None,
    each: int | None = None,
    cut: bool = False,
    personal: bool = False,
) -> Difference:
    """Compare two sides of a table, as `compare` does, in one snapshot.

    Raises UserError, which names the `place` of the data, if one of them is not there or has no rows any more, and if
    the key is not that of both.
    """
    try:
        with one_snapshot(connection, [table.relation]):
            new = after.find(connection, pipeline, table, place=place)
            if isinstance(after, Held) and before == Published(after.load_date):
                refuse_unpublished(connection, pipeline, table, after.load_date, place=place)
            old = before.find(connection, pipeline, table, place=place)
            return compare(connection, table, old, new, limit=limit, each=each, cut=cut, personal=personal)
    except psycopg.errors.UndefinedTable:
        raise UserError(
            f"What is compared of {table.relation} was dropped meanwhile, by a build or by `kpi drop`: compare again "
            "when that has ended."
        ) from None


def compare(
    connection: Connection[Any],
    table: Table,
    before: Side,
    after: Side,
    *,
    limit: int | None = None,
    each: int | None = None,
    cut: bool = False,
    personal: bool = False,
) -> Difference:
    """Compare two sides by the grain of their table.

    At most `limit` keys are read, and at most `each` of a kind. Long values are shortened if `cut` is set. Values of
    personal columns are masked, and are texts then, unless `personal` is set; they are not added up.

    Raises UserError if the key is not that of both.
    """
    grain = table.header.grain
    _check_key(table, before, after)
    types = {name: (before.types[name], type_) for name, type_ in after.types.items() if name in before.types}
    if _are_equal(table, before, after):
        return Difference(before, after, grain, types, [], 0, 0, 0, before.count or 0, was_read=False)
    # A key of a history may be written in another way, such as 1.0 and 1.00, which begins a version too.
    bitwise = is_history(connection, table)
    ignored = {*(() if bitwise else grain), *([BATCH] if table.grows else ())}
    compared = {name: both for name, both in types.items() if name not in ignored}
    masked = frozenset() if personal else hidden(table, types)
    sums_of = [name for name, both in compared.items() if name not in (*grain, *masked) and all(map(_is_number, both))]
    key = {name: types[name] for name in grain}
    query = DiffQuery(before, after, key, compared, is_bitwise=bitwise, cut=cut, masked=masked)
    rows = connection.execute(query.text(limit, each)).fetchall()
    totals = [_totals(connection, side, sums_of) for side in (before, after)]
    (came, went, changed, repeated, repeated_there, copies), by_column = rows[0][:2]
    old, new = (
        total.rows if side.count is None else side.count for side, total in zip((before, after), totals, strict=True)
    )
    unchanged = old - went - changed - repeated_there
    if new - copies - came - repeated != (0 if after.is_added else unchanged + changed):
        raise UserError(
            f"{table.relation} of {before.name} and {after.name} cannot be compared: {', '.join(grain)} is not unique "
            f"in one of them, or rows are gone; `kpi recheck {table.pipeline}` of each says what is wrong."
        )
    return Difference(
        before,
        after,
        grain,
        {name: ("text", "text") if name in masked else both for name, both in types.items()},
        list(_changes(rows, len(grain), [*compared])),
        came,
        went,
        changed,
        unchanged,
        repeated,
        {name: count for name, count in zip(compared, by_column, strict=True) if count},
        {
            name: Sums(was, _plus(was, now) if after.is_added else now)
            for name, was, now in zip(sums_of, totals[0].sums, totals[1].sums, strict=True)
        },
        [name for name in before.types if name not in types],
        [name for name in after.types if name not in types],
    )


def _check_key(table: Table, before: Side, after: Side) -> None:
    for name in table.header.grain:
        for side in (before, after):
            if name not in side.types:
                raise UserError(
                    f"{table.relation} of {side.name} was built without {name!r}, which is part of its key now: build "
                    "it again, then compare."
                )


def _are_equal(table: Table, before: Side, after: Side) -> bool:
    """Return whether the ledger says that the rows are the same.

    A checksum counts the order of the columns, and not the batch of a row. Those of two kinds say nothing together.
    """
    if before.checksum is None or after.is_added or (table.grows and BATCH in table.header.grain):
        return False
    one, other = ((side.checksum_kind, side.checksum, side.count, [*side.types.items()]) for side in (before, after))
    return one == other


def _is_number(type_: str) -> bool:
    return base_of(type_) in NUMBERS


@dataclass(frozen=True)
class _Totals:
    rows: int
    sums: Sequence[str | None]


def _totals(connection: Connection[Any], side: Side, columns: Sequence[str]) -> _Totals:
    """Return the number of rows of a side, and the sum of each column.

    Floats are added up as numerics, since another order of the rows would give another sum of floats.
    """
    sums = [f"sum(t.{quoted(name)}{'::numeric' * (side.types[name] in FLOATS)})::text" for name in columns]
    [(rows, *found)] = connection.execute(
        sql.SQL("select {} from {} as t").format(as_list(["count(*)", *sums]), side.rows)
    ).fetchall()
    return _Totals(rows, found)


def _plus(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return one or other
    return _text_of(_DIGITS.add(Decimal(one), Decimal(other)))


def _text_of(number: Decimal) -> str:
    return f"{number:f}"


def _changes(rows: Sequence[Sequence[Any]], keys: int, columns: Sequence[str]) -> Iterator[Change]:
    for _, _, *row in rows:
        kind, copies, flags, old, new = row[keys:]
        if kind is None:  # there is no difference, and the row has the counts alone
            return
        found = zip(columns, flags, old, new, strict=True) if kind == "changed" else ()
        yield Change(kind, tuple(row[:keys]), {name: (was, now) for name, flag, was, now in found if flag}, copies)
