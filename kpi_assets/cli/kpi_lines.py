"""Lines of `kpi show` about a KPI: whether its numbers are final, what readers were shown before, and why it changed.

Not here: the clauses (read/said.py and monitoring/reasons.py).
"""

from datetime import date, datetime, timezone
from typing import Any, NamedTuple

from psycopg import Connection

from kpi_assets.cli.terminal import say, styled
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read import said
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.read.tiles import tiles_of


class ShownKpi(NamedTuple):
    """A KPI, and the load_date of it that is printed."""

    kpi: KpiState
    load_date: date


def find_kpi(connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date) -> ShownKpi | None:
    """Return what is known of a load_date of a KPI; None of another table."""
    if not table.header.kpi:
        return None
    now = datetime.now(timezone.utc)
    [kpi] = read_kpis(connection, pipeline, now=now, only=table, first=load_date, last=load_date)
    return ShownKpi(kpi, load_date)


def say_finality(shown: ShownKpi | None) -> None:
    """Print whether the numbers of a load_date are final, if the header of the KPI says when they are."""
    point = shown.kpi.point(shown.load_date) if shown else None
    if shown and point and (clause := said.finality(shown.kpi, point)):
        say(f"{clause[:1].upper()}{clause[1:]}.")


def say_restated(shown: ShownKpi | None) -> None:
    """Print the values of a load_date that others took the place of, the oldest first, a line for each."""
    if shown is None:
        return
    found = [
        (tile.measure.title, each)
        for tile in tiles_of(shown.kpi)
        for each in tile.restated
        if each.load_date == shown.load_date
    ]
    for title, each in sorted(found, key=lambda pair: pair[1].publish_id):
        say(
            styled("restated", "yellow"),
            f" {title} {each.was_text} → {each.now_text} on {each.at:%Y-%m-%d %H:%M} UTC: {each.why} (publish "
            f"{each.publish_id} after {each.was_publish_id}).",
        )
