"""The check that accounts for every row, or for every amount, of one upstream table: `reconcile`.

Belongs here: the accounting. Not here: which expressions have an exact sum (model/sums.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal, localcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.base import AuditFacts, Measured, TableCheck
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.field_types import Expression
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.lookback import WINDOW_START, Key
from kpi_assets.model.names import LOAD_DATE, Identifier, Relation, quoted
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.results import CheckResult
from kpi_assets.model.sentences import refuse
from kpi_assets.model.strict_yaml import Problems, Strict
from kpi_assets.model.sums import check_count, check_summand

_DIGITS = 200_000  # more than a numeric of Postgres can have
_HERE = "here"


class ReconcileSpec(Strict):
    """Compares one source table with this table: the source = this table + what the named rules drop.

    It compares row counts, or with `sum` the sums of an expression over the rows of the source.
    """

    source: Annotated[str, Affects.CHECKS] = Field(
        description="The table to compare with.", examples=["source: raw.orders"]
    )
    sum: Annotated[Expression | None, Affects.CHECKS] = Field(
        default=None,
        description="An expression over one row of the source, which is added up.",
        examples=["sum: amount"],
    )
    here: Annotated[Expression | None, Affects.CHECKS] = Field(
        default=None,
        description="An expression over one row of this table, whose sum is compared with `sum`. Without this word it "
        "is the expression of `sum`.",
        examples=["here: revenue"],
    )
    counted: Annotated[Expression | None, Affects.CHECKS] = Field(
        default=None,
        description="An aggregate over this table that counts rows, instead of `count(*)` or of the sum of `here`.",
        examples=["counted: sum(total_orders)"],
    )
    dropped: Annotated[dict[Identifier, str], Affects.CHECKS] = Field(
        default={},
        description="Named rules, each with a condition over the rows of the source. These rows are not expected here.",
        examples=["dropped: {free: price = 0}"],
    )

    @field_validator("source")
    @classmethod
    def _is_a_table(cls, value: str) -> str:
        return str(Relation.parse(value))

    @model_validator(mode="after")
    def _here_is_given_once(self) -> "ReconcileSpec":
        if self.here and not self.sum:
            refuse([(("here",), "is what a sum is compared with: say sum as well, or take it out")])
        if self.here and self.counted:
            refuse([(("here",), "says again what counted says: take one of them out")])
        return self


@dataclass(frozen=True, kw_only=True)
class Reconcile(TableCheck):
    """The source = `here`, an aggregate over the build, + what is set aside + what the named rules drop.

    It compares row counts, or sums if `summed` is an expression over a row of the source. The metric is the difference.
    What is set aside counts as it would have counted here; a row that was corrected counts here as it is now, and the
    difference to what it was is a term of its own.
    """

    source: Relation
    summed: str = ""
    here: str = "count(*)"
    dropped: tuple[tuple[str, Query], ...] = ()  # rule -> the query for the count or sum of the rows that it drops
    total: Query | None = None  # of the source; None for the row count of one load_date, which is in the ledger

    @property
    def queries(self) -> tuple[Query, ...]:
        """The queries of the rules, and the query of the source."""
        return (*(query for _, query in self.dropped), *([self.total] if self.total else []))

    @property
    def mentions(self) -> Mapping[Relation, int]:
        """The source, and the other tables that the rules read."""
        return {**super().mentions, self.source: self.line}

    def with_neighbors(self, keys: Mapping[Relation, Key], histories: Mapping[Relation, HistoryRead]) -> "Reconcile":
        """Return the check with queries that know them; of a history as the source, the rows of the load_date count."""
        if self.source in histories:
            source = histories[self.source]
            histories = {**histories, self.source: replace(source, versions=source.rows)}
        dropped = tuple((rule, query.with_neighbors(keys, histories)) for rule, query in self.dropped)
        total = self.total.with_neighbors(keys, histories) if self.total else None
        return replace(self, dropped=dropped, total=total)

    def check_neighbors(self, types: Mapping[Relation, Mapping[str, str]], path: Path, problems: Problems) -> None:
        """Add a problem if the expression over the source has no exact sum."""
        if self.summed and self.total and self.source in types:
            with problems.collected():
                check_summand(self.summed, types[self.source], path, self.total.line)
        super().check_neighbors(types, path, problems)

    def measures(self, facts: AuditFacts) -> Mapping[str, str]:  # noqa: ARG002
        """The count or sum over the build."""
        return {_HERE: f"coalesce({self.here}, 0)"}

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Fail if a difference is left unexplained; an error if a sum is not an exact number."""
        dropped = {rule: measured.value(query) for rule, query in self.dropped}
        source = measured.value(self.total) if self.total else facts.source_rows[self.source]
        terms = {
            "here": measured[_HERE],
            **self._set_aside(measured, facts),
            **{f"dropped by {rule}": total for rule, total in dropped.items()},
        }
        if inexact := [name for name, value in {"source": source, **terms}.items() if not _is_exact(value)]:
            return self.errored(
                f"sum({self.summed}) is not an exact number ({', '.join(inexact)}): cast what is added up to numeric"
            )
        missing = _minus(source, *terms.values())
        what = f"as sum({self.summed})" if self.summed else "rows"
        return self.judged(
            passed=missing == 0,
            metric=missing if isinstance(missing, int) else float(missing),
            message=f"{_plain(source)} {what} of {self.source} = "
            + " + ".join(f"{_plain(value)} {name}" for name, value in terms.items())
            + (f" + {_plain(missing)} unexplained" if missing else ""),
            # Of a sum that differs, nobody knows which rows are bad.
            examined=None if self.summed else int(source),
            bad=None if self.summed else min(int(source), abs(int(missing))),
        )

    def _set_aside(self, measured: Measured, facts: AuditFacts) -> dict[str, Any]:
        """Return the terms of the rows that rules set aside, none for a table without rules."""
        if facts.set_aside is None:
            return {}
        expression = f"coalesce({self.here}, 0)"
        terms = {"set aside": measured.of_set_aside(expression) if facts.set_aside.out else 0}
        if facts.set_aside.corrected:
            before, now = measured.of_corrections(expression)
            difference = _minus(before, now) if _is_exact(before) and _is_exact(now) else None
            terms |= {} if difference == 0 else {"by corrections": difference}
        return terms


