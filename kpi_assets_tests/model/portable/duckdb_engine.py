"""DuckDB with tables of Postgres' types, and the SELECTs that were written for it. Not here: the tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from kpi_assets.model.portable.types import Engine, declared
from kpi_assets_tests.model.portable.probes import TABLES, TYPES, Answer, rows_by_id


class OnDuckDB:
    """A database in memory, with the tables of the probes."""

    engine: Engine = "duckdb"

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("create schema probes")
        for name, rows in TABLES.items():
            self.table(f"probes.{name}", TYPES, rows)

    def table(self, name: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Create a table of these columns, and insert the rows."""
        known = {column: declared(type_) for column, type_ in types.items()}
        columns = ", ".join(
            f'"{column}" {type_.on("duckdb").sql("duckdb") if type_ else "varchar"}' for column, type_ in known.items()
        )
        self.connection.execute(f"create or replace table {name} ({columns})")
        if rows:
            self.connection.executemany(f"insert into {name} values ({', '.join('?' * len(types))})", rows)

    def run(self, sql: str) -> Answer:
        """Return the last column of a SELECT, or `fails`."""
        try:
            cursor = self.connection.execute(sql)
            rows = cursor.fetchall()
        except duckdb.Error:
            return Answer("fails", ())
        return Answer(str(cursor.description[-1][1]).lower(), rows_by_id(rows))

    def all_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT. Raises AssertionError if it fails."""
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise AssertionError(f"{error} in {sql}") from error
