"""A parsed SELECT: whether it is tied to one load_date, and its tables, columns, fingerprint and lineage."""

from pathlib import Path

import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import ModelError

PATH = Path("sql/shop/marts/things.sql")
DAY = "load_date = %(load_date)s"


def parsed(sql: str) -> Query:
    return parse_query(sql, PATH)


def reads(sql: str) -> list[str]:
    return [str(relation) for relation in parsed(sql).reads]


TIED = {
    "where": f"select a from raw.t where {DAY}",
    "the other way round": "select a from raw.t where %(load_date)s = load_date",
    "among other conditions": f"select a from raw.t where a > 1 and ({DAY} and b = 2)",
    "in parentheses": f"select a from raw.t where ({DAY})",
    "by its alias": f"select x.a from raw.t as x where x.{DAY}",
    "a quoted name": 'select a from raw.t where "load_date" = %(load_date)s',
    "the parameter cast": "select a from raw.t where load_date = %(load_date)s::date",
    "the parameter cast in words": "select a from raw.t where load_date = cast(%(load_date)s as date)",
    "the column cast": "select a from raw.t where load_date::date = %(load_date)s",
    "a join using": f"select a from raw.t inner join raw.u using (load_date, a) where t.{DAY}",
    "a join using, unqualified": f"select a from raw.t inner join raw.u using (load_date, a) where {DAY}",
    "a chain of joins using": (
        f"select a from raw.t join raw.u using (load_date, a) join raw.v using (load_date, a) where v.{DAY}"
    ),
    "a join on": f"select t.a from raw.t join raw.u on t.load_date = u.load_date and t.a = u.a where u.{DAY}",
    "tied in the join itself": f"select t.a from raw.t join raw.u on t.{DAY} and u.{DAY}",
    "a comma": f"select t.a from raw.t, raw.u where t.{DAY} and u.load_date = t.load_date",
    "a cross join of two tied": f"select t.a from raw.t cross join raw.u where t.{DAY} and u.{DAY}",
    "one table twice": f"select x.a from raw.t as x join raw.t as y using (load_date, a) where x.{DAY}",
    # the side that an outer join keeps must be tied in WHERE, the other side in its condition
    "a left join on": f"select t.a from raw.t left join raw.u on t.load_date = u.load_date and t.a = u.a where t.{DAY}",
    "a left join using": f"select a from raw.t left join raw.u using (load_date, a) where {DAY} and u.b is null",
    "a left join on the parameter": f"select t.a from raw.t left join raw.u on u.{DAY} and t.a = u.a where t.{DAY}",
    "a right join on": f"select u.a from raw.t right join raw.u on t.load_date = u.load_date where u.{DAY}",
    "a right join using, unqualified": f"select a from raw.t right join raw.u using (load_date, a) where {DAY}",
    "a full join using, unqualified": f"select a from raw.t full join raw.u using (load_date, a) where {DAY}",
    # CTEs and subqueries are tied where they are defined, and may tie other tables
    "a CTE": f"with c as (select a from raw.t where {DAY}) select a from c",
    "a join with a CTE": f"with c as (select a, load_date from raw.t where {DAY}) "
    "select a from c join raw.u using (load_date, a)",
    "a join on a CTE's": f"with c as (select a, load_date from raw.t where {DAY}) "
    "select c.a from c join raw.u on u.load_date = c.load_date",
    "a CTE that is left-joined": f"with c as (select a from raw.t where {DAY}) "
    f"select u.a from raw.u left join c on u.a = c.a where u.{DAY}",
    "a CTE called like a table": f"with t as (select a from raw.t where {DAY}) select a from t",
    "a subquery": f"select a from (select a from raw.t where {DAY}) as s",
    "in a list of another": f"select a from raw.t where {DAY} and a in (select a from raw.u where {DAY})",
    "a scalar subquery": f"select a, (select max(b) from raw.u where {DAY}) as b from raw.t where {DAY}",
    "exists": f"select a from raw.t where {DAY} and exists (select 1 from raw.u where u.load_date = t.load_date)",
    "exists with the parameter": f"select a from raw.t where {DAY} and not exists (select 1 from raw.u where u.{DAY})",
    "lateral": f"select t.a from raw.t cross join lateral (select u.b from raw.u where u.load_date = t.load_date) as l "
    f"where t.{DAY}",
    "union": f"select a from raw.t where {DAY} union all select a from raw.u where {DAY}",
    "a recursive CTE": f"with recursive r as (select a from raw.t where {DAY} union all select a + 1 from r) "
    "select a from r limit 9",
    "a join in a recursive CTE": f"with recursive r as (select a from raw.t where {DAY} union all "
    f"select r.a from r join raw.u on r.a = u.a where u.{DAY}) select a from r",
    "the build that is audited": "select * from {this}",
    "a join with the build": "select a from {this} as t join raw.u using (load_date, a)",
    # SELECTs without a table
    "values": "select a from (values (1), (2)) as v (a)",
    "a function in FROM": "select a from generate_series(1, 3) as g (a)",
    "a function with its schema": "select a from pg_catalog.generate_series(1, 3) as g (a)",
    "a function over a table's column": f"select x from raw.t cross join lateral unnest(t.xs) as u (x) where t.{DAY}",
    "nothing": "select 1 as a",
}


