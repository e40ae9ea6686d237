"""A raw table whose source is not an object has no s3 asset, no landing and no row accounting, and is still raw."""

from dataclasses import replace
from pathlib import Path

import pytest

from kpi_assets.assets.factory import pipeline_assets
from kpi_assets.assets.metadata import column_lineage
from kpi_assets.assets.steps import upstream_names
from kpi_assets.cli.selection import parents_of
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.header import split
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets_tests.model.conftest import Tree

THINGS = Relation("raw", "things")


@pytest.fixture
def fed(tmp_path: Path) -> Pipeline:
    """A pipeline whose raw table has another source than an object, which no header can say yet."""
    pipeline = Tree(tmp_path / "sql").load()
    table = pipeline.tables[THINGS]
    _, lines, _ = split(table.path, table.path.read_text())
    header = table.header.model_copy(update={"source": table.source.model_copy(update={"object": ""})})
    table = replace(table, header=header, checks=expand(header, table.path, lines))
    return replace(pipeline, tables={**pipeline.tables, THINGS: table})


def test_a_raw_table_without_an_object_has_no_checks_of_one(fed: Pipeline) -> None:
    table = fed.tables[THINGS]
    assert (table.header.is_raw, table.has_object, fed.object_tables) == (True, False, [])
    assert [check.name for check in table.checks] == ["grain", "min_rows"]
    assert parents_of(fed) == {"raw.things": [], "marts.sold": ["raw.things"]}
    assert upstream_names(fed, fed.tables[Relation("marts", "sold")]) == ["raw.things"]


def test_a_raw_table_without_an_object_has_no_upstream_asset(fed: Pipeline) -> None:
    specs = {spec.key.to_user_string(): spec for each in pipeline_assets(fed) for spec in each.specs}
    assert list(specs) == ["shop/raw/things", "shop/marts/sold"]
    assert (specs["shop/raw/things"].kinds, list(specs["shop/raw/things"].deps)) == ({"postgres"}, [])
    assert column_lineage(fed, fed.tables[THINGS]).deps_by_column == {}
