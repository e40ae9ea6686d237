"""Probes: one-line SELECTs with what Postgres answers, which every engine must answer too unless the SQL is refused.

They are the lines of probes.txt: `SQL => outcome`. The SQL is a SELECT of one column, or an expression over the table
`probes.values_of`. The outcome is `type: values` (in the order of `id`, or of the values for aggregates and SELECTs),
`fails` if it cannot be computed, or `refused REASON` with the key of a refusal. Lines without an outcome get one from
`python -m kpi_assets_tests.model.portable.probes`, which asks the embedded Postgres for all of them again.
Not here: the tests.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg
from sqlglot import exp, parse_one

from kpi_assets.model.names import Relation
from kpi_assets.model.portable.refusals import NotPortableError
from kpi_assets.model.portable.statement import Portable, source, translate
from kpi_assets.model.portable.types import Engine
from kpi_assets.model.table_ref import as_parsed

FILE = Path(__file__).parent / "probes.txt"
TYPES = {
    "id": "integer",
    "s": "smallint",
    "n": "integer",
    "b": "bigint",
    "d": "numeric(10,2)",
    "t": "text",
    "f": "boolean",
    "day": "date",
    "moment": "timestamp without time zone",
}
at = partial(datetime, tzinfo=None)
# Halves, negative numbers, NULL, an empty text, equal values, letters beyond ASCII, and days at the ends of years.
ROWS: Sequence[Sequence[Any]] = (
    (1, 1, 2, 10, Decimal("2.50"), "a", True, date(2024, 2, 29), at(2024, 2, 29, 23, 59, 59, 500000)),
    (2, -7, -7, -9, Decimal("-2.50"), "ß", False, date(2025, 1, 1), at(2025, 1, 1)),
    (3, None, None, None, None, None, None, None, None),
    (4, 0, 0, 0, Decimal("0.00"), "", True, date(1970, 1, 1), at(1970, 1, 1)),
    (5, 5, 1, 3_000_000_000, Decimal("0.05"), "a b", None, date(2024, 12, 30), at(2024, 12, 30, 0, 0, 1)),
    (6, 3, 3, 7, Decimal("-0.50"), " é ", True, date(2023, 1, 1), at(2023, 1, 1, 12, 30)),
    (7, 2, 2, -3_000_000_000, Decimal("33.33"), "B", False, date(2024, 3, 31), at(2024, 3, 31, 2, 30)),
    (8, 4, 2, 1, Decimal("1.01"), "a\\_'b", False, date(2020, 12, 31), at(2020, 12, 31, 23, 0, 0, 1)),
)
# The ends of the types, which overflow.
EXTREMES: Sequence[Sequence[Any]] = (
    (1, 32767, 2**31 - 1, 2**63 - 1, Decimal("99999999.99"), "😀", True, date(9999, 12, 31), at(9999, 12, 31)),
    (2, -32768, -(2**31), -(2**63), Decimal("-99999999.99"), "z", False, date(1, 1, 1), at(1, 1, 1)),
    (3, 32767, 2**31 - 1, 2**63 - 1, Decimal("0.01"), "Z", None, date(2000, 2, 29), at(2000, 2, 29)),
)
TABLES = {"values_of": ROWS, "extremes": EXTREMES}
SOURCES = {Relation("probes", name): source(TYPES, ["id"]) for name in TABLES}


class Answer(NamedTuple):
    """The type of a column as the engine calls it, and its values; the type is `fails` if there are none."""

    type: str
    values: Sequence[Any]


class Runs(Protocol):
    """An engine in which the tables of the probes are."""

    def run(self, sql: str) -> Answer:
        """Return the last column of a SELECT, or `fails`."""


@dataclass(frozen=True)
class Probe:
    """One line of the file."""

    sql: str
    outcome: str = ""

    @property
    def select(self) -> str:
        """The SELECT, of which the last column is looked at; the first one is the id if there is one."""
        if self.sql.startswith(("select ", "with ")):
            return self.sql
        order = "" if self.is_aggregate else "id, "
        return f"select {order}{self.sql} as x from probes.values_of"

    @property
    def is_aggregate(self) -> bool:
        """Whether the expression is one value of all rows."""
        found = parse_one(as_parsed(f"select {self.sql}"), read="postgres")
        of_rows = (exp.PercentileCont, exp.Mode, exp.WithinGroup)
        return any(
            each.find_ancestor(exp.Window, exp.Subquery) is None for each in found.find_all(exp.AggFunc, *of_rows)
        )

    @property
    def is_refused(self) -> bool:
        """Whether the loader refuses it."""
        return self.outcome.startswith("refused ")

    def translated(self, engine: Engine) -> Portable:
        """Return the SELECT for an engine, where the tables lie in a schema `probes`. Raises NotPortableError.

        On Spark they are views of a session, which lie in no schema.
        """
        return translate(self.select, engine, SOURCES, (lambda table: table.table) if engine == "spark" else None)

    def answered(self, answer: Answer, type_: str) -> str:
        """Return an answer as an outcome; `type_` is what the type is called."""
        if answer.type == "fails":
            return "fails"
        values = [written(each) for each in answer.values]
        if self.sql.startswith(("select ", "with ")):
            values.sort()
        return f"{type_}: {', '.join(values)}".strip()


def written(value: Any) -> str:
    """Return a value as text, in which equal numbers are equal whatever their zeros."""
    if value is None:
        return "NULL"
    if isinstance(value, Decimal):
        return format(value.normalize() + 0, "f")
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def rows_by_id(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the last values of rows, in the order of the first ones if there are several."""
    several = bool(rows) and len(rows[0]) > 1
    return [row[-1] for row in (sorted(rows, key=lambda row: (row[0] is None, row[0])) if several else rows)]


