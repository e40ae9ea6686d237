"""Sends events of the sample shop through whatever happens to the broker, and writes down which were acknowledged.

The embedded broker, when it is killed, loses acknowledged events of producers that are idempotent (stream/tansu.py). So
this one is not, and events that are sent again after a failure are at two positions.
"""

import hashlib
import threading
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from kpi_assets.samples.realtime.generator import messages
from kpi_assets.settings import Settings
from kpi_assets.stream.kafka import client_options

FAULTS = ("repeats=0.01", "poison=0.001")
PACE = 1440  # orders get on in a minute as far as in life in a day
PATIENCE = 240.0  # seconds for which an event is sent again
QUEUED = 1_000_000


def digest(value: bytes) -> str:
    """Return what identifies the bytes of an event."""
    return hashlib.blake2b(value, digest_size=8).hexdigest()


class Sender:
    """Sends so many events a second, from `start` until `stop`. `acknowledged` has a line for each event."""

    def __init__(self, settings: Settings, rate: float, seed: int, acknowledged: Path) -> None:
        self.sent = self.acknowledged = self.refused = 0
        self.last_at = datetime.now(timezone.utc)  # of the last acknowledgment
        self._rate, self._seed = rate, seed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, name="send")
        self._file = acknowledged.open("w")
        self._producer = Producer(
            {
                **client_options(settings),
                "enable.idempotence": False,
                "acks": "all",
                "linger.ms": 50,
                "queue.buffering.max.messages": QUEUED,
                "message.timeout.ms": int(PATIENCE * 1000),
                "partitioner": "murmur2_random",
            }
        )

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def is_answered(self) -> bool:
        """Whether the broker has answered for every event that was sent, or had its time. Not before `stop`."""
        left = self._producer.flush(0)
        if not left:
            self._file.close()
        return left == 0

    def _send(self) -> None:
        opening = datetime.now(timezone.utc)
        for message in messages(opening, self._rate, seed=self._seed, faults=FAULTS, pace=PACE):
            while (wait := message.at / 1000 - time.time()) > 0 and not self._over.is_set():
                self._producer.poll(min(wait, 0.05))
            if self._over.is_set():
                return
            heard = partial(self._heard, message.stream, digest(message.value))
            try:
                self._producer.produce(message.stream, message.value, message.key, on_delivery=heard)
            except BufferError:  # this event is not sent at all
                self.refused += 1
                self._producer.poll(0.1)
            else:
                self.sent += 1

    def _heard(self, stream: str, digest_: str, error: object, message: Any) -> None:
        if error is not None:
            self.refused += 1
            return
        self.acknowledged += 1
        self.last_at = datetime.now(timezone.utc)
        self._file.write(f"{stream},{message.partition()},{message.offset()},{digest_}\n")
