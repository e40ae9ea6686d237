"""Whether a build of a table would read other publishes than its latest build did, so that building it makes sense.

A load_date that grows asks this every few seconds for each table, so it looks only at what is published now: the plan
compares checksums over all publishes of a load_date, of which one that grows has thousands.

Belongs here: that comparison. Not here: resolving the inputs for a build, with locks (inputs.py), and the state of a
load_date that does not grow (plan/).
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, Literal

from psycopg import Connection

from kpi_assets.ledger import holds, marks, publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.inputs import earlier_of_window
from kpi_assets.model.names import DECISIONS, InputName, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table

AFTER_FAILURE = timedelta(seconds=10)  # before a table is built again whose latest build failed
Need = Literal["now", "later", "rests", "none"]


def reads_now(pipeline: Pipeline, connection: Connection[Any], table: Table, load_date: date) -> dict[str, int] | None:
    """Return the publish_id of each input that a build would read now, as the ledger records it, without decisions.

    None if a table lacks that must be published first.
    """
    everything = pipeline.inputs_of(table)
    own = publishes.current(connection, everything, load_date)
    if any(each not in own for each in everything if pipeline.calendars[each].is_due(load_date)):
        return None
    found = {str(relation): publish.publish_id for relation, publish in own.items()}
    for publish in _earlier(pipeline, connection, table, load_date):
        found[str(InputName(Relation.parse(publish.asset), publish.load_date))] = publish.publish_id
    for relation in pipeline.histories_of(table):
        mark = marks.known(connection, relation, load_date).mark
        found[str(InputName(relation, load_date, is_up_to=True))] = mark
    return found


def _earlier(pipeline: Pipeline, connection: Connection[Any], table: Table, load_date: date) -> list[Publish]:
    """Return the publishes of earlier load_dates that a build would read: those of its window, and its own last one."""
    found: list[Publish] = []
    if pipeline.window_inputs_of(table):
        of_window = earlier_of_window(pipeline, connection, table, load_date)
        found += [publish for of in of_window.values() for publish in of.values()]
    before = publishes.latest_before(connection, table.relation, load_date) if table.carries_on else None
    return [*found, *([before[1]] if before and before[1] else [])]


def need(
    pipeline: Pipeline,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    *,
    rest: timedelta = timedelta(),
    now: datetime | None = None,
) -> Need:
    """Say whether a table should be built: its build would read other publishes than before, or its SQL is another one.

    Later, if its latest build failed just now; it rests if its latest publish is younger than `rest`. Not again with
    what held it, and not before all that it reads is published.
    """
    wanted = reads_now(pipeline, connection, table, load_date)
    if wanted is None:
        return "none"
    at = now or datetime.now(timezone.utc)
    last = holds.last_build(connection, table.relation, load_date)
    if last and last.status == "failed":
        return "later" if at - last.at < AFTER_FAILURE else "now"
    if last and last.status == "held" and last.inputs is not None:
        versions = (last.code_version, last.checks_version)
        is_same = versions == (table.code_version, table.checks_version) and _of_tables(last.inputs) == wanted
        return "none" if is_same and not last.is_compared_otherwise else "now"
    publish = publishes.current(connection, [table.relation], load_date).get(table.relation)
    if publish is None:
        return "now"
    if publish.code_version == table.code_version and _of_tables(publish.inputs) == wanted:
        return "none"
    return "rests" if at - publish.published_at < rest else "now"


def _of_tables(inputs: Mapping[str, int]) -> dict[str, int]:
    return {name: publish_id for name, publish_id in inputs.items() if not name.startswith(f"{DECISIONS}.")}
