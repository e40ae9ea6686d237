"""Landing: each event is in one link of its partition's chain, whatever is killed, lost or down meanwhile."""

import random
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import cast

import pytest

from kpi_assets.sources.refusals import LakeError
from kpi_assets.stream import land
from kpi_assets.stream.chain import End
from kpi_assets.stream.frame import Frame, decode, encode
from kpi_assets.stream.land import Landing
from kpi_assets.stream.waiting import Waiting
from kpi_assets_tests.examples import few
from kpi_assets_tests.stream import memory
from kpi_assets_tests.stream.memory import CLICKS, NOON, Bench, MemoryLedger, MemoryReader, settle

MIDNIGHT = datetime(2026, 3, 2, tzinfo=timezone.utc)
DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class Killed(BaseException):
    """The process ends here."""


def test_events_are_landed_when_they_have_waited_for_the_flush_time(bench: Bench) -> None:
    bench.broker.send_many(5)
    landing = bench.land(seconds=4)
    assert bench.lake.links() == []
    bench.land(landing, seconds=2)
    assert bench.lake.links() == [
        "load_date=2026-03-01/hour=12/p0000-0000000000000000.ndjson.gz",
        "load_date=2026-03-01/hour=12/p0001-0000000000000000.ndjson.gz",
    ]
    frame, lines = decode(bench.lake.objects[f"raw/clicks/{bench.lake.links()[0]}"])
    assert frame == Frame("clicks", 0, 0, 3, 3, "c1")
    assert [each.said["v"]["id"] for each in lines] == ["0", "2", "4"]
    assert cast("MemoryReader", landing.reader).told == {0: 3, 1: 2}, "the broker may drop them"
    bench.assert_all_landed()


def test_the_next_landing_goes_on_where_the_last_one_ended(bench: Bench) -> None:
    for _ in range(3):
        bench.broker.send_many(3)
        bench.land()
    assert len(bench.lake.links()) == 6
    bench.assert_all_landed()


def test_a_link_ends_with_its_hour(bench: Bench) -> None:
    bench.broker.send(0, b'{"id": "1"}', at=NOON - timedelta(milliseconds=1))
    bench.broker.send(0, b'{"id": "2"}', at=NOON)
    bench.land()
    assert [key[21:28] for key in bench.lake.links()] == ["hour=11", "hour=12"]
    bench.assert_all_landed()


def test_a_link_ends_when_it_is_large_enough(bench: Bench) -> None:
    for _ in range(5):
        bench.broker.send(0, b'{"id": "%s"}' % (b"x" * (3 << 20)))
    bench.land()
    frames = [decode(bench.lake.objects[f"raw/clicks/{key}"])[0] for key in bench.lake.links()]
    assert [frame.records for frame in frames] == [3, 2]
    bench.assert_all_landed()


def test_an_event_of_16_mb_is_a_link_of_its_own(bench: Bench) -> None:
    bench.broker.send(0, b'{"id": "%s"}' % (b"x" * (16 << 20)))
    bench.broker.send(0, b'{"id": "2"}')
    bench.land()
    assert len(bench.lake.links()) == 2
    bench.assert_all_landed()


def test_what_cannot_be_read_is_a_line_in_the_same_link(bench: Bench) -> None:
    for value in (b'{"id": "1"}', b"\xff\0", None, b'{"id": "\\u0000"}', b'{"id": null}'):
        bench.broker.send(0, value)
    landing = bench.land()
    [key] = bench.lake.links()
    lines = list(decode(bench.lake.objects[f"raw/clicks/{key}"])[1])
    assert [line.why is None for line in lines] == [True, False, False, False, True]
    assert (landing.counts.events, landing.counts.bad, landing.counts.lacking) == (5, 3, 1)
    bench.assert_all_landed()


def test_gaps_between_positions_are_no_gaps_of_the_chain(bench: Bench) -> None:
    for gap in (0, 3, 0, 1):
        bench.broker.send(0, b'{"id": "1"}', gap=gap)
        bench.land()
    assert [decode(bench.lake.objects[f"raw/clicks/{key}"])[0].next for key in bench.lake.links()] == [1, 5, 6, 8]
    bench.assert_all_landed()


