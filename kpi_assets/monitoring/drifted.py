"""Drift: which fields the events of a stream have that the header of its raw table does not name.

Each is an incident of its own. It is over when the header names the field, or when no event of the latest load_dates
has had it. The values are kept in the column `unexpected`; a replay puts them into the column that the header names.

Belongs here: which fields are told, and the sentences. Not here: finding them (warehouse/drift.py), recording them
(ledger/drift.py), and recording incidents (ledger/incidents.py).
"""

from typing import Any

from psycopg import Connection

from kpi_assets.ledger import drift, incidents
from kpi_assets.ledger.drift import Field
from kpi_assets.ledger.incidents import PartOfTable
from kpi_assets.model.names import UNEXPECTED
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.sentences import shown
from kpi_assets.model.table import Table

LOAD_DATES = 7  # the days of load_dates, up to the latest, whose events count
MOST = 20  # open incidents of a table; ops.drift has all


def report_drifted(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open the incident of each field that no header names, and close those that are over.

    It is safe to call this repeatedly, and cheap if no pipeline has a stream.
    """
    tables = {str(table.relation): table for table in pipeline.stream_tables}
    if not tables and not incidents.open_parts(connection, "field"):
        return
    with connection.transaction():
        incidents.await_turn(connection)
        recent = drift.latest(connection, [table.relation for table in tables.values()], LOAD_DATES)
        unnamed = [each for each in recent if each.field not in _named(tables[each.asset])]
        opened = incidents.open_parts(connection, "field")
        still = {(each.asset, each.field) for each in unnamed}
        for name, field in (each for each in opened if each not in still):
            incidents.close_part(connection, _over(connection, pipeline, tables, name, field))
        counts = {name: sum(asset == name and (asset, field) in still for asset, field in opened) for name in tables}
        for each in unnamed:
            is_open = (each.asset, each.field) in opened
            if is_open or counts[each.asset] < MOST:
                counts[each.asset] += not is_open
                incidents.report_part(connection, _of(pipeline, each))


def _named(table: Table) -> set[str]:
    return {field.name for field in table.dialect.fields}


def _of(pipeline: Pipeline, each: Field) -> PartOfTable:
    sentence = (
        f"{each.asset}: events have the field {shown(each.field)} ({', '.join(each.types)}), which the header does not "
        f"name: it is kept in {UNEXPECTED}; name it as a column and replay the load_dates from {each.first} on, or let "
        "the producer take it out"
    )
    return PartOfTable(pipeline.name, each.asset, each.load_date, sentence, field=each.field)


def _over(
    connection: Connection[Any], pipeline: Pipeline, tables: dict[str, Table], name: str, field: str
) -> PartOfTable:
    """Return what is said of a field that is told no more."""
    if name in tables and field in _named(tables[name]):
        why = "the header names it now; a replay fills the column"
    else:
        why = f"no event of the last {LOAD_DATES} days of load_dates has it"
    load_date = incidents.load_date_of(connection, name, "field", field)
    return PartOfTable(pipeline.name, name, load_date, f"{name}: the field {shown(field)}: {why}", field=field)
