"""Fixtures of tables on the lake: they are built in Postgres, so that no engine is needed to try a file."""

from pathlib import Path

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.run import run_cases
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets_tests.lake import instacart
from kpi_assets_tests.sql.cases import all_cases


def test_the_fixtures_of_instacart_pass_without_an_engine(stack: Stack, tmp_path: Path) -> None:
    instacart.write(tmp_path).rename(tmp_path / "instacart")
    pipelines = load_pipelines(tmp_path)
    config = settings()
    assert config.postgres_url is not None
    of_tables = [case for case in all_cases() if case.pipeline == "instacart" and not case.question]
    first = {case.table: case for case in of_tables}
    assert first.keys() == {*map(str, pipelines["instacart"].tables)}
    ran = [*run_cases(pipelines, [*first.values()], config.postgres_url, client(config))]
    assert [(case.id, found) for case, found in ran if found] == []
    assert len(ran) == 14


def test_only_headers_differ_from_the_shipped_files(tmp_path: Path) -> None:
    files = instacart.write(tmp_path)
    for path in sorted(files.glob("*/*.sql")):
        there = (instacart.SHIPPED / path.relative_to(files)).read_text()
        assert path.read_text().partition("@end")[2] == there.partition("@end")[2], path
    pipeline = load_pipelines(tmp_path)["files"]
    assert len(pipeline.lake_tables) == 11
