"""Checks with `severity: alert`: which of them the latest published rows fail, for as long as their `for` says.

Such a check holds nothing. Its result is recorded with each build, and with each recheck; here the results of the
latest load_date that is shown are judged. A check that fails on rows that a gate held tells nobody: readers do not see
them. While a gate holds the load_date or a newer one, nothing is opened and nothing is repeated, because people have
been told of that already. A result that could not be made judges nothing.

`for: 3 load_dates` means the last results of so many load_dates in a row on which the table was due. `for: 10 minutes`
means that every result was bad since a time that is so long ago. An older load_date that was built again in between
does not count: only what was the newest then.

Belongs here: the judgement, and its sentences. Not here: recording incidents (ledger/incidents.py), the words
(model/checks/options.py), and measures (thresholds.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents, results
from kpi_assets.ledger.incidents import PartOfTable
from kpi_assets.ledger.results import Judged
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.wait import Wait
from kpi_assets.monitoring.thresholds import latest_of, load_dates_before


@dataclass(frozen=True)
class Watched:
    """A check with `severity: alert`, and the table that it examines."""

    relation: Relation
    check: TableCheck
    wait: Wait


def watched(pipeline: Pipeline) -> list[Watched]:
    """Return the checks of a pipeline that tell people."""
    return [
        Watched(relation, check, check.alert)
        for relation, table in pipeline.tables.items()
        for check in table.checks
        if check.alert
    ]


def report_failing(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open the incident of each check that has failed for long enough, and close those of checks that pass.

    It is safe to call this repeatedly, and cheap if no check has `severity: alert`.
    """
    checks = watched(pipeline)
    if not checks and not incidents.open_parts(connection, "check"):
        return
    with connection.transaction():
        incidents.await_turn(connection)
        incidents.close_unwatched(connection, "check", [(str(each.relation), each.check.name) for each in checks])
        held = incidents.last_held(connection)
        shown = latest_of(connection, [each.relation for each in checks])
        for at in (each for each in checks if each.relation in shown):
            load_date, _ = shown[at.relation]
            last = next(results.judged(connection, at.relation, at.check.name, load_date, load_date), None)
            if last is None:
                continue
            found = PartOfTable(
                pipeline.name,
                str(at.relation),
                load_date,
                _sentence(at, load_date, last),
                last.run_id,
                check_name=at.check.name,
            )
            if last.passed:
                incidents.close_part(connection, found)
            elif (held is None or held < load_date) and _is_long_enough(connection, pipeline, at, load_date):
                incidents.report_part(connection, found)


def _sentence(at: Watched, load_date: date, last: Judged) -> str:
    """Return what people are told: it stays the same while the number of bad rows does."""
    said = f"{at.relation}: {at.check.name} {'passes' if last.passed else 'fails'} on {load_date}"
    if last.passed:
        return said
    waited = f", for {at.wait}" if at.wait != Wait() else ""
    reason = f": {last.message}" if last.message else ""
    return f"{said}{waited} ({at.check.description.rstrip('.')}){reason}"


def _is_long_enough(connection: Connection[Any], pipeline: Pipeline, at: Watched, load_date: date) -> bool:
    """Whether a check that fails on the latest load_date has failed for as long as it waits."""
    name = at.check.name
    if not at.wait.time:
        days = load_dates_before(pipeline.calendars[at.relation], load_date, at.wait.load_dates)
        last = (next(results.judged(connection, at.relation, name, day, day), None) for day in days)
        return len(days) == at.wait.load_dates and all(each is not None and not each.passed for each in last)
    now = results.now(connection)
    first = load_date - (at.wait.time + timedelta(days=1))
    return _fails_since(results.judged(connection, at.relation, name, first, load_date), now - at.wait.time)


def _fails_since(found: Iterator[Judged], instant: datetime) -> bool:
    """Whether the results, the latest first, are bad back to one that was made at this instant or before."""
    day, first_of_day = date.max, 0
    for each in found:
        if each.load_date != day:
            earliest, day = first_of_day, each.load_date
        if earliest and each.id > earliest:
            continue  # a load_date that was built again when it was not the newest any more
        if each.passed:
            return False
        if each.checked_at <= instant:
            return True
        first_of_day = each.id
    return False
