"""Accounts for each event: acknowledged by the broker, in an object on the store, in the raw table or set aside.

Belongs here: the comparison of these four as tables of DuckDB, (stream, partition, position) each, and reading the
objects, which uses no code of the landing. Not here: where they come from (verdict.py).
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb

from kpi_assets_tests.e2e.chaos.sending import digest

TABLES = {
    "acknowledged": "stream varchar, part integer, pos hugeint, digest varchar",
    "landed": "stream varchar, part integer, pos hugeint, digest varchar, key varchar, line bigint",
    "in_raw": "stream varchar, part integer, pos hugeint",
    "set_aside": "stream varchar, key varchar, line bigint",
}
_PART = re.compile(r"/p(\d+)-\d+\.ndjson\.gz$")
_POSITION = re.compile(rb'\{"o":(\d+),')
_VALUE = b',"v":'

# What must not be, each as a query that counts it.
WRONG: Mapping[str, str] = {
    "acknowledged, not landed": """
        select count(*) from acknowledged as a
        where not exists (select 1 from landed as l where (l.stream, l.part, l.pos) = (a.stream, a.part, a.pos))
    """,
    "landed with other bytes than were sent": """
        select count(*) from acknowledged as a join landed as l using (stream, part, pos) where a.digest <> l.digest
    """,
    "acknowledged twice at one position": """
        select count(*) - count(distinct (stream, part, pos)) from acknowledged
    """,
    "landed twice": "select count(*) - count(distinct (stream, part, pos)) from landed",
    "in raw twice": "select count(*) - count(distinct (stream, part, pos)) from in_raw",
    "set aside twice": "select count(*) - count(distinct (stream, key, line)) from set_aside",
    "landed, neither in raw nor set aside": """
        select count(*) from landed as l
        where not exists (select 1 from in_raw as r where (r.stream, r.part, r.pos) = (l.stream, l.part, l.pos))
            and not exists (select 1 from set_aside as s where (s.stream, s.key, s.line) = (l.stream, l.key, l.line))
    """,
    "both in raw and set aside": """
        select count(*) from landed as l join in_raw as r using (stream, part, pos)
        join set_aside as s on (s.stream, s.key, s.line) = (l.stream, l.key, l.line)
    """,
    "in raw, not landed": """
        select count(*) from in_raw as r
        where not exists (select 1 from landed as l where (l.stream, l.part, l.pos) = (r.stream, r.part, r.pos))
    """,
    "set aside, not landed": """
        select count(*) from set_aside as s
        where not exists (select 1 from landed as l where (l.stream, l.key, l.line) = (s.stream, s.key, s.line))
    """,
}


def create(database: duckdb.DuckDBPyConnection) -> None:
    """Create the four tables."""
    for name, columns in TABLES.items():
        database.execute(f"create table {name} ({columns})")


def counts(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return how many events each table has, and how many positions hold an event that nobody acknowledged."""
    found = {name: _count(database, f"select count(*) from {name}") for name in TABLES}
    return {**found, "landed, not acknowledged": found["landed"] - found["acknowledged"]}


def wrong(database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return how much there is of each thing that must not be."""
    return {what: _count(database, query) for what, query in WRONG.items()}


def _count(database: duckdb.DuckDBPyConnection, query: str) -> int:
    [number] = database.execute(query).fetchone() or (0,)
    return int(number)


def landed_lines(folder: Path, key: str) -> Iterator[str]:
    """Yield stream, partition, position, digest, key and number of each event of an object, separated by commas."""
    part = _PART.search(key)
    assert part, key
    stream = key.split("/")[1]
    _, *lines = gzip.decompress((folder / key).read_bytes())[:-1].split(b"\n")
    for number, line in enumerate(lines, start=1):
        position = _POSITION.match(line)
        assert position, line
        yield f"{stream},{int(part[1])},{int(position[1])},{digest(_sent(line))},{key},{number}"


def _sent(line: bytes) -> bytes:
    """Return the bytes of an event as they were sent."""
    before, is_json, value = line.partition(_VALUE)
    if is_json and b'"bad' not in before:
        return value[:-1]
    said = json.loads(line)
    return base64.b64decode(said["bad64"]) if "bad64" in said else str(said.get("bad", "")).encode()
