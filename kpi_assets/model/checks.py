"""Checks: what each word of a header asks of a build, as data that the audit can execute.

Belongs here: the kinds of check, and the bad-row query that each built-in word stands for. Not here: running them
(materialize/).
One polarity everywhere: a query returns bad rows. A comparison with NULL is not a bad row: `not_null` says that.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from psycopg import sql

from kpi_assets.model.header import CustomCheck, Header, Value
from kpi_assets.model.header import MinRows as MinRowsWords
from kpi_assets.model.header import Reconcile as ReconcileRule
from kpi_assets.model.lookback import WINDOW_START, Key
from kpi_assets.model.names import LOAD_DATE, Relation, quoted
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import Lines, Problems
from kpi_assets.model.sums import check_count, check_summand
from kpi_assets.model.table_ref import THIS

SAME_WEEKDAYS, ENOUGH_WEEKDAYS = 8, 4  # load_dates that tell what is usual: at most, and at least
_ENDLESS = ("numeric", "real", "double", "date", "timestamp")  # the types that know infinity


@dataclass(frozen=True)
class Check:
    """What every check has; `blocking` ones hold the build when they fail; `line` is that of its word in the file."""

    name: str
    description: str
    blocking: bool = True
    line: int = 1

    @property
    def queries(self) -> tuple[Query, ...]:
        """What it asks of Postgres, as SQL of its own."""
        return ()

    @property
    def mentions(self) -> Mapping[Relation, int]:
        """The tables it reads besides the build itself, which must be published first, and on which line."""
        return {relation: line for query in self.queries for relation, line in query.mentions.items()}

    def with_keys(self, keys: Mapping[Relation, Key]) -> "Check":  # noqa: ARG002
        """The same, once it is known which rows count of the tables that it reads over a window."""
        return self


@dataclass(frozen=True)
class BadRows(Check):
    """Passes when its query returns no rows; the metric is how many it returns."""

    query: Query | None = None

    @property
    def queries(self) -> tuple[Query, ...]:
        """The query."""
        return (self.query,) if self.query else ()

    def with_keys(self, keys: Mapping[Relation, Key]) -> "Check":
        """The same for the query."""
        return replace(self, query=replace(self.query, keys=keys)) if self.query else self


@dataclass(frozen=True)
class Grain(BadRows):
    """The key is unique and not null; building the unique index on a build proves the first, unless it fails."""

    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class ForeignKey(BadRows):
    """Each value of a column, unless it is null, is one of another table's column in the same load_date."""

    column: str = ""
    refers: Relation = Relation("", "")
    to: str = ""


@dataclass(frozen=True)
class Unique(BadRows):
    """No two rows share the values of the columns; rows in which one of them is null are not looked at."""

    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class MinRows(Check):
    """At least `at_least` rows, and shares of what was published before.

    `of_previous` is a share of the rows of the latest earlier load_date, `of_usual` one of the median of the rows of
    the SAME_WEEKDAYS latest earlier load_dates of the same weekday, once there are ENOUGH_WEEKDAYS.
    """

    at_least: int = 1
    of_previous: float = 0.0
    of_usual: float = 0.0

    @property
    def version(self) -> str:
        """Another text for each other minimum."""
        return f"{self.at_least} {self.of_previous} {self.of_usual}"


@dataclass(frozen=True)
class Reconcile(Check):
    """What the source has = `here`, over the build, + what the named rules drop; the metric is the difference.

    Rows, or where `summed` is an expression over a row of the source, the sum of it.
    """

    source: Relation = Relation("", "")
    summed: str = ""
    here: str = "count(*)"
    dropped: tuple[tuple[str, Query], ...] = ()  # rule -> the query for what the rows of the source have that it drops
    total: Query | None = None  # what the source has; None for the rows of one load_date, which the ledger knows

    @property
    def queries(self) -> tuple[Query, ...]:
        """Those of the rules, and that of the source."""
        return (*(query for _, query in self.dropped), *([self.total] if self.total else []))

    @property
    def mentions(self) -> Mapping[Relation, int]:
        """The source, and what the rules read besides."""
        return {**super().mentions, self.source: self.line}

    def with_keys(self, keys: Mapping[Relation, Key]) -> "Check":
        """The same for its queries."""
        dropped = tuple((rule, replace(query, keys=keys)) for rule, query in self.dropped)
        return replace(self, dropped=dropped, total=replace(self.total, keys=keys) if self.total else None)


@dataclass(frozen=True)
class RowAccounting(Check):
    """Records in the object, counted by us = rows loaded + rows in quarantine; the metric is the difference."""


@dataclass(frozen=True)
class Quarantine(Check):
    """At most `budget` records of the object were set aside because a value or the record itself cannot be read."""

    budget: int = 0


@dataclass(frozen=True)
class NotSeenBefore(Check):
    """No other object that was delivered before has the same bytes; the metric is how many have."""


def literal(value: Value) -> str:
    """A constant of a header as SQL; percent signs doubled, since queries are executed with parameters."""
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)  # without a type of its own: that of what it is compared with
    return sql.Literal(value).as_string(None).strip().replace("%", "%%")


