"""Sends the messages of the sample shop to a broker of Kafka's protocol, each when it happens.

Belongs here: the pace, and counting what the broker took. Not here: what is sent (generator.py), and reading it again
(stream/).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from kpi_assets.errors import UserError
from kpi_assets.samples.realtime.faults import Message
from kpi_assets.settings import Settings

PATIENCE = 30.0
QUEUED = 500_000  # messages that may wait for the broker
REPORT_SECONDS = 0.5
KAFKA = ("kafka", "kafka+ssl")


@dataclass
class Sent:
    """What became of the messages: those that the broker took, by stream, and those that it refused.

    `late` says how many seconds after it happened the last one was sent.
    """

    taken: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    late: float = 0.0
    reason: str = ""  # why the last one was refused


def send(
    settings: Settings,
    messages: Iterable[Message],
    *,
    seconds: float,
    patience: float = PATIENCE,
    is_over: Callable[[], bool] = lambda: False,
    progress: Callable[[float, Sent], None] = lambda _seconds, _sent: None,
) -> Sent:
    """Send messages when they happen, for so many seconds from now on; return what the broker took.

    Each message is acknowledged by the broker and stored once. `patience` is how many seconds the broker has for what
    is left at the end. `progress` is called twice a second with the seconds that are over. Raises UserError if there is
    no broker that takes messages by Kafka's protocol.
    """
    producer = _producer(settings)
    sent = Sent()
    start = reported = time.time()
    with suppress(KeyboardInterrupt):  # Ctrl-C ends it, and what was sent is still counted
        for message in messages:
            while (wait := message.at / 1000 - time.time()) > 0 and not is_over():
                producer.poll(min(wait, 0.05))
            now = time.time()
            if is_over() or now - start >= seconds:
                break
            sent.late = now - message.at / 1000
            _produce(producer, message, sent)
            if now - reported >= REPORT_SECONDS:
                producer.poll(0)
                reported = now
                progress(now - start, sent)
    left = producer.flush(patience)
    sent.refused += left
    if left and not sent.reason:
        sent.reason = f"it did not answer within {patience:g} seconds"
    return sent


def _produce(producer: Any, message: Message, sent: Sent) -> None:
    def told(error: Any, _message: object) -> None:
        if error is None:
            sent.taken[message.stream] += 1
        else:
            sent.refused += 1
            sent.reason = error.str()

    while True:
        try:
            producer.produce(message.stream, message.value, message.key, on_delivery=told)
        except BufferError:  # the broker is slower than the shop
            producer.poll(0.1)
        else:
            return


def _producer(settings: Settings) -> Any:
    scheme = (settings.stream_url or "").partition("://")[0]
    if scheme not in KAFKA:
        raise UserError(
            "Samples are sent by Kafka's protocol: set KPI_STREAM_URL to kafka://host:9092, or leave it out for the "
            "embedded broker."
        )
    # The first one says how to install the library of the second, if it is not there.
    kafka = import_module("kpi_assets.stream.kafka")
    from confluent_kafka import Producer  # noqa: PLC0415

    return Producer(
        {
            **kafka.client_options(settings),
            # Not idempotent: the embedded broker loses such events when it is killed (stream/tansu.py). An event may be
            # sent twice instead, as by any producer that is started again.
            "enable.idempotence": False,
            "acks": "all",
            "linger.ms": 50,
            "queue.buffering.max.messages": QUEUED,
            "partitioner": "murmur2_random",
        }
    )
