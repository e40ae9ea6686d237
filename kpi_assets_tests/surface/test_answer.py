"""Answers: their versions, what is kept, and one reading for all that wait."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from fastapi import APIRouter, Request, Response

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import settings
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.surface.server import Client, serving


@dataclass
class Probe:
    """A route of the test's own: how often it was made, and what it does meanwhile."""

    pipeline: Pipeline
    made: int = 0
    until: threading.Event = field(default_factory=threading.Event)
    problem: Problem | None = None

    def make(self, reading: Reading) -> Body:
        self.made += 1
        self.until.wait(10)
        if self.problem:
            raise self.problem
        query = (
            "select publish_id, (select count(*) from marts.weighed) from ops.published where asset = 'marts.weighed'"
        )
        connection = reading.of(self.pipeline)
        return Body(repr(connection.execute(query).fetchall()).encode(), "text/plain")

    @property
    def router(self) -> APIRouter:
        router = APIRouter()

        @router.get("/probe")
        async def probe(request: Request) -> Response:
            return await answer(request, [self.pipeline.name], self.make)

        return router


@dataclass
class Site:
    client: Client
    probe: Probe
    lab: PipelineHarness


@pytest.fixture
def site(lab: PipelineHarness) -> Iterator[Site]:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    publish(lab)
    probe = Probe(lab.pipeline())
    probe.until.set()
    with serving(settings(), {lab.name: lab.pipeline()}) as client:
        client.app.include_router(probe.router)
        yield Site(client, probe, lab)


def publish(lab: PipelineHarness, body: bytes = GOOD, day: object = DAY) -> None:
    lab.put_things(body, day)  # type: ignore[arg-type]
    for name in ("raw.things", "marts.weighed"):
        lab.build(name, day)  # type: ignore[arg-type]


def test_an_answer_is_made_once_for_each_publish(site: Site) -> None:
    first = site.client.get("/probe")
    assert (first.status, first.data, site.probe.made) == (200, b"[(2, 1)]", 1)
    assert site.client.get("/probe").headers["ETag"] == first.headers["ETag"]
    assert site.client.get("/probe?x=1").headers["ETag"] != first.headers["ETag"]
    assert site.probe.made == 2
    publish(site.lab, b"thing_id,name,weight\n1,anvil,20.50\n2,feather,1\n")
    second = site.client.get("/probe")
    assert (second.data, site.probe.made) == (b"[(4, 2)]", 3)
    assert second.headers["ETag"] != first.headers["ETag"]


def test_a_reader_who_has_the_answer_gets_none(site: Site) -> None:
    tag = site.client.get("/probe").headers["ETag"]
    same = site.client.get("/probe", If_None_Match=tag)
    assert (same.status, same.data, same.headers["ETag"], site.probe.made) == (304, b"", tag, 1)
    site.lab.put_things(DOUBLED, NEXT)
    site.lab.build("raw.things", NEXT)  # is held, which pages show
    assert site.client.get("/probe", If_None_Match=tag).status == 200


def test_all_that_wait_share_one_answer_and_those_who_come_later_get_a_newer_one(site: Site) -> None:
    site.probe.until.clear()
    with ThreadPoolExecutor(20) as threads:
        early = [threads.submit(site.client.get, "/probe") for _ in range(10)]
        while not site.probe.made:
            time.sleep(0.01)
        time.sleep(0.2)
        publish(site.lab, b"thing_id,name,weight\n1,anvil,20.50\n2,feather,1\n")
        late = [threads.submit(site.client.get, "/probe") for _ in range(10)]
        time.sleep(0.2)
        site.probe.until.set()
        assert {found.result().data for found in late} == {b"[(4, 2)]"}
        assert {found.result().status for found in early} == {200}
    assert site.probe.made in {1, 2}  # the first one may have read only after the publish


def test_an_answer_that_was_begun_with_earlier_files_is_not_kept_for_later_ones(site: Site) -> None:
    site.probe.until.clear()
    with ThreadPoolExecutor(1) as threads:
        early = threads.submit(site.client.get, "/probe")
        while not site.probe.made:
            time.sleep(0.01)
        files = site.client.app.state.surface.files
        files.digest = "read anew"
        site.probe.until.set()
        tag = early.result().headers["ETag"]
    found = site.client.get("/probe", If_None_Match=tag)
    assert (found.status, found.headers["ETag"] == tag, site.probe.made) == (200, False, 2)


def test_a_problem_is_told_and_not_kept(site: Site) -> None:
    site.probe.problem = Problem(404, detail="There is no such thing.")
    page = site.client.get("/probe")
    assert (page.status, page.headers["Cache-Control"]) == (404, "no-store")
    assert b"There is no such thing." in page.data
    site.probe.problem = None
    assert site.client.get("/probe").data == b"[(2, 1)]"


def test_an_error_shows_nothing_of_itself(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.probe.problem = ValueError("the-inside")  # type: ignore[assignment]
    page = site.client.get("/probe")
    assert page.status == 500
    assert b"the-inside" not in page.data
    assert b"Traceback" not in page.data
    assert "the-inside" in caplog.text


def test_what_nobody_waits_for_any_more_reads_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpi_assets.surface.answer.PATIENCE", 0.5)
    read, ended = [], threading.Event()

    def make(reading: Reading) -> Body:
        site.probe.until.wait(10)
        try:
            read.append(reading.of(site.probe.pipeline))
        finally:
            ended.set()
        return Body(b"")

    site.probe.make = make  # type: ignore[method-assign]
    site.probe.until.clear()
    found = site.client.get("/probe")
    assert (found.status, b"It took too long" in found.data) == (503, True)
    site.probe.until.set()
    assert ended.wait(10)
    assert read == []


def test_a_pipeline_without_a_database_breaks_nothing(site: Site, lab: PipelineHarness) -> None:
    site.lab.in_postgres(f'drop database "{lab.name}" with (force)')
    found = site.client.get("/probe")
    assert (found.status, b"does not exist yet" in found.data) == (503, True)
    assert site.client.json("/api/v1/version")["pipelines"] == {}


def test_sessions_read_only_and_as_kpi_reader(site: Site) -> None:
    seen: list[object] = []

    def make(reading: Reading) -> Body:
        query = (
            "select current_user::text, current_setting('transaction_read_only'), current_setting('TimeZone'), "
            "current_setting('statement_timeout'), current_setting('jit'), current_setting('transaction_isolation')"
        )
        seen.extend(reading.of(site.probe.pipeline).execute(query).fetchall()[0])
        return Body(b"")

    site.probe.make = make  # type: ignore[method-assign]
    assert site.client.get("/probe").status == 200
    assert seen == ["kpi_reader", "on", "UTC", "10s", "off", "repeatable read"]
