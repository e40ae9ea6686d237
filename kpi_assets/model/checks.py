"""Checks: what each word of a header asks of a build, as data that the audit can execute.

Belongs here: the kinds of check, and the bad-row query that each built-in word stands for. Not here: running them
(build/).
One polarity everywhere: a query returns bad rows. A comparison with NULL is not a bad row: `not_null` says that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from kpi_assets.model.header import Header, Value
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import Query, parse_query


@dataclass(frozen=True)
class Check:
    """What every check has; `blocking` ones hold the build when they fail."""

    name: str
    description: str
    blocking: bool = True

    @property
    def reads(self) -> tuple[Relation, ...]:
        """The tables it reads besides the build itself; they must be published first."""
        return ()


@dataclass(frozen=True)
class BadRows(Check):
    """Passes when its query returns no rows; the metric is how many it returns."""

    query: Query | None = None

    @property
    def reads(self) -> tuple[Relation, ...]:
        """The tables of the query."""
        return self.query.reads if self.query else ()


@dataclass(frozen=True)
class Grain(BadRows):
    """The key is unique and not null; building the unique index on a build proves the first, unless it fails."""

    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class MinRows(Check):
    """At least `at_least` rows, and `of_previous` times those of the latest earlier load_date that is published."""

    at_least: int = 1
    of_previous: float = 0.0


@dataclass(frozen=True)
class Reconcile(Check):
    """Rows of the source = `counted` over the build + rows that the named rules drop; the metric is the difference."""

    source: Relation = Relation("", "")
    counted: str = "count(*)"
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def reads(self) -> tuple[Relation, ...]:
        """The source."""
        return (self.source,)


@dataclass(frozen=True)
class Accounted(Check):
    """Records in the object, counted by us = rows loaded + rows in quarantine; the metric is the difference."""


@dataclass(frozen=True)
class Quarantine(Check):
    """At most `budget` records of the object were set aside because a value or the record itself cannot be read."""

    budget: int = 0


def literal(value: Value) -> str:
    """A constant of a header as SQL; percent signs doubled, since queries are executed with parameters."""
    return sql.Literal(value).as_string(None).strip().replace("%", "%%")


def expand(header: Header, path: Path, line_of: Callable[[str], int], minimum: int | None = None) -> tuple[Check, ...]:
    """The checks of a table, in the order in which people read them. Raises ModelError.

    `line_of` tells the line of a header's word; `minimum` is this environment's minimum rows, instead of the header's.
    """
    words = header.checks
    checks: list[Check] = []
    if header.source:
        checks += [
            Accounted("rows_accounted", "Records in the object = rows loaded + rows in quarantine."),
            Quarantine(
                "quarantine",
                f"At most {header.source.quarantine_budget} records cannot be read as their columns' types.",
                budget=header.source.quarantine_budget,
            ),
        ]
    checks += [
        _grain(header, path),
        MinRows(
            "min_rows",
            "Not suddenly empty or shrunk.",
            at_least=words.min_rows.at_least if minimum is None else minimum,
            of_previous=words.min_rows.of_previous,
        ),
    ]
    checks += [
        BadRows(name, description, query=parse_query(query, path)) for name, description, query in _built_in(header)
    ]
    if words.reconcile:
        rule = words.reconcile
        checks.append(
            Reconcile(
                "reconcile",
                f"Every row of {rule.source} is here or dropped by a named rule"
                + (f" ({', '.join(rule.dropped)})." if rule.dropped else "; no rule drops any."),
                source=Relation.parse(rule.source),
                counted=rule.counted,
                dropped=tuple(rule.dropped.items()),
            )
        )
    for name, custom in words.custom.items():
        checks.append(
            BadRows(
                name,
                custom.description or name.replace("_", " ").capitalize() + ".",
                blocking=custom.severity == "error",
                query=parse_query(custom.bad_rows, path, line_of(name)),
            )
        )
    return tuple(checks)


def _grain(header: Header, path: Path) -> Grain:
    key = ", ".join(header.grain)
    some_null = " or ".join(f"{column} is null" for column in header.grain)
    query = f"select {key}, count(*) as rows from {{this}} group by {key} having count(*) > 1 or {some_null}"
    return Grain(
        "grain", f"One row per {key}; none is null.", query=parse_query(query, path), columns=tuple(header.grain)
    )


def _built_in(header: Header) -> list[tuple[str, str, str]]:
    """(name, description, bad-row query) of each row check that a word of the header asks for."""
    words = header.checks
    made = []
    if words.not_null:
        predicate = " or ".join(f"{column} is null" for column in words.not_null)
        made.append(
            ("not_null", f"Never null: {', '.join(words.not_null)}.", f"select * from {{this}} where {predicate}")
        )
    for column, values in words.accepted_values.items():
        allowed = ", ".join(literal(value) for value in values)
        made.append(
            (
                f"accepted_values__{column}",
                f"{column} is one of {', '.join(str(value) for value in values)}.",
                f"select * from {{this}} where {column} not in ({allowed})",
            )
        )
    for column, (low, high) in words.range.items():
        bounds = [f"{column} {sign} {literal(end)}" for sign, end in (("<", low), (">", high)) if end is not None]
        made.append(
            (
                f"range__{column}",
                f"{column} lies in {low if low is not None else '...'} to {high if high is not None else '...'}.",
                f"select * from {{this}} where {' or '.join(bounds)}",
            )
        )
    for name, columns in words.unique.items():
        key = ", ".join(columns)
        known = " and ".join(f"{column} is not null" for column in columns)
        made.append(
            (
                f"unique__{name}",
                f"No two rows share {key}.",
                f"select {key}, count(*) as rows from {{this}} where {known} group by {key} having count(*) > 1",
            )
        )
    for column, reference in words.foreign_key.items():
        relation, _, other = reference.rpartition(".")
        made.append(
            (
                f"foreign_key__{column}",
                f"Each {column} is a {reference}.",
                f"select t.* from {{this}} as t where t.{column} is not null and not exists ("
                f"select 1 from {relation} as r where r.{LOAD_DATE} = %({LOAD_DATE})s and r.{other} = t.{column})",
            )
        )
    return made