def probes() -> list[Probe]:
    """Return the probes of the file."""
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return [Probe(*map(str.strip, line.split(" => "))) for line in lines]


class OnPostgres:
    """Postgres, with the tables of the probes in temporary form: they end with the session."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        columns = ", ".join(f"{name} {type_}" for name, type_ in TYPES.items())
        connection.execute("create schema probes")
        for name, rows in TABLES.items():
            connection.execute(f"create table probes.{name} ({columns})")
            with connection.cursor() as cursor:
                cursor.executemany(f"insert into probes.{name} values ({', '.join(['%s'] * len(TYPES))})", rows)

    def run(self, sql: str) -> Answer:
        """Return the last column of a SELECT, or `fails`."""
        try:
            with self._connection.transaction():
                cursor = self._connection.execute(sql, {})
                rows = cursor.fetchall()
                assert cursor.description is not None
                return Answer(cursor.description[-1].type_display.split("(")[0], rows_by_id(rows))
        except psycopg.Error:
            return Answer("fails", ())


def outcome_of(probe: Probe, postgres: Runs) -> str:
    """Return the outcome of a probe as it should be: what Postgres answers, unless the loader refuses it."""
    try:
        made = probe.translated("duckdb")
    except NotPortableError as refused:
        return f"refused {refused.key}"
    return probe.answered(postgres.run(probe.select), str(list(made.columns.values())[-1]))


def lines(postgres: Runs) -> Iterator[str]:
    """Yield the lines of the file with their outcomes."""
    for line in FILE.read_text().splitlines():
        sql = line.split(" => ")[0].strip()
        yield f"{sql} => {outcome_of(Probe(sql), postgres)}" if sql and not sql.startswith("#") else line


def main() -> None:
    """Write the outcomes into the file."""
    from kpi_assets.embedded.stack import embedded_servers  # noqa: PLC0415  starts servers
    from kpi_assets.settings import settings  # noqa: PLC0415

    with embedded_servers(settings()) as servers:
        url = servers.postgres.get_secret_value()
        with psycopg.connect(url) as connection:
            FILE.write_text("\n".join(lines(OnPostgres(connection))) + "\n")
            connection.rollback()
    sys.stdout.write(f"Wrote {FILE}.\n")


if __name__ == "__main__":
    main()
