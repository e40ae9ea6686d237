"""Objects that landed for a load_date on which they are not due: nothing reads them, so somebody must be told."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from kpi_assets.model.calendar import named
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.sources.listing import landed
from kpi_assets.sources.store import Store


@dataclass(frozen=True)
class Unexpected:
    """The load_dates, at least one, for which an object of a table landed that is not due."""

    table: Table
    load_dates: list[date]

    def __str__(self) -> str:
        last, earlier, name = self.load_dates[-1], len(self.load_dates) - 1, self.table.relation
        key, change = self.table.object_key(last), "change the calendar if it should be due"
        if not earlier:
            return f"{key} landed for {named(last)}, on which {name} is not due: nothing reads it; {change}"
        more = f"{earlier} earlier object{'s' * (earlier > 1)}"
        return f"{key} and {more} landed for days on which {name} is not due: nothing reads them; {change}"


def find_unexpected(pipeline: Pipeline, store: Store, first: date, last: date) -> Iterator[Unexpected]:
    """Yield what landed in a range without being due, by table. Raises LakeError.

    A reference object lands for no load_date, so none of its tables is named.
    """
    found: dict[str, list[date]] = {}
    dated = [table for table in pipeline.object_tables if not table.source.key.is_reference]
    tables = {table.relation.table: table for table in dated}
    has_calendar = pipeline.has_calendar or any(table.source.carried_days for table in dated)
    for year in range(first.year, last.year + 1) if has_calendar else ():
        start, end = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
        for day, objects in sorted(landed(store, dated, start, end, carry=False).items()):
            for name in objects:
                if not pipeline.is_object_due(tables[name], day):
                    found.setdefault(name, []).append(day)
    return (Unexpected(tables[name], days) for name, days in sorted(found.items()))
