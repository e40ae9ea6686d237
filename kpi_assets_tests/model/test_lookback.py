"""A SELECT with `lookback`: which tables it reads over the window, what is executed then, and what is refused."""

from datetime import date
from pathlib import Path

import pytest

from kpi_assets.model.lookback import Window
from kpi_assets.model.names import Relation
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import ModelError

PATH = Path("sql/shop/marts/things.sql")
DAY, WINDOW = "load_date = %(load_date)s", "load_date between %(window_start)s and %(load_date)s"
GRAINS = {Relation("raw", "t"): ["a"], Relation("raw", "u"): ["a", "b"]}
LATEST_T = (
    '(select distinct on ("a") * from raw.t where load_date = any(%(load_dates_there)s) order by "a", load_date desc)'
)


def parsed(sql: str) -> Query:
    found = parse_query(sql, PATH, lookback=True)
    return Query(found.sql, found.tree, found.line, found.windows, GRAINS)


OVER = {
    "between": (f"select a from raw.t where {WINDOW}", "t"),
    "among other conditions": (f"select a from raw.t where a > 1 and ({WINDOW} and b = 2)", "t"),
    "casts": (
        "select a from raw.t where load_date between %(window_start)s::date and cast(%(load_date)s as date)",
        "t",
    ),
    "the load_date alone": (f"select a from raw.t where {DAY}", ""),
    "both, each": (f"select t.a from raw.t cross join raw.u where t.{WINDOW} and u.{DAY}", "t"),
    "both of one": (f"select a from raw.t where {WINDOW} and {DAY}", ""),
    "a join using": (f"select a from raw.t join raw.u using (load_date, a) where t.{WINDOW}", "t u"),
    "a join on": (f"select t.a from raw.t join raw.u on t.load_date = u.load_date where u.{WINDOW}", "t u"),
    "a left join": (f"select t.a from raw.t left join raw.u on t.a = u.a and u.{WINDOW} where t.{DAY}", "u"),
    "a CTE": (
        f"with c as (select a from raw.t where {WINDOW}) select c.a from c join raw.u on c.a = u.a and u.{DAY}",
        "t",
    ),
    "a join with a CTE's load_date": (
        f"with c as (select a, load_date from raw.t where {WINDOW}) select a from c join raw.u using (load_date, a)",
        "t u",
    ),
    "exists": (
        f"select a from raw.t where {WINDOW} and exists (select 1 from raw.u where u.load_date = t.load_date)",
        "t u",
    ),
    "the build's load_date": ("select a from {this} as t join raw.u using (load_date, a)", ""),
    "a check of the window": (f"select 1 from {{this}} where a not in (select a from raw.t where {WINDOW})", "t"),
}


@pytest.mark.parametrize(("sql", "tables"), OVER.values(), ids=OVER)
def test_what_is_tied_to_the_window_is_read_over_it(sql: str, tables: str) -> None:
    assert {relation.table for relation in parsed(sql).window_reads} == set(tables.split())


UNTIED = {
    "nowhere": "select a from raw.t",
    "from the start on": "select a from raw.t where load_date >= %(window_start)s",
    "not": f"select a from raw.t where not ({WINDOW})",
    "or": f"select a from raw.t where {WINDOW} or a = 1",
    "longer": "select a from raw.t where load_date between %(window_start)s - 1 and %(load_date)s",
    "the other way round": "select a from raw.t where load_date between %(load_date)s and %(window_start)s",
    "its start": "select a from raw.t where load_date = %(window_start)s",
    "what a left join keeps": f"select t.a from raw.t left join raw.u on t.{WINDOW} and u.{DAY}",
}


@pytest.mark.parametrize("sql", UNTIED.values(), ids=UNTIED)
def test_what_is_tied_to_neither_is_an_error_that_names_both_ways(sql: str) -> None:
    with pytest.raises(
        ModelError, match=r"raw\.t is read for all load_dates at once: .* or to the window by `load_date "
    ):
        parsed(sql)


def test_without_the_word_there_is_no_window() -> None:
    with pytest.raises(ModelError, match=r":2: %\(window_start\)s is for a header with the word lookback: add it"):
        parse_query(f"select a\nfrom raw.t where {WINDOW}", PATH)


def test_the_latest_row_of_each_key_is_executed_in_the_place_of_the_table() -> None:
    assert parsed(f"select a from raw.t where {WINDOW}").executed == f"select a from {LATEST_T} as t where {WINDOW}"
    assert parsed(f"select x.a from raw.t as x where x.{WINDOW}").executed == (
        f"select x.a from {LATEST_T} as x where x.{WINDOW}"
    )
    day = f"select a from raw.t where {DAY}"
    assert parsed(day).executed == day


def test_percent_signs_and_the_build_before_it_move_nothing() -> None:
    sql = f"\nselect '%%', '%%' from {{this}} where a not in (select a from raw.t where b like '5%%' and {WINDOW})\n"
    assert parsed(sql).executed == sql.strip().replace("raw.t", f"{LATEST_T} as t")


def test_of_two_mentions_only_that_over_the_window_is_replaced() -> None:
    sql = f"select x.a from raw.t as x join raw.t as y on x.a = y.a where x.{DAY} and y.{WINDOW}"
    assert parsed(sql).executed == sql.replace("raw.t as y", f"{LATEST_T} as y")


def test_a_column_named_with_its_schema_is_refused() -> None:
    with pytest.raises(ModelError, match=r":1: write raw\.t\.a as t\.a: it is read over a window"):
        parsed(f"select raw.t.a from raw.t where {WINDOW}")


def test_no_slice_is_read_of_a_window() -> None:
    query = parsed(f"select a from raw.t where {WINDOW}")
    assert query.narrowed("a", lambda *_: "(select 1)") == (query.sql, False)


def test_the_absent_load_dates_are_told_in_runs() -> None:
    there = tuple(date(2025, 3, day) for day in (1, 3, 7, 8, 10))
    window = Window(date(2025, 3, 1), date(2025, 3, 10), there)
    assert window.absent == "2025-03-02, 2025-03-04 to 2025-03-06, 2025-03-09"
    assert Window(there[0], there[0], there[:1]).absent == ""
