"""Looks up facts that checks need besides the rows, in the ledger and in other tables, before the audit.

Belongs here: one query for each kind of need (model/checks/base.py), executed only if a check has that need.
Not here: facts that a build has at hand (audit.py), and the use that a check makes of a fact (model/checks/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import manifests, publishes, results
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.checks.base import (
    Changes,
    DenseKeyRange,
    Earlier,
    EarlierRows,
    FinalChecksum,
    Need,
    RowsBefore,
    SameBytes,
    TableCheck,
)
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.slices import KEY_TYPES
from kpi_assets.model.table import Table
from kpi_assets.warehouse.ddl import identifier
from kpi_assets.warehouse.dense_keys import dense_key_range
from kpi_assets.warehouse.earlier_rows import rows_before


@dataclass(frozen=True)
class FactLookup:
    """Looks up what some checks of a table need for one load_date.

    `inputs` are the publishes that a build reads. Without them no key range is looked up: that is only an optimization.
    """

    connection: Connection[Any]
    pipeline: Pipeline
    table: Table
    load_date: date
    checks: Sequence[TableCheck]
    manifest_hash: str = ""  # of the object that the build has read
    inputs: Mapping[Relation, Publish] = field(default_factory=dict)
    changes: Changes | None = None  # if the candidate of a history was compared with the load_date before

    def answers(self) -> dict[Need, Any]:
        """Return the answer to each need of the checks."""
        needs = dict.fromkeys(need for check in self.checks for need in check.needs)
        return {need: self._answer(need) for need in needs}

    def compared(self) -> dict[str, dict[str, int]]:
        """Return the earlier publishes of the table with which each check compares the build, as inputs.

        To be asked before the answers: what is published in between must count as published since, or a build that
        it would release stays held. The load_date before is always one of them, so that another one that comes between
        is noticed.
        """
        needs = {
            check.name: [need for need in check.needs if isinstance(need, EarlierRows | RowsBefore)]
            for check in self.checks
        }
        return {name: self._compared(earlier) for name, earlier in needs.items() if earlier}

    def _compared(self, needs: Sequence[Need]) -> dict[str, int]:
        found = dict[str, int]()
        for need in {EarlierRows(), *(self._by_calendar(each) for each in needs if isinstance(each, EarlierRows))}:
            found |= publishes.earlier(self.connection, self.table.relation, self.load_date, **asdict(need))
        return found

    def _answer(self, need: Need) -> Any:
        if isinstance(need, EarlierRows):
            wanted = asdict(self._by_calendar(need))
            return publishes.earlier_rows(self.connection, self.table.relation, self.load_date, **wanted)
        if isinstance(need, SameBytes):
            if self.table.source.key.is_reference:  # it has the same bytes until it is overwritten
                return []
            name = self.table.relation.table
            return manifests.same_bytes(self.connection, name, self.load_date, self.manifest_hash)
        if isinstance(need, FinalChecksum):
            return self._final_checksum(need)
        if isinstance(need, RowsBefore):
            return self._rows_before()
        return self._dense_key_range(need)

    def _final_checksum(self, need: FinalChecksum) -> str | None:
        relation = self.table.relation
        published = publishes.current(self.connection, [relation], self.load_date).get(relation)
        if published is None:
            return None
        now = results.now(self.connection)
        return published.checksum if need.final.is_final(self.load_date, published.lacks, now) else None

    def _rows_before(self) -> Earlier | None:
        relation = self.table.relation
        before = publishes.latest_load_date(self.connection, relation, before=self.load_date)
        if before is None:
            return None
        is_latest = before == publishes.latest_load_date(self.connection, relation)
        found = rows_before(self.connection, self.table, before, is_latest=is_latest)
        if found is None:
            return None
        published = publishes.current(self.connection, [relation], before)[relation]
        changes = self.changes if self.changes and self.changes.before == before else None
        return replace(found, changes=changes, lacks=published.lacks)

    def _dense_key_range(self, need: DenseKeyRange) -> tuple[int, int] | None:
        publish, header = self.inputs.get(need.relation), self.pipeline.tables[need.relation].header
        is_key = header.grain == [need.column] and header.columns[need.column].type in KEY_TYPES
        if publish is None or not is_key or header.history:
            return None
        relation = identifier(need.relation)
        return dense_key_range(self.connection, relation, need.column, self.load_date, publish.rows)

    def _by_calendar(self, need: EarlierRows) -> EarlierRows:
        """Return which load_dates count: any of a table that is not due by weekday, for month ends lie far apart."""
        return need if self.pipeline.calendars[self.table.relation].is_by_weekday else replace(need, every=1)
