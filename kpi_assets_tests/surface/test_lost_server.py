"""A warehouse that goes away: readers are told so, and pages come back by themselves with it."""

from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS
from kpi_assets_tests.surface.server import serving
from kpi_assets_tests.two_source_pipeline import WEIGHED

pytestmark = pytest.mark.process


def test_pages_come_back_with_the_server(tmp_path: Path) -> None:
    sql = tmp_path / "sql" / "shop"
    for name, text in {
        "pipeline.yaml": PIPELINE_YAML.format(bucket="kpi-shop"),
        "raw/things.sql": RAW_THINGS,
        "marts/weighed.sql": WEIGHED,
    }.items():
        (sql / name).parent.mkdir(parents=True, exist_ok=True)
        (sql / name).write_text(text)
    pipelines = load_pipelines(sql.parent)
    with Stack(tmp_path / "home", s3=False) as stack:
        settings = stack.add_servers_to(Settings(home=tmp_path / "home", sql_dir=sql.parent))
        assert settings.postgres_url is not None
        prepare(pipelines["shop"], settings.postgres_url)
        with serving(settings, pipelines) as client:
            before = client.get("/api/v1/version")
            assert before.status == 200
            [postgres] = [server for server in stack._servers if server.name == "postgres"]
            postgres.stop()
            for path in ("/api/v1/version", "/"):
                away = client.get(path)
                assert (away.status, away.headers["Retry-After"]) == (503, "5")
                assert b"The warehouse does not answer now." in away.data
                assert b"127.0.0.1:" not in away.data, "readers need not know where it is"
            ready = client.get("/readyz")
            assert (ready.status, ready.json()["databases"]) == (503, {"ready": 0, "empty": 0, "away": 1})
            assert client.get("/healthz").status == 200
            postgres.launch()
            postgres.await_ready()
            again = client.get("/api/v1/version", If_None_Match=before.headers["ETag"])
            assert again.status == 304
            assert client.get("/").status == 200
