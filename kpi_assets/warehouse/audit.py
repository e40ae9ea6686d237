"""The audit: the checks of a table, made on one build of it, in as few scans as they allow.

All checks of the form `select * from {this} where p` share one scan, together with the rows, the checksum and what
reconciles; where it finds a bad row, another counts those of each check, and samples are fetched of the ones that fail.
Every other check is a query of its own.
Not here: what a check means (model/checks.py), and what follows from its result (materialize/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, localcontext
from statistics import median
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.rows import dict_row

from kpi_assets.model import excerpt
from kpi_assets.model.checks import (
    ENOUGH_WEEKDAYS,
    BadRows,
    Check,
    ForeignKey,
    Grain,
    MinRows,
    NotSeenBefore,
    Quarantine,
    Reconcile,
    RowAccounting,
    Unique,
    all_known,
    name_of,
)
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import Query
from kpi_assets.model.results import CheckResult
from kpi_assets.model.table_ref import THIS

SAMPLES = 5
_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_DIGITS = 200_000  # more than a numeric of Postgres has
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CHECK_TIMEOUT = "30min"
_BAD_ROWS = sql.Identifier("bad rows")  # with a blank, which no column's name has: it stands for the whole row
_ROWS, _CHECKSUM, _BAD = "ROWS", "CHECKSUM", "BAD"  # in capitals, which no check's name has
# What hashes a type's values from a seed, as Postgres' own hash joins do; every other type is hashed as text.
_HASHES = {
    "smallint": "hashint2extended",
    "integer": "hashint4extended",
    "bigint": "hashint8extended",
    "numeric": "hash_numeric_extended",
    "real": "hashfloat4extended",
    "double precision": "hashfloat8extended",
    "text": "hashtextextended",
    "uuid": "uuid_hash_extended",
    "jsonb": "jsonb_hash_extended",
    "timestamp without time zone": "timestamp_hash_extended",
}


@dataclass(frozen=True)
class Facts:
    """What the audit cannot see in the build itself."""

    load_date: date
    previous_rows: int | None = None  # of the latest earlier load_date that is published
    usual_rows: Sequence[int] = ()  # of the latest earlier load_dates of the same weekday
    source_rows: Mapping[Relation, int] = field(default_factory=dict)  # of the published tables that were read
    records: int | None = None  # in the object, counted by us
    quarantined: int = 0
    quarantine_samples: Sequence[dict[str, Any]] = ()
    unreadable: str = ""  # why the object could not be read to its end
    same_bytes: Sequence[dict[str, Any]] = ()  # the objects with the same bytes that were delivered before
    grain_is_proven: bool = False  # the unique index was built
    # Of a foreign key by its name: the lowest and the highest value of a key that leaves out no number between.
    gapless: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    window: Window | None = None  # of a table with `lookback`
    instead: Mapping[Relation, str] = field(default_factory=dict)  # subqueries for tables (candidates.as_declared)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the checks' SQL is executed with."""
        return {LOAD_DATE: self.load_date, **(self.window.parameters if self.window else {})}


@dataclass(frozen=True)
class Audit:
    """What the audit found: the size of the build and the outcome of each check."""

    rows: int
    checksum: str
    results: list[CheckResult]

    @property
    def holds(self) -> bool:
        """Whether the build must not be published."""
        return any(result.holds for result in self.results)


def audit(
    connection: Connection[Any],
    this: sql.Composable,
    columns: Mapping[str, str],
    checks: Sequence[Check],
    facts: Facts,
) -> Audit:
    """Make every check on `this`, a relation with the columns (name -> type) of the table, of one load_date.

    A check whose SQL fails has errored, which holds; a lost connection is raised.
    """
    scan = _Scan(connection, this, columns, checks, facts)
    results = []
    for check in checks:
        try:
            with connection.transaction():
                connection.execute("select set_config('statement_timeout', %s, true)", [CHECK_TIMEOUT])
                results.append(_make(connection, this, columns, check, facts, scan))
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if connection.closed or not isinstance(error, psycopg.errors.QueryCanceled):
                raise
            results.append(_errored(check, str(error)))
        except psycopg.Error as error:
            results.append(_errored(check, str(error)))
    return Audit(scan.rows, scan.checksum, results)


