"""kpi_assets: `kpi run` of one landed load_date from start to exit, while the servers run."""

import json
import sys
from pathlib import Path

import psycopg

from bench.context import LOAD_DATE, BenchContext, Kpis, kpis_in

NAME = "kpi_assets"
KPI = Path(sys.executable).with_name("kpi")
# The tables that the other contenders build too, so not the KPIs with a lookback.
TABLES = (
    "s3,raw,stg,marts.fact_orders,marts.fact_order_items,marts.dim_products,marts.kpi_orders_by_dow,"
    "marts.kpi_products_reorder"
)


def prepare(context: BenchContext) -> None:
    """Make an empty warehouse, and land the files on S3."""
    with psycopg.connect(context.url("postgres"), autocommit=True) as connection:
        connection.execute("drop database if exists instacart with (force)")
    context.call([KPI, "land", "instacart", "--load-date", LOAD_DATE, "--from", context.files, "--replace"])


def run(context: BenchContext) -> None:
    """Build everything from the objects to the KPIs, with every gate."""
    context.call([KPI, "run", "instacart", "--load-date", LOAD_DATE, "--select", TABLES])


def kpis(context: BenchContext) -> Kpis:
    """Return the published KPIs."""
    return kpis_in(context.url("instacart"), "marts.")


def seconds_by_table(context: BenchContext) -> dict[str, float]:
    """Return the seconds of each build, from the run log."""
    with psycopg.connect(context.url("instacart")) as connection:
        rows = connection.execute(
            "select job, execution_seconds::float from ops.pipeline_runs where job like '%.%' and status = 'success' "
            "order by started_at"
        ).fetchall()
    return json.loads(json.dumps(dict(rows)))
