"""Reads a topic by Kafka's protocol: Apache Kafka, Amazon MSK, Azure Event Hubs, and the embedded broker.

Belongs here: librdkafka, its options and its traps. Not here: the embedded broker's own ways
(tansu.py), and landing.

- Partitions are assigned and no group is joined: landing has a fence of its own.
- A partition that is sought again is taken off and assigned anew, so that librdkafka drops what it fetched before.
- A position that the broker does not hold is never replaced by another one (auto.offset.reset=error).
- The last record of a partition may be one of the broker's own, as after a transaction. Then only the end of a fetch
  tells that nothing is left to read.
"""

import logging
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kpi_assets.embedded.broker import CLUSTER
from kpi_assets.errors import UserError
from kpi_assets.settings import Settings
from kpi_assets.stream.reader import DatedBy, Event, PositionGoneError, Reader, StreamError

try:
    from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
    from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, OffsetSpec  # type: ignore[attr-defined]
except ImportError as error:
    raise UserError(
        "A broker of Kafka's protocol is read with a library that is not installed: install kpi_assets[stream]."
    ) from error

logger = logging.getLogger(__name__)
T = TypeVar("T")

GROUP = "kpi_assets"  # joined by nobody; brokers with access rules want one that may be described
PATIENCE = 10.0  # seconds for one answer of the broker
SLICE = 1.0  # seconds of it after which to hear whether the broker refuses
QUEUED = 32 << 10  # kB that librdkafka may hold fetched and unread
EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
END: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
# What only a person can mend, and what to do.
_REFUSED = {
    KafkaError._AUTHENTICATION: "refuses the login: set KPI_STREAM_USER, KPI_STREAM_PASSWORD and KPI_STREAM_SASL to "
    "those of the broker",
    KafkaError.SASL_AUTHENTICATION_FAILED: "refuses the login: correct KPI_STREAM_USER and KPI_STREAM_PASSWORD",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "does not know this kind of login: set KPI_STREAM_SASL to one that it knows",
    KafkaError._SSL: "shows a certificate that is not trusted, or speaks no TLS: set KPI_STREAM_CA to the certificates "
    "that have signed it, or correct KPI_STREAM_URL",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "does not let this login read the stream: give it the right to read and "
    "describe the topic",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "does not let this login in: give it the right to describe the topic",
}
_TIMES = re.compile(r" \(after [0-9]+ms.*\)")  # of librdkafka's sentences, which are the same otherwise
_UNKNOWN = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID)
_GONE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class _Log:
    """Takes what librdkafka logs. It repeats each failure to connect; a StreamError says it once, in our words."""

    def log(self, _level: int, text: str, *arguments: object) -> None:
        logger.debug(text, *arguments)


def client_options(settings: Settings) -> dict[str, Any]:
    """Return librdkafka's options that lead a client to the broker of the settings; they may hold its password."""
    scheme, _, servers = (settings.stream_url or "").partition("://")
    options: dict[str, Any] = {"bootstrap.servers": servers, "client.id": "kpi_assets", "logger": _Log()}
    protocol = "SSL" if scheme == "kafka+ssl" else "PLAINTEXT"
    if settings.stream_user is not None and settings.stream_password is not None:
        protocol = f"SASL_{protocol}"
        options |= {
            "sasl.mechanism": settings.stream_sasl,
            "sasl.username": settings.stream_user,
            "sasl.password": settings.stream_password.get_secret_value(),
        }
    if settings.stream_ca:
        options["ssl.ca.location"] = str(settings.stream_ca)
    return {**options, "security.protocol": protocol}


def reader_of(settings: Settings, stream: str) -> "KafkaReader":
    """Return the reader for the broker of the settings: the embedded one has a reader of its own."""
    reader = KafkaReader(settings, stream)
    try:
        if reader.cluster() != CLUSTER:
            return reader
    except BaseException:
        reader.close()
        raise
    reader.close()
    from kpi_assets.stream.tansu import TansuReader  # noqa: PLC0415  derives from this module's class

    return TansuReader(settings, stream)


