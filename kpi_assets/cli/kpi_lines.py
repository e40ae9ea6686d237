"""Lines of `kpi show` about a KPI: whether its numbers are final, what readers were shown before, and why it changed.

Not here: the clauses (read/said.py and read/restated.py).
"""

from datetime import date, datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.cli.terminal import say, styled
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read import said
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.read.tiles import tiles_of


def find_kpi(connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date) -> KpiState | None:
    """Return what is known of a load_date of a KPI; None of another table."""
    if not table.header.kpi:
        return None
    now = datetime.now(timezone.utc)
    [kpi] = read_kpis(connection, pipeline, now=now, only=table, first=load_date, last=load_date)
    return kpi


def say_finality(kpi: KpiState, load_date: date) -> None:
    """Print whether the numbers of a load_date are final, if its header says when they are."""
    point = kpi.point(load_date)
    if point and (clause := said.finality(kpi, point)):
        say(f"{clause[:1].upper()}{clause[1:]}.")


def say_restated(kpi: KpiState, load_date: date) -> None:
    """Print the values of a load_date that others took the place of, the oldest first, a line for each."""
    found = [
        (tile.measure.title, each) for tile in tiles_of(kpi) for each in tile.restated if each.load_date == load_date
    ]
    for title, each in sorted(found, key=lambda pair: pair[1].publish_id):
        say(
            styled("restated", "yellow"),
            f" {title} {each.was_text} → {each.now_text} on {each.at:%Y-%m-%d %H:%M} UTC: {each.why} (publish "
            f"{each.publish_id} after {each.was_publish_id}).",
        )
