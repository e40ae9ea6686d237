"""The comparison of a build with its source row by row, for `reconcile` with `on`: which rows differ, and why.

A row that differs is explained by a rule that its row of the source meets. Everything else is unexplained.
Belongs here: the SQL of the comparison, and its counts. Not here: the count of the rows of both sides (reconcile.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kpi_assets.model.checks.base import Measured
from kpi_assets.model.checks.sql_text import unlike_values
from kpi_assets.model.column_types import are_alike
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.lookback import Key
from kpi_assets.model.names import Relation, quoted
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import Problems
from kpi_assets.model.table_ref import THIS


@dataclass(frozen=True)
class RowChanges:
    """The outcome of a comparison. `rules` has the rows that differ and meet each rule; a row may meet several."""

    differing: int
    rules: Mapping[str, int]
    unexplained: int  # differ, and meet no rule
    added: int  # are here, but not among the rows of the source that no rule drops
    repeated: int  # have the key of another row, here or there
    key: str

    @property
    def bad(self) -> int:
        """The number of rows that nothing explains."""
        return self.unexplained + self.added + self.repeated

    @property
    def text(self) -> str:
        """The counts as a part of a sentence."""
        causes = [f"{count} changed by {rule}" for rule, count in self.rules.items()]
        causes += [f"{self.unexplained} unexplained"] if self.unexplained else []
        parts = [f"{self.differing} differ: {', '.join(causes)}" if self.differing else "none differs"]
        parts += [f"{self.added} here without a row there"] if self.added else []
        parts += [f"{self.repeated} more with the same {self.key}"] if self.repeated else []
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class RowComparison:
    """Compares each row of the build with the row of the source that has the same values in the columns `on`.

    A column of the same name is compared with IS DISTINCT FROM; if its two types are not alike, as text. `rules` are
    the conditions of `changed`, each also as a query, for its errors and for the tables that it reads. `counts` and
    `unlike` are the queries; they are there once the columns of the source are known.
    """

    source: Relation
    on: tuple[str, ...]
    grain: tuple[str, ...]
    types: Mapping[str, str]  # of the columns of the build
    tie: str  # the condition on the load_date of a row of the source
    dropped: tuple[str, ...]  # the conditions of the rows of the source that are not expected here
    rules: tuple[tuple[str, str, Query], ...]  # (name, condition, query)
    path: Path
    line: int
    has_lookback: bool
    compared: tuple[str, ...] = ()
    counts: Query | None = None
    unlike: Query | None = None

    @property
    def queries(self) -> Iterator[Query]:
        """The queries of the rules, and the one of the comparison, which reads all that that of the samples reads."""
        yield from (query for _, _, query in self.rules)
        yield from [self.counts] if self.counts else []

    def check_columns(self, there: Mapping[str, str], problems: Problems) -> None:
        """Add a problem if the columns of the source (name -> type) cannot be compared with those of the build."""
        for name in self.on:
            if name not in there:
                problem = f"{self.source} has no column {name!r}: it has {', '.join(there)}"
            elif not are_alike(self.types[name], there[name]):
                problem = f"{name!r} is {self.types[name]} here and {there[name]} there: rows are joined by like types"
            else:
                continue
            problems.add(self.path, self.line, f"on: {problem}")
        if not self._shared(there):
            problems.add(
                self.path,
                self.line,
                f"on: nothing would be compared, since no other column of {self.source} has the name of one here: "
                "take on out, or name columns as they are named there",
            )

    def with_columns(self, there: Mapping[str, str]) -> "RowComparison":
        """Return the comparison of the columns that the source, with these types, and the build both have."""
        known = replace(self, compared=self._shared(there))
        differ = {name: self._differs(name, there[name]) for name in known.compared}
        return replace(known, counts=known._count_query(differ), unlike=known._sample_query(differ))

    def with_neighbors(
        self, keys: Mapping[Relation, Key], histories: Mapping[Relation, HistoryRead]
    ) -> "RowComparison":
        """Return the comparison with queries that know which rows of a window count, and the histories."""
        return replace(
            self,
            rules=tuple((name, rule, query.with_neighbors(keys, histories)) for name, rule, query in self.rules),
            counts=self.counts and self.counts.with_neighbors(keys, histories),
            unlike=self.unlike and self.unlike.with_neighbors(keys, histories),
        )

    def count(self, measured: Measured) -> RowChanges:
        """Compare all rows, in one query."""
        assert self.counts
        rows, matched, keys, differing, unexplained, *of_rules = measured.first_row(self.counts)
        rules = dict(zip((name for name, _, _ in self.rules), of_rules, strict=True))
        repeated = rows - measured.rows if keys is None else matched - keys
        return RowChanges(differing, rules, unexplained, rows - matched, repeated, ", ".join(self.on))

    def samples(self, measured: Measured) -> list[dict[str, Any]]:
        """Return a few rows that are unexplained: their keys, and each column that differs, from what to what."""
        assert self.unlike
        return measured.samples(self.unlike, by_name=True)

    def _shared(self, there: Mapping[str, str]) -> tuple[str, ...]:
        """Return the columns that are compared: those with the same name, without those that join the rows."""
        return tuple(name for name in self.types if name in there and name not in self.on)

    def _differs(self, name: str, there: str) -> str:
        as_text = "" if are_alike(self.types[name], there) else "::text"
        return f"here.{quoted(name)}{as_text} is distinct from there.{quoted(name)}{as_text}"

    @property
    def _joined(self) -> str:
        """The rows of the build, each with its row of the source: `here`, `there`, and the rules that it meets."""
        columns = ", ".join(map(quoted, (*self.on, *self.compared)))
        rules = "".join(f", (({rule}\n) is true) as {_meets(n)}" for n, (_, rule, _) in enumerate(self.rules))
        equal = " and ".join(f"here.{quoted(name)} = there.{quoted(name)}" for name in self.on)
        kept = "".join(f" and ({rule}\n) is not true" for rule in self.dropped)
        of_source = f"select {columns}{rules} from {quoted(*self.source)} where {self.tie}{kept}"
        return f"from {THIS} as here left join ({of_source}) as there on {equal}"

    @property
    def _is_matched(self) -> str:
        return f"there.{quoted(self.on[0])} is not null"

    @property
    def _is_unexplained(self) -> str:
        """The condition that a row of the source meets no rule."""
        return " and ".join(["true", *(f"not there.{_meets(number)}" for number in range(len(self.rules)))])

    def _count_query(self, differ: Mapping[str, str]) -> Query:
        """Return the query of all counts; the keys are not counted if the grain shows that no two rows here share one.

        Its inner query computes once for each row whether it differs.
        """
        key = f"({', '.join(f'here.{quoted(name)}' for name in self.on)})"
        is_unique = {*self.grain} <= {*self.on}
        rules = [_meets(number) for number in range(len(self.rules))]
        of_row = [
            f"{self._is_matched} as matched",
            f"{self._is_matched} and ({' or '.join(differ.values())}) as differs",
            f"{self._is_unexplained} as unexplained",
            *([] if is_unique else [f"{key} as key"]),
            *(f"there.{rule}" for rule in rules),
        ]
        counts = [
            "count(*)",
            "count(*) filter (where matched)",
            "null" if is_unique else "count(distinct key) filter (where matched)",
            "count(*) filter (where differs)",
            "count(*) filter (where differs and unexplained)",
            *(f"count(*) filter (where differs and {rule})" for rule in rules),
        ]
        return self._parsed(f"select {', '.join(counts)} from (select {', '.join(of_row)} {self._joined}) as pairs")

    def _sample_query(self, differ: Mapping[str, str]) -> Query:
        """Return the query of the unexplained rows: their keys, and the value of each column that differs."""
        keys = dict.fromkeys((*self.on, *self.grain))
        columns = {name: (where, f"there.{quoted(name)}", f"here.{quoted(name)}") for name, where in differ.items()}
        differs = unlike_values(columns, "source")
        is_bad = f"not ({self._is_matched}) or ({self._is_unexplained}) and ({' or '.join(differ.values())})"
        name = "differs" if "differs" not in keys else "what differs"
        shown = [
            *(f"here.{quoted(key)}" for key in keys),
            f"case when {self._is_matched} then {differs} else to_jsonb('no such row in {self.source}'::text) end "
            f"as {quoted(name)}",
        ]
        return self._parsed(f"select {', '.join(shown)} {self._joined} where {is_bad}")

    def _parsed(self, text: str) -> Query:
        return parse_query(text, self.path, self.line, lookback=self.has_lookback)


def _meets(number: int) -> str:
    """Return the column that says whether a row of the source meets a rule: no table has a name with a blank."""
    return quoted(f"meets {number}")
