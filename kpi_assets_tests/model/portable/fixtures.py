"""The fixtures of the shipped tables on another engine: the SELECT and the checks of a case, over its input tables.

Belongs here: inputs as tables of an engine, and what differs. Left to Postgres are tables that are refused, histories
and what reads them, tables that carry on, grow or set rows aside: another part than SQL makes their rows.
Not here: what an engine is (duckdb_engine.py, spark.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from kpi_assets.fixtures.cases import Case
from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.portable.problems import sources_of, translated
from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.statement import AUDITED, translate
from kpi_assets.model.portable.types import Engine, declared
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.table import Table
from kpi_assets_tests.model.portable.probes import written

Rows = list[dict[str, Any]]
CANDIDATE = "candidate"
_FIELD = re.compile(r'"((?:[^"]|"")*)"|([^,\r\n]*)')


class Fixtures(Protocol):
    """An engine on which a case runs."""

    engine: Engine

    def table(self, name: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Make a table, or replace it."""

    def all_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT. Raises AssertionError if it fails."""


def read_csv(text: str, types: Mapping[str, str]) -> Rows:
    """Return the records of a CSV file, whose empty fields are NULL; `""` is an empty text."""
    records: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        match = _FIELD.match(text, at)
        assert match is not None
        records[-1].append(match[1].replace('""', '"') if match[1] is not None else match[2] or None)
        end = text[match.end() : match.end() + 2]
        at = match.end() + (2 if end == "\r\n" else 1)
        if not end.startswith(",") and at < len(text):
            records.append([])
    header, *rows = records
    return [
        {str(name): value_of(each, types[str(name)]) for name, each in zip(header, row, strict=True)} for row in rows
    ]


def value_of(text: str | None, type_: str) -> Any:
    """Return a field as a value of a type of Postgres."""
    if text is None:
        return None
    if type_ in ("smallint", "integer", "bigint"):
        return int(text)
    if type_.startswith("numeric"):
        return Decimal(text)
    if type_ == "boolean":
        return text in ("true", "t")
    if type_ == "date":
        return date.fromisoformat(text)
    return datetime.fromisoformat(text) if type_ == "timestamp without time zone" else text


def is_plain(pipeline: Pipeline, case: Case) -> bool:
    """Whether SQL alone makes the rows of a case."""
    if case.question:
        return False
    table = pipeline.table(case.table)
    histories = any(pipeline.tables[each].header.history for each in table.reads)
    special = table.header.history or table.grows or table.rules or table.carries_on
    return not (histories or special or case.decisions) and (table.query is not None or case.rows is not None)


class Run:
    """One case on an engine."""

    def __init__(self, on: Fixtures, pipeline: Pipeline, case: Case) -> None:
        self._on, self._pipeline, self._case = on, pipeline, case
        self._table = _with_mistake(pipeline.table(case.table), case)
        self._given = self._inputs()
        self._there: set[Relation] = set()

    def differences(self) -> Iterator[str]:
        """Yield what differs from the case. Raises NotPortableError if the SELECT is refused."""
        types = self._table.types
        columns = [*types]
        expected = self._rows_of(self._case.rows, types) if self._case.rows is not None else None
        made = self._selected(self._table.query, types) if self._table.query else expected
        assert made is not None
        if expected is not None and as_text(made, columns) != as_text(expected, columns):
            yield f"{self._case.id}: rows {as_text(made, columns)}, not {as_text(expected, columns)}"
        self._on.table(CANDIDATE, {LOAD_DATE: "date", **types}, _tuples(self._dated(made), [LOAD_DATE, *columns]))
        yield from self._of_checks()

    def _of_checks(self) -> Iterator[str]:
        """Yield the checks that find other bad rows than the case says; one statement counts them all."""
        counts, checks = [], []
        for check in self._table.checks:
            with suppress(NotPortableError):
                if isinstance(check, BadRows):
                    counts.append(
                        f"select {len(counts)} as number, count(*) as bad from ({self._made(check.query)}) as q"
                    )
                    checks.append(check)
        if not checks:
            return
        found = dict(self._on.all_rows(self._with_values(" union all ".join(counts))))
        for number, check in enumerate(checks):
            said = self._case.file.checks.get(check.name)
            metric = (said.metric if said else None) or 0
            if found[number] != metric and not (said and said.status == "error"):
                yield f"{self._case.id}: {check.name} finds {found[number]} bad rows, not {metric}"

    def _inputs(self) -> dict[Relation, Rows]:
        found: dict[Relation, Rows] = {}
        for each in self._case.inputs():
            types = {**self._pipeline.tables[each.relation].readable_types, "batch": "bigint"}
            rows = read_csv(each.rows.decode(), types)
            found.setdefault(each.relation, []).extend({LOAD_DATE: each.load_date, **row} for row in rows)
        return found

    def _rows_of(self, file: bytes | None, types: Mapping[str, str]) -> Rows:
        known = {**self._table.types, **types}
        return read_csv((file or b"").decode(), known)

    def _dated(self, rows: Rows) -> Rows:
        return [{LOAD_DATE: self._case.file.load_date, **row} for row in rows]

    def _selected(self, query: Query, types: Mapping[str, str]) -> Rows:
        of = {name: _type_on(self._on.engine, type_) for name, type_ in types.items()}
        columns = ", ".join(f"cast({self._column(name)} as {type_})" for name, type_ in of.items())
        rows = self._on.all_rows(self._with_values(f"select {columns} from ({self._made(query)}) as q"))
        return [dict(zip(types, row, strict=True)) for row in rows]

    def _made(self, query: Query) -> str:
        """Return a query for the engine, which has then the tables that it reads."""
        known = sources_of(self._pipeline, self._table, query)
        made = translate(query.executed, self._on.engine, known, self._place)
        self._make_tables(query)
        return made.sql

    def _column(self, name: str) -> str:
        """Return a column of the SELECT, or the one that the product adds to it."""
        volume = self._table.header.min_volume
        return (
            f"coalesce(not (q.{volume.column} >= {volume.at_least}), true)"
            if volume and name == LOW_VOLUME
            else f"q.{name}"
        )

    def _place(self, relation: Relation) -> str:
        return CANDIDATE if relation == AUDITED else f"{relation.schema}__{relation.table}"

    def _make_tables(self, query: Query) -> None:
        for relation in {*query.reads} - self._there:
            self._there.add(relation)
            types = {LOAD_DATE: "date", **self._pipeline.tables[relation].readable_types}
            self._on.table(self._place(relation), types, _tuples(self._shown(relation), list(types)))

    def _shown(self, relation: Relation) -> Rows:
        """Return the rows of an input: a view's are those of its table, if the case gives these."""
        origin = self._pipeline.tables[relation].origin
        if relation in self._given or origin.relation not in self._given:
            return self._given.get(relation, [])
        names = {LOAD_DATE: LOAD_DATE, **origin.columns}
        return [{name: row.get(there) for name, there in names.items()} for row in self._given[origin.relation]]

    def _with_values(self, text: str) -> str:
        """Return SQL with the values of its parameters."""
        day, mark = self._case.file.load_date, "[$:]"
        values: dict[str, Any] = {LOAD_DATE: day}
        if self._table.header.lookback:
            first = self._pipeline.window_start(self._table, day)
            inputs = [self._shown(each) for each in self._pipeline.window_inputs_of(self._table)]
            days = set.intersection(*({row[LOAD_DATE] for row in rows} for rows in inputs)) if inputs else set()
            values.update(Window(first, day, (*sorted(each for each in days if first <= each < day), day)).parameters)
        for name, value in values.items():
            text = re.sub(rf"{mark}{name}\b", lambda _, value=value: self._constant(value), text)  # type: ignore[misc]
        return text

    def _constant(self, value: Any) -> str:
        if not isinstance(value, list):
            return f"date '{value}'"
        days = ", ".join(map(self._constant, value))
        return f"array({days})" if self._on.engine == "spark" else f"[{days}]"


