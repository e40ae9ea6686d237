"""The addresses for those who run `kpi serve`, and files that change while it runs."""

from collections.abc import Iterator

import pytest

from kpi_assets.settings import settings
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.pipeline_harness import GOOD, RAW_THINGS, PipelineHarness
from kpi_assets_tests.surface.server import Client, serving


@pytest.fixture
def client(lab: PipelineHarness) -> Iterator[Client]:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    with serving(settings().model_copy(update={"sql_dir": lab.root})) as opened:
        yield opened


def test_it_is_ready_when_the_files_are_read_and_the_databases_answer(client: Client, lab: PipelineHarness) -> None:
    assert client.json("/healthz") == {"ok": True}
    eventually(lambda: client.get("/readyz").status == 200)
    assert client.json("/readyz") == {
        "ready": True,
        "files": "read",
        "databases": {"ready": 1, "empty": 0, "away": 0},
    }
    lab.in_postgres(f'drop database "{lab.name}" with (force)')
    assert client.json("/readyz")["databases"] == {"ready": 0, "empty": 1, "away": 0}


@pytest.mark.nightly
def test_a_changed_file_is_read_and_a_broken_one_leaves_what_was_there(client: Client, lab: PipelineHarness) -> None:
    client.json("/api/v1/version")
    surface = client.app.state.surface
    before = surface.pipelines[lab.name]
    lab.file("raw/things.sql", RAW_THINGS.replace("Things as delivered.", "All things."))
    eventually(lambda: surface.pipelines[lab.name] is not before)
    [table] = surface.pipelines[lab.name].tables.values()
    assert table.header.description == "All things."
    tag = client.get("/api/v1/version").headers["ETag"]

    lab.file("raw/things.sql", RAW_THINGS.replace("description:", "descriptoin:"))
    eventually(lambda: surface.files.problem is not None)
    assert surface.files.problem == (
        f"The files of {lab.name} cannot be read: `kpi check {lab.name}` says why. "
        f"Shown as they were before: {lab.name}."
    )
    assert surface.pipelines[lab.name].tables == {table.relation: table}
    assert client.json("/readyz")["files"] == "broken"
    assert client.get("/api/v1/version").headers["ETag"] != tag

    lab.file("raw/things.sql", RAW_THINGS)
    eventually(lambda: surface.files.problem is None)


def test_it_counts_requests_by_route_and_status(client: Client) -> None:
    tag = client.get("/api/v1/version").headers["ETag"]
    client.get("/api/v1/version", If_None_Match=tag)
    client.get("/api/v1/version")
    client.get("/no/such/page")
    lines = client.get("/metrics").data.decode().splitlines()
    assert 'kpi_serve_requests_total{route="/api/v1/version",status="200"} 2' in lines
    assert 'kpi_serve_requests_total{route="/api/v1/version",status="304"} 1' in lines
    assert 'kpi_serve_requests_total{route="refused",status="404"} 1' in lines
    assert 'kpi_serve_request_seconds_count{route="/api/v1/version"} 3' in lines
    assert [line for line in lines if "answers_total{" in line] == [
        'kpi_serve_answers_total{how="kept"} 1',
        'kpi_serve_answers_total{how="made"} 1',
        'kpi_serve_answers_total{how="unchanged"} 1',
    ]
    assert "kpi_serve_in_flight 1" in lines