# Killed


def _before_the_put(bench: Bench) -> None:
    def die(key: str) -> None:
        raise Killed

    bench.lake.before = die


def _after_the_put(bench: Bench) -> None:
    def die(key: str) -> None:
        raise Killed

    bench.lake.after = die


def _between_two_puts(bench: Bench) -> None:
    def die(key: str) -> None:
        if "p0001" in key:
            raise Killed

    bench.lake.before = die


@pytest.mark.parametrize("dies", [_before_the_put, _after_the_put, _between_two_puts])
def test_a_landing_may_be_killed_at_each_step_of_a_flush(bench: Bench, dies: Callable[[Bench], None]) -> None:
    bench.broker.send_many(4)
    bench.land()
    bench.broker.send_many(5)
    dies(bench)
    with pytest.raises(Killed):
        bench.land()
    bench.lake.before = bench.lake.after = lambda key: None
    bench.broker.send_many(3)
    bench.land(seconds=15)  # a link that was under way may still arrive, and fence this landing
    bench.assert_all_landed()


@pytest.mark.parametrize("step", ["_read", "_put", "_look", "_took", "_advance", "_report", "_seek"])
def test_a_landing_may_be_killed_before_each_step(bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.broker.send_many(4)
    landing = bench.land(seconds=3)
    bench.broker.send_many(4)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Landing, step, die)
        with pytest.raises(Killed):
            bench.land(bench.landing() if step == "_seek" else landing)
    bench.land()
    bench.assert_all_landed()


# Two landings


def test_of_two_landings_each_link_is_put_by_one(bench: Bench) -> None:
    first, second = bench.landing(MemoryLedger("unknown")), bench.landing(MemoryLedger("unknown"))
    bench.broker.send_many(10)
    first.step()
    bench.broker.send_many(3)
    second.step()  # has read more than the first
    bench.clock.move(5)
    for landing in (first, second):
        landing._put()
        settle(landing)
    assert second.counts.fenced == 2
    bench.broker.send_many(7)
    bench.land(first)
    bench.land(second)
    bench.assert_all_landed()


def test_a_landing_that_is_fenced_takes_nothing_before_the_link_that_is_there(bench: Bench) -> None:
    bench.broker.send_many(20)
    slow = bench.landing(MemoryLedger("unknown"))
    slow.step()
    bench.broker.send_many(10)
    bench.land(bench.landing(MemoryLedger("unknown")))
    bench.broker.send_many(10)
    bench.land(slow)
    bench.land(slow)
    assert slow.counts.fenced == 2
    bench.assert_all_landed()


@pytest.mark.parametrize("seed", few(5, range(20)))
def test_landings_that_begin_are_killed_and_race_leave_whole_chains(bench: Bench, seed: int) -> None:
    draw = random.Random(seed)
    landings = [bench.landing(MemoryLedger("unknown"))]

    def fail(key: str) -> None:
        if draw.random() < 0.2:
            raise LakeError("The store does not answer.", transient=True)

    bench.lake.before = bench.lake.after = fail
    for _ in range(150):
        what = draw.random()
        if what < 0.1:
            landings[draw.randrange(len(landings))] = bench.landing(MemoryLedger("unknown"))
        elif what < 0.15 and len(landings) < 3:
            landings.append(bench.landing(MemoryLedger("unknown")))
        elif what < 0.4:
            bench.broker.send(draw.randrange(2), b'{"id": "1"}', gap=draw.choice([0, 0, 1]))
        each = draw.choice(landings)
        each.step()
        if draw.random() < 0.5:
            settle(each)
        bench.clock.move(draw.choice([0.0, 0.5, 3.0, 600.0 if what < 0.02 else 0.1]))
    bench.lake.before = bench.lake.after = lambda key: None
    bench.land(seconds=40)
    bench.assert_all_landed()
    assert len(bench.broker.sent) > 20


