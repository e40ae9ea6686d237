"""Through which instant a table has been built: all events that the brokers took before it are in its rows.

Of a batch, the ledger knows it (ops.batches). Rows that are up to date with what is built of their streams are built
through a later instant, the one that the latest tick found: so a table stays fresh while no event comes, and does not
when nobody lands, when nobody ticks, or when a gate holds what it reads. A table that is built as a whole is as old as
the oldest of what it read; what it reads of earlier load_dates does not count, and neither does what comes from files.

Not here: which KPIs are late (freshness.py).
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import batches, growth, publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.names import InputName, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table


def through(connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date) -> datetime | None:
    """Return through which instant the published rows of a load_date are built; None if that is not known."""
    publish = publishes.current(connection, [table.relation], load_date).get(table.relation)
    return _Chain(connection, pipeline, load_date).of(table, publish.publish_id) if publish else None


@dataclass(frozen=True)
class _Chain:
    """What the rows of one load_date come from, publish by publish."""

    connection: Connection[Any]
    pipeline: Pipeline
    load_date: date
    _known: dict[tuple[Relation, int], datetime | None] = field(default_factory=dict)  # publishes are read many times

    def of(self, table: Table, publish_id: int) -> datetime | None:
        """Return through which instant the rows of a publish are built."""
        key = table.relation, publish_id
        if key not in self._known:
            self._known[key] = self._of_batch(table, publish_id) if table.grows else self._of_inputs(publish_id)
        return self._known[key]

    def _of_inputs(self, publish_id: int) -> datetime | None:
        """Return the earliest instant of what a whole build read of its load_date and comes from streams."""
        found = []
        for text, read in self._inputs(publish_id).items():
            name = InputName.parse(text)
            table = self.pipeline.tables.get(name.relation)
            if table and name.load_date is None and self.pipeline.streams_of(table):
                found.append(self.of(table, read))
        known = [each for each in found if each is not None]
        return min(known) if known and len(known) == len(found) else None

    def _of_batch(self, table: Table, publish_id: int) -> datetime | None:
        batch = batches.of_publish(self.connection, table.relation, self.load_date, publish_id)
        if batch is None or batch.through is None:
            return None
        current = self._current(table.relation)
        if current is None or current.publish_id != publish_id:
            return batch.through
        if table.stream:
            ticked = self._ticked(table.relation)
            return max(batch.through, ticked) if ticked else batch.through
        [read] = table.growing_reads
        last = batches.last(self.connection, read, self.load_date)
        source = self._current(read)
        if (
            last is None
            or source is None
            or last.up_to > batch.up_to
            or last.base_build_id != batch.input_base_build_id
        ):
            return batch.through
        return self.of(self.pipeline.tables[read], source.publish_id)

    def _ticked(self, relation: Relation) -> datetime | None:
        """Return through which instant the latest tick found everything built, unless a newer load_date has begun."""
        if publishes.latest_load_date(self.connection, relation) != self.load_date:
            return None
        known = growth.between(self.connection, self.load_date, date.max)
        instants = [each.through for each in known.values() if each.through]
        return max(instants, default=None)

    def _current(self, relation: Relation) -> Publish | None:
        return publishes.current(self.connection, [relation], self.load_date).get(relation)

    def _inputs(self, publish_id: int) -> dict[str, int]:
        row = self.connection.execute("select inputs from ops.publishes where publish_id = %s", [publish_id]).fetchone()
        found: dict[str, int] = row[0] if row else {}
        return found