def checksum_of(columns: Mapping[str, str]) -> str:
    """The aggregate that sums up the rows of a table in whatever order: a hash of each row's hashed columns.

    The columns are hashed as their types here, also where a table has made room for wider values since.
    Each column is hashed from a seed of its own, and each row once more, or values could change places unnoticed.
    A NULL makes the whole of the quick expression NULL: only then each column is looked at for it.
    """
    hashes = []
    for seed, (name, type_) in enumerate(columns.items(), start=1):
        function = _HASHES.get(type_.split("(")[0])
        value = f"{name_of(name)}::{type_}" + ("" if function else "::text")
        hashes.append((f"{function or 'hashtextextended'}({value}, {seed})", seed))
    quick = " # ".join(hashed for hashed, _ in hashes)
    careful = " # ".join(f"coalesce({hashed}, {seed})" for hashed, seed in hashes)
    return f"coalesce(sum(hashint8extended(coalesce({quick}, {careful}), 0)), 0)::text"


def gapless(
    connection: Connection[Any], relation: sql.Composable, column: str, load_date: date, rows: int
) -> tuple[int, int] | None:
    """The lowest and highest value of a key of whole numbers that is unique in `rows` rows, if it has all between."""
    row = connection.execute(
        sql.SQL("select min({column}), max({column}) from {} where {} = {}").format(
            relation, sql.Identifier(LOAD_DATE), sql.Literal(load_date), column=sql.Identifier(column)
        )
    ).fetchone()
    return row if row and row[0] is not None and row[1] - row[0] + 1 == rows else None