def test_a_landing_waits_for_its_turn_and_goes_on_where_the_other_ended(bench: Bench) -> None:
    waiting = bench.landing(MemoryLedger("theirs"))
    bench.broker.send_many(4)
    bench.land(waiting)
    assert bench.lake.links() == []
    bench.land()
    waiting.ledger.turn = "ours"  # type: ignore[misc]
    bench.broker.send_many(4)
    bench.land(waiting)
    assert waiting.counts.fenced == 0
    bench.assert_all_landed()


def test_a_landing_that_loses_its_turn_forgets_what_waits(bench: Bench) -> None:
    bench.broker.send_many(4)
    loser = bench.land(seconds=1)
    loser.ledger.turn = "theirs"  # type: ignore[misc]
    bench.land(loser)
    assert (loser.partitions, bench.lake.links()) == ({}, [])


# The store


def test_a_lost_answer_is_no_fence(bench: Bench) -> None:
    def lose(key: str) -> None:
        bench.lake.after = lambda key: None
        raise LakeError("The answer was lost.", transient=True)

    bench.lake.after = lose
    bench.broker.send(0, b'{"id": "1"}')
    landing = bench.land()
    assert (landing.counts.links, landing.counts.fenced) == (1, 0)
    bench.broker.send(0, b'{"id": "2"}')
    bench.land(landing)
    bench.assert_all_landed()


def test_a_store_that_fails_is_asked_again_until_it_takes_the_link(bench: Bench) -> None:
    tries: list[float] = []

    def fail(key: str) -> None:
        tries.append(bench.clock.since)
        raise LakeError("S3 answers 503.", transient=True)

    bench.lake.before = fail
    bench.broker.send(0, b'{"id": "1"}')
    landing = bench.land(seconds=300)
    assert 20 < len(tries) < 40
    assert max(b - a for a, b in pairwise(tries)) < land.LONGEST_PAUSE + 1
    bench.lake.before = lambda key: None
    bench.land(landing, seconds=20)
    bench.assert_all_landed()


def test_while_the_store_is_down_memory_is_bounded_and_the_broker_keeps_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(key: str) -> None:
        raise LakeError("S3 is down.", transient=True)

    bench.lake.before = fail
    monkeypatch.setattr(memory, "FETCHED", 1 << 20)
    for number in range(300):
        bench.broker.send(number % 2, b'{"id": "%s"}' % (b"x" * (100 << 10)))
    landing = bench.landing()
    landing.most_waiting = 4 << 20
    bench.land(landing, seconds=4)  # before anything is packed
    waiting = sum(each.waiting.size for each in landing.partitions.values())
    assert landing.most_waiting <= waiting < landing.most_waiting + memory.FETCHED + (1 << 20)
    bench.land(landing, seconds=60)
    assert max(each.waiting.expected or 0 for each in landing.partitions.values()) < 150, "the broker keeps the rest"
    left = [bench.ledger.last(number) for number in (0, 1)]
    assert [(each.next, each.high_watermark) for each in left] == [(None, 150), (None, 150)]
    assert [each.caught_up_at for each in left] == [None, None]
    bench.lake.before = lambda key: None
    bench.land(landing, seconds=60)
    bench.assert_all_landed()


def test_a_sudden_run_of_large_events_does_not_break_the_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(key: str) -> None:
        raise LakeError("S3 is down.", transient=True)

    bench.lake.before = fail
    monkeypatch.setattr(memory, "FETCHED", 1 << 20)
    for size in [10] * 5000 + [400 << 10] * 60:
        bench.broker.send(0, b'{"id": "%s"}' % (b"x" * size))
    landing = bench.landing()
    landing.most_waiting = 4 << 20
    bench.land(landing, seconds=3)
    waiting = sum(each.waiting.size for each in landing.partitions.values())
    assert landing.most_waiting <= waiting < landing.most_waiting + memory.FETCHED + (1 << 20)


