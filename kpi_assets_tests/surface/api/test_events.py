"""News as server-sent events: what is told, to whom, for how long, and how many may listen."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3
from psycopg import OperationalError
from pydantic import SecretStr

from kpi_assets.settings import settings
from kpi_assets.surface import changes, limits
from kpi_assets.surface.api import events
from kpi_assets.surface.security import hash_of
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import DOUBLED, GOOD, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.surface.server import Client, serving

PATH = "/api/v1/events"


@dataclass
class Listener:
    """Reads a stream, event by event; `lines` has what came last."""

    answer: urllib3.BaseHTTPResponse

    def __post_init__(self) -> None:
        self.chunks = self.answer.stream(65536)
        self.rest = ""

    def text(self) -> str:
        """Return the next event or comment. Raises StopIteration at the end of the stream."""
        while "\n\n" not in self.rest:
            self.rest += next(self.chunks).decode()
        found, _, self.rest = self.rest.partition("\n\n")
        return found

    def news(self) -> dict[str, Any]:
        """Return the pipelines of the next event, without heartbeats before it."""
        while (found := self.text()).startswith((":", "retry:")):
            pass
        name, _, data = found.partition("\ndata: ")
        assert name == "event: news"
        told: dict[str, Any] = json.loads(data)["pipelines"]
        return told


@contextmanager
def listening(client: Client, **headers: str) -> Iterator[Listener]:
    sent = {**client.headers, **headers}
    with urllib3.PoolManager() as pool:
        answer = pool.request(
            "GET", client.address + PATH, headers=sent, preload_content=False, retries=False, timeout=20
        )
        try:
            yield Listener(answer)
        finally:
            answer.close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LOOK", 0.1)


@pytest.fixture
def client(lab: PipelineHarness) -> Iterator[Client]:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    with serving(settings(), {lab.name: lab.pipeline()}) as opened:
        yield opened


def test_the_first_event_is_the_state_and_the_next_one_what_changed(client: Client, lab: PipelineHarness) -> None:
    with listening(client) as listener:
        assert listener.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert listener.answer.headers["Cache-Control"] == "no-store"
        assert "content-security-policy" in listener.answer.headers
        assert listener.text() == "retry: 3000"
        first = listener.news()[lab.name]
        assert first == {"publish_id": 1, "version": first["version"], "built": {}}
        lab.put_things(b"thing_id,name,weight\n1,anvil,21\n")
        lab.build("raw.things")
        while (second := listener.news()[lab.name])["publish_id"] == 1:
            pass  # the build has begun
        assert (second["publish_id"], second["version"] == first["version"]) == (2, False)
        lab.put_things(DOUBLED, NEXT)
        lab.build("raw.things", NEXT)  # is held
        third = listener.news()[lab.name]
        assert (third["publish_id"], third["version"] == second["version"]) == (2, False)
    with listening(client) as again:
        assert again.news()[lab.name]["publish_id"] == 2, "who connects again is told what he missed"


def test_a_stream_without_news_lives_until_its_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.1)
    monkeypatch.setattr(events, "LIFE", 1.0)
    began, beats = time.monotonic(), []
    with listening(client) as listener:
        listener.news()
        with pytest.raises(StopIteration):
            while True:
                beats.append(listener.text())
    took = time.monotonic() - began
    assert set(beats) == {": still here"}
    assert 4 <= len(beats) <= took / events.HEARTBEAT
    assert took < 60, "it ends by itself"


def test_it_looks_only_while_somebody_listens(client: Client) -> None:
    surface = client.app.state.surface
    looked = []
    look = surface.changes.look

    async def counted() -> Any:
        looked.append(1)
        return await look()

    surface.changes.look = counted
    time.sleep(0.3)
    assert not looked
    with listening(client) as one, listening(client) as other:
        assert one.news()
        assert other.news()
        eventually(lambda: len(looked) > 3)
        assert "kpi_serve_streams 2\n" in client.get("/metrics").data.decode()
    eventually(lambda: "kpi_serve_streams 0\n" in client.get("/metrics").data.decode())
    eventually(lambda: surface.changes._watch is None)
    seen = len(looked)
    time.sleep(0.3)
    assert len(looked) == seen


def test_streams_are_bounded_and_leave_room_for_other_requests(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_OF_READER", 2)
    with listening(client) as one, listening(client) as other:
        assert one.news()
        assert other.news()
        assert client.app.state.surface.numbers.in_flight == 0
        found = client.get(PATH)
        assert (found.status, found.headers["Retry-After"]) == (429, "30")
        monkeypatch.setattr(limits, "STREAMS_OF_READER", 3)
        monkeypatch.setattr(limits, "STREAMS", 2)
        assert client.get(PATH).status == 503
        assert client.get("/api/v1/version").status == 200
    monkeypatch.setattr(limits, "STREAMS", 3)
    with listening(client) as again:
        assert again.news()


def test_only_who_may_read_listens(lab: PipelineHarness) -> None:
    locked = settings().model_copy(
        update={"serve_keys": SecretStr(f"ann:{hash_of('the-key')}\nembed-x:{hash_of('e')}")}
    )
    with serving(locked, {}) as client:
        assert client.get(PATH).status == 401
        assert client.get(PATH, Authorization="Bearer e").status == 403
        assert client.get(f"{PATH}?x=1", Authorization="Bearer the-key").status == 422
        assert client.get(PATH, Sec_Fetch_Site="cross-site", Authorization="Bearer the-key").status == 403
        with listening(client, Authorization="Bearer the-key") as listener:
            assert listener.text() == "retry: 3000"


def test_a_server_that_is_stopped_does_not_wait_for_streams(lab: PipelineHarness) -> None:
    with serving(settings(), {}) as client, listening(client) as listener:
        listener.text()
        began = time.monotonic()
        assert client.server
        client.server.should_exit = True
        with pytest.raises((StopIteration, urllib3.exceptions.HTTPError)):
            while True:
                listener.text()
        assert time.monotonic() - began < 3


def test_a_database_that_is_away_is_no_news(
    client: Client, lab: PipelineHarness, caplog: pytest.LogCaptureFixture
) -> None:
    surface = client.app.state.surface
    look, away = surface.changes.look, [False]

    async def sometimes() -> Any:
        if away[0]:
            raise OperationalError("the server is gone")
        return await look()

    surface.changes.look = sometimes
    with listening(client) as listener:
        listener.news()
        away[0] = True
        eventually(lambda: "the server is gone" in caplog.text)
        lab.put_things(b"thing_id,name,weight\n1,anvil,21\n")
        lab.build("raw.things")
        time.sleep(0.5)
        away[0] = False
        assert listener.news()[lab.name]["publish_id"] == 2
    assert caplog.text.count("the server is gone") == 1