@pytest.mark.parametrize("sql", TIED.values(), ids=TIED)
def test_a_select_tied_to_one_load_date_is_accepted(sql: str) -> None:
    parsed(sql)


UNTIED = {
    "nowhere": ("select a from raw.t", "raw.t"),
    "in a comment": (f"select a from raw.t -- where {DAY}", "raw.t"),
    "or": (f"select a from raw.t where {DAY} or a = 1", "raw.t"),
    "or in parentheses": (f"select a from raw.t where ({DAY} or a = 1) and b = 2", "raw.t"),
    "in each branch of an or": (f"select a from raw.t where ({DAY} and a = 1) or ({DAY} and a = 2)", "raw.t"),
    "not": (f"select a from raw.t where not {DAY}", "raw.t"),
    "not in parentheses": (f"select a from raw.t where not (a = 1 and {DAY})", "raw.t"),
    "case": (f"select a from raw.t where case when {DAY} then true else true end", "raw.t"),
    "since": ("select a from raw.t where load_date >= %(load_date)s", "raw.t"),
    "the day before": ("select a from raw.t where load_date = %(load_date)s - 1", "raw.t"),
    "a constant": ("select a from raw.t where load_date = date '2025-01-01'", "raw.t"),
    "another column": ("select a from raw.t where delivered = %(load_date)s", "raw.t"),
    "its year": ("select a from raw.t where load_date::char(4) = %(load_date)s::char(4)", "raw.t"),
    "to itself": ("select a from raw.t where load_date = load_date", "raw.t"),
    "in a filter": (f"select count(*) filter (where {DAY}) as a from raw.t", "raw.t"),
    "having": (f"select a from raw.t group by a, load_date having {DAY}", "raw.t"),
    "a column that is called so": (f"select x.a from raw.t as x (a, load_date) where x.{DAY}", "raw.t"),
    "a join using without it": (f"select t.a from raw.t join raw.u using (a) where t.{DAY}", "raw.u"),
    "unqualified, of two": (f"select t.a from raw.t join raw.u on t.a = u.a where {DAY}", "raw.t"),
    "a natural join": (f"select t.a from raw.t natural join raw.u where t.{DAY}", "raw.u"),
    "a cross join": (f"select t.a from raw.t cross join raw.u where t.{DAY}", "raw.u"),
    "a join on one or the other": (
        f"select t.a from raw.t join raw.u on t.load_date = u.load_date or t.a = u.a where t.{DAY}",
        "raw.u",
    ),
    "one table twice, once": (f"select x.a from raw.t as x join raw.t as y using (a) where x.{DAY}", "raw.t"),
    "what a left join keeps": (f"select t.a from raw.t left join raw.u on t.{DAY} and u.{DAY}", "raw.t"),
    "what a left join keeps, by its join": (
        f"with c as (select a, load_date from raw.u where {DAY}) select a from raw.t left join c using (load_date, a)",
        "raw.t",
    ),
    "what a left join adds": (f"select t.a from raw.t left join raw.u on t.a = u.a where t.{DAY}", "raw.u"),
    "two that a left join keeps": (
        f"select x.a from raw.x join raw.y on x.a = y.a left join raw.u on x.load_date = y.load_date and "
        f"u.load_date = x.load_date where x.{DAY}",
        "raw.y",
    ),
    "what a right join keeps": (f"select u.a from raw.t right join raw.u on t.{DAY} and u.{DAY}", "raw.u"),
    "what a full join keeps": (f"select t.a from raw.t full join raw.u on t.{DAY} and u.{DAY}", "raw.t"),
    "a table joined after the condition": (
        f"with c as (select 1 as k) select s.a from c join raw.s on {DAY} full join raw.t using (load_date)",
        "raw.t",
    ),
    "through a CTE": (f"with c as (select a, load_date from raw.t) select a from c where {DAY}", "raw.t"),
    "a CTE that is not read": (f"with c as (select a from raw.t) select a from raw.u where {DAY}", "raw.t"),
    "through a subquery": (f"select a from (select a, load_date from raw.t) as s where {DAY}", "raw.t"),
    "a table called like a CTE": (f"with t as (select a from raw.t where {DAY}) select a from raw.t", "raw.t"),
    "a list of another": (f"select a from raw.t where {DAY} and a in (select a from raw.u)", "raw.u"),
    "a scalar subquery": (f"select a, (select max(b) from raw.u) as b from raw.t where {DAY}", "raw.u"),
    "exists": (f"select a from raw.t where {DAY} and exists (select 1 from raw.u where u.a = t.a)", "raw.u"),
    "the outer by the inner": (
        f"select a from raw.t where exists (select 1 from raw.u where u.{DAY} and t.load_date = u.load_date)",
        "raw.t",
    ),
    "lateral": (
        f"select t.a from raw.t cross join lateral (select u.b from raw.u where u.a = t.a) as l where t.{DAY}",
        "raw.u",
    ),
    "half a union": (f"select a from raw.t where {DAY} union all select a from raw.u", "raw.u"),
    "a join in a recursive CTE": (
        f"with recursive r as (select a from raw.t where {DAY} union all select r.a from r join raw.u using (a)) "
        "select a from r",
        "raw.u",
    ),
    "a join with the build": ("select a from {this} as t join raw.u using (a)", "raw.u"),
}


