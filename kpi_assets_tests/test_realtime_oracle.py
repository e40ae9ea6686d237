"""Silver and KPIs of the stream equal those of the oracle, which reads the objects of the streams themselves.

The load_dates grow here batch by batch, as objects land, and are built as a whole afterwards.
"""

import random
from collections.abc import Iterator
from dataclasses import fields
from datetime import date, datetime, time, timedelta, timezone

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import batches
from kpi_assets.materialize.build import build
from kpi_assets.materialize.grow import grow
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.generator import messages
from kpi_assets.samples.realtime.world import STREAMS
from kpi_assets.settings import CHECKOUT
from kpi_assets.stream import links
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.realtime_oracle import Realtime, computed
from kpi_assets_tests.realtime_published import PUBLISHED, query_of

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(3)]
RATE = 0.06  # events a second: some 5,000 a day
FAULTS = (
    "repeats=0.03",
    "poison=0.0005",
    "late=0.03",
    "early=0.01",
    "drift=0.02",
    "new-type=0.002",
    "wrong-type=0.0005",
    "missing-key=0.0005",
)
BATCHES = {DAYS[0]: 5, DAYS[1]: 3, DAYS[2]: 2}
GROWING = ("raw", "stg")


class RealtimePipeline(PipelineHarness):
    """The shipped pipeline, whose objects a test lands itself."""

    def grow(self, day: date) -> int:
        """Build what is new of each table that grows; return the number of batches."""
        context = self.prepared()
        growing = [table for table in context.pipeline.tables.values() if table.grows]
        made = [each for table in growing for each in grow(context, table, day)]
        assert [each.relation for each in made if each.held] == []
        return len(made)

    def build_others(self, day: date) -> None:
        """Build the tables that do not grow."""
        context = self.prepared()
        for table in context.pipeline.tables.values():
            if not table.grows:
                outcome = build(context, table, day)
                assert not outcome.held, outcome.results

    def replay(self, day: date) -> None:
        """Build all tables of a load_date as a whole."""
        context = self.prepared()
        for table in context.pipeline.tables.values():
            assert not build(context, table, day).held

    def totals(self, day: date) -> dict[str, tuple[int, int]]:
        """Return what was set aside of each stream, and what came again."""
        tables, found = self.pipeline().tables, {}
        with self.session() as session:
            for table in tables.values():
                last = batches.last(session, table.relation, day) if table.grows else None
                if last:
                    found[str(table.relation)] = (last.total_quarantined, last.total_repeats)
        return {name: (found[f"raw.{name}"][0], found[f"stg.{name}"][1]) for name in STREAMS}

    def published(self, day: date) -> Realtime:
        """Return what readers see of a load_date, and what was left out."""
        rows = {}
        for table in PUBLISHED:
            rows[table.split(".")[1]] = self.rows(query_of(table, day))
        totals = self.totals(day)
        return Realtime(
            quarantined={name: totals[name][0] for name in STREAMS},
            repeats={name: totals[name][1] for name in STREAMS},
            **rows,
        )

    def checksums(self, day: date) -> dict[str, str]:
        """Return the checksums of what is published, of the tables whose grain does not name the batch."""
        found = self.rows(f"select asset, checksum from ops.published where load_date = '{day}'")
        return {name: checksum for name, checksum in found if not name.endswith("_by_minute") or "kpi" in name}


@pytest.fixture(scope="module")
def realtime(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealtimePipeline]:
    """The shipped pipeline realtime, under another name. Every call lists the objects."""
    with (
        pytest.MonkeyPatch.context() as patch,
        RealtimePipeline.open(stack, tmp_path_factory.mktemp("realtime"), CHECKOUT / "sql" / "realtime") as opened,
    ):
        patch.setattr(links, "SWEEP_SECONDS", 0.0)
        patch.setattr(links, "FULL_SECONDS", 0.0)
        assert isinstance(opened, RealtimePipeline)
        yield opened


def objects(lab: RealtimePipeline) -> dict[date, list[tuple[str, bytes]]]:
    """Return the objects of each load_date, in the sequence in which they land."""
    opening, end = (datetime.combine(day, time(), timezone.utc) for day in (FIRST, DAYS[-1] + timedelta(days=1)))
    sent = bronze.until(messages(opening, RATE, faults=FAULTS), end)
    tables = {table.stream: table for table in lab.pipeline().tables.values() if table.stream}
    found: dict[date, list[tuple[str, bytes]]] = {day: [] for day in DAYS}
    for each in bronze.objects(bronze.events(sent), flush_seconds=3600):
        table = tables[each.stream]
        found[each.load_date].append((each.key(table.stream_prefix(each.load_date)), each.body(table.object_version)))
    return found


def assert_equal(lab: RealtimePipeline, wanted: dict[date, Realtime], days: list[date]) -> None:
    """Assert that the load_dates are as the oracle says, table by table."""
    for day in days:
        found = lab.published(day)
        for field in fields(Realtime):
            assert getattr(found, field.name) == getattr(wanted[day], field.name), (day, field.name)


@pytest.fixture(scope="module")
def wanted(realtime: RealtimePipeline, tmp_path_factory: pytest.TempPathFactory) -> dict[date, Realtime]:
    """What the oracle says of load_dates that grew, in batches of any size."""
    folder = tmp_path_factory.mktemp("objects")
    draws = random.Random(4)
    for day, landed in objects(realtime).items():
        cuts = sorted(draws.sample(range(1, len(landed)), BATCHES[day] - 1))
        for start, end in zip([0, *cuts], [*cuts, len(landed)], strict=True):
            for key, body in landed[start:end]:
                realtime.put(key, body)
                path = folder / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(body)
            assert realtime.grow(day) >= 1
        realtime.build_others(day)
    return computed(folder, DAYS)


def test_load_dates_that_grow_equal_the_oracle(realtime: RealtimePipeline, wanted: dict[date, Realtime]) -> None:
    assert_equal(realtime, wanted, DAYS)
    # Otherwise nothing was proven: each fault is in it, and each table has rows.
    last = wanted[DAYS[-1]]
    assert all(getattr(last, field.name) for field in fields(Realtime) if field.name != "kpi_revenue_pace")
    assert all(sum(wanted[day].repeats[name] for day in DAYS) > 0 for name in STREAMS)
    assert sum(wanted[day].quarantined["clicks"] for day in DAYS) > 0
    assert sum(row[6] for row in last.kpi_trust) > 0


@pytest.mark.nightly
def test_their_replay_equals_them(realtime: RealtimePipeline, wanted: dict[date, Realtime]) -> None:
    before = {day: realtime.checksums(day) for day in DAYS}
    for day in DAYS:
        realtime.replay(day)
    assert {day: realtime.checksums(day) for day in DAYS} == before
    assert_equal(realtime, wanted, DAYS)
