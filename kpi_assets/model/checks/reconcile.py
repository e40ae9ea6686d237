"""The check that accounts for every row, or for every amount, of one upstream table: `reconcile`.

Belongs here: the accounting. Not here: comparing rows one by one (row_changes.py), and which expressions have an exact
sum (model/sums.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Context, Decimal, localcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator
from sqlglot import exp

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.base import AuditFacts, Measured, TableCheck
from kpi_assets.model.checks.row_changes import RowComparison
from kpi_assets.model.checks.word import CheckWord, TableDeclaration
from kpi_assets.model.field_types import Expression
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.lookback import WINDOW_START, Key
from kpi_assets.model.names import BATCH, LOAD_DATE, Identifier, Relation, quoted
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.results import CheckResult
from kpi_assets.model.sentences import refuse
from kpi_assets.model.strict_yaml import ModelError, Problems, Strict
from kpi_assets.model.sums import check_count, check_summand

_DIGITS = 200_000  # more than a numeric of Postgres can have
_HERE = "here"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ReconcileSpec(Strict):
    """Compares one source table with this table: the source = this table + what the named rules drop.

    It compares row counts, or with `sum` the sums of an expression over the rows of the source. With `on` it also
    compares each row with its row of the source, in all columns that have the same name in both.
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
    on: Annotated[
        Annotated[list[Identifier], Field(min_length=1)] | None, BeforeValidator(_as_list), Affects.CHECKS
    ] = Field(
        default=None,
        description="The column, or the columns, by which each row here is joined with its row of the source. All "
        "other columns of the same name are compared, as text if their types are not alike. A row that differs fails "
        "the check unless a rule of `changed` names it, and so does a row that the source lacks.",
        examples=["on: record_number"],
    )
    changed: Annotated[dict[Identifier, str], Affects.CHECKS] = Field(
        default={},
        description="Named rules, each with a condition over the rows of the source. These rows may differ here.",
        examples=["changed: {trimmed: name <> trim(name)}"],
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
        if self.changed and not self.on:
            refuse([(("changed",), "is for rows that are compared one by one: say on as well, or take it out")])
        if self.on and (self.sum or self.counted):
            word = "sum" if self.sum else "counted"
            refuse([(("on",), f"compares rows one by one, and {word} does not: reconcile them in checks of their own")])
        return self


@dataclass(frozen=True, kw_only=True)
class Reconcile(TableCheck):
    """The source = `here`, an aggregate over the build, + what is set aside + what the named rules drop.

    It compares row counts, or sums if `summed` is an expression over a row of the source. The metric is the difference.
    What is set aside counts as it would have counted here; a row that was corrected counts here as it is now, and the
    difference to what it was is a term of its own. With `comparison`, rows are also compared one by one, and the metric
    is the number of rows that nothing explains.
    """

    source: Relation
    summed: str = ""
    here: str = "count(*)"
    dropped: tuple[tuple[str, Query], ...] = ()  # rule -> the query for the count or sum of the rows that it drops
    together: Query | None = None  # the same of the rows that any of several rules drops
    total: Query | None = None  # of the source; None for the row count of one load_date, which is in the ledger
    comparison: RowComparison | None = None
    counts_repeats: bool = False  # whether rows whose key came before are left out, which are counted too

    @property
    def queries(self) -> tuple[Query, ...]:
        """The queries of the rules, the query of the source, and those of the comparison."""
        return (*self.of_source, *(self.comparison.queries if self.comparison else ()))

    @property
    def of_source(self) -> tuple[Query, ...]:
        """The queries that read the source alone, and not the build."""
        together, total = ([query] if query else [] for query in (self.together, self.total))
        return (*together, *(query for _, query in self.dropped), *total)

    @property
    def version(self) -> str:
        """The columns that are compared, which follow from the header of the source as well."""
        return f"compares {' '.join(self.comparison.compared)}" if self.comparison else ""

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
        together = self.together.with_neighbors(keys, histories) if self.together else None
        comparison = self.comparison.with_neighbors(keys, histories) if self.comparison else None
        return replace(self, dropped=dropped, together=together, total=total, comparison=comparison)

    def with_columns(self, types: Mapping[Relation, Mapping[str, str]]) -> "Reconcile":
        """Return the check with a comparison of the columns that the source has too."""
        there = types.get(self.source)
        return replace(self, comparison=self.comparison.with_columns(there)) if self.comparison and there else self

    def check_neighbors(self, types: Mapping[Relation, Mapping[str, str]], path: Path, problems: Problems) -> None:
        """Add a problem if the expression over the source has no exact sum."""
        if self.summed and self.total and self.source in types:
            with problems.collected():
                check_summand(self.summed, types[self.source], path, self.total.line)
        if self.comparison and self.source in types:
            self.comparison.check_columns(types[self.source], problems)
        super().check_neighbors(types, path, problems)

    def measures(self, facts: AuditFacts) -> Mapping[str, str]:  # noqa: ARG002
        """The count or sum over the build."""
        return {_HERE: f"coalesce({self.here}, 0)"}

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:
        """Fail if a difference or a changed row is left unexplained; an error if a sum is not an exact number."""
        dropped = {rule: measured.value(query) for rule, query in self.dropped}
        source = measured.value(self.total) if self.total else facts.source_rows[self.source]
        terms = {
            "here": measured[_HERE],
            **({"repeats": facts.repeats} if self.counts_repeats else {}),
            **self._set_aside(measured, facts),
            **{f"dropped by {rule}": total for rule, total in dropped.items()},
            **self._of_several_rules(measured, list(dropped.values())),
        }
        if inexact := [name for name, value in {"source": source, **terms}.items() if not _is_exact(value)]:
            return self.errored(
                f"sum({self.summed}) is not an exact number ({', '.join(inexact)}): cast what is added up to numeric"
            )
        changes = self.comparison.count(measured) if self.comparison else None
        missing = _minus(source, *terms.values())
        what = f"as sum({self.summed})" if self.summed else "rows"
        message = (
            f"{_plain(source)} {what} of {self.source} = "
            + " + ".join(f"{_plain(value)} {name}" for name, value in terms.items())
            + (f" + {_plain(missing)} unexplained" if missing else "")
        )
        if self.comparison and changes:
            bad, message = abs(int(missing)) + changes.bad, f"{message}; {changes.text}"
            samples = self.comparison.samples(measured) if changes.bad else ()
            return self.judged(
                passed=not bad,
                metric=bad,
                message=message,
                samples=samples,
                examined=int(source),
                bad=min(int(source), bad),
            )
        metric = missing if isinstance(missing, int) else float(missing)
        return self.judged(
            passed=missing == 0,
            metric=metric,
            message=message,
            # Of a sum that differs, nobody knows which rows are bad.
            examined=None if self.summed else int(source),
            bad=None if self.summed else min(int(source), abs(int(missing))),
        )

    def _of_several_rules(self, measured: Measured, dropped: list[Any]) -> dict[str, Any]:
        """Return the term of rows that several rules drop, if there are some: such a row must count once.

        Counted for each of its rules, it would stand for another one that is lost.
        """
        together = measured.value(self.together) if self.together and any(dropped) else None
        if together is None or not all(map(_is_exact, [together, *dropped])):
            return {}
        more = _minus(together, *dropped)
        return {"dropped by several rules": more} if more else {}

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
    path, lines, lookback, grows = table.path, table.lines, table.has_lookback, table.grows
    _check_growing(spec, table, place)
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
    of_source += f" and {BATCH} = %({BATCH})s" if grows else ""
    at_sum = lines.of_text(*place, "sum") if spec.sum else line
    total = parse_query(of_source, path, at_sum, lookback=lookback, grows=grows)
    problems = Problems()

    def rules(word: str, conditions: Mapping[str, str]) -> Iterator[tuple[str, Query]]:
        for name, condition in conditions.items():
            at = lines.of_text(*place, word, name) - of_source.count("\n")
            with problems.collected():
                query = parse_query(f"{of_source} and ({condition}\n)", path, at, lookback=lookback, grows=grows)
                if any(not each.expressions for each in query.tree.find_all(exp.Tuple)):
                    raise ModelError(path, at, f"{word}: {name!r} has no condition: write one, or take it out")
                yield name, query

    dropped, changed = list(rules("dropped", spec.dropped)), list(rules("changed", spec.changed))
    problems.raise_any()
    together = None
    if len(dropped) > 1:
        any_of = " or ".join(f"({condition}\n)" for condition in spec.dropped.values())
        at = lines.of(*place, "dropped")
        together = parse_query(f"{of_source} and ({any_of})", path, at, lookback=lookback, grows=grows)
    comparison = None
    if spec.on:
        comparison = RowComparison(
            source=Relation.parse(spec.source),
            on=_known(spec.on, table, lines.of(*place, "on")),
            grain=table.grain,
            types=table.types,
            tie=f"{tie} %({LOAD_DATE})s",
            dropped=tuple(spec.dropped.values()),
            rules=tuple((name, spec.changed[name], query) for name, query in changed),
            path=path,
            line=lines.of(*place, "on"),
            has_lookback=lookback,
        )
    summed = " ".join(spec.sum.split()) if spec.sum else ""
    what = f"All of sum({summed})" if spec.sum else "Every row"
    return Reconcile(
        "reconcile",
        f"{what} of {spec.source} is here or dropped by a named rule"
        + (f" ({', '.join(spec.dropped)})" if spec.dropped else "; no rule drops any")
        + (f", and as it is there{' or changed by a named rule' * bool(spec.changed)}" if spec.on else "")
        + (f" ({', '.join(spec.changed)})." if spec.changed else "."),
        line=line,
        source=Relation.parse(spec.source),
        summed=summed,
        here=here,
        total=total if lookback or spec.sum or grows else None,
        dropped=tuple(dropped),
        together=together,
        comparison=comparison,
        counts_repeats=table.has_repeats,
    )


def _check_growing(spec: ReconcileSpec, table: TableDeclaration, place: tuple[str, ...]) -> None:
    """Raise ModelError for words that a table that grows cannot have: nobody knows the rows that were left out."""
    wrong = [word for word in ("on", *(("sum", "counted") if table.has_repeats else ())) if getattr(spec, word)]
    if table.grows and wrong:
        reason = "and rows that came before are left out here" if table.has_repeats else "and a batch has only some"
        raise ModelError(
            table.path,
            table.lines.of(*place, wrong[0]),
            f"{'.'.join(place)}.{wrong[0]} compares the rows of a whole load_date, {reason}: take it out",
        )


def _known(on: list[str], table: TableDeclaration, line: int) -> tuple[str, ...]:
    """Return the columns that join the rows. Raises ModelError if the table lacks one, or names one twice."""
    for column in on:
        if column not in table.types:
            known = ", ".join(table.types)
            raise ModelError(table.path, line, f"on: {column!r} is not one of the columns here ({known})")
        if on.count(column) > 1:
            raise ModelError(table.path, line, f"on: {column!r} is named twice: take it out once")
    return tuple(on)


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
