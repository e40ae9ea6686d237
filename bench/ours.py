"""kpi_assets: `kpi run` of one landed load_date, start to exit, the servers up."""

import json
import sys
from pathlib import Path

import psycopg

from bench.place import LOAD_DATE, Kpis, Place, kpis_in

NAME = "kpi_assets"
KPI = Path(sys.executable).with_name("kpi")


def prepare(place: Place) -> None:
    """An empty warehouse; the files are on S3."""
    with psycopg.connect(place.url("postgres"), autocommit=True) as connection:
        connection.execute("drop database if exists instacart with (force)")
    place.call([KPI, "land", "instacart", "--load-date", LOAD_DATE, "--from", place.files, "--replace"])


def run(place: Place) -> None:
    """All of it, every gate on."""
    place.call([KPI, "run", "instacart", "--load-date", LOAD_DATE])


def kpis(place: Place) -> Kpis:
    """What readers see."""
    return kpis_in(place.url("instacart"), "marts.")


def seconds_by_table(place: Place) -> dict[str, float]:
    """How long each build took, from the run log."""
    with psycopg.connect(place.url("instacart")) as connection:
        rows = connection.execute(
            "select job, execution_seconds::float from ops.pipeline_runs where job like '%.%' and status = 'success' "
            "order by started_at"
        ).fetchall()
    return json.loads(json.dumps(dict(rows)))
