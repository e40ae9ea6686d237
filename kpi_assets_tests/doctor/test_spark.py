"""The doctor examines the engine of tables on the lake: one sentence each for what works and for what does not."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.doctor import spark as examined
from kpi_assets.doctor.finding import Finding
from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import Settings
from kpi_assets_tests.model.conftest import RAW, YAML

NEAR, FAR = "sc://localhost:15002", "sc://spark.example.com:443/;use_ssl=true"
EXTENSION = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
TOKEN = "a-token-of-tests"


@dataclass
class FakeSession:
    """A session that answers what a server would."""

    version: str = "4.0.5"
    conf: Mapping[str, str] = field(default_factory=dict)
    catalogs: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"kpi": ["shop_raw", "shop_marts"]})
    closed: bool = False

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        known = {
            "spark.sql.ansi.enabled": "true",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.extensions": EXTENSION,
        }
        if statement.startswith("set "):
            return [(statement[4:], {**known, **self.conf}[statement[4:]])]
        if statement.startswith("show namespaces in "):
            name = statement.split("`")[1]
            if name not in self.catalogs:
                raise UserError(f"The engine at localhost:15002 refused a statement: no catalog {name}.")
            return [(each,) for each in self.catalogs[name]]
        assert statement == "select unix_micros(current_timestamp()) as now"
        return [(int(datetime.now(timezone.utc).timestamp() * 1e6),)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    root = tmp_path / "sql/shop"
    (root / "raw").mkdir(parents=True)
    (root / "pipeline.yaml").write_text(YAML + "lake: {engine: spark, catalog: kpi}\n")
    (root / "raw/things.sql").write_text(RAW.replace("grain:", "storage: lake\ngrain:", 1))
    return load_pipelines(root.parent)["shop"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has no address but those of loopback, unless a test says otherwise."""
    monkeypatch.setattr(examined, "own_addresses", list)


def config(tmp_path: Path, url: str | None = NEAR, **more: object) -> Settings:
    return Settings(home=tmp_path, spark_url=url, **more)  # type: ignore[arg-type]


def findings(config: Settings, pipeline: Pipeline, session: FakeSession, *, asks: bool = True) -> list[Finding]:
    """Return what is found of a server that has this session, and asks for a token or not."""

    def connect(_: Settings, with_token: bool) -> FakeSession:
        if asks and not with_token:
            raise UserError("The engine refused the login.")
        return session

    return [*examined.spark(config, [pipeline], connect)]


def texts(found: Sequence[Finding], state: str) -> dict[str, str]:
    return {each.subject: each.text for each in found if each.state == state}


def test_a_pipeline_without_a_lake_is_not_asked_about(tmp_path: Path, pipeline: Pipeline) -> None:
    (pipeline.path / "raw/things.sql").write_text(RAW)
    without = load_pipelines(pipeline.path.parent)["shop"]
    assert [*examined.spark(config(tmp_path), [without], lambda *_: pytest.fail("connected"))] == []


def test_without_an_address_it_says_what_to_set(tmp_path: Path, pipeline: Pipeline) -> None:
    [found] = examined.spark(config(tmp_path, None), [pipeline])
    assert (found.state, found.subject) == ("broken", "Spark")
    assert found.text.endswith("no table of shop on the lake can be built: set KPI_SPARK_URL to sc://host:port")


def test_an_engine_that_does_not_answer_the_second_time_proves_nothing(tmp_path: Path, pipeline: Pipeline) -> None:
    def connect(_: Settings, with_token: bool) -> FakeSession:
        if not with_token:
            raise UserError("The engine at localhost:15002 did not answer within 30 seconds.", transient=True)
        return FakeSession()

    found = [*examined.spark(config(tmp_path, spark_token=TOKEN), [pipeline], connect)]
    assert texts(found, "advice")["login of Spark"] == (
        "whether it asks for the token is not known: The engine at localhost:15002 did not answer within 30 seconds."
    )


def test_all_that_is_as_it_must_be_is_said(tmp_path: Path, pipeline: Pipeline) -> None:
    session = FakeSession()
    found = findings(config(tmp_path, spark_token=TOKEN), pipeline, session)
    assert [(each.state, each.subject, each.text) for each in found] == [
        ("ok", "Spark", "localhost:15002 answers: Spark 4.0.5"),
        ("ok", "login of Spark", "it opens no session without the token"),
        ("ok", "address of Spark", "it listens for this machine only"),
        ("ok", "session of Spark", "it has ANSI mode and the time zone UTC"),
        ("ok", "clock of Spark", "its clock and ours are less than 10 s apart"),
        ("ok", "catalog kpi", "it can be read, and has 2 namespaces"),
    ]
    assert session.closed


