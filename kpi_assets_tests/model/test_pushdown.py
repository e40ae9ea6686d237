"""Pushing a range of a returned column down into a SELECT: which of its tables may be read in part."""

from pathlib import Path

import pytest
from sqlglot import parse_one

from kpi_assets.model.query import parse_query

PATH = Path("sql/shop/marts/things.sql")
DAY = "load_date = %(load_date)s"
NARROWED = {
    "one table": (f"select k from raw.t where {DAY}", ["raw.t.k"]),
    "under another name": (f"select a as k from raw.t where {DAY}", ["raw.t.a"]),
    "by its alias": (f"select t.k from raw.t as t where t.{DAY}", ["raw.t.k"]),
    "an inner join using": (
        f"select t.k from raw.t as t join raw.u as u using (load_date, k) where t.{DAY}",
        ["raw.t.k", "raw.u.k"],
    ),
    "an inner join on": (
        f"select t.k from raw.t as t join raw.u as u on u.b = t.k and u.load_date = t.load_date where t.{DAY}",
        ["raw.t.k", "raw.u.b"],
    ),
    "a left join": (
        f"select t.k from raw.t as t left join raw.u as u on t.k = u.b and u.{DAY} where t.{DAY}",
        ["raw.t.k", "raw.u.b"],
    ),
    "a chain of joins": (
        f"select t.k from raw.t as t join raw.u as u on t.k = u.b and u.{DAY} "
        f"left join raw.v as v on u.b = v.c and v.{DAY} where t.{DAY}",
        ["raw.t.k", "raw.u.b", "raw.v.c"],
    ),
    "the key of the joined table": (
        f"select u.b as k from raw.t as t join raw.u as u on t.k = u.b and u.{DAY} where t.{DAY}",
        ["raw.t.k", "raw.u.b"],
    ),
    "a join by another column": (
        f"select t.k from raw.t as t join raw.u as u on t.a = u.a and u.{DAY} where t.{DAY}",
        ["raw.t.k"],
    ),
    "its groups": (f"select k, count(*) as n from raw.t where {DAY} group by k", ["raw.t.k"]),
    "its groups with another": (f"select k, a, sum(b) as n from raw.t where {DAY} group by a, k", ["raw.t.k"]),
    "a CTE": (
        f"with c as (select b, count(*) as n from raw.u where {DAY} group by b) "
        f"select t.k from raw.t as t left join c on t.k = c.b where t.{DAY}",
        ["raw.u.b", "raw.t.k"],
    ),
    "a subquery": (f"select k from (select a as k from raw.t where {DAY}) as q", ["raw.t.a"]),
    "letters of more than one byte before it": (f"/* é辣椒🌶 */ select 'ü' as u, k from raw.t where {DAY}", ["raw.t.k"]),
}
# With a narrowed table each of these would return other rows, or no table is known to determine the column.
WHOLE = {
    "an expression": f"select a + b as k from raw.t where {DAY}",
    "an outer join's column": (
        f"select u.b as k from raw.t as t left join raw.u as u on t.k = u.b and u.{DAY} where t.{DAY}"
    ),
    "a full join": (
        f"select t.k from (select * from raw.t where {DAY}) as t full join (select * from raw.u where {DAY}) as u "
        "on t.k = u.k"
    ),
    "a right join": (
        f"select t.k from (select * from raw.t where {DAY}) as t right join (select * from raw.u where {DAY}) as u "
        "on t.k = u.k"
    ),
    "other groups": f"select max(k) as k, a from raw.t where {DAY} group by a",
    "groups of several kinds": f"select k, count(*) as n from raw.t where {DAY} group by rollup (k)",
    "one row of all": f"select max(k) as k from raw.t where {DAY}",
    "a window over all": f"select k, row_number() over (order by k) as n from raw.t where {DAY}",
    "the first rows": f"select k from raw.t where {DAY} order by k limit 10",
    "distinct": f"select distinct on (a) k, a from raw.t where {DAY} order by a",
    "a union": f"select k from raw.t where {DAY} union all select k from raw.u where {DAY}",
    "a percent sign": f"select k from raw.t where {DAY} and a like 'x%%'",
    "a column by its schema": f"select raw.t.k from raw.t where raw.t.{DAY}",
    "a sample": f"select k from raw.t tablesample system (50) where {DAY}",
    "a table without its children": f"select k from only raw.t where {DAY}",
    "a CTE that is read twice": (
        f"with c as (select k from raw.t where {DAY}) select a.k from c as a cross join c as b"
    ),
}


def narrowed(sql: str) -> tuple[str, list[str]]:
    query = parse_query(sql, PATH)
    text, _ = query.pushed_down("k", lambda relation, column: f"(select * from {relation} where {column} < 5)")
    return text, [f"{each.table.relation}.{each.column}" for each in query.pushdown_targets("k")]


@pytest.mark.parametrize("name", NARROWED)
def test_every_table_that_determines_the_column_is_read_in_part(name: str) -> None:
    sql, tables = NARROWED[name]
    text, found = narrowed(sql)
    assert found == tables
    assert text.count(" < 5)") == len(tables)
    assert parse_one(text, read="postgres").named_selects == parse_query(sql, PATH).columns


@pytest.mark.parametrize("name", WHOLE)
def test_in_doubt_all_rows_are_read(name: str) -> None:
    assert narrowed(WHOLE[name]) == (WHOLE[name], [])


DECIDED = {
    "one table": True,
    "the key of the joined table": True,
    "its groups": True,
    "a CTE": True,
    "a subquery": True,
    "a window over all": False,
    "an expression": False,
    "a sample": False,
}


@pytest.mark.parametrize("name", DECIDED)
def test_pushed_down_tells_whether_the_result_is_restricted_to_the_range(name: str) -> None:
    sql = NARROWED[name][0] if name in NARROWED else WHOLE[name]
    assert parse_query(sql, PATH).pushed_down("k", lambda *_: "(select 1)")[1] is DECIDED[name]


def test_a_table_joined_to_the_key_is_narrowed_but_does_not_determine_it() -> None:
    """The subquery of the key has a limit, so it is read as a whole. Only the joined table is narrowed."""
    sql = (
        f"select q.k from (select k from raw.t where {DAY} order by k limit 9) as q "
        f"join raw.u as u on q.k = u.k and u.{DAY}"
    )
    query = parse_query(sql, PATH)
    assert [str(each.table.relation) for each in query.pushdown_targets("k")] == ["raw.u"]
    assert query.pushed_down("k", lambda *_: "(select 1)")[1] is False


def test_pushdown_leaves_the_rest_of_the_text_unchanged() -> None:
    text, _ = narrowed(f"select t.k -- the key\nfrom raw.t\ninner join raw.u as u using (load_date, k)\nwhere t.{DAY}")
    assert text == (
        'select t.k -- the key\nfrom (select * from raw.t where k < 5) as "t"\n'
        f"inner join (select * from raw.u where k < 5) as u using (load_date, k)\nwhere t.{DAY}"
    )
