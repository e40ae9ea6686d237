"""The query of a comparison: the keys of two sides that differ, and how many there are, in one full join.

Belongs here: SQL. Not here: what is compared, and what it means (diff.py).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from kpi_assets.model.bitwise import differs
from kpi_assets.model.column_types import are_alike
from kpi_assets.model.excerpt import sql_cut
from kpi_assets.model.names import LOAD_DATE, quoted
from kpi_assets.model.pii import MASKED
from kpi_assets.read.sides import Side

Types = Mapping[str, tuple[str, str]]  # column -> its type on each side

# Names that are not those of columns, which have no blank.
_COMPARED = """
with d as materialized (
    select {key_of_both}, {kind} as "the kind", {copies} as "the copies", a.{load_date} is not null as "the first",
        {flags} as "the flags", {old} as "the old", {new} as "the new"
    from {before} as a full join {after} as b on {same_key}
    where a.{load_date} is null or b.{load_date} is null or {repeated} or {differs}
), c as (
    select array[
        count(*) filter (where "the kind" = 'came'), count(*) filter (where "the kind" = 'went'),
        count(*) filter (where "the kind" = 'changed'), count(*) filter (where "the kind" = 'repeated'),
        count(*) filter (where "the kind" = 'repeated' and "the first"), coalesce(sum("the copies" - 1), 0)
    ]::bigint[] as "the counts", {by_column} as "the columns"
    from d
)
select c."the counts", c."the columns", {keys}, "the kind", "the copies", "the flags", "the old", "the new"
from c left join (select * from {listed} as d order by {order} limit {limit}) as d on true
order by {order}
"""
# So many keys of each kind.
_EACH = """
(
    select * from (
        select *, row_number() over (partition by "the kind" order by {order}) as "the number" from d
    ) as d
    where "the number" <= {each}
)
"""
# Of several rows of a key, which only a side that is not unique has, one.
_ONCE = '(select distinct on ({key}) r.*, count(*) over (partition by {key}) as "the copies" from {rows} as r)'
_TOUCHED = "(select p.* from {rows} as p where exists (select from {others} as o where {same}))"


@dataclass(frozen=True)
class DiffQuery:
    """The query of the keys that differ, by the columns of the `key` and the `compared` ones.

    It returns the counts, the number of changed keys by column, and then of each listed key its columns, kind, number
    of rows, and of each column whether it differs, its old and its new value. If nothing differs, there is one row.
    The values of the columns `masked` are masked.
    """

    before: Side
    after: Side
    key: Types
    compared: Types
    is_bitwise: bool
    cut: bool
    masked: Collection[str] = ()

    def text(self, limit: int | None, each: int | None) -> sql.Composed:
        """Return it as SQL, with at most `limit` keys, and at most `each` of a kind."""
        key, compared = self.key, self.compared
        repeated = self._repeated()
        differ = {name: self._differs(name, *types) for name, types in compared.items()}
        in_both = f"a.{LOAD_DATE} is not null and b.{LOAD_DATE} is not null and not ({repeated})"
        flags = [f"{in_both} and {condition}" for condition in differ.values()]
        old, new = ([self._text(name, alias) for name in compared] for alias in ("a", "b"))
        counted = [f'count(*) filter (where "the flags"[{number}])' for number in range(1, len(compared) + 1)]
        order = as_list(f"d.{quoted(name)}" for name in key)
        return sql.SQL(_COMPARED).format(
            key_of_both=as_list(
                f"coalesce({_comparable('a', name, *types)}, {_comparable('b', name, *types)}) as {quoted(name)}"
                for name, types in key.items()
            ),
            kind=sql.SQL(
                f"case when {repeated} then 'repeated' when a.{LOAD_DATE} is null then 'came' "
                f"when b.{LOAD_DATE} is null then 'went' else 'changed' end"
            ),
            copies=sql.SQL("1" if self.after.is_unique else 'coalesce(b."the copies", 1)'),
            load_date=sql.Identifier(LOAD_DATE),
            flags=_array(flags, "boolean"),
            old=_array(map(_if, flags, old), "text"),
            new=_array(map(_if, flags, new), "text"),
            before=self._rows_before(),
            after=self._rows_after(),
            same_key=sql.SQL(self._same("a", "b")),
            repeated=sql.SQL(repeated),
            differs=sql.SQL(" or ".join(differ.values()) or "false"),
            by_column=_array(counted, "bigint"),
            keys=as_list(self._text(name, "d") for name in key),
            listed=sql.SQL("d") if each is None else sql.SQL(_EACH).format(order=order, each=sql.Literal(each)),
            order=order,
            limit=sql.Literal(limit),
        )

    def _repeated(self) -> str:
        """Return the condition that a key has several rows, or would have them."""
        several = "false" if self.after.is_unique else 'b."the copies" > 1'
        return f"{several} or a.{LOAD_DATE} is not null" if self.after.is_added else several

    def _rows_before(self) -> sql.Composable:
        """Return the rows that are joined: those that the other side replaces, or whose keys it has again."""
        if not self.after.is_added:
            return self.before.rows
        return sql.SQL(_TOUCHED).format(
            rows=self.before.rows, others=self.after.rows, same=sql.SQL(self._same("p", "o"))
        )

    def _rows_after(self) -> sql.Composable:
        if self.after.is_unique:
            return self.after.rows
        return sql.SQL(_ONCE).format(key=as_list(f"r.{quoted(name)}" for name in self.key), rows=self.after.rows)

    def _same(self, one: str, other: str) -> str:
        """Return the condition that the keys of two rows are the same."""
        return " and ".join(
            f"{_comparable(one, name, *types)} = {_comparable(other, name, *types)}" for name, types in self.key.items()
        )

    def _differs(self, name: str, was: str, now: str) -> str:
        """Return the condition that a column has another value on both sides."""
        if not self.is_bitwise:
            return f"{_comparable('a', name, was, now)} is distinct from {_comparable('b', name, was, now)}"
        as_text = "::text" * (was != now)
        old, new = (f"{alias}.{quoted(name)}{as_text}" for alias in ("a", "b"))
        return differs([("text" if as_text else now, old, new)])

    def _text(self, name: str, alias: str) -> str:
        expression = f"{alias}.{quoted(name)}"
        if name in self.masked:
            return f"case when {expression} is not null then '{MASKED}' end"
        return sql_cut(f"{expression}::text") if self.cut else f"{expression}::text"


def _comparable(alias: str, name: str, was: str, now: str) -> str:
    """Return a column of one side, of a type that Postgres can compare with that of the other side."""
    return f"{alias}.{quoted(name)}" + "::text" * (not are_alike(was, now))


def _if(condition: str, value: str) -> str:
    return f"case when {condition} then {value} end"


def _array(expressions: Iterable[str], type_: str) -> sql.Composable:
    return sql.SQL("array[{}]::{}[]").format(as_list(expressions), sql.SQL(type_))


def as_list(expressions: Iterable[str]) -> sql.Composable:
    """Return expressions as a list. They are safe as SQL: of allow-listed types, and of names without quotes."""
    return sql.SQL(", ").join(map(sql.SQL, expressions))
