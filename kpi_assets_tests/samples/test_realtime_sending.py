"""The messages of the sample shop on the embedded broker: each is there once, when it happened."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from kpi_assets.embedded.stack import Servers, embedded_servers
from kpi_assets.errors import UserError
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples.realtime.faults import Message
from kpi_assets.samples.realtime.generator import Realtime
from kpi_assets.samples.realtime.sending import Sent, send
from kpi_assets.samples.realtime.world import STREAMS
from kpi_assets.settings import CHECKOUT, Settings
from kpi_assets.stream.reader import open_reader
from kpi_assets_tests.machine import no_named_servers

pytestmark = pytest.mark.process
SECONDS = 3.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Embedded servers with a topic for each stream of the shipped pipeline."""
    sql = CHECKOUT / "sql"
    home = tmp_path_factory.mktemp("realtime") / "home"
    with (
        no_named_servers(),
        embedded_servers(Settings(home=home, sql_dir=sql), [load_pipelines(sql)["realtime"]]) as found,
    ):
        yield found


def test_each_message_is_on_the_broker_once_when_it_happened(servers: Servers) -> None:
    given: list[Message] = []
    reports: list[float] = []

    def messages() -> Iterator[Message]:
        opening = datetime.now(timezone.utc)
        for message in Realtime().messages(opening, 300, seed=1, faults=["repeats", "poison=0.01"], pace=1440):
            given.append(message)
            yield message

    sent = send(servers.settings, messages(), seconds=SECONDS, progress=lambda seconds, _sent: reports.append(seconds))
    taken = given[:-1]  # the last one was beyond the time
    assert sent.taken == Counter(each.stream for each in taken)
    assert (sent.refused, sent.reason) == (0, "")
    assert sent.taken.total() == pytest.approx(300 * SECONDS, rel=0.1)
    assert 0 <= sent.late < 5
    assert reports == sorted(reports)
    assert SECONDS / 2 < reports[-1] < SECONDS

    start = taken[0].at
    for stream in STREAMS:
        wanted = Counter((each.key, each.value) for each in taken if each.stream == stream)
        found: Counter[tuple[bytes | None, bytes | None]] = Counter()
        with open_reader(servers.settings, stream) as reader:
            for partition in reader.partitions():
                reader.seek(partition, None)
            while found.total() < wanted.total():
                events = reader.read(1000, 10)
                assert events, "some are missing"
                found.update((each.key, each.value) for each in events)
                assert all(start - 1000 < event.time_ms < start + 60_000 for event in events)
        assert found == wanted


def test_it_ends_when_it_is_asked_to(servers: Servers) -> None:
    said: list[Sent] = []
    messages = Realtime().messages(datetime.now(timezone.utc), 50, seed=1)
    sent = send(
        servers.settings,
        messages,
        seconds=600,
        is_over=lambda: bool(said),
        progress=lambda _seconds, state: said.append(state),
    )
    assert 0 < sent.taken.total() < 200


@pytest.mark.nightly
def test_only_a_broker_of_kafkas_protocol_is_sent_to(servers: Servers) -> None:
    config = servers.settings.model_copy(update={"stream_url": "kinesis://eu-west-1"})
    with pytest.raises(
        UserError, match=r"Samples are sent by Kafka's protocol: set KPI_STREAM_URL to kafka://host:9092"
    ):
        send(config, [], seconds=1)