def test_a_link_that_cannot_be_read_stops_its_partition_alone(bench: Bench) -> None:
    bench.broker.send_many(4)
    bench.land()
    broken = f"raw/clicks/{bench.lake.links()[0]}"
    bench.lake.objects[broken] = bench.lake.objects[broken][:-5]
    bench.broker.send_many(4)
    landing = bench.land(seconds=10)
    assert [each.partition for each in bench.ledger.reports[-1] if each.problem] == [0]
    assert str(bench.ledger.last(0).problem).startswith(f"{broken} is cut off")
    assert len(bench.lake.links()) == 3

    frame = Frame("clicks", 0, 0, 2, 2, "c1")
    bench.lake.objects[broken] = encode(frame, bench.broker.events[0][:2])  # somebody restores it
    bench.land(landing, seconds=60)
    assert bench.ledger.last(0).problem is None
    bench.assert_all_landed()


def test_a_link_of_another_landing_that_cannot_be_read_is_not_taken_for_an_end(bench: Bench) -> None:
    bench.broker.send(0, b'{"id": "1"}')
    landing = bench.land(seconds=1)
    key = "raw/clicks/load_date=2026-03-01/hour=12/p0000-0000000000000000.ndjson.gz"
    bench.lake.objects[key] = b"cut off"
    bench.land(landing, seconds=6)
    assert landing.partitions[0].problem
    assert landing.partitions[0].waiting.is_empty
    del bench.lake.objects[key]
    bench.land(landing, seconds=60)
    bench.assert_all_landed()


def test_events_that_a_reader_gives_again_are_not_landed_again(bench: Bench) -> None:
    first, second, third = bench.broker.send_many(6)[::2]
    waiting = Waiting.at(End(second.position, NOON))
    taken = [waiting.take(event, b"{}\n", NOON, 0) for event in (first, second, second, third, first)]
    assert taken == [False, True, False, True, False]
    assert waiting.open is not None
    assert (waiting.open.start, waiting.open.next, waiting.open.records) == (1, 3, 2)


# The broker


def test_a_broker_that_is_down_loses_nothing(bench: Bench) -> None:
    bench.broker.send_many(4)
    landing = bench.land(seconds=1)
    bench.broker.is_down = True
    until = bench.clock.since + 60
    landing.run(lambda: bench.clock.since > until)  # the events that were read are landed
    assert bench.lake.places() == [(0, 0), (0, 1), (1, 0), (1, 1)]
    bench.broker.is_down = False
    bench.broker.send_many(4)
    bench.land()
    bench.assert_all_landed()


def test_what_retention_removed_is_never_skipped_in_silence(bench: Bench) -> None:
    bench.broker.send_many(4)
    bench.land()
    bench.broker.send_many(6)
    bench.broker.forget(0, 4)
    landing = bench.land(seconds=40)
    problem = str(bench.ledger.last(0).problem)
    assert "Partition 0 of the stream clicks is to be read from 2" in problem
    assert "4 is the earliest that is left" in problem
    assert problem.endswith("--skip-lost clicks` goes on there and records in the chain what was lost.")
    assert [place for place in bench.lake.places() if place[0] == 0] == [(0, 0), (0, 1)], "the partition stands still"
    assert [place for place in bench.lake.places() if place[0] == 1][-1] == (1, 4), "the other one goes on"

    skipped = land.skip_lost(CLICKS, landing.reader, bench.lake, bench.clock.now(), "alice")
    assert [(each.partition, each.start, each.next) for each in skipped] == [(0, 2, 4)]
    bench.land(landing, seconds=40)
    assert bench.ledger.last(0).problem is None
    assert bench.lake.places() == [(0, 0), (0, 1), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]
    checked = bench.lake.checked()
    assert (checked.problems, checked.lost) == ((), 1)
    assert land.skip_lost(CLICKS, landing.reader, bench.lake, bench.clock.now(), "alice") == []


def test_what_was_read_before_retention_passed_is_landed(bench: Bench) -> None:
    bench.broker.send_many(4)
    landing = bench.land(seconds=1)
    bench.broker.send_many(8)
    bench.broker.forget(0, 4)
    bench.land(landing, seconds=10)
    assert [place for place in bench.lake.places() if place[0] == 0] == [(0, 0), (0, 1)]
    assert bench.ledger.last(0).problem


