"""SQL that could give other rows in a replay is refused; deterministic SQL is accepted."""

from pathlib import Path

import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.query import parse_query
from kpi_assets.model.replay import check_replay
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import MART, RAW, Tree

PATH = Path("sql/shop/marts/things.sql")
DAY = "load_date = %(load_date)s"
T = {
    "k": "integer",
    "b": "bigint",
    "n": "numeric(8,2)",
    "f": "double precision",
    "r": "real",
    "s": "text",
    "d": "date",
}
TYPES = {Relation("raw", "t"): T, Relation("raw", "u"): {"k": "integer", "g": "real", "n": "numeric"}}


def check(sql: str) -> bool:
    """Return whether the type of a sum must be looked up in Postgres."""
    return check_replay(parse_query(sql, PATH), TYPES, PATH)


def of_t(expression: str, rest: str = "") -> str:
    return f"select\n{expression} as x\nfrom raw.t as t where {DAY}{rest}"


FLOAT_SUMS = {
    "sum(f)": "sum(f::numeric)",
    "avg(r)": "avg(r::numeric)",
    "sum(t.f)": "sum(t.f::numeric)",
    "sum(f + 1)": "sum((f + 1)::numeric)",
    "sum(n * -f)": "sum((n * -f)::numeric)",
    "sum(n / f)": "sum((n / f)::numeric)",
    "sum(n::float8)": "sum((CAST(n AS DOUBLE PRECISION))::numeric)",
    "avg(coalesce(r, 0))": "avg((COALESCE(r, 0))::numeric)",
    "sum(case when k > 1 then f else 0 end)": "sum((CASE WHEN k > 1 THEN f ELSE 0 END)::numeric)",
    "sum(sqrt(k))": "sum((SQRT(k))::numeric)",
    "avg(round(f))": "avg((ROUND(f))::numeric)",
    "stddev(f)": "stddev(f::numeric)",
    "stddev_pop(f)": "stddev_pop(f::numeric)",
    "var_samp(r)": "var_samp(r::numeric)",
    "variance(f)": "var_samp(f::numeric)",
    "sum(f) filter (where k > 1)": "sum(f::numeric)",
    "sum(f) over (partition by s order by k)": "sum(f::numeric)",
    "sum(f order by k)": "sum(f::numeric)",
    "pg_catalog.sum(f)": "sum(f::numeric)",
    "round(avg(f)::numeric, 2)": "avg(f::numeric)",
    "corr(n, k)": "corr(n, k order by n, k)",
    "regr_slope(f, n)": "regr_slope(f, n order by f, n)",
}


@pytest.mark.parametrize(("expression", "advice"), FLOAT_SUMS.items(), ids=FLOAT_SUMS)
def test_a_sum_of_floating_point_numbers_is_refused(expression: str, advice: str) -> None:
    with pytest.raises(ModelError) as caught:
        check(of_t(expression))
    assert caught.value.line == 2
    assert " adds up floating-point numbers, and another order of the rows gives another result: " in str(caught.value)
    assert str(caught.value).endswith(f", as in {advice}")


NESTED = {
    "a CTE": f"with c as (select f * 2 as h from raw.t where {DAY}) select sum(h) as x from c",
    "a subquery": f"select sum(q.h) as x from (select n::real as h from raw.t where {DAY}) as q",
    "a join using": f"select sum(g) as x from raw.t join raw.u using (load_date, k) where {DAY}",
    "the query around": f"select (select sum(f) from raw.u where {DAY}) as x from raw.t where {DAY}",
}


@pytest.mark.parametrize("sql", NESTED.values(), ids=NESTED)
def test_the_type_of_a_column_is_traced_to_the_header_that_declares_it(sql: str) -> None:
    with pytest.raises(ModelError, match="adds up floating-point numbers"):
        check(sql)


EXACT = [
    *("sum(n)", "avg(n)", "sum(k)", "sum(b * n)", "stddev(n)", "sum(f::numeric)", "sum(round(f::numeric, 2))"),
    *("avg((k > 1)::integer)", "sum(case when k > 1 then 1 else 0 end)", "sum(sqrt(n))", "sum(f::bigint)"),
    *("max(f)", "min(r)", "count(f)", "regr_count(f, n)", "any_value(f)", "f * 2", "bool_or(f > 1)"),
    *("sum(f order by f)", "sum(distinct f)", "corr(n, f order by n, f)", "sum(f order by k, f)"),
    *("percentile_cont(0.5) within group (order by f)", "mode() within group (order by f)"),
]


@pytest.mark.parametrize("expression", EXACT)
def test_exact_or_sorted_sums_are_accepted_without_asking_postgres(expression: str) -> None:
    assert check(of_t(expression)) is False


ONLY_POSTGRES_KNOWS = {
    "a function": of_t("sum(length(s))"),
    "a difference of dates": of_t("sum(load_date - d)"),
    "a type with its schema": of_t("sum(s::pg_catalog.float8)"),
    "a union": f"select sum(x) as x from (select f as x from raw.t where {DAY} union select 1.5) as q",
    "a scalar subquery": of_t(f"avg((select max(g) from raw.u where {DAY}))"),
    # A CTE does not see the query around it, which names the same column.
    "a CTE of all columns": f"with a as (select t.* from raw.t as t where {DAY}), "
    "b as (select s, sum(f) as f from a group by s) select s, f as x from b",
}


