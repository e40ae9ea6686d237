"""The server, the sessions and the pipeline that the tests of the lake share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.lake.session import Engine
from kpi_assets.lake.tables import LakeTable, Tables
from kpi_assets.ledger import schema
from kpi_assets.materialize import engine_session, in_lake
from kpi_assets_tests.lake.server import LakeServer, end_connections, lake_server, needed
from kpi_assets_tests.pipeline_harness import PipelineHarness


@pytest.fixture(scope="module")
def server(stack: Stack) -> Iterator[LakeServer]:
    """A Spark with Iceberg."""
    needed()
    with lake_server() as running:
        yield running


@pytest.fixture
def engine(server: LakeServer) -> Iterator[Engine]:
    """A session with it."""
    with server.connect() as connected:
        yield connected
    end_connections()


class LakeHarness(PipelineHarness):
    """A pipeline some of whose tables are on the lake."""

    engine: Engine

    def lake(self, name: str) -> LakeTable:
        """The Iceberg table of a table."""
        pipeline = self.pipeline()
        return in_lake.lake_table(pipeline, pipeline.table(name))

    def tables(self) -> Tables:
        """The tables on the lake, as the builds of the pipeline see them."""
        with self.session() as connection:
            return Tables(self.engine, schema.identity(connection))

    def main(self, name: str, columns: str = "*") -> list[tuple[object, ...]]:
        """What readers of the catalog see of a table, in order."""
        table = self.lake(name)
        self.engine.execute(f"refresh table {table.sql}")
        return sorted(self.engine.rows(f"select {columns} from {table.sql}"), key=repr)

    def refs(self, name: str) -> list[str]:
        """The branches and tags of a table besides main."""
        table = self.lake(name)
        self.engine.execute(f"refresh table {table.sql}")
        return [each.name for each in self.tables().refs(table)]


@pytest.fixture
def shop(
    stack: Stack, tmp_path: Path, server: LakeServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LakeHarness]:
    """A pipeline without files, whose builds reach the engine."""
    monkeypatch.setattr(engine_session, "connect", lambda _config, _name: server.connect())
    with LakeHarness.open(stack, tmp_path) as lab:
        assert isinstance(lab, LakeHarness)
        lab.engine = engine
        words = lab.folder / "pipeline.yaml"
        words.write_text(words.read_text() + "lake: {engine: spark, catalog: k}\n")
        yield lab
