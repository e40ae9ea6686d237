"""Checks of keys and references: the grain, `unique` and `foreign_key`.

Belongs here: these checks, and the proofs that make the query for bad rows unnecessary.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from kpi_assets.model.checks.bad_rows import BAD, BadRows, named_by_key
from kpi_assets.model.checks.base import AuditFacts, DenseKeyRange, Measured, TableCheck
from kpi_assets.model.checks.sql_text import all_known, any_null, count_name, counted
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.names import IDENTIFIER, LOAD_DATE, Identifier, Relation, quoted
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.sentences import Loc, refuse, shown
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.table_ref import THIS

_SMALL = 200_000  # rows of a table whose keys Postgres keeps in memory for a scan of another
_BITS = {"smallint": 16, "integer": 32, "bigint": 64}


@dataclass(frozen=True, kw_only=True)
class Grain(BadRows):
    """The key is unique and not null; a unique index on the build, if it can be created, proves uniqueness."""

    columns: tuple[str, ...]

    def row_predicate(self, facts: AuditFacts) -> str | None:
        """Return the condition that the key is null if the unique index exists: no other row can be bad."""
        return any_null(self.columns) if facts.grain_is_proven else super().row_predicate(facts)

    def affected(self, bad: int, measured: Measured) -> int:
        """Return the rows of the bad keys: if the scan counted rows, these, since no two of them share a key."""
        return bad if BAD in measured else measured.total(count_name(self.columns), self.query)


@dataclass(frozen=True, kw_only=True)
class Unique(BadRows):
    """No two rows share the values of the columns; rows with NULL in one of them are ignored."""

    columns: tuple[str, ...]
    packed: str | None  # SQL for their values as one number, if they fit
    sharing: Query  # returns every row that shares its values with another one

    @property
    def rows(self) -> Query:
        """All rows that share their values: none of them is the right one."""
        return self.sharing

    def count(self, measured: Measured) -> int:
        """Return 0 if the distinct values are as many as the rows, which is faster to find out than the groups."""
        if self.packed and measured.aggregate(f"count(*) = count(distinct {self.packed})", all_known(self.columns)):
            return 0
        return super().count(measured)

    def affected(self, bad: int, measured: Measured) -> int:  # noqa: ARG002
        """Return how many rows share their values with another one."""
        return measured.total(count_name(self.columns), self.query)


@dataclass(frozen=True, kw_only=True)
class ForeignKey(BadRows):
    """Each value of a column, unless it is null, is in a column of another table in the same load_date."""

    column: str
    refers: Relation
    to: str
    place: str  # of the word in the header

    @property
    def needs(self) -> tuple[DenseKeyRange]:
        """The range of the key that it refers to: if it is dense, a comparison with the range finds the bad rows."""
        return (DenseKeyRange(self.refers, self.to),)

    def row_predicate(self, facts: AuditFacts) -> str | None:
        """Return the condition that the value lies outside of the range, if the key is dense."""
        ends = facts.looked_up.get(self.needs[0])
        if ends is None:
            return super().row_predicate(facts)
        low, high = ends
        return f"{quoted(self.column)} not between {low} and {high}"

    def rule_predicate(self, facts: AuditFacts) -> str | None:
        """Return also the condition that the value is not among those of a table that fits into memory."""
        found = self.row_predicate(facts)
        is_plain = self.refers not in {*facts.substitutes, *self.query.histories}
        is_small = is_plain and facts.source_rows.get(self.refers, _SMALL + 1) <= _SMALL
        if found or not is_small:
            return found
        to = f"r.{quoted(self.to)}"
        there = f"{quoted(*self.refers)} as r where r.{LOAD_DATE} = %({LOAD_DATE})s and {to} is not null"
        return f"{quoted(self.column)} not in (select {to} from {there})"

    def check_neighbors(self, types: Mapping[Relation, Mapping[str, str]], path: Path, problems: Problems) -> None:
        """Add a problem if the column that it refers to does not exist."""
        columns = types.get(self.refers)
        if columns is not None and self.to not in columns:
            problems.add(
                path,
                self.line,
                f"{self.place}.foreign_key.{self.column}: {self.refers} has no column {self.to!r}: "
                f"it has {', '.join(columns)}",
            )


def packed(columns: Sequence[str], types: Mapping[str, str]) -> str | None:
    """Return SQL that packs whole numbers into one distinct number of 64 bits, or None if they do not fit."""
    if sum(_BITS.get(types[column], 65) for column in columns) > 64:
        return None
    first, *others = columns
    value = quoted(first) + ("::bigint" if others else "")
    for column in others:
        bits = _BITS[types[column]]
        value = f"({value} << {bits} | ({quoted(column)}::bigint & {(1 << bits) - 1}))"
    return value


def grain_check(table: TableDeclaration) -> Grain:
    """Return the check of the grain, which every table has."""
    key, line = ", ".join(map(quoted, table.grain)), table.lines.of("grain")
    rows = f"select {key}, {counted(table.grain)} from {THIS} group by {key}"
    return Grain(
        "grain",
        f"One row per {', '.join(table.grain)}; none is null.",
        line=line,
        dimension="uniqueness",
        query=parse_query(f"{rows} having count(*) > 1 or {any_null(table.grain)}", table.path, line),
        columns=table.grain,
    )


def _unique_check(name: str, columns: Sequence[str], table: TableDeclaration) -> Unique:
    key, line = ", ".join(map(quoted, columns)), table.line_of("unique", name)
    of, end = f"from {THIS} where {all_known(columns)}", f"group by {key} having count(*) > 1"
    sharing = f"select * from {THIS} where ({key}) in (select {key} {of} {end})"
    return Unique(
        f"unique__{name}",
        f"No two rows share {', '.join(columns)}.",
        line=line,
        query=parse_query(f"select {key}, {counted(columns)} {of} {end}", table.path, line),
        sharing=parse_query(sharing, table.path, line),
        columns=tuple(columns),
        packed=packed(columns, table.types),
    )


def _unique(keys: Mapping[str, list[str]], table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    for name, columns in keys.items():
        yield partial(_unique_check, name, columns, table)


def _foreign_key_check(column: str, reference: str, table: TableDeclaration) -> ForeignKey:
    name, _, other = reference.rpartition(".")
    relation, line = Relation.parse(name), table.line_of("foreign_key", column)
    query = (
        f"select t.* from {THIS} as t where t.{quoted(column)} is not null and not exists ("
        f"select 1 from {quoted(*relation)} as r "
        f"where r.{LOAD_DATE} = %({LOAD_DATE})s and r.{quoted(other)} = t.{quoted(column)})"
    )
    return ForeignKey(
        f"foreign_key__{column}",
        f"Each {column} is a {reference}.",
        line=line,
        query=parse_query(query, table.path, line),
        column=column,
        refers=relation,
        to=other,
        place=".".join(table.place),
    )


def _foreign_key(references: Mapping[str, str], table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    for column, reference in references.items():
        yield partial(_foreign_key_check, column, reference, table)


def _are_columns(value: dict[str, str]) -> dict[str, str]:
    refuse(
        ((column,), f"refers to {shown(reference)}: write schema.table.column")
        for column, reference in value.items()
        if not re.fullmatch(rf"{IDENTIFIER}\.{IDENTIFIER}\.{IDENTIFIER}", reference)
    )
    return value


def _unique_columns(keys: Mapping[str, list[str]]) -> Iterator[tuple[Loc, str]]:
    for name, columns in keys.items():
        yield from (((name, number), column) for number, column in enumerate(columns))


UNIQUE = CheckWord(
    name="unique",
    type=dict[Identifier, Annotated[list[str], Field(min_length=1)]],
    default={},
    description="No two rows share the values of these columns; rows with a NULL in one of them are not looked at.",
    example="unique: {email: [email], place: [aisle_id, shelf]}",
    columns=_unique_columns,
    expand=_unique,
    dimension="uniqueness",
    is_rule=True,
)
FOREIGN_KEY = CheckWord(
    name="foreign_key",
    type=Annotated[dict[str, str], AfterValidator(_are_columns)],
    default={},
    description="Each value of the column, unless it is NULL, is in that column of another table in the same "
    "load_date.",
    example="foreign_key: {product_id: raw.products.product_id}",
    columns=named_by_key,
    expand=_foreign_key,
    dimension="referential_integrity",
    is_rule=True,
)