@pytest.mark.parametrize(("sql", "table"), UNTIED.values(), ids=UNTIED)
def test_a_table_read_for_all_load_dates_is_an_error(sql: str, table: str) -> None:
    with pytest.raises(ModelError, match=rf":1: {table} is read for all load_dates at once: limit it by"):
        parsed(sql)


REFUSED = {
    "no statement": ("", 1, "must be exactly one SELECT"),
    "a comment alone": ("-- nothing", 1, "must be exactly one SELECT"),
    "two statements": ("\nselect 1 as a;\nselect 2 as a", 2, "must be exactly one SELECT"),
    "a semicolon": ("select 1 as a;", 1, "without a semicolon after it"),
    "a semicolon and a comment": ("select 1 as a; -- end", 1, "without a semicolon after it"),
    "insert": ("insert into raw.t values (1)", 1, "must be exactly one SELECT"),
    "update": ("update raw.t set a = 1", 1, "must be exactly one SELECT"),
    "delete": ("delete from raw.t", 1, "must be exactly one SELECT"),
    "create": ("create table raw.x as select 1 as a", 1, "must be exactly one SELECT"),
    "drop": ("drop table raw.t", 1, "must be exactly one SELECT"),
    "copy": ("copy raw.t to stdout", 1, "must be exactly one SELECT"),
    "a delete in a CTE": (
        f"with d as (delete from raw.t where {DAY} returning a) select 1 as a",
        1,
        "exactly one SELECT",
    ),
    "select into": (f"select a into raw.x from raw.t where {DAY}", 1, "must be exactly one SELECT"),
    "a table without schema": ("select a\nfrom t", 2, "the table 't' must be written as schema.table"),
    "a table without schema, below": (f"select a from raw.t where {DAY} and a in (\nselect a\nfrom t)", 3, "table 't'"),
    "a table with a database": (f"select a\nfrom\n  db.raw.t\nwhere {DAY}", 3, "the table 'db.raw.t' must be written"),
    "an untied table": (
        f"select a\nfrom raw.t\ninner join\n  raw.u using (a)\nwhere t.{DAY}",
        4,
        "raw.u is read for all",
    ),
    "an unknown parameter": (
        "select a\nfrom raw.t\nwhere load_date = %(day)s",
        3,
        r"unknown parameter %\(day\)s: known",
    ),
    "a parameter without a name": ("select %s as a", 1, "a percent sign must be doubled"),
    "a single percent sign": ("select\n5 % 3 as a", 2, "a percent sign must be doubled"),
    "a percent sign in a text": ("select 'a\n%' as a", 2, "a percent sign must be doubled"),
    "a percent sign in a comment": ("select 1 as a -- 5 % of it", 1, "a percent sign must be doubled"),
    "two tables of one name": (f"select 1 as a from raw.t, stg.t where raw.t.{DAY}", 1, "Alias already used: t"),
    "an incomplete keyword": ("select a\nfrom raw.t\nwhere", 3, "cannot be parsed, at 'where'"),
    "a bracket that is not closed": ("select a,\n  (b\nfrom raw.t", 3, "cannot be parsed, at 'from'"),
    "one alias too many": ("select\n  a b c\nfrom raw.t", 2, "cannot be parsed, at 'c'"),
    "a quote that is not closed": ("\n\nselect 'a", 3, "a quote or comment is never closed"),
    "a comment that is not closed": ("select 1 /* a", 1, "a quote or comment is never closed"),
}