def differences(on: Fixtures, pipelines: Mapping[str, Pipeline], cases: Sequence[Case]) -> tuple[list[str], int]:
    """Return what differs on an engine, and how many cases ran there; those of refused SELECTs do not."""
    found, ran = [], 0
    for case in cases:
        pipeline = pipelines[case.pipeline]
        if not is_plain(pipeline, case):
            continue
        table = pipeline.table(case.table)
        try:
            if table.query:
                translated(pipeline, table, table.query, on.engine)
        except NotPortableError:
            continue
        ran += 1
        found += Run(on, pipeline, case).differences()
    return found, ran


def as_text(rows: Rows, columns: Sequence[str]) -> list[list[str]]:
    """Return rows as sorted texts, in which equal numbers are equal."""
    return sorted([written(row[name]) for name in columns] for row in rows)


def _tuples(rows: Rows, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return [tuple(row.get(name) for name in columns) for row in rows]


def _type_on(engine: Engine, type_: str) -> str:
    found = declared(type_)
    assert found is not None, f"a column of a SELECT that is not refused has the type {type_}"
    return found.on(engine).sql(engine)


def _with_mistake(table: Table, case: Case) -> Table:
    mistake = case.file.mistake
    if mistake is None or table.query is None:
        return table
    edited = table.query.sql.replace(mistake.replace, mistake.by)
    query = parse_query(edited, table.path, lookback=table.header.lookback is not None, itself=table.relation)
    return replace(table, query=query.with_neighbors(table.query.keys, {}))
