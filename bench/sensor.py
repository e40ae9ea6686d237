"""How long one tick of the sensor takes over 10,000 load_dates of five objects each, and what it asks for.

`python bench/sensor.py [--home DIR] [--load-dates N]`: makes a home with its own servers below DIR, writes N times five
objects into its S3, and into its Postgres what N published load_dates leave there, all but a few, which are new, replaced,
held, failed, incomplete or of other SQL. Then one tick of Instacart's sensor as Dagster evaluates it, in a process of its
own, of which the peak memory is told. DIR is kept: a second call starts with the tick.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

LIMIT_SECONDS, LIMIT_MB = 20.0, 300.0
FILES = ("orders.csv", "order_products__prior.csv", "products.csv", "aisles.csv", "departments.csv")
FOLDERS = ("orders", "order_products_prior", "products", "aisles", "departments")
# Every so many load_dates one is so; the numbers have no common multiple below 10,000, so none is two things.
NEW, REPLACED, HELD, FAILED, INCOMPLETE, OTHER_SQL = "new", "replaced", "held", "failed", "incomplete", "other SQL"
ODD = {97: NEW, 101: REPLACED, 103: HELD, 107: FAILED, 109: INCOMPLETE, 113: OTHER_SQL}
RUN = {NEW, REPLACED, FAILED}


def kind(number: int) -> str:
    return next((word for every, word in ODD.items() if number % every == every - 1), "published")


def days_of(count: int) -> list[date]:
    """The last `count` load_dates, before today."""
    today = datetime.now(timezone.utc).date()
    return [today - timedelta(days=count - n) for n in range(count)]


def write_objects(folder: Path, days: list[date]) -> None:
    for number, day in enumerate(days):
        for name, file in zip(FOLDERS, FILES, strict=True):
            if kind(number) == INCOMPLETE and name == "aisles":
                continue
            path = folder / "raw" / name / f"load_date={day}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number % 7}\n")
            os.utime(path, (1_700_000_000, 1_700_000_000))


def write_history(days: list[date]) -> None:
    """What the builds of all those load_dates would have left in the ops schema."""
    import psycopg

    from kpi_assets.build.prepare import prepare
    from kpi_assets.lake.listing import landed
    from kpi_assets.lake.store import Store, bucket_of, client
    from kpi_assets.model.pipeline import load_pipelines
    from kpi_assets.settings import settings
    from kpi_assets.warehouse.connection import connect

    config = settings()
    pipeline = load_pipelines(config.sql_dir)["instacart"]
    assert config.postgres_url is not None
    prepare(pipeline, config.postgres_url)
    store = Store(client(config), bucket_of(pipeline, config))
    objects = {}
    for year in range(days[0].year, days[-1].year + 1):
        first, last = max(days[0], date(year, 1, 1)), min(days[-1], date(year, 12, 31))
        objects.update(landed(store, pipeline.sources, first, last))
    runs, manifests, publishes, holds = [], [], [], []
    build, publish = 0, 0
    for number, day in enumerate(days):
        what, inputs = kind(number), {}
        if what in {NEW, INCOMPLETE}:
            continue
        for name, entry in objects[day].items():
            etag = '"replaced since"' if what == REPLACED and name == "orders" else f'"{entry.etag}"'
            row = (name, day, store.bucket, entry.key, entry.size_bytes, etag, entry.last_modified, f"m{number}{name}")
            manifests.append(row)
        for relation, table in pipeline.tables.items():
            build += 1
            status = "success"
            if what in {HELD, FAILED} and str(relation) == "marts.fact_orders":
                status = what
            elif what in {HELD, FAILED} and inputs.get("marts.fact_orders", 0) is None:
                continue
            elif what in {HELD, FAILED} and any(inputs.get(str(read), 0) is None for read in table.reads):
                inputs[str(relation)] = None
                continue
            runs.append((build, f"run-{number}", "instacart", str(relation), day, status, "held by grain"))
            source = f"m{number}{relation.table}" if table.header.source else f"of-{number}"
            version = "older" if what == OTHER_SQL and str(relation) == "stg.stg_orders" else table.code_version
            read = json.dumps({str(name): inputs[str(name)] for name in table.reads})
            if status == "success":
                publish += 1
                inputs[str(relation)] = publish
                publishes.append(
                    (publish, str(relation), day, build, f"run-{number}", source, version, 1, "1", 8192, read)
                )
            else:
                inputs[str(relation)] = None
                if status == HELD:
                    holds.append((build, source, version, table.checks_version, read))
    with connect(config.postgres_url, pipeline.name, "bench") as connection, connection.transaction():
        copy(connection, "pipeline_runs", "id, run_id, pipeline_name, job, load_date, status, error_message", runs)
        columns = "object, load_date, bucket, key, size_bytes, etag, last_modified, manifest_hash"
        copy(connection, "manifests", f"{columns}, run_id", [(*row, "run") for row in manifests])
        columns = (
            "publish_id, asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, size_bytes"
        )
        copy(connection, "publishes", f"{columns}, inputs", publishes)
        copy(connection, "holds", "build_id, manifest_hash, code_version, checks_version, inputs", holds)
        connection.execute("analyze ops.pipeline_runs, ops.manifests, ops.publishes, ops.holds")
    assert isinstance(connection, psycopg.Connection)


def copy(connection, table: str, columns: str, rows: list[tuple]) -> None:
    with connection.cursor() as cursor, cursor.copy(f"copy ops.{table} ({columns}) from stdin") as into:
        for row in rows:
            into.write_row(row)


def tick(wanted: list[str]) -> None:
    """One tick in this process, which has done nothing else."""
    import dagster as dg

    from kpi_assets.assets.resources import plain_s3
    from kpi_assets.definitions import build_defs

    defs = build_defs({"s3": plain_s3})
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, repository_def=defs.get_repository_def())
        sensor = defs.resolve_sensor_def("instacart_sensor")
        before = peak_mb()
        for name in ("first", "second"):
            began, spent = time.monotonic(), time.process_time()
            told = sensor.evaluate_tick(context)
            seconds, cpu = time.monotonic() - began, time.process_time() - spent
            asked = [request.partition_key for request in told.run_requests or []]
            right = asked == (wanted if name == "first" else [])
            print(
                f"{name} tick: {seconds:.1f} s ({cpu:.1f} s of CPU here), peak memory {peak_mb():.0f} MB (before {before:.0f})"
            )
            print(
                f"  asked for {len(asked)} runs: {'exactly those needed' if right else 'WRONG'}; cursor {told.cursor}"
            )
            print(f"  {told.skip_message or ''}")
            if not right or seconds > LIMIT_SECONDS or peak_mb() > LIMIT_MB:
                sys.exit(1)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path("/tmp/kpi-bench-sensor"))
    parser.add_argument("--load-dates", type=int, default=10_000)
    parser.add_argument("--tick", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    days = days_of(options.load_dates)
    wanted = [str(day) for number, day in enumerate(days) if kind(number) in RUN]
    if options.tick:
        tick(wanted)
        return
    sql = options.home / "sql"
    if not sql.exists():
        import shutil

        from kpi_assets.settings import default_sql_dir

        shutil.copytree(default_sql_dir(), sql)
        path = sql / "instacart" / "pipeline.yaml"
        path.write_text(path.read_text().replace("start_date: 2025-01-01", f"start_date: {days[0]}"))
    os.environ.update(KPI_HOME=str(options.home / "home"), KPI_SQL_DIR=str(sql))
    from kpi_assets.local.stack import running
    from kpi_assets.settings import settings

    with running(settings()) as stack:
        folder = stack.make_bucket("kpi-instacart")
        done = options.home / "written"
        if not done.exists():
            print(f"writing {len(days):,} load_dates of five objects, and their history ...")
            write_objects(folder, days)
            write_history(days)
            done.touch()
        from kpi_assets.warehouse.connection import connect

        with connect(settings().postgres_url, "instacart", "bench") as connection:
            connection.execute("truncate ops.requests, ops.late")
        command = [sys.executable, __file__, "--tick", "--load-dates", str(options.load_dates)]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
