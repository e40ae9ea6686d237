"""Lines of `kpi show` about a KPI whose load_date was restated: what readers were shown before, and why it changed."""

from datetime import date, datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.cli.terminal import say, styled
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read.kpis import read_kpis
from kpi_assets.read.tiles import RestatedValue, tiles_of


def find_restated(
    connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date
) -> list[tuple[str, RestatedValue]]:
    """Return the values of a KPI's load_date that others took the place of, the oldest first, each with its title."""
    if not table.header.kpi:
        return []
    now = datetime.now(timezone.utc)
    [kpi] = read_kpis(connection, pipeline, now=now, only=table, first=load_date, last=load_date)
    found = [
        (tile.measure.title, each) for tile in tiles_of(kpi) for each in tile.restated if each.load_date == load_date
    ]
    return sorted(found, key=lambda each: each[1].publish_id)


def say_restated(found: list[tuple[str, RestatedValue]]) -> None:
    """Print them, a line for each value."""
    for title, each in found:
        say(
            styled("restated", "yellow"),
            f" {title} {each.was_text} → {each.now_text} on {each.at:%Y-%m-%d %H:%M} UTC: {each.why} (publish "
            f"{each.publish_id} after {each.was_publish_id}).",
        )