def test_what_was_read_outlives_retention_also_while_the_store_is_down(bench: Bench) -> None:
    def fail(key: str) -> None:
        raise LakeError("S3 is down.", transient=True)

    bench.broker.send_many(4)
    landing = bench.land(seconds=1)
    bench.lake.before = fail
    bench.broker.send_many(8)
    bench.broker.forget(0, 4)
    bench.land(landing, seconds=100)
    bench.lake.before = lambda key: None
    bench.land(landing, seconds=20)
    assert [place for place in bench.lake.places() if place[0] == 0] == [(0, 0), (0, 1)]


def test_a_stream_that_was_made_again_stands_still(bench: Bench) -> None:
    bench.broker.send_many(4)
    bench.land()
    bench.broker.events, bench.broker.ends = {0: [], 1: []}, {}
    bench.broker.send_many(2)
    bench.land()
    assert "somebody deleted the stream and made it again" in str(bench.ledger.last(0).problem)
    assert len(bench.lake.links()) == 2


def test_a_new_partition_is_landed(bench: Bench) -> None:
    bench.broker.send_many(4)
    landing = bench.land()
    bench.broker.events[2] = []
    bench.broker.send_many(9)
    bench.land(landing, seconds=60)
    bench.assert_all_landed()


# Time


def test_a_load_date_is_closed_when_every_partition_is_beyond_it(bench: Bench) -> None:
    bench.clock.at = MIDNIGHT - timedelta(minutes=1)
    bench.broker.send_many(4)
    landing = bench.land(seconds=600)
    assert bench.ledger.closings == []
    bench.land(landing, seconds=120)  # ten minutes after midnight; both partitions are idle
    assert bench.ledger.closings == [DAY]
    assert bench.lake.objects["raw/clicks/load_date=2026-03-01/_closed.json"] == (
        b'{"stream": "clicks", "load_date": "2026-03-01", "next": {"0": 2, "1": 2}}\n'
    )


def test_an_idle_partition_does_not_keep_a_load_date_open_but_one_that_stands_still_does(bench: Bench) -> None:
    bench.clock.at = MIDNIGHT - timedelta(minutes=1)
    bench.broker.send(0, b'{"id": "1"}')
    bench.broker.send(1, b'{"id": "2"}')
    landing = bench.land()
    bench.broker.send_many(4)
    bench.broker.forget(1, 3)
    bench.land(landing, seconds=3600)
    assert bench.ledger.closings == []
    land.skip_lost(CLICKS, landing.reader, bench.lake, bench.clock.now(), "alice")
    bench.land(landing, seconds=60)
    assert bench.ledger.closings == [DAY]


def test_nothing_is_landed_in_a_load_date_that_is_closed(bench: Bench) -> None:
    bench.clock.at = MIDNIGHT - timedelta(minutes=1)
    bench.broker.send(0, b'{"id": "1"}')
    landing = bench.land(seconds=720)
    assert bench.ledger.closings == [DAY]
    for each in (landing, None):  # also of a landing that begins anew
        bench.broker.send(0, b'{"id": "2"}', at=MIDNIGHT - timedelta(seconds=1))
        bench.broker.send(1, b'{"id": "3"}', at=MIDNIGHT - timedelta(seconds=1))
        bench.land(each)
    assert [key[:28] for key in bench.lake.links()] == [
        "load_date=2026-03-01/hour=23",
        *["load_date=2026-03-02/hour=00"] * 4,
    ]
    bench.assert_all_landed()


def test_a_load_date_is_not_closed_while_an_event_of_it_waits(bench: Bench) -> None:
    bench.clock.at = MIDNIGHT - timedelta(minutes=1)
    landing = bench.land(bench.landing(MemoryLedger("unknown")), seconds=720)
    bench.broker.send(0, b'{"id": "1"}', at=MIDNIGHT - timedelta(seconds=1))
    ledger = cast("MemoryLedger", landing.ledger)
    ledger.turn = "ours"
    bench.clock.move(3)
    landing.step()
    assert ledger.closings == []
    bench.land(landing, seconds=10)
    assert ledger.closings == [DAY]
    assert [key[:28] for key in bench.lake.links()] == ["load_date=2026-03-01/hour=23"]
    assert land.chain.ends(bench.lake, CLICKS, [0])[0] == {0: End(1, MIDNIGHT)}


