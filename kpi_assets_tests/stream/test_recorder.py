"""Landing into the real store, with its reports and its turn in a real database."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timezone
from functools import partial

import psycopg
import pytest
from pydantic import SecretStr

from kpi_assets.doctor.streams import streams as examine
from kpi_assets.ledger import locks, streams
from kpi_assets.settings import settings
from kpi_assets.sources.lake import Lake, open_lake
from kpi_assets.stream import chain
from kpi_assets.stream.described import Stream, streams_of
from kpi_assets.stream.frame import link_of
from kpi_assets.stream.land import Landing
from kpi_assets.stream.positions import Recorder
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import LOADER
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.stream.memory import Broker, HandClock, MemoryReader
from kpi_assets_tests.streams import RAW_CLICKS


class RealTime(HandClock):
    """Goes on by itself."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def move(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


@pytest.fixture
def clicks(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with a stream, and its database."""
    lab.file("raw/clicks.sql", RAW_CLICKS)
    lab.prepared()
    return lab


def stream_of(lab: PipelineHarness) -> Stream:
    [found] = streams_of(lab.pipeline())
    return replace(found, flush_seconds=0.2)


def lake_of(lab: PipelineHarness) -> Lake:
    return open_lake(settings(), lab.bucket)


def session(lab: PipelineHarness, server: SecretStr | None = None) -> Callable[[], object]:
    return partial(connect, server or lab.server, lab.name, "stream clicks", role=LOADER)


@contextmanager
def landing(lab: PipelineHarness, broker: Broker, recorder: Recorder) -> Iterator[Landing]:
    """A landing in a thread, which ends with the context."""
    over = threading.Event()
    made = Landing(stream_of(lab), MemoryReader(broker), lake_of(lab), recorder, RealTime())
    thread = threading.Thread(target=made.run, args=[over.is_set])
    thread.start()
    try:
        yield made
    finally:
        over.set()
        thread.join(30)


def landed(lab: PipelineHarness) -> int:
    return chain.check(lake_of(lab), stream_of(lab), ["raw/clicks/"]).records


def assert_all_landed(lab: PipelineHarness, broker: Broker) -> None:
    checked = chain.check(lake_of(lab), stream_of(lab), ["raw/clicks/"])
    assert (checked.records, checked.problems) == (len(broker.sent), ())


def states(lab: PipelineHarness, *, deep: bool = False) -> list[tuple[str, str, str]]:
    found = examine(settings(), lab.pipeline(), lab.server, deep=deep)
    return [(each.state, each.subject, each.text) for each in found]


def test_a_stream_is_as_its_header_says(clicks: PipelineHarness) -> None:
    [found] = streams_of(clicks.pipeline())
    assert (found.name, found.folder, found.required) == ("clicks", "raw/clicks/", frozenset({"event_id"}))
    assert (found.flush_seconds, found.close_after_minutes) == (5, 10)
    assert found.contract == clicks.pipeline().table("raw.clicks").code_version
    assert found.prefix(date(2026, 3, 1)) == clicks.pipeline().table("raw.clicks").stream_prefix(date(2026, 3, 1))


def test_events_are_in_the_store_and_the_report_in_the_database(clicks: PipelineHarness) -> None:
    assert [each[:2] for each in states(clicks)] == [("advice", "stream clicks"), ("ok", "chain of clicks")]
    broker = Broker(RealTime())
    broker.send_many(100)
    with Recorder("clicks", session(clicks)) as recorder, landing(clicks, broker, recorder):  # type: ignore[arg-type]
        eventually(lambda: landed(clicks) == 100)
        broker.send_many(51)
        eventually(lambda: landed(clicks) == 151)
        eventually(lambda: {each[0] for each in states(clicks)} == {"ok"})
        said = states(clicks)
        holders = clicks.rows("select name from ops.locks where name = 'stream clicks'")
    assert_all_landed(clicks, broker)
    assert holders == [("stream clicks",)]
    assert [each[:2] for each in said] == [("ok", "stream clicks"), ("ok", "chain of clicks")]
    assert said[1][2].startswith("is whole in the last 2 hours that have objects: ")
    with clicks.session() as connection:
        found = streams.positions(connection)
        through = streams.through(connection, "clicks")
    assert [(each.partition, each.next, each.problem) for each in found] == [(0, 76, None), (1, 75, None)]
    assert through is not None
    assert (datetime.now(timezone.utc) - through).total_seconds() < 60


def test_of_two_landings_one_waits_for_its_turn(clicks: PipelineHarness) -> None:
    broker = Broker(RealTime())
    with Recorder("clicks", session(clicks)) as first, Recorder("clicks", session(clicks)) as second:  # type: ignore[arg-type]
        eventually(lambda: first.turn == "ours" or second.turn == "ours")
        with landing(clicks, broker, first), landing(clicks, broker, second):
            broker.send_many(40)
            eventually(lambda: landed(clicks) == 40)
            assert sorted([first.turn, second.turn]) == ["ours", "theirs"]
            (first if first.turn == "ours" else second).__exit__()
            eventually(lambda: "theirs" not in {first.turn, second.turn})
            broker.send_many(40)
            eventually(lambda: landed(clicks) == 80)
    assert_all_landed(clicks, broker)


def test_two_landings_without_a_database_put_each_link_once(clicks: PipelineHarness) -> None:
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:1/nothing")
    broker = Broker(RealTime())
    with (
        Recorder("clicks", session(clicks, nowhere)) as first,  # type: ignore[arg-type]
        Recorder("clicks", session(clicks, nowhere)) as second,  # type: ignore[arg-type]
        landing(clicks, broker, first),
        landing(clicks, broker, second),
    ):
        for _ in range(30):
            broker.send_many(7)
            time.sleep(0.05)
        eventually(lambda: landed(clicks) == 210)
    assert_all_landed(clicks, broker)
    assert (first.turn, second.turn) == ("unknown", "unknown")


@pytest.mark.nightly
def test_landing_goes_on_while_the_database_is_away_and_reports_afterwards(clicks: PipelineHarness) -> None:
    broker, is_away = Broker(RealTime()), threading.Event()

    def open_session() -> object:
        if is_away.is_set():
            raise psycopg.OperationalError("away")
        return session(clicks)()

    with Recorder("clicks", open_session) as recorder, landing(clicks, broker, recorder):  # type: ignore[arg-type]
        broker.send_many(10)
        eventually(lambda: clicks.rows("select sum(next) from ops.stream_positions") == [(10,)])
        is_away.set()
        clicks.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kpi stream clicks'"
        )
        broker.send_many(10)
        eventually(lambda: landed(clicks) == 20)
        eventually(lambda: recorder.turn == "unknown")
        assert clicks.rows("select sum(next) from ops.stream_positions") == [(10,)]
        is_away.clear()
        eventually(lambda: clicks.rows("select sum(next) from ops.stream_positions") == [(20,)])
        assert recorder.turn == "ours"


def test_a_turn_that_a_lost_session_of_ours_still_has_does_not_stop_the_landing(clicks: PipelineHarness) -> None:
    with clicks.session() as lost:
        assert locks.try_lock(lost, "stream clicks")
        with Recorder("clicks", session(clicks)) as recorder:  # type: ignore[arg-type]
            assert recorder.turn == "theirs"
            recorder._pid = lost.info.backend_pid
            eventually(lambda: recorder.turn == "unknown")


def test_closings_are_recorded(clicks: PipelineHarness) -> None:
    with Recorder("clicks", session(clicks)) as recorder:  # type: ignore[arg-type]
        for day in (1, 2):
            recorder.close(date(2026, 3, day))
        eventually(lambda: recorder.closed == date(2026, 3, 2))
    assert clicks.rows("select stream, load_date from ops.stream_closings order by 2") == [
        ("clicks", date(2026, 3, 1)),
        ("clicks", date(2026, 3, 2)),
    ]


def test_the_doctor_finds_what_is_wrong_with_a_stream(clicks: PipelineHarness) -> None:
    broker = Broker(RealTime())
    with Recorder("clicks", session(clicks)) as recorder, landing(clicks, broker, recorder):  # type: ignore[arg-type]
        for number in range(3):
            broker.send(0, b"{}")
            eventually(lambda many=number + 1: landed(clicks) == many)  # type: ignore[misc]
        assert recorder.turn == "ours"
    keys = [entry.key for entry in lake_of(clicks).entries("raw/clicks/") if link_of(entry.key)]
    clicks.s3.delete_object(Bucket=clicks.bucket, Key=keys[1])
    clicks.rows("update ops.stream_positions set written_at = now() - interval '1 hour' returning 1")
    for deep in (False, True):
        late, gap = states(clicks, deep=deep)
        assert late[:2] == ("advice", "stream clicks")
        assert late[2].startswith("is not landed now, and was last ")
        assert gap[:2] == ("broken", "chain of clicks")
        assert gap[2].startswith("the chain of clicks, partition 0, lacks positions 1 to 1, between ")
    clicks.rows(
        "update ops.stream_positions set written_at = now(), problem = 'It is gone.', "
        "caught_up_at = now() - interval '1 hour' returning 1"
    )
    stands, other, lags, _ = states(clicks)
    assert stands == ("broken", "stream clicks", "partition 0 stands still: It is gone.")
    assert other[2].startswith("partition 1 stands")
    assert lags[2].startswith("lags behind the broker, 0 positions: not all is landed since ")
