"""Reads a topic of the embedded broker, Tansu on S3, which answers some questions otherwise than Apache Kafka.

Belongs here: these differences, each seen on Tansu 0.6.0. Not here: what both have in common (kafka.py).

- Asked for the end of a partition, it gives the first position of its last batch, plus one. The answer to each fetch
  has the right end, so the later of both counts.
- It takes positions for a batch before it puts the batch. A broker that was killed in between has left a gap that
  nothing fills; with several producers, a later batch may be there first. So a reader that comes upon a gap waits for
  it to be filled, and goes on behind it only when no put can be under way any more.
- For each fetch it lists every batch of the partition, and ends the listing when the time of the fetch is over: with
  thousands of batches it would find none that is new. So batches are dropped once they are landed, and a reader that is
  behind and gets nothing asks with more time.
- It is to be written to without idempotence. With it, a broker that was killed at the wrong moment took a batch for a
  repeat when it was sent again, and acknowledged 20 events that it did not have. Without it, events are repeated.
- It ignores message.timestamp.type: the time of an event is its producer's, which runs on this machine as well.
"""

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException

from confluent_kafka import TopicPartition

from kpi_assets.embedded.broker import Batches
from kpi_assets.settings import Settings
from kpi_assets.stream.kafka import END, KafkaReader
from kpi_assets.stream.reader import DatedBy, Event, StreamError

logger = logging.getLogger(__name__)

GAP_SECONDS = 30.0  # after a store has failed, a put is tried again within 15 s
AGAIN = 0.5  # seconds between two looks at a gap
QUIET = 1.0  # seconds without an event after which nothing more is on its way
BEHIND = 2.0  # seconds without an event after which a reader that is behind asks with more time
LONGEST_WAIT_MS = 30_000
WAIT_MS = 500
DROP_SECONDS = 15.0  # between two times that landed batches are dropped


@dataclass
class _Gap:
    since: float
    again: float  # when to look again


class TansuReader(KafkaReader):
    """Reads one topic of the embedded broker."""

    fetch_wait_ms = WAIT_MS

    def __init__(self, settings: Settings, stream: str):
        """Raises StreamError as KafkaReader does."""
        self._gaps: dict[int, _Gap] = {}
        self._moved: dict[int, float] = {}  # partition -> when its last event came, or it was sought
        self._examined = 0.0
        self._batches = Batches(settings.home)
        self._landed: dict[int, int] = {}
        self._dropped = time.monotonic()
        self._dropper = ThreadPoolExecutor(1, "drop-landed")
        self._dropping: Future[None] = Future()
        self._dropping.set_result(None)
        super().__init__(settings, stream)

    def close(self) -> None:
        """Give up the connections."""
        self._dropper.shutdown(cancel_futures=True)
        super().close()

    def dated_by(self) -> DatedBy:
        """Return whose clock dates the events: producers run on the machine of the broker."""
        return "machine"

    def landed(self, partition: int, position: int) -> None:
        """Drop what is landed, now and then, beside the reading."""
        self._landed[partition] = position
        if self._dropping.done() and time.monotonic() - self._dropped >= DROP_SECONDS:
            self._dropped = time.monotonic()
            self._dropping = self._dropper.submit(self._drop, dict(self._landed))

    def _drop(self, landed: dict[int, int]) -> None:
        try:
            for partition, position in landed.items():
                self._batches.drop(self.stream, partition, position)
        except (OSError, HTTPException) as error:
            logger.warning("What is landed of %s is not dropped from the embedded broker: %s", self.stream, error)

    def _go_to(self, partition: int, position: int) -> None:
        super()._go_to(partition, position)
        self._gaps.pop(partition, None)
        self._moved[partition] = time.monotonic()

    def _leave(self, partition: int) -> None:
        super()._leave(partition)
        self._gaps.pop(partition, None)

    def _take(self, most: int, seconds: float) -> list[Event]:
        now = time.monotonic()
        self._sought |= {each for each, gap in self._gaps.items() if each not in self._assigned and now >= gap.again}
        self._assign_sought()
        events = super()._take(most, min(seconds, AGAIN))
        now = time.monotonic()
        self._moved |= {event.partition: now for event in events}
        if now - self._examined >= BEHIND:
            self._examined = now
            self._change_wait(now)
        return events

    def _is_next(self, partition: int, position: int) -> bool:
        after = self._after[partition]
        if position <= after:
            self._gaps.pop(partition, None)
            return position == after
        now = time.monotonic()
        gap = self._gaps.setdefault(partition, _Gap(since=now, again=now))
        if now - gap.since >= GAP_SECONDS:
            logger.warning(
                "Positions %d to %d of partition %d of %s hold nothing: the embedded broker was ended before it had "
                "put them, and has not acknowledged them.",
                after,
                position - 1,
                partition,
                self.stream,
            )
            del self._gaps[partition]
            return True
        if partition in self._assigned:  # what is fetched behind the gap is not wanted yet
            self._consumer.incremental_unassign([TopicPartition(self.stream, partition)])
            self._assigned.discard(partition)
            gap.again = now + AGAIN
        return False

    def _is_read(self, partition: int, said: int, end: int) -> bool:
        quiet = time.monotonic() - self._moved[partition] >= QUIET + self.fetch_wait_ms / 1000
        # Behind the last batch there may be a gap.
        at_the_end = said <= self._after[partition] and quiet and partition not in self._gaps
        return at_the_end or super()._is_read(partition, said, end)

    def _change_wait(self, now: float) -> None:
        """Ask with more time if a partition is behind and yields nothing, and with little when none is."""
        patience = max(BEHIND, 3 * self.fetch_wait_ms / 1000)
        late = [each for each in self._assigned - self._sought if self._may_be_behind(each)]
        still = [each for each in late if now - self._moved[each] >= patience]
        try:
            said = self._listed(still, END) if still else {}
        except StreamError:
            return
        if any(end > self._after[partition] for partition, end in said.items()):
            if self.fetch_wait_ms < LONGEST_WAIT_MS:
                self._reconnect(min(4 * self.fetch_wait_ms, LONGEST_WAIT_MS))
        elif not set(late) - set(still) and self.fetch_wait_ms > WAIT_MS:
            self._reconnect(WAIT_MS)

    def _may_be_behind(self, partition: int) -> bool:
        end = self._fetched_end(partition)
        return end < 0 or end > self._after[partition]  # below 0: no fetch was answered yet

    def _reconnect(self, wait_ms: int) -> None:
        self.fetch_wait_ms = wait_ms
        self._consumer.close()
        self._consumer = self._connect()
        self._sought |= self._assigned
        self._assigned.clear()
        self._tails.clear()
        self._moved |= dict.fromkeys(self._sought, time.monotonic())