@pytest.mark.parametrize("sql", ONLY_POSTGRES_KNOWS.values(), ids=ONLY_POSTGRES_KNOWS)
def test_postgres_is_asked_for_types_that_no_file_declares(sql: str) -> None:
    assert check(sql) is True


LIST, PLACE = "a list of values without ORDER BY", "the position of a row in a window without ORDER BY"
CLOCK, CHANCE = "this reads the clock, so a replay gives another answer", "this gives another result each time"
UNORDERED = {
    "string_agg": (of_t("string_agg(s, ',')"), LIST),
    "array_agg": (of_t("array_agg(k)"), LIST),
    "jsonb_agg": (of_t("jsonb_agg(k) filter (where k > 1)"), LIST),
    "an array": (of_t(f"array(select k from raw.u where {DAY})"), LIST),
    "row_number": (of_t("row_number() over (partition by s)"), PLACE),
    "lag in a named window": (of_t("lag(k) over w", " window w as (partition by s)"), PLACE),
    "limit": (of_t("k", " limit 3"), "LIMIT and OFFSET without ORDER BY"),
    "fetch": (of_t("k", " fetch first 3 rows only"), "LIMIT and OFFSET without ORDER BY"),
    "offset": (of_t("k", " offset 3"), "LIMIT and OFFSET without ORDER BY"),
    "limit in a subquery": (of_t(f"(select k from raw.u where {DAY} limit 1)"), "LIMIT and OFFSET without ORDER BY"),
    "distinct on": (f"select distinct on (k) k, s from raw.t where {DAY}", "DISTINCT ON without ORDER BY"),
    "a sample": (f"select k from raw.t tablesample system (10) where {DAY}", CHANCE),
    "random": (of_t("random()"), CHANCE),
    "a new uuid": (of_t("gen_random_uuid()"), CHANCE),
    "now": (of_t("now()"), CLOCK),
    "current_date": (of_t("current_date - d"), CLOCK),
    "the clock": (of_t("clock_timestamp()"), CLOCK),
    "a keyword for the clock": (of_t("'today'::date"), CLOCK),
    "an age": (of_t("age(d)"), CLOCK),
}


@pytest.mark.parametrize(("sql", "problem"), UNORDERED.values(), ids=UNORDERED)
def test_sql_that_depends_on_row_order_clock_or_chance_is_refused(sql: str, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        check(sql)


ORDERED = {
    "string_agg": of_t("string_agg(s, ',' order by s)"),
    "string_agg of distinct values": of_t("string_agg(distinct s, ',')"),
    "array_agg": of_t("array_agg(k order by k) filter (where k > 1)"),
    "array_agg over a window": of_t("array_agg(k) over (order by k)"),
    "jsonb_object_agg": of_t("jsonb_object_agg(k, s)"),
    "an array": of_t(f"array(select k from raw.u where {DAY} order by k)"),
    "row_number": of_t("row_number() over (partition by s order by k)"),
    "row_number in a named window": of_t("row_number() over w", " window w as (order by k)"),
    "row_number in a named window that is extended": of_t(
        "row_number() over (w order by k)", " window w as (partition by s)"
    ),
    "rank": of_t("rank() over (partition by s)"),
    "limit": of_t("k", " order by k limit 3"),
    "limit in exists": of_t("k", f" and exists (select 1 from raw.u where {DAY} limit 1)"),
    "distinct on": f"select distinct on (k) k, s from raw.t where {DAY} order by k, s",
    "an age": of_t("age(%(load_date)s, d)"),
    "a date": of_t("'2025-01-01'::date"),
}


@pytest.mark.parametrize("sql", ORDERED.values(), ids=ORDERED)
def test_sql_with_a_total_order_is_accepted(sql: str) -> None:
    assert check(sql) is False


def test_the_error_has_the_line_of_a_call_without_columns() -> None:
    with pytest.raises(ModelError) as caught:
        check(f"select\n    k,\n    now() as seen_at\nfrom raw.t where {DAY}")
    assert caught.value.line == 3


def test_a_table_is_refused_when_its_pipeline_is_loaded(tree: Tree) -> None:
    tree.write("shop/raw/things.sql", RAW.replace("name: {type: text,", "name: {type: real,"))
    sums = MART.replace("    name\n", "    sum(name) as name\n").replace("%(load_date)s", "%(load_date)s\ngroup by 1")
    tree.write("shop/marts/sold.sql", sums.replace("type: text", "type: real"))
    assert tree.error().startswith("marts/sold.sql:13: sum(name) adds up floating-point numbers, and another order")
    tree.write("shop/marts/sold.sql", sums.replace("type: text", "type: numeric").replace("(name)", "(name::numeric)"))
    query = tree.load().table("marts.sold").query
    assert query is not None
    assert not query.has_unknown_sums