def _is_exact(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, Decimal) and value.is_finite())


def _minus(total: int | Decimal, *terms: int | Decimal) -> int | Decimal:
    """Return the exact difference: a numeric of Postgres may have more digits than Python keeps by default."""
    with localcontext(Context(prec=_DIGITS)):
        return total - sum(terms)


def _plain(value: int | Decimal) -> str:
    """Return a number in digits, without an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def reconcile_check(spec: ReconcileSpec, table: TableDeclaration, place: tuple[str, ...]) -> Reconcile:
    """Return the check of one reconciliation, whose words are at `place` in the header. Raises ModelError.

    With a lookback the source is what the SELECT reads of it: the rows of the window that count.
    """
    path, lines, lookback = table.path, table.lines, table.has_lookback
    line = lines.of(*place, "source")
    here = spec.counted or "count(*)"
    if spec.counted:
        check_count(spec.counted, table.types, path, lines.of_text(*place, "counted"))
    elif spec.sum:
        word = "here" if spec.here else "sum"
        here = f"sum({spec.here or spec.sum}\n)"
        check_summand(spec.here or spec.sum, table.types, path, lines.of_text(*place, word))
    tie = f"{LOAD_DATE} between %({WINDOW_START})s and" if lookback else f"{LOAD_DATE} ="
    measure = f"coalesce(sum({spec.sum}\n), 0)" if spec.sum else "count(*)"
    of_source = f"select {measure} from {quoted(*Relation.parse(spec.source))} where {tie} %({LOAD_DATE})s"
    total = parse_query(of_source, path, lines.of_text(*place, "sum") if spec.sum else line, lookback=lookback)
    dropped, problems = [], Problems()
    for name, predicate in spec.dropped.items():
        at = lines.of_text(*place, "dropped", name) - of_source.count("\n")
        with problems.collected():
            dropped.append((name, parse_query(f"{of_source} and ({predicate}\n)", path, at, lookback=lookback)))
    problems.raise_any()
    summed = " ".join(spec.sum.split()) if spec.sum else ""
    what = f"All of sum({summed})" if spec.sum else "Every row"
    return Reconcile(
        "reconcile",
        f"{what} of {spec.source} is here or dropped by a named rule"
        + (f" ({', '.join(spec.dropped)})." if spec.dropped else "; no rule drops any."),
        line=line,
        source=Relation.parse(spec.source),
        summed=summed,
        here=here,
        total=total if lookback or spec.sum else None,
        dropped=tuple(dropped),
    )


def _reconcile(spec: ReconcileSpec | None, table: TableDeclaration) -> Iterator[Callable[[], TableCheck]]:
    if spec:
        yield partial(reconcile_check, spec, table, ("checks", "reconcile"))


RECONCILE = CheckWord(
    name="reconcile",
    type=ReconcileSpec | None,
    description="Every row of the source, or all of a sum over its rows, is here or dropped by a named rule.",
    example="reconcile: {source: raw.orders, dropped: {test_orders: user_id = 0}}",
    expand=_reconcile,
    dimension="consistency",
)
