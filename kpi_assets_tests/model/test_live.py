"""What the file of a live view may say and read."""

import pytest

from kpi_assets.model.names import Relation
from kpi_assets_tests.model.conftest import MART, Tree

LIVE = """\
/* @asset
description: Builds.
owner: team:tests
grain: [id]
storage: live
columns:
  id: {type: bigint, description: Number of the build.}
  load_date: {type: date, description: Its load_date.}
@end */
select id, load_date
from ops.pipeline_runs
where job like '%%.%%'
"""
BUILDS = Relation("marts", "builds")


def test_a_live_view_is_no_table(tree: Tree) -> None:
    tree.write("shop/marts/a.sql", LIVE.replace("ops.pipeline_runs\nwhere job like '%%.%%'", "marts.builds"))
    tree.write("shop/marts/builds.sql", LIVE)
    pipeline = tree.load()
    assert list(pipeline.live) == [BUILDS, Relation("marts", "a")], "each after those that it reads"
    assert list(map(str, pipeline.tables)) == ["raw.things", "marts.sold"]
    assert pipeline.live[BUILDS].checks == ()
    assert pipeline.live[BUILDS].columns == ["id", "load_date"], "its own column, not that of a partition"


@pytest.mark.parametrize(
    "word",
    [
        "checks: {not_null: [id]}",
        "lookback: {days: 7, rows: all}",
        "versions: latest",
        "kpi: {chart: {x: id, y: id}}",
        "freshness: {within_hours: 1}",
        "quarantine: {rows: 1}",
        "time_limit: {minutes: 30}",
        "rollback: {keep: 2}",
        "source: {object: 'raw/{load_date}.csv', format: csv}",
    ],
)
def test_words_of_tables_are_refused(tree: Tree, word: str) -> None:
    tree.write("shop/marts/builds.sql", LIVE.replace("storage: live\n", f"storage: live\n{word}\n"))
    name = word.partition(":")[0]
    said = f"marts/builds.sql:6: {name}: is for tables with load_dates, and storage: live has none: take it out"
    assert tree.error() == said


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            "select id, load_date from raw.things",
            "reads raw.things, and storage: live reads only ops and other live views: read these, or take the word out",
        ),
        (
            "select id, load_date from nowhere.at_all",
            "reads nowhere.at_all, and storage: live reads only ops and other live views: read these, or take the word "
            "out",
        ),
        ("select id, load_date from marts.builds", "reads marts.builds, which is itself: let it read something else"),
        (
            "select id, load_date from pg_catalog.pg_authid",
            "reads pg_catalog.pg_authid, and storage: live reads only ops and other live views: read these, or take "
            "the word out",
        ),
        (
            "select id, load_date from ops.pipeline_runs where load_date = %(load_date)s",
            "%(load_date)s has no value in a live view, which has no load_date: take it out",
        ),
        ("select id, load_date from pipeline_runs", "the table 'pipeline_runs' must be written as schema.table"),
        (
            "select id, to_jsonb(r) ->> 'error_message' as load_date from ops.pipeline_runs as r",
            "r is a whole row, which may have columns that readers may not see: name the columns that are shown",
        ),
        (
            "select id, to_jsonb(r.*) ->> 'error_message' as load_date from ops.pipeline_runs as r",
            "r.* is a whole row, which may have columns that readers may not see: name the columns that are shown",
        ),
    ],
)
def test_what_a_live_view_reads(tree: Tree, select: str, said: str) -> None:
    tree.write("shop/marts/builds.sql", LIVE.partition("select")[0] + select)
    assert tree.error() == f"marts/builds.sql:10: {said}"


def test_relations_of_ops_that_readers_may_not_read_are_refused(tree: Tree) -> None:
    tree.write("shop/marts/builds.sql", LIVE.replace("ops.pipeline_runs", "ops.locks"))
    assert tree.error().startswith(
        "marts/builds.sql:11: reads ops.locks, which readers may not read: read ops.alert_del"
    )


def test_no_table_reads_a_live_view(tree: Tree) -> None:
    tree.write("shop/marts/builds.sql", LIVE)
    tree.write("shop/marts/sold.sql", MART.replace("raw.things", "marts.builds"))
    assert (
        "marts/sold.sql:14: reads marts.builds, which is live and has no load_dates: only live views can read it"
        in (tree.error())
    )


def test_live_views_that_read_each_other_are_refused(tree: Tree) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        tree.write(
            f"shop/marts/{name}.sql", LIVE.replace("ops.pipeline_runs\nwhere job like '%%.%%'", f"marts.{other}")
        )
    assert "the tables read each other in a circle: " in tree.error()


def test_a_header_that_cannot_be_read_hides_no_more_than_itself(tree: Tree) -> None:
    tree.write("shop/marts/builds.sql", LIVE.replace("owner: team:tests\n", ""))
    assert tree.error() == "marts/builds.sql:2: 'owner' is missing: add it, as in `owner: team:analytics`"