def name_of(column: str) -> str:
    """A column as SQL."""
    return quoted(column)


def all_known(columns: Iterable[str]) -> str:
    """That none of the columns is null, as SQL."""
    return " and ".join(f"{name_of(column)} is not null" for column in columns)


def expand(
    header: Header, path: Path, lines: Lines, minimum: int | None = None, default: MinRowsWords | None = None
) -> tuple[Check, ...]:
    """The checks of a table, in the order in which people read them. Raises ModelError.

    `lines` tells where the header's words stand; `minimum` is this environment's minimum rows, instead of the header's;
    `default` is what the pipeline says of them, where the header does not.
    """
    if header.storage == "view":
        return ()  # its rows are another table's, which were checked there
    checks: list[Check] = []
    if header.source and header.has_object:
        checks += [
            RowAccounting("rows_accounted", "Records in the object = rows loaded + rows in quarantine."),
            Quarantine(
                "quarantine",
                f"At most {header.source.quarantine_budget} records cannot be read as their columns' types.",
                budget=header.source.quarantine_budget,
            ),
        ]
        # Of the rows rather than of the object: only the reading of all bytes proves that they are the same.
        if header.source.same_bytes != "ignore":
            checks.append(
                NotSeenBefore(
                    "not_seen_before",
                    "The object's bytes were not delivered before as another object.",
                    blocking=header.source.same_bytes == "hold",
                    line=lines.of("source", "same_bytes"),
                )
            )
    checks += [_grain(header, path, lines), *_min_rows(header, lines, minimum, default)]
    problems = Problems()
    for made in _from_words(header, path, lines):
        with problems.collected():
            checks.append(made())
    names: set[str] = set()
    for check in checks:
        if check.name in names:
            problems.add(path, check.line, f"two checks are called {check.name!r}: rename this one")
        names.add(check.name)
    problems.raise_any()
    return tuple(checks)


def _min_rows(header: Header, lines: Lines, minimum: int | None, default: MinRowsWords | None) -> Iterator[MinRows]:
    """The check of the number of rows; none where any number will do."""
    said = header.checks.min_rows or default or MinRowsWords()
    at_least = said.at_least if minimum is None else minimum
    if at_least is None:
        at_least = 1 if header.is_raw or header.kpi else 0
    floors = [
        f"{at_least} row{'s' * (at_least != 1)}" if at_least else "",
        f"{said.of_previous:.0%} of the load_date before" if said.of_previous else "",
        f"{said.of_usual:.0%} of what is usual on its weekday" if said.of_usual else "",
    ]
    if any(floors):
        yield MinRows(
            "min_rows",
            f"At least {', and '.join(filter(None, floors))}.",
            line=lines.of("checks", "min_rows"),
            at_least=at_least,
            of_previous=said.of_previous,
            of_usual=said.of_usual,
        )


def _from_words(header: Header, path: Path, lines: Lines) -> Iterator[Callable[[], Check]]:
    """What makes each of the checks that a word or a name of `checks` asks for; each may raise ModelError."""
    for name, description, loc, query in _built_in(header):
        yield partial(_rows, name, description, query, path, lines.of("checks", *loc))
    for name, columns in header.checks.unique.items():
        yield partial(_unique, name, columns, path, lines)
    for column, reference in header.checks.foreign_key.items():
        yield partial(_foreign_key, column, reference, path, lines)
    if header.checks.reconcile:
        yield partial(_reconcile, header.checks.reconcile, header, path, lines, ("checks", "reconcile"))
    for name, custom in header.checks.custom.items():
        yield partial(_custom, name, custom, header, path, lines)


def _rows(name: str, description: str, query: str, path: Path, line: int) -> BadRows:
    return BadRows(name, description, line=line, query=parse_query(query, path, line))


def _custom(name: str, custom: CustomCheck, header: Header, path: Path, lines: Lines) -> Check:
    place = ("checks", "custom", name)
    if custom.reconcile:
        found: Check = _reconcile(custom.reconcile, header, path, lines, (*place, "reconcile"))
    else:
        assert custom.bad_rows
        line = lines.of_text(*place, "bad_rows")
        lookback = header.lookback is not None
        found = BadRows(name, "", query=parse_query(custom.bad_rows, path, line, lookback=lookback))
    return replace(
        found,
        name=name,
        description=custom.description or found.description or name.replace("_", " ").capitalize() + ".",
        blocking=custom.severity == "error",
        line=lines.of(*place),
    )


def _grain(header: Header, path: Path, lines: Lines) -> Grain:
    key = ", ".join(map(name_of, header.grain))
    some_null = " or ".join(f"{name_of(column)} is null" for column in header.grain)
    query = f"select {key}, {_counted(header.grain)} from {THIS} group by {key} having count(*) > 1 or {some_null}"
    return Grain(
        "grain",
        f"One row per {', '.join(header.grain)}; none is null.",
        line=lines.of("grain"),
        query=parse_query(query, path, lines.of("grain")),
        columns=tuple(header.grain),
    )


