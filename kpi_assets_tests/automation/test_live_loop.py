"""The loop of a live run: how long it goes on, how often it ticks, and what it says."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from kpi_assets.automation.live_run import Loop
from kpi_assets.materialize.tick import Tick
from kpi_assets.model.names import Relation

DAY = date(2025, 3, 1)
STG = Relation("stg", "clicks")
IDLE = Tick(DAY)
BUSY = Tick(DAY, grown=["a batch"])  # type: ignore[list-item]
FAILED = Tick(DAY, failed={STG: "no room on the disk"})


@dataclass
class World:
    """A clock that only sleeping and ticks move, and the ticks that a loop is to make."""

    ticks: list[Tick]
    spent: float = 0.25  # seconds that a tick takes
    closes_at: float = float("inf")
    taken: set[int] = field(default_factory=set)  # the numbers of attempts at which another run has the turn
    now: float = 100.0
    began: list[float] = field(default_factory=list)
    last: list[bool] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    attempts: int = 0

    def tick(self, is_last: bool) -> Tick:
        self.began.append(self.now - 100)
        self.last.append(is_last)
        self.now += self.spent
        return self.ticks.pop(0) if self.ticks else IDLE

    @contextmanager
    def turn(self) -> Iterator[bool]:
        self.attempts += 1
        yield self.attempts - 1 not in self.taken

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def loop(self, **words: Any) -> Loop:
        return Loop(
            make_tick=self.tick,
            turn=self.turn,
            is_closed=lambda: self.now >= self.closes_at,
            log=self.said.append,
            clock=lambda: self.now,
            sleep=self.sleep,
            **{"stay": 7.0, "every": 2.0, **words},
        )


def test_a_tick_begins_every_so_often_until_the_run_has_stayed_for_its_time() -> None:
    world = World([BUSY, IDLE, BUSY])
    loop = world.loop()
    assert list(loop.ticks()) == [BUSY, IDLE, BUSY, IDLE]
    assert world.began == [0.0, 2.0, 4.0, 6.0]
    assert world.now == 107.0
    assert (world.last, loop.is_finished, world.said) == ([False] * 4, False, [])


def test_a_run_that_somebody_waits_for_ends_with_the_tick_after_which_it_is_over() -> None:
    world = World([BUSY, BUSY, BUSY])
    loop = world.loop(is_over=lambda: world.attempts == 2)
    assert list(loop.ticks()) == [BUSY, BUSY]
    assert (world.last, loop.is_finished) == ([False, False], False)


def test_after_a_long_tick_there_is_a_pause_in_which_a_backfill_gets_its_turn() -> None:
    world = World([BUSY, BUSY], spent=3.0)
    assert len(list(world.loop().ticks())) == 2
    assert [round(at, 3) for at in world.began] == [0.0, 3.6]


def test_a_load_date_is_finished_with_the_first_tick_after_its_closing_that_has_nothing_to_do() -> None:
    world = World([BUSY, BUSY, BUSY], closes_at=101.0)
    loop = world.loop()
    assert list(loop.ticks()) == [BUSY, BUSY, BUSY, IDLE]
    assert (world.last, loop.is_finished) == ([False, True, True, True], True)
    assert world.began[-1] == 6.0


def test_an_idle_tick_before_the_closing_finishes_nothing() -> None:
    world = World([IDLE, IDLE], closes_at=103.0)
    loop = world.loop()
    assert (len(list(loop.ticks())), loop.is_finished, world.last) == (3, True, [False, False, True])


def test_a_closed_load_date_with_a_held_batch_ends_the_run_and_is_not_finished() -> None:
    held = Tick(DAY, held=[STG])
    loop = World([held], closes_at=0).loop()
    assert (list(loop.ticks()), loop.is_finished) == ([held], False)


def test_what_waits_after_a_failure_keeps_a_closed_load_date_open() -> None:
    waits = Tick(DAY, waiting=[STG])
    world = World([FAILED, waits, BUSY], closes_at=0)
    loop = world.loop()
    assert (list(loop.ticks()), loop.is_finished) == ([FAILED, waits, BUSY, IDLE], True)


def test_a_failure_that_repeats_is_said_once_a_minute() -> None:
    world = World([FAILED] * 100)
    list(world.loop(stay=130.0).ticks())
    assert world.said == ["stg.clicks failed: no room on the disk"] * 3


def test_while_another_run_has_the_turn_there_is_no_tick() -> None:
    world = World([BUSY], taken={0, 1})
    loop = world.loop()
    assert list(loop.ticks()) == [BUSY, IDLE]
    assert world.began == [4.0, 6.0]
    assert world.said == ["Another run builds the load_date: this one goes on after it."]


def test_the_turn_is_given_back_before_what_a_tick_did_is_told() -> None:
    """Dagster stores an event in 60 ms, and a backfill need not wait for that."""
    has_turn = []
    world = World([BUSY])

    @contextmanager
    def turn() -> Iterator[bool]:
        has_turn.append(True)
        yield True
        has_turn.append(False)

    loop = world.loop()
    loop.turn = turn
    next(loop.ticks())
    assert has_turn == [True, False]