def test_a_load_date_is_not_closed_while_a_partition_stands_still_that_had_caught_up(bench: Bench) -> None:
    bench.clock.at = MIDNIGHT - timedelta(minutes=1)
    bench.broker.send(0, b'{"id": "1"}')
    landing = bench.land(bench.landing(MemoryLedger("unknown")), seconds=720)
    bench.broker.send(0, b'{"id": "2"}')
    bench.broker.forget(0, 2)
    ledger = cast("MemoryLedger", landing.ledger)
    ledger.turn = "ours"
    bench.land(landing, seconds=20)
    assert (ledger.closings, bool(ledger.last(0).problem)) == ([], True)


def test_load_dates_are_closed_one_after_another_by_whoever_has_the_turn(bench: Bench) -> None:
    bench.broker.send_many(2)
    bench.land()
    bench.clock.at += timedelta(days=3)
    landing = bench.land(bench.landing(MemoryLedger("unknown")), seconds=60)
    assert landing.ledger.closed is None
    bench.land(seconds=60)
    assert bench.ledger.closings == [DAY + timedelta(days=n) for n in range(3)]


def test_load_dates_before_the_first_landing_are_closed_too(bench: Bench) -> None:
    """The broker may have held events for days when it is landed for the first time."""
    for days in (2, 1):
        bench.broker.send(0, b'{"id": "1"}', at=bench.clock.at - timedelta(days=days))
    bench.land(seconds=60)
    assert bench.ledger.closings == [DAY - timedelta(days=2), DAY - timedelta(days=1)]
    bench.assert_all_landed()


def test_the_next_load_date_is_closed_once_the_one_before_is_recorded(bench: Bench) -> None:
    bench.broker.send_many(2)
    bench.land()
    bench.clock.at += timedelta(days=3)
    bench.ledger.records = False
    landing = bench.land(seconds=60)
    assert bench.ledger.closings == [DAY]
    bench.ledger.closed = DAY
    bench.land(landing, seconds=10)
    assert bench.ledger.closings == [DAY, NEXT]


def test_a_closing_that_was_not_recorded_is_recorded_by_the_next_landing(bench: Bench) -> None:
    bench.broker.send_many(2)
    bench.land()
    bench.clock.at += timedelta(days=1)
    bench.land(seconds=60)
    again = MemoryLedger()
    bench.land(bench.landing(again), seconds=10)
    assert (bench.ledger.closings, again.closings) == ([DAY], [DAY])


def test_a_clock_that_is_put_back_does_not_take_the_chain_back(bench: Bench) -> None:
    bench.broker.send(0, b'{"id": "1"}')
    landing = bench.land()
    bench.broker.send(0, b'{"id": "2"}', at=NOON - timedelta(days=3))
    bench.broker.send(1, b'{"id": "3"}', at=NOON - timedelta(days=3))  # no link is behind it
    bench.land(landing)
    assert [key[10:28] for key in bench.lake.links()] == [
        "2026-02-26/hour=12",
        "2026-03-01/hour=12",
        "2026-03-01/hour=12",
    ]
    bench.land()
    bench.assert_all_landed()


def test_a_clock_that_jumps_ahead_is_believed_for_an_hour(bench: Bench) -> None:
    for ahead in (timedelta(minutes=59), timedelta(days=400)):
        bench.broker.send(0, b'{"id": "1"}', at=NOON + ahead)
    bench.broker.send(1, b'{"id": "2"}', at=NOON + timedelta(minutes=61))
    landing = bench.land(seconds=10)
    assert [key[10:36] for key in bench.lake.links()] == [
        "2026-03-01/hour=12/p0000-0",
        "2026-03-01/hour=12/p0001-0",
    ]
    [line] = decode(bench.lake.objects[f"raw/clicks/{bench.lake.links()[1]}"])[1]
    assert line.time == NOON + timedelta(minutes=61), "the line keeps what the broker's clock said"
    assert all(bench.ledger.last(number).caught_up_at <= bench.clock.now() for number in (0, 1))  # type: ignore[operator]
    bench.land(landing)
    bench.assert_all_landed()


