"""A shop whose KPI has measures, read as pages read it: as kpi_reader, in one snapshot."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.warehouse.connection import connect, one_snapshot
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


class KpiShop(TwoSourcePipeline):
    """The shop with a KPI that has measures."""

    def stock(self) -> "KpiShop":
        """Write the files, and advance to load_dates that no test has used."""
        super().stock()
        self.day += timedelta(days=16)
        self.file("marts/heavy.sql", KPI)
        return self

    def run(self, day: date | None = None) -> dict[str, str]:
        """TEMPORARY: values are recorded here until publishes do it."""
        found = super().run(day)
        with self.session() as session:
            session.execute(
                "create table if not exists ops.kpi_values (publish_id bigint, measure text, measure_version text, "
                "value numeric, primary key (publish_id, measure))"
            )
            session.execute("grant select on ops.kpi_values to kpi_reader")
            session.execute(
                "insert into ops.kpi_values select p.publish_id, m.measure, '', m.value from ops.published p "
                "cross join lateral (select sum(weight) as k, count(*) as n from marts.heavy h "
                "where h.load_date = p.load_date) as s "
                "cross join lateral (values ('kilograms', s.k), ('labels', s.n)) as m (measure, value) "
                "where p.asset = 'marts.heavy' on conflict do nothing"
            )
        return found

    @contextmanager
    def reader(self) -> Iterator[Connection[Any]]:
        """Open a session as pages have it, in one snapshot."""
        with (
            connect(self.server, self.name, "test", role=READER, read_only=True) as connection,
            one_snapshot(connection),
        ):
            yield connection

    def kpi(self, **words: Any) -> KpiState:
        """Return the KPI of `day` and the fifteen days after it."""
        words = {"now": self.noon(self.day), "first": self.day, "last": self.day + timedelta(days=15), **words}
        with self.reader() as connection:
            [found] = read_kpis(connection, self.pipeline(), **words)
        return found

    def noon(self, day: date) -> datetime:
        """Return noon of a day."""
        return datetime(day.year, day.month, day.day, 12, tzinfo=timezone.utc)
