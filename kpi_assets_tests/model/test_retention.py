"""What retention may drop: how long the rows of a table are kept, and what must not lose any."""

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


def test_only_raw_and_staging_are_dropped_and_views_go_with_what_they_show(tree: Tree) -> None:
    shop = tree.load()
    assert [shop.retention_days(table) for table in shop.tables.values()] == [None, None], (
        "nothing is, where nobody asks"
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
def test_what_cannot_be_dropped(tree: Tree, words: str, error: str) -> None:
    with pytest.raises(ModelError) as caught:
        retaining(tree, words)
    assert str(caught.value).endswith(f": {error}")


def test_a_mart_that_shows_what_is_dropped_would_lose_its_rows(tree: Tree) -> None:
    tree.write("shop/marts/shown.sql", VIEW)
    assert [str(view) for view in tree.load().views_of(Relation("raw", "things"))] == ["marts.shown"]
    with pytest.raises(ModelError, match=r"shown\.sql:1: storage: view shows raw\.things, whose rows retention drops"):
        retaining(tree, "{raw: 400}")


def test_no_window_reaches_back_on_what_is_dropped(tree: Tree) -> None:
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
