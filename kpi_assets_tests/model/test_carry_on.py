"""A SELECT that reads its own load_date before: what it may read, what is refused, and what follows for its table."""

from pathlib import Path

import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import MART, YAML, Tree

PATH, ITSELF = Path("sql/shop/marts/me.sql"), Relation("marts", "me")
DAY, BEFORE = "load_date = %(load_date)s", "load_date = %(previous_load_date)s"
WINDOW = "load_date between %(window_start)s and %(load_date)s"
MINE = f"(select a, load_date from marts.me where {BEFORE}) as mine"


def parsed(sql: str, *, lookback: bool = False) -> Query:
    return parse_query(sql, PATH, lookback=lookback, itself=ITSELF)


CARRIES_ON = {
    "alone": f"select a from marts.me where {BEFORE}",
    "a union": f"select a from marts.me where {BEFORE} union all select a from raw.t where {DAY}",
    "a cast": "select a from marts.me where load_date = %(previous_load_date)s::date",
    "a join": f"select t.a from raw.t left join marts.me as m on t.a = m.a and m.{BEFORE} where t.{DAY}",
    "a full join": f"select a from (select a from raw.t where {DAY}) as t full join {MINE} using (a)",
    "not in": f"select a from raw.t where {DAY} and a not in (select a from marts.me where {BEFORE})",
    "twice": f"select x.a from marts.me as x join marts.me as y on x.a = y.a where x.{BEFORE} and y.{BEFORE}",
    "itself by itself": f"select x.a from marts.me as x join marts.me as y using (load_date) where x.{BEFORE}",
    "a join of others": f"select a from raw.t join raw.u using (load_date, a) where t.{DAY} union all "
    f"select a from marts.me where {BEFORE}",
    "its value": f"select a, %(previous_load_date)s::date as since from marts.me where {BEFORE}",
}


@pytest.mark.parametrize("sql", CARRIES_ON.values(), ids=CARRIES_ON)
def test_a_select_that_reads_its_own_load_date_before_carries_on(sql: str) -> None:
    query = parsed(sql)
    assert query.itself == ITSELF
    assert ITSELF in query.reads
    assert ITSELF not in query.mentions, "it is no table that must be published first"
    assert ITSELF not in query.load_date_reads
    assert query.projection is None
    assert query.pushdown_targets("a") == [], "it is built whole"


def test_other_tables_may_be_read_over_a_window() -> None:
    query = parsed(f"select a from marts.me where {BEFORE} union all select a from raw.t where {WINDOW}", lookback=True)
    assert query.window_reads == {Relation("raw", "t")}
    assert query.load_date_reads == set()


ITSELF_WRONG = "reads marts.me, which is itself: it can only read its rows of the load_date before, by `load_date = "
OTHER_WRONG = (
    "raw.t is limited to %(previous_load_date)s, which is a load_date of marts.me alone: limit it by `load_dat"
)
UNTIED = "raw.t is read for all load_dates at once: limit it by `load_date = %(load_date)s`"
REFUSED = {
    "its own load_date": (f"select a from marts.me where {DAY}", ITSELF_WRONG),
    "all its load_dates": ("select a from marts.me", ITSELF_WRONG),
    "an earlier one": ("select a from marts.me where load_date < %(previous_load_date)s", ITSELF_WRONG),
    "both": (f"select a from marts.me where {BEFORE} and {DAY}", ITSELF_WRONG),
    "or": (f"select a from marts.me where {BEFORE} or a = 1", ITSELF_WRONG),
    "one of two": (f"select x.a from marts.me as x join marts.me as y using (a) where x.{BEFORE}", ITSELF_WRONG),
    "what a left join keeps": (
        f"select m.a from marts.me as m left join raw.t on m.{BEFORE} and t.{DAY}",
        ITSELF_WRONG,
    ),
    "its window": (f"select a from marts.me where {WINDOW}", ITSELF_WRONG),
    "by another table": (f"select m.a from marts.me as m join raw.t using (load_date) where t.{DAY}", ITSELF_WRONG),
    "another table": (f"select a from raw.t where {BEFORE}", OTHER_WRONG),
    "another table by itself": (
        f"select m.a from marts.me as m join raw.t using (load_date) where m.{BEFORE}",
        OTHER_WRONG,
    ),
    "another table by its CTE": (f"select a from {MINE} join raw.t using (load_date, a)", UNTIED),
    "another table by an outer query": (
        f"select a from marts.me as m where m.{BEFORE} and a in (select a from raw.t where t.load_date = m.load_date)",
        UNTIED,
    ),
    "another table by a CTE of a third": (
        f"with c as (select a, load_date from raw.u where {DAY}) select a from c join raw.t using (load_date, a) "
        f"where a in (select a from marts.me where {BEFORE})",
        UNTIED,
    ),
    "the parameter alone": (
        f"select a, %(previous_load_date)s::date as since from raw.t where {DAY}",
        "%(previous_load_date)s is a load_date of marts.me, which the SELECT does not read: read it by `load_date =",
    ),
    "a column with its schema": (
        f"select marts.me.a from marts.me where {BEFORE}",
        "write marts.me.a as me.a: a subquery is read in the place of its table",
    ),
    "a parameter written wrongly": (
        "select a from marts.me where load_date = %(previous_date)s",
        "unknown parameter %(previous_date)s: known is %(load_date)s and %(previous_load_date)s",
    ),
}


