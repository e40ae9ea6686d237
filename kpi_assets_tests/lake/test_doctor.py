"""The doctor examines a real engine: what it has, and what it lacks."""

from pathlib import Path

import pytest

from kpi_assets.doctor import spark as examined
from kpi_assets.lake.session import Engine
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings
from kpi_assets_tests.lake.server import CATALOG, LakeServer
from kpi_assets_tests.model.conftest import RAW, YAML

pytestmark = [pytest.mark.nightly, pytest.mark.server]


def test_each_thing_is_one_sentence(server: LakeServer, tmp_path: Path) -> None:
    root = tmp_path / "sql"
    for name, catalog in (("shop", CATALOG), ("other", "nowhere")):
        (root / name / "raw").mkdir(parents=True)
        (root / name / "pipeline.yaml").write_text(f"{YAML}lake: {{engine: spark, catalog: {catalog}}}\n")
        (root / name / "raw/things.sql").write_text(RAW.replace("grain:", "storage: lake\ngrain:", 1))
    pipelines = load_pipelines(root)
    config = Settings(home=tmp_path, spark_url=server.url, spark_token=server.token)
    place = server.url.get_secret_value().removeprefix("sc://")
    found = {each.subject: (each.state, each.text) for each in examined.spark(config, [*pipelines.values()])}
    state, said = found.pop("catalog nowhere")
    assert state == "broken"
    assert said.startswith(f"The engine at {place} refused a statement: ")
    assert said.endswith("The cluster needs spark.sql.catalog.nowhere, or `lake` of other another name.")
    state, said = found.pop(f"catalog {CATALOG}")
    assert (state, said[:24]) == ("ok", "it can be read, and has "), said
    assert found == {
        "Spark": ("ok", f"{place} answers: Spark 4.0.5"),
        "login of Spark": ("ok", "it opens no session without the token"),
        "address of Spark": ("ok", "it listens for this machine only"),
        "session of Spark": ("ok", "it has ANSI mode and the time zone UTC"),
        "clock of Spark": ("ok", "its clock and ours are less than 10 s apart"),
    }


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    root = tmp_path / "sql/shop"
    (root / "raw").mkdir(parents=True)
    (root / "pipeline.yaml").write_text(f"{YAML}lake: {{engine: spark, catalog: k}}\n")
    (root / "raw/things.sql").write_text(RAW.replace("grain:", "storage: lake\ngrain:", 1))
    config = Settings(home=tmp_path, spark_url="sc://localhost:1")  # type: ignore[arg-type]
    assert config.spark_url is not None
    [finding] = examined.spark(
        config, [*load_pipelines(root.parent).values()], lambda *_: Engine.connect(config.spark_url, timeout=2.0)
    )
    assert finding.state == "broken"
    assert finding.text.startswith("The engine at localhost:1 did not answer within 2 seconds")
