"""What all contenders share: the server, the object store, the files, and how KPIs are read and compared."""

import math
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

FILES = {
    "aisles": "aisles.csv",
    "departments": "departments.csv",
    "products": "products.csv",
    "orders": "orders.csv",
    "order_products_prior": "order_products__prior.csv",
}
LOAD_DATE = "2025-06-01"
BY_DOW = (
    "select order_dow, total_orders, avg_items_per_order, pct_orders_with_any_reorder, avg_reorder_item_rate "
    "from {}kpi_orders_by_dow order by order_dow"
)
BY_PRODUCT = (
    "select product_id, orders_with_product, times_reordered, product_reorder_rate "
    "from {}kpi_products_reorder order by product_id"
)
Kpis = list[list[float]]


@dataclass(frozen=True)
class BenchContext:
    """One run of the bench. `tools` holds the virtual environments of contenders that need their own."""

    files: Path
    scratch: Path
    server: str
    environment: dict[str, str]
    tools: Path

    def url(self, database: str) -> str:
        """Return the URL of a database on the server."""
        return urlsplit(self.server)._replace(path=f"/{database}").geturl()

    def fresh_database(self, name: str) -> str:
        """Drop and create a database, and return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.url(name)

    def call(self, command: Sequence[str | Path], given: str | None = None, **environment: str) -> str:
        """Run a program and return its output. Raises RuntimeError with the end of its output if it fails.

        `given` is its standard input.
        """
        done = subprocess.run(
            command,
            input=given,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            output = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(f"{command[0]} exited with {done.returncode}: {output}")
        return done.stdout

    def copy(self, connection: psycopg.Connection[Any], table: str, file: str) -> None:
        """Load a file as psql's \\\\copy does."""
        statement = f"copy {table} from stdin with (format csv, header)".encode()
        with connection.cursor().copy(statement) as copy, (self.files / file).open("rb") as source:
            while block := source.read(1 << 20):
                copy.write(block)


def kpis_in(url: str, schema: str) -> Kpis:
    """Return the rows of both KPI tables of a Postgres database as numbers."""
    with psycopg.connect(url) as connection:
        return as_numbers(
            row for query in (BY_DOW, BY_PRODUCT) for row in connection.execute(query.format(schema).encode())
        )


def as_numbers(rows: Any) -> Kpis:
    """Return rows as numbers."""
    return [[float(value) for value in row] for row in rows]


def are_equal(one: Kpis, other: Kpis) -> bool:
    """Return whether the KPIs are the same up to the sixth decimal, at which some contenders cut their rates."""
    return [len(row) for row in one] == [len(row) for row in other] and all(
        math.isclose(a, b, rel_tol=0, abs_tol=1e-6)
        for row, row2 in zip(one, other, strict=True)
        for a, b in zip(row, row2, strict=True)
    )
