"""Reads the check results of a load_date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import results
from kpi_assets.model.calendar import named
from kpi_assets.model.pipeline import Pipeline


@dataclass(frozen=True)
class Checked:
    """The latest result of each check of a load_date, as rows of ops.data_quality_results."""

    load_date: date
    results: Sequence[dict[str, Any]]


def read_checks(
    connection: Connection[Any],
    pipeline: Pipeline,
    load_date: date | None = None,
    *,
    place: str,
    run_id: str | None = None,
) -> Checked:
    """Return the check results of a load_date (by default the latest), or only those of the run `run_id`, if given.

    A run may have none. Raises UserError, which names the `place` of the data, if nothing was checked.
    """
    day = load_date or results.latest_load_date(connection)
    if day is None:
        raise UserError(f"Nothing of {pipeline.name} has been checked yet in {place}: land and run a load_date first.")
    found = [row for row in results.latest(connection, day) if run_id in {None, row["run_id"]}]
    if not found and run_id is None:
        if not pipeline.due_tables(day):
            raise UserError(f"Nothing of {pipeline.name} was checked for {named(day)}: nothing is due on it.")
        raise UserError(
            f"Nothing of {pipeline.name} was checked for {day} in {place}: land and run that load_date first."
        )
    return Checked(day, found)
