"""Lines of other commands about rows that were set aside and wait for a decision."""

from collections.abc import Collection, Sequence
from datetime import date

from kpi_assets.cli.terminal import say, styled
from kpi_assets.cli.workspace import Workspace
from kpi_assets.ledger import bad_rows
from kpi_assets.ledger.bad_rows import Waiting
from kpi_assets.warehouse.connection import connect

_NAMED = 3  # tables and load_dates with a line of their own


def find_waiting(work: Workspace, tables: Collection[str] = (), load_date: date | None = None) -> list[Waiting]:
    """Return how many rows wait for a decision, of all tables or some, and of all load_dates or one."""
    with connect(work.server, work.pipeline.name, "waiting", read_only=True) as connection:
        found = bad_rows.waiting(connection, tables or [*map(str, work.pipeline.tables)])
    return [each for each in found if load_date in {None, each.load_date}]


def say_waiting(pipeline: str, found: Sequence[Waiting]) -> None:
    """Print how many rows wait for a decision; nothing if none does."""
    for each in found[-_NAMED:]:
        rows, wait = ("row", "waits") if each.rows == 1 else ("rows", "wait")
        say(
            styled("set aside", "yellow"),
            f" {each.rows:,} {rows} of {each.table} of {each.load_date} {wait} for a decision: `kpi quarantine list "
            f"{pipeline} --table {each.table} --load-date {each.load_date}`.",
        )
    if len(found) > _NAMED:
        rest = sum(each.rows for each in found[:-_NAMED])
        say(styled("set aside", "yellow"), f" {rest:,} more before that: `kpi quarantine list {pipeline}`.")