def test_a_server_that_does_not_answer_is_broken_with_its_sentence(tmp_path: Path, pipeline: Pipeline) -> None:
    def connect(*_: object) -> FakeSession:
        raise UserError("The engine at localhost:15002 did not answer within 30 seconds.")

    [found] = examined.spark(config(tmp_path), [pipeline], connect)
    assert (found.state, found.text) == ("broken", "The engine at localhost:15002 did not answer within 30 seconds.")


@pytest.mark.parametrize(
    ("url", "token", "who", "what"),
    [
        (NEAR, None, "Whoever has a login on this machine", "token of the server and KPI_SPARK_TOKEN"),
        (NEAR, TOKEN, "Whoever has a login on this machine", "token of the server"),
        (FAR, TOKEN, "Whoever reaches the port", "token of the server"),
    ],
)
def test_a_server_that_asks_for_no_token_gets_advice(
    tmp_path: Path, pipeline: Pipeline, url: str, token: str | None, who: str, what: str
) -> None:
    found = findings(config(tmp_path, url, spark_token=token), pipeline, FakeSession(), asks=False)
    said = texts(found, "advice")["login of Spark"]
    assert said.startswith(f"it asks for no token. {who} can read and write")
    assert said.endswith(what)


def test_a_server_of_this_machine_that_others_reach_is_broken(
    tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(examined, "own_addresses", lambda: ["127.0.0.1", "127.0.0.2"])
        found = findings(config(tmp_path, f"sc://localhost:{port}"), pipeline, FakeSession())
        assert texts(found, "broken") == {
            "address of Spark": "it also listens on 127.0.0.1, where other machines may reach it: set "
            "spark.connect.grpc.binding.address to 127.0.0.1"
        }


def test_the_addresses_of_this_machine_are_none_of_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not [each for each in examined.own_addresses() if each.startswith(("127.", "::1", "fe80:"))]


def test_tls_is_said_and_its_lack_is_advice(tmp_path: Path, pipeline: Pipeline) -> None:
    found = findings(config(tmp_path, FAR, spark_token=TOKEN), pipeline, FakeSession())
    assert texts(found, "ok")["TLS of Spark"] == "the connection is encrypted"
    plain = config(tmp_path, "sc://10.0.0.5", spark_plain_text=True)
    found = findings(plain, pipeline, FakeSession(), asks=False)
    assert texts(found, "advice")["TLS of Spark"].startswith("rows and statements cross the network in the clear")
    assert "address of Spark" not in {each.subject for each in found}


@pytest.mark.parametrize(
    ("session", "subject", "said"),
    [
        (
            FakeSession(version="3.5.9"),
            "Spark",
            "localhost:15002 is Spark 3.5.9, and SQL is translated for Spark 4: use one of 4.x",
        ),
        (
            FakeSession(conf={"spark.sql.ansi.enabled": "false"}),
            "session of Spark",
            "it has spark.sql.ansi.enabled = false, and needs ANSI mode: let sessions set it",
        ),
        (
            FakeSession(conf={"spark.sql.session.timeZone": "Europe/Berlin"}),
            "session of Spark",
            "it has spark.sql.session.timeZone = Europe/Berlin, and needs the time zone UTC: let sessions set it",
        ),
        (
            FakeSession(conf={"spark.sql.extensions": "<undefined>"}),
            "session of Spark",
            "Iceberg's extension is missing, which knows branches and tags: add "
            f"{EXTENSION} to spark.sql.extensions of the cluster",
        ),
        (
            FakeSession(catalogs={"other": []}),
            "catalog kpi",
            "The engine at localhost:15002 refused a statement: no catalog kpi. The cluster needs "
            "spark.sql.catalog.kpi, or `lake` of shop another name.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence_with_what_to_do(
    tmp_path: Path, pipeline: Pipeline, session: FakeSession, subject: str, said: str
) -> None:
    found = findings(config(tmp_path, spark_token=TOKEN), pipeline, session)
    assert texts(found, "broken") == {subject: said}
