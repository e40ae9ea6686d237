"""Compares two published load_dates of a table: which keys came, went or changed, and in which columns.

Postgres joins the rows of both load_dates by the grain, once, and only keys that differ are read. Two values differ if
they are distinct: 1.0 and 1.00 are the same number, as in the checksum of the ledger. In a history they differ, because
there another value of any bit begins a version. Values of json, which Postgres does not compare, are compared as texts.

Belongs here: the comparison. Not here: how it is printed (cli/diff.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.bitwise import differs
from kpi_assets.model.excerpt import sql_cut
from kpi_assets.model.names import LOAD_DATE, quoted
from kpi_assets.model.pii import MASKED
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read.rows import find_publish, hidden
from kpi_assets.warehouse.connection import one_snapshot
from kpi_assets.warehouse.content import published_rows
from kpi_assets.warehouse.known_versions import is_history

Kind = Literal["came", "went", "changed"]

# The names of the subqueries cannot be those of columns, which have no blank. The counts are those of all keys that
# differ, on each row.
_COMPARED = """
select {keys}, "the kind", "the flags", "the old", "the new",
    count(*) filter (where "the kind" = 'came') over (), count(*) filter (where "the kind" = 'went') over (),
    count(*) filter (where "the kind" = 'changed') over (), {counts}