@pytest.mark.parametrize(("sql", "line", "sentence"), REFUSED.values(), ids=REFUSED)
def test_anything_but_one_plain_select_is_refused_with_its_line(sql: str, line: int, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        parsed(sql)
    assert caught.value.line == line
    with pytest.raises(ModelError) as further_down:
        parse_query(sql, PATH, 30)
    assert further_down.value.line == line + 29
    assert "\n" not in str(caught.value)


def test_names_of_ctes_are_not_read_tables() -> None:
    sql = f"""
        with u as (select a from raw.u where {DAY}), w as (select a from u)
        select t.a from marts.t as t inner join w on t.a = w.a cross join generate_series(1, 2) as g
        where t.{DAY} and t.a not in (select a from stg.v where {DAY}) and exists (select 1 from {{this}})
    """
    assert reads(sql) == ["marts.t", "raw.u", "stg.v"]
    assert parsed(sql).mentions == {Relation("marts", "t"): 3, Relation("raw", "u"): 2, Relation("stg", "v"): 4}


def test_columns_are_named_as_postgres_names_them() -> None:
    select = "a, t.b, a + 1 as c, d::text, count(*), 1, *, t.*"
    assert parsed(f"select {select} from raw.t where {DAY}").columns == ["a", "b", "c", "d", "", "", "*", "*"]
    assert parsed(f"select a as x from raw.t where {DAY} union all select b from raw.u where {DAY}").columns == ["x"]
    assert parsed("select\n  1 as a,\n  t.x\n  + 1 as b\nfrom {this} as t").line_of(1) == 3


SAME = f"select a, upper(b) as b from raw.t as x where {DAY} and b <> 'Über'"


@pytest.mark.parametrize(
    "sql",
    [
        f"-- why\nselect a, upper(b) as b /* how */ from raw.t as x where {DAY} and b <> 'Über' -- end",
        f"select\n\ta,\n\tupper(b) as b\nfrom raw.t as x\nwhere {DAY}\n\tand b <> 'Über'\n",
        f"SELECT a, UPPER(b) AS b FROM raw.t AS x WHERE {DAY} AND b <> 'Über'",
        f"select A, upper(B) as b from raw.t as X where {DAY} and b <> 'Über'",
    ],
    ids=["comments", "white space", "keywords in capitals", "names in capitals"],
)
def test_a_fingerprint_does_not_change_with_comments_space_and_case(sql: str) -> None:
    assert parsed(sql).fingerprint == parsed(SAME).fingerprint


@pytest.mark.parametrize(
    "sql",
    [
        SAME.replace("upper", "lower"),
        SAME.replace("<>", "="),
        SAME.replace("Über", "über"),
        SAME.replace("raw.t", "raw.u"),
        SAME.replace("a, upper", "upper").replace("as b", "as b, a"),
        SAME.replace("select", "select distinct"),
        SAME.replace("select a", 'select "A" as a'),
        SAME + " and a > 1",
        SAME + " limit 1",
    ],
)
def test_a_fingerprint_changes_with_the_result(sql: str) -> None:
    assert parsed(sql).fingerprint != parsed(SAME).fingerprint
    assert len(parsed(sql).fingerprint) == 16


PREDICATES = [
    ("select * from {this} where a < 0", "a < 0"),
    ("  SELECT *\nFROM {this}\nWHERE a < 0 or b is null -- why", "a < 0 or b is null -- why"),
    ("select * from {this} where a in (1, 2)", "a in (1, 2)"),
    ("select * from {this} where name like '50%%'", "name like '50%%'"),
    ("select * from {this} where name = 'group by limit 1'", "name = 'group by limit 1'"),
    ("select * from {this} where a <> trunc(a)", "a <> trunc(a)"),
]


@pytest.mark.parametrize(("sql", "predicate"), PREDICATES)
def test_a_check_of_single_rows_shares_a_scan(sql: str, predicate: str) -> None:
    assert parsed(sql).row_predicate == predicate


@pytest.mark.parametrize(
    "sql",
    [
        "select * from {this}",
        "select a from {this} where a < 0",
        "select * from {this} as t where a < 0",
        "select distinct * from {this} where a < 0",
        "select * from {this} where a < 0 order by a",
        "select * from {this} where a < 0 limit 3",
        "select * from {this} where a < 0 offset 3",
        "select * from {this} where a < 0 fetch first row only",
        "select * from {this} where a < 0 union all select * from {this} where b < 0",
        "select * from {this} where a < (select avg(a) from {this})",
        "select * from {this} where a in (select b from {this})",
        "select * from {this} where not exists (select 1 from {this} as other)",
        f"select * from {{this}} where a in (select a from raw.t where {DAY})",
        "select * from {this} where loaded > %(load_date)s",
        f"select * from raw.t where {DAY}",
        "with c as (select 1 as a) select * from {this} where a < 0",
    ],
)
def test_any_other_check_is_a_separate_query(sql: str) -> None:
    assert parsed(sql).row_predicate is None


def test_lineage_names_the_columns_that_each_column_is_computed_from() -> None:
    sql = f"""
        with baskets as (
            select order_id, count(*) as items, sum(reordered) as again
            from stg.lines as l where {DAY} group by order_id
        )
        select
            o.order_id,
            b.again::numeric / b.items as rate,
            case when o.kind = 'x' then upper(o.name) else p.name end as name,
            (select max(w.weight) from stg.weights as w where w.load_date = o.load_date) as weight,
            7 as fixed
        from stg.orders as o
        left join baskets as b on o.order_id = b.order_id
        left join stg.people as p on p.load_date = o.load_date and p.user_id = o.user_id
        where o.{DAY}
    """
    schemas = {
        Relation("stg", "orders"): ["order_id", "user_id", "kind", "name"],
        Relation("stg", "lines"): ["order_id", "reordered"],
        Relation("stg", "people"): ["user_id", "name"],
        Relation("stg", "weights"): ["weight"],
    }
    lineage = parsed(sql).lineage(schemas)
    assert {
        name: [f"{relation.table}.{column}" for relation, column in leaves] for name, leaves in lineage.items()
    } == {
        "order_id": ["orders.order_id"],
        "rate": ["lines.reordered"],
        "name": ["orders.kind", "orders.name", "people.name"],
        "weight": ["weights.weight"],
        "fixed": [],
    }


def test_lineage_follows_both_sides_of_a_union() -> None:
    sql = f"select a from raw.t where {DAY} union all select b from raw.u where {DAY}"
    assert parsed(sql).lineage({Relation("raw", "t"): ["a"], Relation("raw", "u"): ["b"]}) == {
        "a": [(Relation("raw", "t"), "a"), (Relation("raw", "u"), "b")]
    }


def test_lineage_follows_lateral_subqueries() -> None:
    inner = "select u.b, {} as c from raw.u where u.load_date = %(load_date)s and u.k = t.k"
    sql = f"select t.a, d.b, d.c from raw.t cross join lateral ({inner}) as d where t.{DAY}"
    schemas = {Relation("raw", "t"): ["a", "k"], Relation("raw", "u"): ["b", "k"]}
    u = parsed(sql.format("u.k + 1")).lineage(schemas)
    assert (u["b"], u["c"]) == ([(Relation("raw", "u"), "b")], [(Relation("raw", "u"), "k")])
    assert (Relation("raw", "t"), "k") in parsed(sql.format("t.k + 1")).lineage(schemas)["c"]


def test_lineage_leaves_out_names_that_only_postgres_can_resolve() -> None:
    sql = (
        f"with c as (select a, load_date from raw.t where {DAY}) select q.b from c left join (select 1 as b) as q "
        "using (a)"
    )
    assert parsed(sql).lineage({Relation("raw", "t"): ["a"]}) == {}


@pytest.mark.parametrize("sql", ["select a from generate_series(1, 2) as g (a)", "select a", "select a from {this}"])
def test_a_source_that_is_no_table_of_a_schema_is_not_read_in_part(sql: str) -> None:
    assert parsed(sql).pushdown_targets("a") == []
