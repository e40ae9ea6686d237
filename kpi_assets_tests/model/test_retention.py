"""Retention: how long the rows of a table are kept, and tables whose rows must not be dropped."""

import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import Tree

VIEW = """\
/* @asset
description: Things.
owner: team:tests
grain: [thing_id]
storage: view
columns:
  thing_id: {type: integer, description: Thing.}
@end */
select thing_id from raw.things where load_date = %(load_date)s
"""


def retaining(tree: Tree, words: str) -> Pipeline:
    path = tree.root / "shop/pipeline.yaml"
    path.write_text(path.read_text() + f"retention: {words}\n")
    return tree.load()


def test_only_raw_and_staging_are_dropped_and_views_are_kept_as_long_as_their_tables(tree: Tree) -> None:
    shop = tree.load()
    assert [shop.retention_days(table) for table in shop.tables.values()] == [None, None], (
        "without the word retention, nothing is dropped"
    )
    shop = retaining(tree, "{raw: 400}")
    assert {str(name): shop.retention_days(table) for name, table in shop.tables.items()} == {
        "raw.things": 400,
        "marts.sold": None,
    }


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("{marts: 400}", "retention.marts: only raw and staging are dropped (raw): marts stay"),
        ("{nope: 400}", "retention.nope: only raw and staging are dropped (raw): marts stay"),
        ("{raw: 0}", "retention.raw: 0 is too small: write 1 or more"),
    ],
)
def test_retention_of_other_layers_or_days_is_refused(tree: Tree, words: str, error: str) -> None:
    with pytest.raises(ModelError) as caught:
        retaining(tree, words)
    assert str(caught.value).endswith(f": {error}")


def test_a_mart_that_is_a_view_of_dropped_rows_is_refused(tree: Tree) -> None:
    tree.write("shop/marts/shown.sql", VIEW)
    assert [str(view) for view in tree.load().views_of(Relation("raw", "things"))] == ["marts.shown"]
    with pytest.raises(ModelError, match=r"shown\.sql:1: storage: view shows raw\.things, whose rows retention drops"):
        retaining(tree, "{raw: 400}")


def test_a_lookback_longer_than_the_retention_is_refused(tree: Tree) -> None:
    window = "between %(window_start)s and %(load_date)s"
    recent = VIEW.replace("storage: view", "lookback: {days: 28, rows: all}").replace("= %(load_date)s", window)
    tree.write("shop/marts/recent.sql", recent)
    with pytest.raises(
        ModelError, match=r"lookback reads 28 calendar days of raw\.things, of which retention keeps 27 "
    ):
        retaining(tree, "{raw: 27}")
    path = tree.root / "shop/pipeline.yaml"
    path.write_text(path.read_text().replace("{raw: 27}", "{raw: 28}"))
    assert tree.load().retention_days(tree.load().tables[Relation("raw", "things")]) == 28