def _counted(key: Sequence[str]) -> str:
    """How many rows share a key, under a name that is none of its columns'."""
    return "count(*) as rows" if "rows" not in key else 'count(*) as "number of rows"'


def _reconcile(rule: ReconcileRule, header: Header, path: Path, lines: Lines, place: tuple[str, ...]) -> Reconcile:
    """With a lookback the source is what the SELECT reads of it: its rows of the window that count."""
    lookback, line = header.lookback is not None, lines.of(*place, "source")
    types = {name: column.type for name, column in header.columns.items()}
    here = rule.counted or "count(*)"
    if rule.counted:
        check_count(rule.counted, types, path, lines.of_text(*place, "counted"))
    elif rule.sum:
        word = "here" if rule.here else "sum"
        here = f"sum({rule.here or rule.sum}\n)"
        check_summand(rule.here or rule.sum, types, path, lines.of_text(*place, word))
    tie = f"{LOAD_DATE} between %({WINDOW_START})s and" if lookback else f"{LOAD_DATE} ="
    measure = f"coalesce(sum({rule.sum}\n), 0)" if rule.sum else "count(*)"
    of_source = f"select {measure} from {quoted(*Relation.parse(rule.source))} where {tie} %({LOAD_DATE})s"
    total = parse_query(of_source, path, lines.of_text(*place, "sum") if rule.sum else line, lookback=lookback)
    dropped, problems = [], Problems()
    for name, predicate in rule.dropped.items():
        at = lines.of_text(*place, "dropped", name) - of_source.count("\n")
        with problems.collected():
            dropped.append((name, parse_query(f"{of_source} and ({predicate}\n)", path, at, lookback=lookback)))
    problems.raise_any()
    summed = " ".join(rule.sum.split()) if rule.sum else ""
    what = f"All of sum({summed})" if rule.sum else "Every row"
    return Reconcile(
        "reconcile",
        f"{what} of {rule.source} is here or dropped by a named rule"
        + (f" ({', '.join(rule.dropped)})." if rule.dropped else "; no rule drops any."),
        line=line,
        source=Relation.parse(rule.source),
        summed=summed,
        here=here,
        total=total if lookback or rule.sum else None,
        dropped=tuple(dropped),
    )


def _built_in(header: Header) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """(name, description, where it stands in checks, bad-row query) of each row check that a word asks for."""
    words = header.checks
    if words.not_null:
        predicate = " or ".join(f"{name_of(column)} is null" for column in words.not_null)
        yield "not_null", f"Never null: {', '.join(words.not_null)}.", ("not_null",), _rows_where(predicate)
    for column, values in words.accepted_values.items():
        yield (
            f"accepted_values__{column}",
            f"{column} is one of {', '.join(str(value) for value in values)}.",
            ("accepted_values", column),
            _rows_where(f"{name_of(column)} not in ({', '.join(map(literal, values))})"),
        )
    for column, (low, high) in words.range.items():
        bounds = [
            f"{name_of(column)} {sign} {literal(end)}" for sign, end in (("<", low), (">", high)) if end is not None
        ]
        if header.columns[column].type.startswith(_ENDLESS):  # an open end means any value, but a value it must be
            bounds += [f"{name_of(column)} <= '-infinity'"] if low is None else []
            bounds += [f"{name_of(column)} >= 'infinity'"] if high is None else []  # NaN too, which sorts above all
        yield (
            f"range__{column}",
            f"{column} lies in {low if low is not None else '...'} to {high if high is not None else '...'}.",
            ("range", column),
            _rows_where(" or ".join(bounds)),
        )


def _unique(name: str, columns: Sequence[str], path: Path, lines: Lines) -> Unique:
    key, line = ", ".join(map(name_of, columns)), lines.of("checks", "unique", name)
    rows = f"select {key}, {_counted(columns)} from {THIS} where {all_known(columns)}"
    return Unique(
        f"unique__{name}",
        f"No two rows share {', '.join(columns)}.",
        line=line,
        query=parse_query(f"{rows} group by {key} having count(*) > 1", path, line),
        columns=tuple(columns),
    )


def _foreign_key(column: str, reference: str, path: Path, lines: Lines) -> ForeignKey:
    name, _, other = reference.rpartition(".")
    relation, line = Relation.parse(name), lines.of("checks", "foreign_key", column)
    query = (
        f"select t.* from {THIS} as t where t.{name_of(column)} is not null and not exists ("
        f"select 1 from {quoted(*relation)} as r "
        f"where r.{LOAD_DATE} = %({LOAD_DATE})s and r.{name_of(other)} = t.{name_of(column)})"
    )
    return ForeignKey(
        f"foreign_key__{column}",
        f"Each {column} is a {reference}.",
        line=line,
        query=parse_query(query, path, line),
        column=column,
        refers=relation,
        to=other,
    )


def _rows_where(predicate: str) -> str:
    return f"select * from {THIS} where {predicate}"
