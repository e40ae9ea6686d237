"""The load_date from which a build of a table that carries on goes on: its own latest published load_date before.

A publish of that load_date is not blocked while a build reads it, because two builds of one table would then wait for
each other. Instead the build makes sure that the rows which it has read are those of the publish that the ledger
records as its input. What is published after that makes the build stale, as with any other input.

Belongs here: finding that load_date, and why it cannot be read. Not here: what the SELECT may read of its own table
(model/carry_on.py), and when a build is stale (ledger/recorded.py).
"""

from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table


def resolve_previous(pipeline: Pipeline, connection: Connection[Any], table: Table, load_date: date) -> Publish | None:
    """Return the publish from which a build goes on; None if the table does not carry on or has no load_date before.

    Raises UpstreamError if retention dropped the rows of that load_date, or if it was published with other columns.
    """
    found = publishes.latest_before(connection, table.relation, load_date) if table.carries_on else None
    if found is None:
        return None
    day, publish = found
    reason = "was dropped by retention"
    if publish is not None:
        types = publish.types or table.types
        other = [name for name, type_ in table.types.items() if name in table.names_read and types.get(name) != type_]
        if not other:
            return publish
        reason = f"was published before its column {other[0]!r} became what its file declares now"
    raise UpstreamError(
        f"{table.relation} of {load_date} cannot be built: it carries on from {day}, which {reason}; "
        f"{rebuilding(pipeline, table, load_date)}."
    )


def rebuilding(pipeline: Pipeline, table: Table, load_date: date) -> str:
    """Say how to build a table again from its first load_date on, as a clause.

    The tables that it reads are built too if retention drops them.
    """
    is_kept = all(pipeline.retention_days(pipeline.tables[each]) is None for each in pipeline.inputs_of(table))
    select = f" --select {table.relation}" if is_kept else ""
    command = f"kpi backfill {pipeline.name} --from {pipeline.config.start_date} --to {load_date}{select}"
    return f"`{command}` builds it in order from its first load_date"


def find_warnings(pipeline: Pipeline, table: Table, load_date: date, previous: Publish | None) -> list[str]:
    """Return a sentence if a build goes on from rows that another version of the file has made."""
    if previous is None or previous.code_version == table.code_version:
        return []
    return [
        f"{table.relation} of {load_date} carries on from {previous.load_date}, which was built before its SQL was "
        f"changed; {rebuilding(pipeline, table, load_date)}"
    ]


def check_read(connection: Connection[Any], relation: Relation, load_date: date, previous: Publish | None) -> None:
    """Raise UpstreamError if the rows that were just read may be other than those of the publish `previous`."""
    if previous is None:
        return
    if publishes.current(connection, [relation], previous.load_date).get(relation) != previous:
        raise _changed(relation, load_date, previous.load_date)


def check_latest(connection: Connection[Any], relation: Relation, load_date: date, previous: Publish | None) -> None:
    """Raise UpstreamError if a build would go on from another publish now."""
    found = publishes.latest_before(connection, relation, load_date)
    if (found[1] if found else None) != previous:
        raise _changed(relation, load_date, found[0] if found else None)


def _changed(relation: Relation, load_date: date, day: date | None) -> UpstreamError:
    what = f"{relation} of {day} was published or dropped" if day else f"{relation} was dropped"
    return UpstreamError(
        f"{relation} of {load_date} was not published: {what} while it was being built from the load_date before it; "
        "build it again.",
        transient=True,
    )
