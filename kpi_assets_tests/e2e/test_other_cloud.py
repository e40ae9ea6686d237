"""The shipped pipeline `realtime` on Azure's kind of servers equals that on the embedded ones, by settings alone.

Azurite is the lake. The broker is Apache Kafka with the login of Azure Event Hubs, over TLS with a certificate that
only `KPI_STREAM_CA` knows. Both sides get the same events, and run the same commands with the same files.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import certifi
import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg.conninfo import make_conninfo

from kpi_assets.embedded.broker import PARTITIONS
from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.generator import messages
from kpi_assets.samples.realtime.world import STREAMS
from kpi_assets.settings import Settings
from kpi_assets.stream.kafka import client_options
from kpi_assets.stream.reader import Event
from kpi_assets_tests.cli.command import Kpi
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.sources import lakes
from kpi_assets_tests.stream.apache_kafka import EVENT_HUBS_PASSWORD, EVENT_HUBS_USER, ApacheKafka, apache_kafka

pytestmark = pytest.mark.nightly

DAY = datetime.now(timezone.utc).date() - timedelta(days=1)  # it is over, so that landing closes it
RATE = 0.05  # events a second: some 4,400
FAULTS = ("repeats=0.03", "poison=0.0005", "late=0.02", "drift=0.02", "wrong-type=0.0005")
CONTAINER = "kpi-realtime"
ACCESS_KEY = EVENT_HUBS_PASSWORD.rpartition("SharedAccessKey=")[2]
BY_BATCH = {"stg.orders_by_minute", "stg.clicks_by_minute"}  # their rows say of which batch they are
BIN = Path(sys.executable).parent


@dataclass
class Side:
    """The pipeline on one kind of servers: the command with its settings, and the broker's options for a producer."""

    kpi: Kpi
    database: str
    producer: Mapping[str, Any]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def send(self, events: list[tuple[str, Event]]) -> None:
        """Send events in their order, each to its partition and with its time."""
        refused: list[str] = []
        producer = Producer({**self.producer, "acks": "all", "linger.ms": 50, "max.in.flight": 1})
        for stream, event in events:
            producer.produce(
                stream,
                event.value,
                event.key,
                event.partition,
                timestamp=event.time_ms,
                on_delivery=lambda error, _message: refused.append(str(error)) if error else None,
            )
            producer.poll(0)
        assert producer.flush(120) == 0
        assert refused == []

    def closed(self) -> bool:
        found = self.rows(f"select count(*) from ops.stream_closings where load_date = '{DAY}'")
        return found == [(len(STREAMS),)]

    def land_and_grow(self) -> str:
        """Land the events, and build them in a live run until all is built; return what both printed."""
        job = ["dagster", "job", "execute", "-m", "kpi_assets.definitions", "-j", "realtime_live"]
        tags = json.dumps({"dagster/partition": str(DAY)})
        log = self.kpi.home / "live.log"
        with log.open("wb") as said, self.kpi.start("stream", "realtime") as landing:
            live = subprocess.Popen(
                [BIN / job[0], *job[1:], "--tags", tags],
                env={**self.kpi.environment, "PATH": f"{BIN}:{os.environ['PATH']}"},
                cwd=self.kpi.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            try:
                assert live.wait(PATIENCE) == 0, log.read_text()[-4000:]
            finally:
                live.kill()
                live.wait()
            assert self.closed()
            landing.send_signal(signal.SIGTERM)
            out, err = landing.communicate(timeout=PATIENCE)
        assert landing.returncode == 0, err
        return out + err + log.read_text()

    def checksums(self) -> dict[str, str]:
        """Return the checksum of what is published of each table."""
        return dict(self.rows(f"select asset, checksum from ops.published where load_date = '{DAY}'"))

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Return of each growing table the records, those that were set aside, and those that came again."""
        found = self.rows(
            "select distinct on (asset) asset, total_records, total_quarantined, total_repeats from ops.batches "
            f"where load_date = '{DAY}' order by asset, build_id desc"
        )
        return {asset: numbers for asset, *numbers in found}  # type: ignore[misc]

    def found_in_ops(self, secret: str) -> list[str]:
        """Return the tables of the ledger that hold a text."""
        names = [
            name
            for (name,) in self.rows(
                "select oid::regclass::text from pg_class "
                "where relnamespace = 'ops'::regnamespace and relkind in ('r', 'p')"
            )
        ]
        return [name for name in names if self.rows(f"select 1 from {name} as r where strpos(r::text, '{secret}') > 0")]


@pytest.fixture(scope="module")
def events() -> list[tuple[str, Event]]:
    """The events of a day, with the partition that each goes to."""
    opening = datetime.combine(DAY, time(), timezone.utc)
    sent = bronze.until(messages(opening, RATE, faults=FAULTS), opening + timedelta(days=1))
    return [*bronze.events(sent, PARTITIONS)]


@contextmanager
def opened(stack: Stack, folder: Path, producer: Mapping[str, Any], *secrets: str, **settings: str) -> Iterator[Side]:
    home = Path(stack.environment()["KPI_HOME"])
    database = make_conninfo(stack.environment()["KPI_POSTGRES_URL"], dbname="realtime")
    own = stack.credentials
    hidden = [each.get_secret_value() for each in (own.postgres_password, own.s3_secret_access_key)]
    yield Side(Kpi(home, folder, [*hidden, *secrets], **settings), database, producer)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """The embedded servers, which need no settings."""
    folder = tmp_path_factory.mktemp("embedded")
    try:
        with Stack(folder / "home", streams=[*STREAMS]) as stack:
            producer = client_options(Settings(home=folder, stream_url=stack.environment()["KPI_STREAM_URL"]))
            with opened(stack, folder, producer) as side:
                yield side
    finally:
        stop(folder / "home")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    with apache_kafka(tmp_path_factory.mktemp("kafka")) as cluster:
        admin = AdminClient(cluster.options)
        for made in admin.create_topics([NewTopic(stream, PARTITIONS, 1) for stream in STREAMS]).values():
            made.result(30)
        yield cluster


@pytest.fixture(scope="module")
def azure(kafka: ApacheKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Azurite and Apache Kafka: everything that differs is in the environment."""
    folder = tmp_path_factory.mktemp("azure")
    broker = kafka.secured(stream_user=EVENT_HUBS_USER, stream_password=EVENT_HUBS_PASSWORD)
    with lakes.azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        lakes.make_container(endpoint, CONTAINER)
        try:
            with (
                Stack(folder / "home", s3=False) as stack,
                opened(
                    stack,
                    folder,
                    client_options(broker),
                    ACCESS_KEY,
                    lakes.KEY,
                    KPI_LAKE_URL=f"az://{lakes.ACCOUNT}/{CONTAINER}",
                    KPI_AZURE_ENDPOINT_URL=endpoint,
                    AZURE_STORAGE_ACCOUNT_KEY=lakes.KEY,
                    KPI_STREAM_URL=str(broker.stream_url),
                    KPI_STREAM_USER=EVENT_HUBS_USER,
                    KPI_STREAM_PASSWORD=EVENT_HUBS_PASSWORD,
                    KPI_STREAM_CA=str(broker.stream_ca),
                ) as side,
            ):
                yield side
        finally:
            stop(folder / "home")


def test_the_same_events_give_the_same_tables(embedded: Side, azure: Side, events: list[tuple[str, Event]]) -> None:
    grown = {}
    for name, side in (("embedded", embedded), ("azure", azure)):
        side.send(events)
        said = side.land_and_grow()
        assert [secret for secret in side.kpi.secrets if secret in said] == []
        grown[name] = side.checksums()
    assert len(grown["azure"]) == 18
    stable = [{table: each[table] for table in each if table not in BY_BATCH} for each in grown.values()]
    assert stable[0] == stable[1]
    assert embedded.counts() == azure.counts()
    records = {asset: numbers[0] for asset, numbers in azure.counts().items()}
    assert {name: records[f"raw.{name}"] for name in STREAMS} == {
        name: sum(stream == name for stream, _ in events) for name in STREAMS
    }

    # Built as a whole, the tables of batches are equal too.
    for side in (embedded, azure):
        assert f"published realtime, load_date {DAY}" in side.kpi.process("run", "realtime", "--load-date", DAY).out
    assert embedded.checksums() == azure.checksums()
    assert {table: sum_ for table, sum_ in azure.checksums().items() if table not in BY_BATCH} == stable[1]
    shown = [
        side.kpi("show", "realtime", "marts.kpi_revenue_daily", "--format", "csv").out for side in (embedded, azure)
    ]
    assert shown[0] == shown[1] != ""


def test_the_doctor_finds_the_container_and_the_broker(azure: Side) -> None:
    with azure.kpi.start("doctor") as process:  # of other pipelines it may find whatever it likes
        out, err = process.communicate(timeout=PATIENCE)
    assert [secret for secret in azure.kpi.secrets if secret in out + err] == []
    lines = [" ".join(line.split()) for line in out.splitlines()]
    broker = azure.kpi.environment["KPI_STREAM_URL"]
    for stream in STREAMS:
        found = f"broker of {stream}: {broker} answers, and the stream has {PARTITIONS} partitions"
        assert [line for line in lines if found in line]
    container = f"bucket az://{lakes.ACCOUNT}/{CONTAINER}: can be listed and read below raw/"
    assert [line for line in lines if container in line]


REFUSED = "refuses the login: set KPI_STREAM_USER, KPI_STREAM_PASSWORD and KPI_STREAM_SASL to those of the broker"
UNTRUSTED = (
    "shows a certificate that is not trusted, or speaks no TLS: set KPI_STREAM_CA to the certificates that have signed "
    "it, or correct KPI_STREAM_URL"
)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"KPI_STREAM_PASSWORD": EVENT_HUBS_PASSWORD.replace("c2Vj", "bm9v")}, REFUSED),
        ({"KPI_STREAM_CA": certifi.where()}, UNTRUSTED),
    ],
)
def test_what_the_broker_or_we_refuse_is_said_in_one_sentence(
    azure: Side, settings: dict[str, str], sentence: str
) -> None:
    azure.kpi.secrets.append("bm9vcmV0c2VjcmV0=")
    with azure.kpi.start("stream", "realtime", "--only", "clicks", **settings) as landing:
        assert landing.stderr is not None
        first = landing.stderr.readline()
        landing.send_signal(signal.SIGTERM)
        out, rest = landing.communicate(timeout=PATIENCE)
    broker = azure.kpi.environment["KPI_STREAM_URL"].partition("://")[2]
    assert f" UTC warning: The broker {broker} {sentence} (" in first
    assert (landing.returncode, rest) == (0, "")
    assert out == "Landing clicks  (Ctrl-C stops it)\n"
    assert [secret for secret in azure.kpi.secrets if secret in first] == []


def test_no_secret_is_in_the_ledger_or_a_log(azure: Side) -> None:
    secrets = [EVENT_HUBS_PASSWORD, ACCESS_KEY, lakes.KEY]
    assert {secret: azure.found_in_ops(secret) for secret in secrets} == {secret: [] for secret in secrets}
    assert azure.found_in_ops(str(DAY)) != []
    files = [path for path in azure.kpi.home.rglob("*") if path.is_file() and "postgres" not in path.parts]
    assert files
    held = [path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]
    assert held == []