@pytest.mark.parametrize(("sql", "error"), REFUSED.values(), ids=REFUSED)
def test_other_ways_to_read_itself_or_its_load_date_before_are_refused(sql: str, error: str) -> None:
    with pytest.raises(ModelError) as refused:
        parsed(sql, lookback="window_start" in sql)
    assert [str(each).partition(":1: ")[2][: len(error)] for each in refused.value.each] == [error]


def test_a_check_has_no_load_date_before() -> None:
    with pytest.raises(
        ModelError, match=r":1: %\(previous_load_date\)s is for the SELECT of a table, not for its checks"
    ):
        parse_query(f"select 1 from marts.me where {BEFORE}", PATH)


# ---- the table in its tree

UNION = MART.replace(
    "    thing_id,\n    name\nfrom raw.things\nwhere load_date = %(load_date)s\n",
    "    thing_id,\n    name\nfrom marts.sold\nwhere load_date = %(previous_load_date)s\nunion all\n"
    "select\n    thing_id,\n    name\nfrom raw.things\nwhere load_date = %(load_date)s\n",
)


def test_a_table_that_carries_on_is_no_circle_and_is_due_with_what_it_reads(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", UNION)
    shop = tree.load()
    table = shop.table("marts.sold")
    assert (table.carries_on, shop.table("raw.things").carries_on) == (True, False)
    assert table.reads == (Relation("raw", "things"),)
    assert table.load_date_reads == {Relation("raw", "things")}
    assert shop.calendars[table.relation] == shop.calendars[Relation("raw", "things")]
    assert shop.lineage(table) == {
        "thing_id": [(Relation("raw", "things"), "thing_id")],
        "name": [(Relation("raw", "things"), "name")],
    }


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "min_rows: {at_least: 2}",
            "foreign_key: {name: marts.sold.name}",
            ":9: reads marts.sold, which is itself: a check",
        ),
        (
            "name\nfrom marts",
            "price as name\nfrom marts",
            ":13: reads the column 'price' of marts.sold, which has no such",
        ),
        ("grain:", "storage: view\ngrain:", ":9: checks: a view shows what its table shows"),
    ],
)
def test_what_is_wrong_with_a_table_that_carries_on_is_said(tree: Tree, old: str, new: str, error: str) -> None:
    assert UNION.count(old) == 1
    tree.write("shop/marts/sold.sql", UNION.replace(old, new))
    assert tree.error().startswith(f"marts/sold.sql{error}")


def test_a_view_cannot_carry_on(tree: Tree) -> None:
    view = UNION.replace("grain:", "storage: view\ngrain:").replace("checks:\n  min_rows: {at_least: 2}\n", "")
    tree.write("shop/marts/sold.sql", view[: view.index("union all")])
    assert tree.error().startswith("marts/sold.sql:1: storage: view is for a SELECT of one table's columns as they are")


def test_a_floating_point_sum_over_its_own_rows_is_refused(tree: Tree) -> None:
    text = UNION.replace("name: {type: text", "name: {type: real").replace(
        "    name\nfrom marts", "    sum(name) as name\nfrom marts"
    )
    tree.write(
        "shop/marts/sold.sql", text.replace("(previous_load_date)s\n", "(previous_load_date)s\ngroup by thing_id\n")
    )
    assert tree.error().startswith("marts/sold.sql:13: sum(name) adds up floating-point numbers")


def test_only_tables_that_carry_on_have_a_retention_of_their_own(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", UNION)
    tree.write("shop/pipeline.yaml", YAML + "retention:\n  raw: 400\n  marts.sold: 90\n")
    shop = tree.load()
    assert {str(name): shop.retention_days(table) for name, table in shop.tables.items()} == {
        "raw.things": 400,
        "marts.sold": 90,
    }
    tree.write("shop/marts/sold.sql", MART)
    assert tree.error() == (
        "pipeline.yaml:8: retention.marts.sold: the table reads no rows of its own by %(previous_load_date)s: name "
        "tables that carry on, or a schema of raw or staging"
    )
    tree.write("shop/pipeline.yaml", YAML + "retention: {marts.sole: 90}\n")
    assert tree.error().startswith(
        "pipeline.yaml:6: retention.marts.sole: the table has no file here: name tables that "
    )
    tree.write("shop/pipeline.yaml", YAML + "retention: {marts.so.ld: 90}\n")
    assert tree.error().startswith("pipeline.yaml:6: retention.marts.so.ld: 'so.ld' is not a valid name")


def test_a_table_that_carries_on_is_kept_as_long_as_others_look_back_on_it(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", UNION)
    recent = MART.replace("grain:", "lookback: {days: 28, rows: all}\ngrain:").replace("raw.things", "marts.sold")
    between = "load_date between %(window_start)s and %(load_date)s"
    tree.write("shop/marts/recent.sql", recent.replace("load_date = %(load_date)s", between))
    tree.write("shop/pipeline.yaml", YAML + "retention: {marts.sold: 27}\n")
    assert tree.error().startswith(
        "marts/recent.sql:1: lookback reads 28 calendar days of marts.sold, of which retention "
    )