class KafkaReader(Reader):
    """Reads one topic from positions that the caller chooses."""

    position_digits = 16
    fetch_wait_ms = 200  # how long a broker may wait for events before it answers a fetch

    def __init__(self, settings: Settings, stream: str):
        """Raises StreamError if the broker has no such topic or cannot be reached."""
        self.stream = stream
        self._servers = (settings.stream_url or "").partition("://")[2]
        self._after: dict[int, int] = {}  # partition -> the position after the last event read, or the one sought
        self._sought: set[int] = set()  # partitions that librdkafka is to fetch from there on, and does not yet
        self._assigned: set[int] = set()
        self._tails: dict[int, int] = {}  # partition -> where a fetch found nothing more
        self._due: list[StreamError] = []  # what the next read raises: events that came with it are returned first
        self._trouble: KafkaError | None = None  # why the broker may not be reached
        self._options = {**client_options(settings), "error_cb": self._hear}
        self._admin = AdminClient(self._options)
        self._consumer = self._connect()
        try:
            self.partitions()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Consumer:
        return Consumer(
            {
                **self._options,
                "group.id": GROUP,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "allow.auto.create.topics": False,
                "check.crcs": True,
                "fetch.wait.max.ms": self.fetch_wait_ms,
                "queued.max.messages.kbytes": QUEUED,
            }
        )

    def close(self) -> None:
        """Give up the connections."""
        self._consumer.close()

    def partitions(self) -> list[int]:
        """Return the numbers of the partitions, in order."""
        found = self._described().topics[self.stream]
        if found.error is not None:
            raise self._explained(found.error)
        return sorted(found.partitions)

    def cluster(self) -> str | None:
        """Return the name that the broker gives its cluster."""
        name = self._described().cluster_id
        return str(name) if name else None

    def seek(self, partition: int, position: int | None) -> int:
        """Read a partition from this position on; None is the earliest there is. Return the position."""
        earliest = self._listed([partition], EARLIEST)[partition]
        start = earliest if position is None else position
        end = self._listed([partition], END)[partition]
        if start > end:
            end = max(end, self._end_of_fetch(partition, max(earliest, end - 1)))
        if not earliest <= start <= end:
            raise PositionGoneError(self.stream, partition, start, earliest, end)
        self._go_to(partition, start)
        return start

    def read(self, most: int, seconds: float) -> list[Event]:
        """Wait until there are events or the time is over, and return at most so many."""
        if self._due:
            raise self._due.pop(0)
        deadline = time.monotonic() + seconds
        while True:
            self._assign_sought()
            events = self._take(most, max(0.0, deadline - time.monotonic()))
            if self._due and not events:
                raise self._due.pop(0)
            if events or time.monotonic() >= deadline:
                return events

    def dated_by(self) -> DatedBy:
        """Return whose clock dates the events. A broker that does not say is taken at its word for Kafka's default."""
        topic = ConfigResource(ConfigResource.Type.TOPIC, self.stream)
        (future,) = self._admin.describe_configs([topic], request_timeout=PATIENCE).values()
        found = self._asked(lambda: future.result(PATIENCE)).get("message.timestamp.type")
        return "broker" if found is not None and found.value == "LogAppendTime" else "producer"

    def landed(self, partition: int, position: int) -> None:
        """Do nothing: Kafka drops events when their retention is over."""

    def ends(self) -> dict[int, int]:
        """Return the position after the last event of each partition that was sought."""
        if not self._after:
            return {}
        said = self._listed(self._after, END)
        found = {}
        for partition, after in self._after.items():
            end = max(said[partition], self._fetched_end(partition), after)
            found[partition] = after if self._is_read(partition, said[partition], end) else end
        return found

    def _is_read(self, partition: int, said: int, end: int) -> bool:  # noqa: ARG002  the embedded broker needs more
        """Whether nothing is left to read up to an end, even if nothing was read just before it."""
        return self._tails.get(partition, -1) >= end

    def _go_to(self, partition: int, position: int) -> None:
        """Have a partition read from a position on. All that were sought are assigned at once, for one first fetch."""
        self._after[partition] = position
        self._tails.pop(partition, None)
        self._sought.add(partition)

    def _assign_sought(self) -> None:
        if not self._sought:
            return
        if again := self._sought & self._assigned:
            self._consumer.incremental_unassign([TopicPartition(self.stream, partition) for partition in again])
        places = [TopicPartition(self.stream, partition, self._after[partition]) for partition in sorted(self._sought)]
        self._consumer.incremental_assign(places)
        self._assigned |= self._sought
        self._sought.clear()

    def _leave(self, partition: int) -> None:
        """Read a partition no more until it is sought."""
        if partition in self._assigned:
            self._consumer.incremental_unassign([TopicPartition(self.stream, partition)])
        self._assigned.discard(partition)
        self._sought.discard(partition)
        self._tails.pop(partition, None)
        self._after.pop(partition, None)

    def _take(self, most: int, seconds: float) -> list[Event]:
        """Return the events that are there, or come first within the time."""
        # One call for many would wait until there are so many, or the time is over.
        first = self._consumer.consume(1, seconds)
        return self._events([*first, *(self._consumer.consume(most - 1, 0) if first and most > 1 else [])])

    def _is_next(self, partition: int, position: int) -> bool:
        """Whether an event may follow the one before it. Kafka's own records leave gaps."""
        return position >= self._after[partition]

    def _events(self, messages: Iterable[Message]) -> list[Event]:
        events = []
        for message in messages:
            partition, position, error = message.partition(), message.offset(), message.error()
            if error is not None or partition is None or position is None:
                self._heed(error or KafkaError(KafkaError._FAIL), partition, position)
            elif partition in self._after and self._is_next(partition, position):
                self._after[partition] = position + 1
                events.append(Event(partition, position, message.timestamp()[1], message.key(), message.value()))
        return events

    def _heed(self, error: KafkaError, partition: int | None, position: int | None) -> None:
        """Take note of an error that came in the place of an event."""
        if partition is None or partition not in self._after:
            self._hear(error)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._tails[partition] = position or 0
        elif error.code() in _GONE:
            wanted = self._after[partition]
            self._leave(partition)
            self._owe(self._gone(partition, wanted))
        elif position is not None and position >= 0:  # this record cannot be read, and it must not be skipped
            self._leave(partition)
            self._owe(
                StreamError(
                    f"Partition {partition} of the stream {self.stream} cannot be read at {position} "
                    f"({error.str()}): see whether another reader can, and the log of the broker."
                )
            )
        else:
            self._hear(error)

    def _gone(self, partition: int, position: int) -> StreamError:
        try:
            earliest = self._listed([partition], EARLIEST)[partition]
            end = self._listed([partition], END)[partition]
        except StreamError as error:
            return error
        return PositionGoneError(self.stream, partition, position, earliest, end)

    def _hear(self, error: KafkaError) -> None:
        """Take note of an error that concerns the connection: librdkafka connects again by itself, unless refused."""
        logger.debug("%s", error.str())
        if self._trouble is None or error.code() in _REFUSED:
            self._trouble = error
        if error.code() in {*_REFUSED, *_UNKNOWN}:
            self._owe(self._explained(error))

    def _owe(self, error: StreamError) -> None:
        """Have the next read raise an error, once."""
        if str(error) not in map(str, self._due):
            self._due.append(error)

    def _described(self) -> ClusterMetadata:
        """Return what the broker says of the topic. A refusal is heard before the time for the answer is over."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found: ClusterMetadata = self._asked(lambda: self._consumer.list_topics(self.stream, timeout=SLICE))
            except StreamError as error:
                if not error.transient or time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)
            else:
                return found

    def _listed(self, partitions: Iterable[int], what: OffsetSpec) -> dict[int, int]:
        """Ask the broker for a position of each partition: the earliest, or the one after what may be read."""
        wanted = {TopicPartition(self.stream, partition): what for partition in partitions}
        try:
            return self._places(wanted)
        except StreamError as error:
            if not error.transient:
                raise
        # A partition has got another leader, of which this client hears when it asks for the topic.
        self._asked(lambda: self._admin.list_topics(self.stream, timeout=PATIENCE))
        return self._places(wanted)

    def _places(self, wanted: dict[TopicPartition, OffsetSpec]) -> dict[int, int]:
        futures = self._asked(
            lambda: self._admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=PATIENCE
            )
        )
        return {where.partition: self._asked(future.result).offset for where, future in futures.items()}

    def _fetched_end(self, partition: int) -> int:
        """Return the end that came with the last fetch, or -1."""
        found = self._consumer.get_watermark_offsets(TopicPartition(self.stream, partition), cached=True)
        return found[1] if found else -1

    def _end_of_fetch(self, partition: int, position: int) -> int:
        """Fetch from a position, and return the end that comes with the answer."""
        self._go_to(partition, position)
        self._assign_sought()
        deadline = time.monotonic() + PATIENCE
        try:
            while (end := self._fetched_end(partition)) < 0 and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            self._leave(partition)
        return end

    def _asked(self, question: Callable[[], T]) -> T:
        """Return the answer to a question. Raises StreamError, with what was heard of the connection meanwhile."""
        try:
            answer = question()
        except KafkaException as error:
            self._admin.poll(0)  # hears why no broker answers, if that is so
            heard, self._trouble = self._trouble, None
            raise self._explained(heard if heard and heard.code() in _REFUSED else error.args[0]) from None
        self._trouble = None
        return answer

    def _explained(self, error: KafkaError) -> StreamError:
        """Return what an error of the broker means, and what to do."""
        broker, said = f"The broker {self._servers}", _TIMES.sub("", error.str())
        if error.code() in _REFUSED:
            return StreamError(f"{broker} {_REFUSED[error.code()]} ({said}).")
        if error.code() in _UNKNOWN:
            return StreamError(
                f"{broker} has no topic {self.stream}: create it, or correct KPI_STREAM_URL or the stream's name."
            )
        return StreamError(
            f"{broker} does not answer for the stream {self.stream} ({said}): see whether it runs, and KPI_STREAM_URL.",
            transient=True,
        )
