"""A shop whose KPI has measures, read as pages read it: as kpi_reader, in one snapshot."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.two_source_pipeline import HEAVY, TwoSourcePipeline

MEASURES = """\
  measures:
    kilograms: {title: Weight, value: sum(weight), format: decimal1, unit: kg, better: up, compare: 1}
    labels: {title: Labels, value: count(*), target: {at_least: 2}, compare: 1}
"""
KPI = HEAVY.replace("  chart: {x: label, y: weight}\n", "  chart: {x: label, y: weight}\n" + MEASURES)
LATE = KPI.replace("kpi:\n", "freshness: {within_hours: 12}\nkpi:\n")
# Another object than the usual one, with more rows of it.
MORE_THINGS = b"thing_id,name,weight\n1,anvil,30.50\n2,feather,\n"
NOON = timedelta(hours=12)
TRUST = """
select kpi, gate, load_date, publish_id, published_at, rows, code_version, warnings, stopped_load_date, stopped_at,
    stopped_since, due_by, restated, restated_at, waived, final, final_at, final_through
from ops.kpi_trust
"""


def _finality(kpi: KpiState) -> tuple[bool | None, datetime | None, date | None]:
    assert kpi.latest
    return kpi.is_final(kpi.latest), kpi.final_at(kpi.latest.load_date), kpi.final_through(kpi.latest)


class KpiShop(TwoSourcePipeline):
    """The shop with a KPI that has measures."""

    def stock(self) -> "KpiShop":
        """Write the files, and advance to load_dates that no test has used."""
        super().stock()
        self.day += timedelta(days=16)
        self.file("marts/heavy.sql", KPI)
        return self

    @contextmanager
    def reader(self) -> Iterator[Connection[Any]]:
        """Open a session as pages have it, in one snapshot."""
        with (
            connect(self.server, self.name, "test", role=READER, read_only=True) as connection,
            one_snapshot(connection, LEDGER_ALONE),
        ):
            yield connection

    def kpi(self, **words: Any) -> KpiState:
        """Return the KPI of `day` and the fifteen days after it."""
        words = {"now": self.noon(self.day), "first": self.day, "last": self.day + timedelta(days=15), **words}
        with self.reader() as connection:
            [found] = read_kpis(connection, self.pipeline(), **words)
        if not found.as_of:
            self._is_as_other_tools_are_told()
        return found

    def _is_as_other_tools_are_told(self) -> None:
        """The view ops.kpi_trust says of the KPI what pages say; a run records at its end what files declare."""
        with self.session() as session:
            record_declared(session, self.pipeline())
        with self.reader() as connection:
            [kpi] = read_kpis(connection, self.pipeline(), now=datetime.now(timezone.utc))
            [told] = connection.execute(TRUST).fetchall()
        latest, stop = kpi.latest, kpi.stop
        restated = [
            each
            for each in (latest.restated if latest else ())
            if any(value != each.now[name] for name, value in each.was.items())
        ]
        assert told == (
            *("marts.heavy", kpi.gate),
            *((latest.load_date, latest.publish_id, latest.published_at) if latest else (None, None, None)),
            *((latest.rows, latest.code_version, latest.warnings) if latest else (None, None, 0)),
            *((stop.load_date, stop.asset, stop.since) if stop else (None, None, None)),
            *(kpi.due_by, len(restated), restated[-1].at if restated else None),
            len(latest.waived) if latest else 0,
            *(_finality(kpi) if latest else (None, None, None)),
        )

    def noon(self, day: date) -> datetime:
        """Return noon of a day."""
        return datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
