"""A synthetic history: thousands of load_dates on S3, and in Postgres the records that their builds would have left.

Not here: what is measured on it (sensor.py).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection, sql

from bench.objects import put_objects
from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.names import InputName
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.listing import landed
from kpi_assets.sources.store import Entry, open_store
from kpi_assets.warehouse import tables
from kpi_assets.warehouse.connection import connect

# One in so many load_dates has this state. No two of the numbers coincide below 9,797; after that the first one wins.
NEW, REPLACED, HELD, FAILED, INCOMPLETE, OTHER_SQL = "new", "replaced", "held", "failed", "incomplete", "other SQL"
ODD = {97: NEW, 101: REPLACED, 103: HELD, 107: FAILED, 109: INCOMPLETE, 113: OTHER_SQL}
IN_NEED_OF_A_RUN = {NEW, REPLACED, FAILED}
STUCK_AT = "marts.fact_orders"  # the table that is held or failed; tables that read it were not built


def state_of(number: int) -> str:
    """Return the state of the load_date with that number."""
    return next((word for every, word in ODD.items() if number % every == every - 1), "published")


def days_of(count: int) -> list[date]:
    """Return the last `count` load_dates before today."""
    today = datetime.now(timezone.utc).date()
    return [today - timedelta(days=count - n) for n in range(count)]


def write_objects(stack: Stack, pipeline: Pipeline, days: Sequence[date]) -> None:
    """Put all objects into the bucket. A few bytes each are enough, because a listing opens none."""
    objects = {
        table.object_key(day): f"{number % 7}\n".encode()
        for number, day in enumerate(days)
        for table in pipeline.object_tables
        if not (state_of(number) == INCOMPLETE and table.relation.table == "aisles")
    }
    put_objects(stack, pipeline.config.bucket, objects)


@dataclass
class _Records:
    """Rows for the tables of the schema ops."""

    runs: list[tuple[Any, ...]] = field(default_factory=list)
    manifests: list[tuple[Any, ...]] = field(default_factory=list)
    publishes: list[tuple[Any, ...]] = field(default_factory=list)
    holds: list[tuple[Any, ...]] = field(default_factory=list)
    publish_of: dict[date, dict[str, int]] = field(default_factory=dict)

    def add(self, pipeline: Pipeline, bucket: str, number: int, day: date, objects: dict[str, Entry]) -> None:
        """Add the records that one load_date has left."""
        state = state_of(number)
        if state in {NEW, INCOMPLETE}:
            return
        for name, entry in objects.items():
            etag = "replaced since" if state == REPLACED and name == "orders" else entry.etag
            row = (name, day, bucket, entry.key, entry.size_bytes, f'"{etag}"', entry.last_modified, f"m{number}{name}")
            self.manifests.append((*row, "run"))
        publish_of = self.publish_of[day] = {}
        for relation, table in pipeline.tables.items():
            if any(str(read) not in publish_of for read in table.reads):
                continue
            stuck = state in {HELD, FAILED} and str(relation) == STUCK_AT
            build, status = len(self.runs) + 1, state if stuck else "success"
            error = "held by grain" if stuck else None
            self.runs.append((build, f"run-{number}", pipeline.name, str(relation), day, status, error))
            inputs = {str(read): publish_of[str(read)] for read in table.reads} | self._window(pipeline, table, day)
            made_from = _made_from(table, number, inputs, older=state == OTHER_SQL)
            if status == "success":
                publish = publish_of[str(relation)] = len(self.publishes) + 1
                rows = int(table.header.storage == "rows")
                row = (publish, str(relation), day, build, f"run-{number}", *made_from, rows, "1", 8192)
                self.publishes.append(row)
            elif status == HELD:
                self.holds.append((build, *made_from, table.checks_version))

    def _window(self, pipeline: Pipeline, table: Table, day: date) -> dict[str, int]:
        """Return the publishes of earlier load_dates that a table with `lookback` has read."""
        reads, found = pipeline.window_inputs_of(table), {}
        for n in range(1, table.header.lookback.days if table.header.lookback else 1):
            earlier = self.publish_of.get(day - timedelta(days=n), {})
            if all(str(read) in earlier for read in reads):
                found |= {str(InputName(read, day - timedelta(days=n))): earlier[str(read)] for read in reads}
        return found


def _made_from(table: Table, number: int, inputs: dict[str, int], *, older: bool) -> tuple[str, str, str]:
    """Return manifest hash, code version and inputs as a build records them."""
    manifest = f"m{number}{table.relation.table}" if table.has_object else f"of-{number}"
    version = "older" if older and str(table.relation) == "stg.stg_orders" else table.code_version
    return manifest, version, json.dumps(inputs)


def write_history(days: Sequence[date]) -> None:
    """Write the records of all those load_dates into the schema ops of Instacart's database."""
    config = settings()
    pipeline = load_pipelines(config.sql_dir)["instacart"]
    assert config.postgres_url is not None
    prepare(pipeline, config.postgres_url)
    store = open_store(pipeline, config)
    records, numbers = _Records(), {day: number for number, day in enumerate(days)}
    for year in range(days[0].year, days[-1].year + 1):
        first, last = max(days[0], date(year, 1, 1)), min(days[-1], date(year, 12, 31))
        objects = landed(store, pipeline.object_tables, first, last)
        for n in range((last - first).days + 1):
            day = first + timedelta(days=n)
            records.add(pipeline, store.bucket, numbers[day], day, objects.get(day, {}))
    build = "manifest_hash, code_version, inputs"
    with connect(config.postgres_url, pipeline.name, "bench") as connection, connection.transaction():
        runs = "id, run_id, pipeline_name, job, load_date, status, error_message"
        _copy(connection, f"pipeline_runs ({runs})", records.runs)
        manifests = "object, load_date, bucket, key, size_bytes, etag, last_modified, manifest_hash, run_id"
        _copy(connection, f"manifests ({manifests})", records.manifests)
        publishes = f"publish_id, asset, load_date, build_id, run_id, {build}, rows, checksum, size_bytes"
        _copy(connection, f"publishes ({publishes})", records.publishes)
        _copy(connection, f"holds (build_id, {build}, checks_version)", records.holds)
        connection.execute("analyze ops.pipeline_runs, ops.manifests, ops.publishes, ops.holds")
        _insert_rows(connection, pipeline)


def _insert_rows(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Insert one row for each published load_date into tables with `storage: rows`, because the sensor looks for it.

    Partitions are not made: their load_dates are published with 0 rows, so nothing has to exist.
    """
    for relation, table in pipeline.tables.items():
        if table.header.storage == "rows":
            tables.ensure(connection, table, date.min, [])
            connection.execute(
                sql.SQL("insert into {} (load_date) select load_date from ops.published where asset = {}").format(
                    sql.Identifier(*relation), sql.Literal(str(relation))
                )
            )


def _copy(connection: Connection[Any], into: str, rows: list[tuple[Any, ...]]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy ops.{into} from stdin".encode()) as copy:
        for row in rows:
            copy.write_row(row)