def test_nothing_is_landed_before_the_pipeline_starts(bench: Bench) -> None:
    bench.broker.send(0, b'{"id": "1"}', at=datetime(2020, 1, 1, tzinfo=timezone.utc))
    bench.broker.events[1].append(type(bench.broker.events[0][0])(1, 0, -1, None, b"{}"))  # a broker without a clock
    bench.broker.ends[1] = 1
    bench.land()
    assert [key[10:20] for key in bench.lake.links()] == ["2026-01-01", "2026-03-01"]
    bench.assert_all_landed()


# Reports


def test_a_quiet_stream_is_fresh_and_a_stream_that_lags_is_not(bench: Bench) -> None:
    landing = bench.land(seconds=20)
    assert bench.ledger.last(0).caught_up_at is not None
    assert bench.clock.now() - bench.ledger.last(0).caught_up_at < timedelta(seconds=5)  # type: ignore[operator]
    bench.lake.before = lambda key: (_ for _ in ()).throw(LakeError("S3 is down.", transient=True))
    bench.broker.send(0, b'{"id": "1"}')
    since = bench.clock.now()
    bench.land(landing, seconds=100)
    assert bench.ledger.last(0).caught_up_at <= since  # type: ignore[operator]
    assert bench.clock.now() - bench.ledger.last(1).caught_up_at < timedelta(seconds=5)  # type: ignore[operator]
    assert (bench.ledger.last(0).next, bench.ledger.last(0).high_watermark) == (None, 1)


def test_a_stream_is_as_fresh_as_the_last_of_its_links_that_was_put(bench: Bench) -> None:
    def only_the_first(key: str) -> None:
        if "hour=12" in key:
            raise LakeError("S3 is down.", transient=True)

    bench.lake.before = only_the_first
    early = NOON - timedelta(minutes=7)
    bench.broker.send(0, b'{"id": "1"}', at=early)
    bench.broker.send(0, b'{"id": "2"}')
    bench.land(seconds=30)
    assert (bench.ledger.last(0).next, bench.ledger.last(0).caught_up_at) == (1, early)


def test_a_busy_stream_is_as_fresh_as_its_flush_time(bench: Bench) -> None:
    landing = bench.landing()
    for _ in range(60):
        bench.broker.send_many(100)
        landing.step()
        settle(landing)
        bench.clock.move(0.5)
    for number in (0, 1):
        assert bench.clock.now() - bench.ledger.last(number).caught_up_at < timedelta(seconds=10)  # type: ignore[operator]


def test_ending_lands_what_waits(bench: Bench) -> None:
    bench.broker.send_many(4)
    landing = bench.landing()
    landing.run(lambda: bool(landing.partitions))
    bench.assert_all_landed()
    assert bench.ledger.last(0).next == 2


def test_the_first_look_at_the_store_does_not_read_more_than_two_load_dates(bench: Bench) -> None:
    for _ in range(12):
        bench.broker.send(0, b'{"id": "1"}')
        bench.land(seconds=60)
        bench.clock.at += timedelta(days=1)
    bench.land(seconds=60)  # closes them
    bench.land(seconds=60)
    bench.lake.reads.clear()
    bench.landing().step()
    assert bench.lake.reads[0] == "raw/clicks/"
    assert {read[11:31] for read in bench.lake.reads[1:]} <= {"load_date=2026-03-12", "load_date=2026-03-11"}


def test_end_is_what_the_store_says(bench: Bench) -> None:
    bench.broker.send_many(3)
    bench.land()
    ends, closed = land.chain.ends(bench.lake, CLICKS, [0, 1, 7])
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert (ends, closed) == ({0: End(2, NOON), 1: End(1, NOON), 7: End(None, start)}, None)