class _Scan:
    """The one pass over the build: rows, checksum, bad rows of each row check, sums that reconcile."""

    def __init__(
        self,
        connection: Connection[Any],
        this: sql.Composable,
        columns: Mapping[str, str],
        checks: Sequence[Check],
        facts: Facts,
    ) -> None:
        parameters = facts.parameters
        self._checksum = checksum_of(columns)
        bad: dict[str, str] = {}
        sums: dict[str, str] = {}
        for check in checks:
            if check.name in facts.gapless and isinstance(check, ForeignKey):
                low, high = facts.gapless[check.name]
                bad[check.name] = f"{name_of(check.column)} not between {low} and {high}"
            elif isinstance(check, Grain) and facts.grain_is_proven:
                bad[check.name] = " or ".join(f"{name_of(column)} is null" for column in check.columns)
            elif isinstance(check, BadRows) and check.query and check.query.row_predicate:
                bad[check.name] = check.query.row_predicate
            elif isinstance(check, Reconcile):
                sums[check.name] = f"coalesce({check.here}, 0)"
        counts = {name: _count_where(predicate) for name, predicate in bad.items()}
        self._errors: dict[str, psycopg.Error] = {}
        try:
            # Mostly no row is bad for any check: to know that takes less than a count for each of them.
            any_bad = {_BAD: _count_where("\n) or (".join(bad.values()))} if bad else {}
            found = self._measure(connection, this, {**any_bad, **sums}, parameters)
            if found.pop(_BAD, 0):
                found = self._measure(connection, this, {**counts, **sums}, parameters)
            else:
                found |= dict.fromkeys(bad, 0)
        except (psycopg.DataError, psycopg.ProgrammingError):
            # One measure cannot be computed (a division by zero, say): find out which, and let only that one err.
            found = self._measure(connection, this, {}, parameters)
            for name, measure in {**counts, **sums}.items():
                try:
                    found[name] = self._measure(connection, this, {name: measure}, parameters)[name]
                except psycopg.Error as error:
                    self._errors[name] = error
        self.rows = int(found.pop(_ROWS))
        self.checksum = str(found.pop(_CHECKSUM))
        self._found = found

    def __contains__(self, name: str) -> bool:
        return name in self._found or name in self._errors

    def __getitem__(self, name: str) -> Any:
        if name in self._errors:
            raise self._errors[name]
        return self._found[name]

    def _measure(
        self,
        connection: Connection[Any],
        this: sql.Composable,
        measures: Mapping[str, str],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        named = [
            sql.SQL("count(*) as {}").format(sql.Identifier(_ROWS)),
            sql.SQL("{} as {}").format(sql.SQL(self._checksum), sql.Identifier(_CHECKSUM)),
            *(sql.SQL("{} as {}").format(sql.SQL(text), sql.Identifier(name)) for name, text in measures.items()),
        ]
        statement = sql.SQL("select {} from {} as t").format(sql.SQL(", ").join(named), this)
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(statement, parameters).fetchone()
        assert row is not None
        return row


def _count_where(predicate: str) -> str:
    return f"count(*) filter (where ({predicate}\n))"


def _make(
    connection: Connection[Any],
    this: sql.Composable,
    columns: Mapping[str, str],
    check: Check,
    facts: Facts,
    scan: _Scan,
) -> CheckResult:
    if isinstance(check, BadRows):
        proven = isinstance(check, Unique) and _is_unique(connection, this, columns, check.columns)
        return _bad_rows(connection, this, check, scan, facts, proven=proven)
    if isinstance(check, MinRows):
        return _min_rows(check, facts, scan.rows)
    if isinstance(check, Reconcile):
        return _reconcile(connection, check, facts, scan)
    if isinstance(check, RowAccounting):
        return _accounted(check, facts, scan.rows)
    if isinstance(check, NotSeenBefore):
        return _not_seen_before(check, facts)
    assert isinstance(check, Quarantine)
    return CheckResult(
        check.name,
        passed=facts.quarantined <= check.budget,
        blocking=check.blocking,
        metric=facts.quarantined,
        threshold=check.budget,
        message=_unreadable(facts),
        samples=list(facts.quarantine_samples),
    )


def _unreadable(facts: Facts) -> str:
    """How many records, and where the first of them stands."""
    if not facts.quarantine_samples:
        return ""
    first = facts.quarantine_samples[0]
    where = f"line {first['line']}" + (f", {first['column']} {first['value']!r}" if first["column"] else "")
    return f"{facts.quarantined} unreadable record{'s' * (facts.quarantined > 1)}, first on {where}: {first['reason']}"


def packed(columns: Sequence[str], types: Mapping[str, str]) -> str | None:
    """Whole numbers side by side in one of 64 bits, which is another for other numbers; None where they do not fit."""
    if sum(_BITS.get(types[column], 65) for column in columns) > 64:
        return None
    first, *others = columns
    value = name_of(first) + ("::bigint" if others else "")
    for column in others:
        bits = _BITS[types[column]]
        value = f"({value} << {bits} | ({name_of(column)}::bigint & {(1 << bits) - 1}))"
    return value


def _is_unique(
    connection: Connection[Any], this: sql.Composable, types: Mapping[str, str], columns: Sequence[str]
) -> bool:
    """Whether counting the distinct values proves it: sorted, they take a fraction of a group for each of them."""
    value = packed(columns, types)
    if value is None:
        return False
    row = connection.execute(
        sql.SQL("select count(*) = count(distinct {}) from {} where {}").format(
            sql.SQL(value), this, sql.SQL(all_known(columns))
        )
    ).fetchone()
    return row == (True,)


def _bad_rows(
    connection: Connection[Any],
    this: sql.Composable,
    check: BadRows,
    scan: _Scan,
    facts: Facts,
    *,
    proven: bool,
) -> CheckResult:
    assert check.query is not None
    query, parameters = _query_on(this, check.query, facts), facts.parameters
    if proven:
        bad = 0
    elif check.name in scan:
        bad = int(scan[check.name])
    else:
        counted = connection.execute(
            sql.SQL("select count(*) from (\n{}\n) as {}").format(query, _BAD_ROWS), parameters
        ).fetchone()
        bad = int(counted[0]) if counted else 0
    samples = []
    if bad:
        samples = connection.execute(
            sql.SQL("select {} from (\n{}\n) as {} limit {}").format(
                sql.SQL(excerpt.sql_cut_values(f"to_jsonb({_BAD_ROWS.as_string()}) - '{LOAD_DATE}'", "jsonb")),
                query,
                _BAD_ROWS,
                sql.Literal(SAMPLES),
            ),
            parameters,
        ).fetchall()
    return CheckResult(
        check.name,
        passed=bad == 0,
        blocking=check.blocking,
        metric=bad,
        threshold=0,
        message=f"{bad} bad row{'s' * (bad > 1)}" if bad else "",
        samples=[row for (row,) in samples],
    )


def _query_on(this: sql.Composable, query: Query, facts: Facts) -> sql.Composable:
    """A check's query of bad rows, on one build; in the predicate of a row check `{this}` can only be a text."""
    if query.row_predicate:
        return sql.SQL("select * from {} where {}").format(this, sql.SQL(query.row_predicate))
    return sql.SQL(this.as_string(None)).join(map(sql.SQL, query.executed_on(facts.instead).split(THIS)))


def _min_rows(check: MinRows, facts: Facts, rows: int) -> CheckResult:
    floors = [(float(check.at_least), "")]
    if facts.previous_rows is not None:
        basis = f" ({check.of_previous:.0%} of the {facts.previous_rows} rows of the load_date before)"
        floors.append((facts.previous_rows * check.of_previous, basis))
    weekday, count = f"{_WEEKDAYS[facts.load_date.weekday()]}s", len(facts.usual_rows)
    is_unknown = bool(check.of_usual) and count < ENOUGH_WEEKDAYS
    if check.of_usual and not is_unknown:
        usual = median(facts.usual_rows)
        basis = f" ({check.of_usual:.0%} of {usual:g}, the median of the last {count} {weekday})"
        floors.append((usual * check.of_usual, basis))
    floor, basis = max(floors, key=lambda each: each[0])
    passed = rows >= floor
    message = "" if passed else f"{rows} rows, at least {floor:g} are wanted{basis}"
    if passed and is_unknown:
        message = f"of_usual is not judged yet: {count} of the {ENOUGH_WEEKDAYS} {weekday} that it takes are published"
    return CheckResult(
        check.name, passed=passed, blocking=check.blocking, metric=rows, threshold=floor, message=message
    )


def _reconcile(connection: Connection[Any], check: Reconcile, facts: Facts, scan: _Scan) -> CheckResult:
    dropped = {rule: _total(connection, query, facts) for rule, query in check.dropped}
    source = _total(connection, check.total, facts) if check.total else facts.source_rows[check.source]
    here = scan[check.name]
    terms = {"here": here, **{f"dropped by {rule}": total for rule, total in dropped.items()}}
    if inexact := [name for name, value in {"source": source, **terms}.items() if not _is_exact(value)]:
        reason = f"sum({check.summed}) is no exact number ({', '.join(inexact)}): cast what is added up to numeric"
        return _errored(check, reason)
    missing = _minus(source, *terms.values())
    what = f"as sum({check.summed})" if check.summed else "rows"
    return CheckResult(
        check.name,
        passed=missing == 0,
        blocking=check.blocking,
        metric=missing if isinstance(missing, int) else float(missing),
        threshold=0,
        message=f"{_plain(source)} {what} of {check.source} = "
        + " + ".join(f"{_plain(value)} {name}" for name, value in terms.items())
        + (f" + {_plain(missing)} unexplained" if missing else ""),
    )


def _total(connection: Connection[Any], query: Query, facts: Facts) -> Any:
    row = connection.execute(sql.SQL(query.executed_on(facts.instead)), facts.parameters).fetchone()
    return row[0] if row else 0


def _is_exact(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def _minus(total: int | Decimal, *terms: int | Decimal) -> int | Decimal:
    """The difference with every digit, of which a numeric of Postgres may have more than Python keeps by itself."""
    with localcontext(Context(prec=_DIGITS)):
        return total - sum(terms)


def _plain(value: int | Decimal) -> str:
    """Digits alone, without an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _accounted(check: RowAccounting, facts: Facts, rows: int) -> CheckResult:
    missing = None if facts.records is None else facts.records - rows - facts.quarantined
    message = f"{facts.records} records in the object = {rows} loaded + {facts.quarantined} in quarantine"
    if missing:
        message += f" + {missing} unexplained"
    return CheckResult(
        check.name,
        passed=missing == 0 and not facts.unreadable,
        blocking=check.blocking,
        metric=missing,
        threshold=0,
        message=facts.unreadable or message,
    )


def _not_seen_before(check: NotSeenBefore, facts: Facts) -> CheckResult:
    same, message = facts.same_bytes, ""
    if same:
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        message = f"the object has the same bytes as {same[0]['object']} of {same[0]['load_date']}{more}"
    return CheckResult(
        check.name,
        passed=not same,
        blocking=check.blocking,
        metric=len(same),
        threshold=0,
        message=message,
        samples=list(same[:SAMPLES]),
    )


def _errored(check: Check, reason: str) -> CheckResult:
    reason = excerpt.cut(reason.strip().splitlines()[0])
    return CheckResult(
        check.name,
        passed=False,
        blocking=check.blocking,
        metric=None,
        threshold=None,
        message=f"the check itself failed: {reason}",
        errored=True,
    )
