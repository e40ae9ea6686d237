"""`kpi stream` on the embedded broker and store: it is killed again and again, and each event is landed once."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Producer

from kpi_assets.embedded.stack import Servers, Stack, embedded_servers, status
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings
from kpi_assets.sources.lake import open_lake
from kpi_assets.stream import chain
from kpi_assets.stream.described import streams_of
from kpi_assets.stream.frame import decode
from kpi_assets_tests.cli.command import plain_environment
from kpi_assets_tests.machine import eventually, no_named_servers
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.streams import RAW_CLICKS

pytestmark = pytest.mark.process
BUCKET = "kpi-shop"


@dataclass
class Shop:
    """A pipeline with one stream, and its embedded servers."""

    sql: Path
    servers: Servers
    pipeline: Pipeline
    sent: int = 0
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def send(self, count: int, rate: float = 0) -> None:
        """Send events that the broker has acknowledged; at a rate, or at once."""
        address = str(self.servers.settings.stream_url).removeprefix("kafka://")
        producer = Producer({"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 20})
        failed: list[object] = []
        for number in range(self.sent, self.sent + count):
            value = b'{"event_id": "%d"}' % number if number % 100 else b"no JSON %d" % number
            producer.produce(
                "clicks", value, f"u{number % 17}", on_delivery=lambda e, _: failed.append(e) if e else None
            )
            producer.poll(0)
            if rate and number % 50 == 0:
                time.sleep(50 / rate)
        assert producer.flush(60) == 0
        assert failed == []
        self.sent += count

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start `kpi stream`."""
        assert self.servers.stack is not None
        environment = {**plain_environment(), **self.servers.stack.environment(), "KPI_SQL_DIR": str(self.sql)}
        process = subprocess.Popen(
            [sys.executable, "-m", "kpi_assets.cli", "stream", "shop", *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def checked(self) -> chain.Checked:
        [stream] = streams_of(self.pipeline)
        return chain.check(open_lake(self.servers.settings, BUCKET), stream, [stream.folder])

    def values(self) -> list[str]:
        """The number of each event that is landed."""
        lake, [stream] = open_lake(self.servers.settings, BUCKET), streams_of(self.pipeline)
        lines = [
            line for link in chain.links_below(lake, stream.folder) for line in decode(lake.get(link.key), link.key)[1]
        ]
        return [line.said["v"]["event_id"] if "v" in line.said else line.said["bad"].split()[-1] for line in lines]

    def assert_all_landed(self) -> None:
        assert self.checked().problems == ()
        assert sorted(map(int, self.values())) == list(range(self.sent))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    sql = folder / "sql"
    texts = {
        "shop/raw/clicks.sql": RAW_CLICKS,
        "shop/pipeline.yaml": PIPELINE_YAML.format(bucket=BUCKET) + "live: {flush_seconds: 0.4}\n",
    }
    for name, text in texts.items():
        (sql / name).parent.mkdir(parents=True, exist_ok=True)
        (sql / name).write_text(text)
    pipeline = load_pipelines(sql)["shop"]
    with (
        no_named_servers(),
        embedded_servers(Settings(home=folder / "home", sql_dir=sql), [pipeline]) as servers,
    ):
        assert servers.stack is not None
        servers.stack.make_bucket(BUCKET)
        made = Shop(sql, servers, pipeline)
        try:
            yield made
        finally:
            for process in made.started:
                if process.poll() is None:
                    process.kill()
                process.communicate()


def test_a_landing_that_is_asked_to_end_lands_what_it_has_read(shop: Shop) -> None:
    process = shop.start()
    shop.send(500)
    eventually(lambda: shop.checked().records > 0)
    shop.send(100)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Landing clicks  (Ctrl-C stops it)" in said
    assert "info: clicks is landed below raw/clicks/." in said
    assert shop.checked().problems == ()
    server = shop.servers.postgres.get_secret_value()
    with psycopg.connect(server, dbname="shop") as connection:
        rows = connection.execute("select count(*), sum(next) from ops.stream_positions").fetchone()
    assert rows is not None
    assert rows[0] == 3
    assert 500 <= rows[1] == shop.checked().records


@pytest.mark.nightly
def test_a_landing_may_be_killed_at_any_instant(shop: Shop) -> None:
    draw = random.Random(5)
    shop.start()
    for _ in range(4):
        shop.send(300, rate=2000)
        time.sleep(draw.uniform(0.0, 0.8))
        shop.started[-1].kill()
        shop.started[-1].wait()
        shop.start()
    shop.send(200)
    eventually(lambda: shop.checked().records == shop.sent)
    shop.assert_all_landed()
    shop.started[-1].send_signal(signal.SIGINT)
    assert shop.started[-1].wait(60) == 0


@pytest.mark.nightly
def test_nothing_is_skipped_when_nothing_is_lost(shop: Shop) -> None:
    process = shop.start("--skip-lost", "clicks")
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (
        0,
        "Nothing of clicks is lost: the broker has every event from the ends of the chains on.\n",
    )


def test_a_stream_that_is_not_there_is_named(shop: Shop) -> None:
    process = shop.start("--only", "orders")
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (2, "error: shop has no stream 'orders': it has clicks.\n")


@dataclass
class Sender:
    """Sends events at a rate until it is told to stop, through whatever happens to the broker."""

    shop: Shop
    rate: float
    acknowledged: set[int] = field(default_factory=set)
    first: int = 0
    next: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": str(self.shop.servers.settings.stream_url).removeprefix("kafka://"),
                # The embedded broker takes what an idempotent producer sends again for a repeat, although it was killed
                # before it had put it, and acknowledges it. So events are sent twice rather than never.
                "enable.idempotence": False,
                "acks": "all",
                "linger.ms": 20,
                "log_level": 0,
                "message.timeout.ms": 120_000,
            }
        )
        self.first = self.next = self.shop.sent
        while not self.over.is_set():
            for _ in range(int(self.rate / 20)):
                value = b'{"event_id": "%d"}' % self.next
                producer.produce("clicks", value, f"u{self.next % 17}", on_delivery=partial(self._heard, self.next))
                self.next += 1
            producer.poll(0)
            time.sleep(0.05)
        producer.flush(60)

    def _heard(self, number: int, error: object, _message: object) -> None:
        if error is None:
            self.acknowledged.add(number)


def _kill_at_random(shop: Shop, draw: random.Random) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(draw.uniform(1, 6))
        name = draw.choice(["landing", "landing", "landing", "broker", "s3", "postgres"])
        if name == "landing":
            shop.started[-1].kill()
            shop.started[-1].wait()
            shop.start()
        else:
            [pid] = [each.pid for each in status(shop.servers.settings.home) if each.name == name and each.pid]
            os.kill(pid, signal.SIGKILL)
            time.sleep(draw.uniform(0, 3))
            with Stack(shop.servers.settings.home, streams=["clicks"]):
                pass  # whoever comes starts what does not run


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2])
def test_landing_broker_store_and_database_may_be_killed_at_random(shop: Shop, seed: int) -> None:
    draw, sender = random.Random(seed), Sender(shop, 833)
    thread = threading.Thread(target=sender.run)
    thread.start()
    shop.start()
    try:
        _kill_at_random(shop, draw)
    finally:
        sender.over.set()
        thread.join()
    shop.sent = sender.next
    acknowledged = {str(number) for number in sender.acknowledged}
    assert len(acknowledged) > 20_000
    eventually(lambda: acknowledged <= set(shop.values()))
    assert shop.checked().problems == ()
    shop.started[-1].send_signal(signal.SIGTERM)
    assert shop.started[-1].wait(60) == 0