from (
    select {key_of_both},
        case when a.{load_date} is null then 'came' when b.{load_date} is null then 'went' else 'changed' end
        as "the kind",
        {flags} as "the flags", {old} as "the old", {new} as "the new"
    from {before} as a full join {after} as b on {same_key}
    where a.{load_date} is null or b.{load_date} is null or {differs}
) as d
order by {order}
limit {limit}
"""


@dataclass(frozen=True)
class Change:
    """One key that differs; `columns` are those that changed, each with its old and its new value."""

    kind: Kind
    key: Sequence[str | None]
    columns: Mapping[str, tuple[str | None, str | None]]


@dataclass(frozen=True)
class Difference:
    """The keys that differ between two load_dates, in the order of the grain, as texts of PostgreSQL.

    `changes` may be fewer than are counted because of a limit. `by_column` is the number of keys with another value in
    a column. `types` are those that a column of both has in each, and `only_before` and `only_after` are the columns of
    one alone.
    """

    grain: Sequence[str]
    types: Mapping[str, tuple[str, str]]
    changes: Sequence[Change]
    came: int
    went: int
    changed: int
    unchanged: int
    by_column: Mapping[str, int]
    only_before: Sequence[str]
    only_after: Sequence[str]


def read_difference(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    before: date,
    after: date,
    *,
    place: str,
    limit: int | None = None,
    cut: bool = False,
    personal: bool = False,
) -> Difference:
    """Compare the rows of a load_date with those of another; long values are shortened if `cut` is set.

    Values of personal columns are masked, and are texts then, unless `personal` is set. Raises UserError, which names
    the `place` of the data, if one of them is not published or has no rows any more, and if its key is another one.
    """
    with one_snapshot(connection):
        old = find_publish(connection, pipeline, table, before, place=place)
        new = find_publish(connection, pipeline, table, after, place=place)
        old_types, new_types = old.types or table.types, new.types or table.types
        grain = table.header.grain
        for name in grain:
            for publish, types in ((old, old_types), (new, new_types)):
                if name not in types:
                    raise UserError(
                        f"{table.relation} of {publish.load_date} was published without {name!r}, which is part of its "
                        "key now: build it again, then compare."
                    )
        columns = {name: (old_types[name], type_) for name, type_ in new_types.items() if name in old_types}
        masked = frozenset() if personal else hidden(table, columns)
        # A key of a history may be written in another way, such as 1.0 and 1.00, which begins a version too.
        is_bitwise = is_history(connection, table)
        values = {name: types for name, types in columns.items() if is_bitwise or name not in grain}
        query = _query(
            connection,
            table,
            old,
            new,
            {name: columns[name] for name in grain},
            values,
            limit,
            bitwise=is_bitwise,
            cut=cut,
            masked=masked,
        )
        rows = connection.execute(query).fetchall()
    came, went, changed, counts = rows[0][len(grain) + 4 :] if rows else (0, 0, 0, [0] * len(values))
    if old.rows - went != new.rows - came:
        raise UserError(
            f"{table.relation} of {before} and {after} cannot be compared: {', '.join(grain)} is not unique in one of "
            f"them, or rows are gone; `kpi recheck {pipeline.name}` of each says what is wrong."
        )
    return Difference(
        grain,
        {name: ("text", "text") if name in masked else types for name, types in columns.items()},
        list(_changes(rows, len(grain), [*values])),
        came,
        went,
        changed,
        new.rows - came - changed,
        {name: count for name, count in zip(values, counts, strict=True) if count},
        [name for name in old_types if name not in new_types],
        [name for name in new_types if name not in old_types],
    )


def _changes(rows: Sequence[Sequence[Any]], keys: int, columns: Sequence[str]) -> Iterator[Change]:
    for row in rows:
        kind, flags, old, new = row[keys : keys + 4]
        found = zip(columns, flags, old, new, strict=True) if kind == "changed" else ()
        yield Change(kind, row[:keys], {name: (was, now) for name, differs, was, now in found if differs})


def _query(
    connection: Connection[Any],
    table: Table,
    before: Publish,
    after: Publish,
    key: Mapping[str, tuple[str, str]],
    values: Mapping[str, tuple[str, str]],
    limit: int | None,
    *,
    bitwise: bool,
    cut: bool,
    masked: Collection[str],
) -> sql.Composed:
    """Return the query of the keys that differ, by `key` and the `values`, each column with its types in both."""

    def text(name: str, value: str) -> str:
        if name in masked:
            return f"case when {value} is not null then '{MASKED}' end"
        return sql_cut(f"{value}::text") if cut else f"{value}::text"

    differ = {name: _differs(name, *types, bitwise=bitwise) for name, types in values.items()}
    in_both = f"a.{LOAD_DATE} is not null and b.{LOAD_DATE} is not null"
    flags = [f"{in_both} and {condition}" for condition in differ.values()]
    old = [text(name, f"a.{quoted(name)}::{was}") for name, (was, _) in values.items()]
    new = [text(name, f"b.{quoted(name)}::{now}") for name, (_, now) in values.items()]
    counted = [f'count(*) filter (where "the flags"[{number}]) over ()' for number in range(1, len(values) + 1)]
    return sql.SQL(_COMPARED).format(
        keys=_list(text(name, f"d.{quoted(name)}" + f"::{now}" * (was == now)) for name, (was, now) in key.items()),
        counts=sql.SQL("array[{}]::bigint[]").format(_list(counted)),
        key_of_both=_list(f"coalesce(a.{quoted(name)}, b.{quoted(name)}) as {quoted(name)}" for name in key),
        load_date=sql.Identifier(LOAD_DATE),
        flags=sql.SQL("array[{}]::boolean[]").format(_list(flags)),
        old=sql.SQL("array[{}]::text[]").format(_list(map(_if, flags, old))),
        new=sql.SQL("array[{}]::text[]").format(_list(map(_if, flags, new))),
        before=published_rows(connection, table, before.load_date),
        after=published_rows(connection, table, after.load_date),
        same_key=sql.SQL(" and ".join(f"a.{quoted(name)} = b.{quoted(name)}" for name in key)),
        differs=sql.SQL(" or ".join(differ.values()) or "false"),
        order=_list(f"d.{quoted(name)}" for name in key),
        limit=sql.Literal(limit),
    )


def _differs(name: str, was: str, now: str, *, bitwise: bool) -> str:
    """Return the condition that a column has another value; of one relation, its stored type is the same in both."""
    old, new = f"a.{quoted(name)}", f"b.{quoted(name)}"
    if bitwise:
        return differs([(now, old, new)])
    if "json" in (was, now):
        old, new = f"{old}::text", f"{new}::text"
    return f"{old} is distinct from {new}"


def _if(condition: str, value: str) -> str:
    return f"case when {condition} then {value} end"


def _list(expressions: Iterable[str]) -> sql.Composable:
    """Return expressions as a list. They are safe as SQL: of allow-listed types, and of names without quotes."""
    return sql.SQL(", ").join(map(sql.SQL, expressions))
