"""Reads the measures of KPIs as readers are shown them on one load_date, and whether each is as its header says now.

Not here: all load_dates with what is known of each (kpis.py), and computing values (materialize/measures.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import kpi_values, kpis
from kpi_assets.ledger.kpi_values import Shown
from kpi_assets.model.measure import Measure
from kpi_assets.model.table import Table

# current: computed as the header says now; older: the header has changed since; missing: it was never computed.
ValueState = Literal["current", "older", "missing"]


@dataclass(frozen=True)
class MeasureValue:
    """A measure of a KPI and its value on one load_date."""

    table: Table
    name: str
    measure: Measure
    load_date: date
    publish_id: int
    published_at: datetime
    value: Decimal | None
    state: ValueState
    is_final: bool | None  # None if the header of the KPI does not say when its numbers are final, or says it of days


def read_measures(
    connection: Connection[Any],
    tables: Sequence[Table],
    load_date: date | None = None,
    *,
    place: str,
    now: datetime,
) -> list[MeasureValue]:
    """Return the measures of KPIs on a load_date, by default on the latest of each, in the order of their headers.

    Raises UserError, which names the `place` of the data, if none of the KPIs is published for it.
    """
    latest = kpis.latest(connection, [table.relation for table in tables])
    found, published = list[MeasureValue](), False
    for table in tables:
        day = load_date or latest.get(table.relation)
        rows = kpi_values.shown(connection, table.relation, [day]) if day else []
        published = published or bool(rows)
        by_name = {row.measure: row for row in rows}
        for name, measure in table.header.kpi.measures.items() if table.header.kpi and rows else ():
            row = by_name.get(name)
            state: ValueState = "missing"
            if row:
                state = "current" if row.measure_version == measure.version else "older"
            at = row or rows[0]
            value = row.value if row else None
            found.append(
                MeasureValue(
                    *(table, name, measure, at.load_date, at.publish_id, at.published_at, value, state),
                    is_final=_is_final(table, at, now),
                )
            )
    if not published:
        names = ", ".join(str(table.relation) for table in tables)
        of = f" for {load_date}" if load_date else ""
        first = f"run {'that' if load_date else 'a'} load_date first"
        raise UserError(f"{names} {'is' if len(tables) == 1 else 'are'} not published{of} in {place}: {first}.")
    return found


def _is_final(table: Table, shown: Shown, now: datetime) -> bool | None:
    final = table.header.kpi.final if table.header.kpi else None
    return None if final is None or final.by else final.is_final(shown.load_date, shown.lacks, now)
