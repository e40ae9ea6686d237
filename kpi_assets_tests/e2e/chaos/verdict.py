"""The verdict: what is on the store and what is published, compared with what was acknowledged and with the oracle.

Belongs here: fetching both sides, and the comparisons. Not here: the accounts of single events (accounts.py), and the
oracle itself (realtime_oracle.py).
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from kpi_assets.sources.lake import Lake
from kpi_assets_tests.e2e.chaos import accounts
from kpi_assets_tests.realtime_oracle import SHOWN, Realtime
from kpi_assets_tests.realtime_published import PUBLISHED, query_of

STREAMS = tuple(SHOWN)
# Tables that a replay gives the same rows: the grain of the others names the batch.
REPLAYED = tuple(f"{layer}.{stream}" for layer in ("raw", "stg") for stream in STREAMS)
RAW = "select '{0}', stream_partition, stream_position from raw.{0} where load_date = any(%s)"
ASIDE = "select '{0}', object_key, line from ops.bad_rows where table_name = 'raw.{0}' and load_date = any(%s)"
CHECKSUMS = "select asset, load_date, rows, checksum from ops.published where load_date = any(%s)"


def fetch(lake: Lake, folder: Path) -> list[str]:
    """Copy the objects of all streams into a folder; return their keys."""
    keys = [entry.key for entry in lake.entries("raw/") if entry.key.endswith(".ndjson.gz")]
    for key in keys:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():  # objects never change
            path.write_bytes(lake.get(key))
    return keys


def load_accounts(
    database: duckdb.DuckDBPyConnection,
    connection: psycopg.Connection[Any],
    acknowledged: Path,
    folder: Path,
    keys: Sequence[str],
    days: Sequence[date],
) -> None:
    """Fill the tables of the accounts: from the file of the sender, the objects, the raw tables and the quarantine."""
    accounts.create(database)
    with (folder / "landed.csv").open("w") as file:
        for key in keys:
            file.writelines(f"{line}\n" for line in accounts.landed_lines(folder, key))
    for name, query in (("in_raw", RAW), ("set_aside", ASIDE)):
        with (folder / f"{name}.csv").open("wb") as copied:
            for stream in STREAMS:
                _copy_out(connection, query.format(stream), days, copied)
    _copy_in(database, "acknowledged", acknowledged)
    for name in ("landed", "in_raw", "set_aside"):
        _copy_in(database, name, folder / f"{name}.csv")


def _copy_out(connection: psycopg.Connection[Any], query: str, days: Sequence[date], file: Any) -> None:
    with connection.cursor().copy(f"copy ({query}) to stdout (format csv)".encode(), [list(days)]) as copy:
        for block in copy:
            file.write(block)


def _copy_in(database: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    if path.stat().st_size:
        database.execute(f"copy {table} from '{path}' (format csv, header false, auto_detect false)")


def silver_differences(
    database: duckdb.DuckDBPyConnection, connection: psycopg.Connection[Any], folder: Path, days: Sequence[date]
) -> dict[str, int]:
    """Return how many rows of each silver table are published and not computed, or computed and not published."""
    found: dict[str, int] = {}
    connection.execute("set timezone to 'UTC'")
    for stream, shown in SHOWN.items():
        path = folder / f"silver_{stream}.csv"
        columns, _ = PUBLISHED[f"stg.{stream}"]
        with path.open("wb") as file:
            _copy_out(connection, f"select {columns} from stg.{stream} where load_date = any(%s)", days, file)
        computed = f"select {shown} from silver_{stream}"
        types = [(row[0], row[1]) for row in database.execute(f"describe {computed}").fetchall()]
        names = ", ".join(f"'c{number}': 'varchar'" for number, _ in enumerate(types))
        casts = ", ".join(f"cast(c{number} as {type_})" for number, (_, type_) in enumerate(types))
        published = (
            f"select {casts} from read_csv('{path}', columns = {{{names}}}, header = false, auto_detect = false, "
            "delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false)"
        )
        for what, more, less in (("published", published, computed), ("computed", computed, published)):
            [number] = database.execute(f"select count(*) from (({more}) except all ({less}))").fetchone() or (0,)
            found[f"stg.{stream}: rows that are only {what}"] = int(number)
    return found


def tile_differences(
    connection: psycopg.Connection[Any], day: date, wanted: Realtime, leave_out: Sequence[str] = ()
) -> dict[str, str]:
    """Return the tables downstream of silver that are not as the oracle computes them, with a first difference."""
    found: dict[str, str] = {}
    connection.execute("set timezone to 'UTC'")
    for table in PUBLISHED:
        if table.startswith("marts.") and table not in leave_out:
            published = connection.execute(query_of(table, day).encode()).fetchall()
            computed = getattr(wanted, table.split(".")[1])
            if published != computed:
                pairs = zip(published, computed, strict=False)
                first = next((f"{one} is {two}" for one, two in pairs if one != two), "one begins as the other")
                found[table] = f"{len(published)} rows published, {len(computed)} computed: {first}"
    return found


def checksums(connection: psycopg.Connection[Any], days: Sequence[date]) -> dict[tuple[str, date], tuple[int, str]]:
    """Return rows and checksum of each table that a replay gives the same rows."""
    rows = connection.execute(CHECKSUMS, [list(days)]).fetchall()
    return {(name, day): (count, checksum) for name, day, count, checksum in rows if name in REPLAYED}
