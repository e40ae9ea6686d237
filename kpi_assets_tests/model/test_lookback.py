"""A SELECT with `lookback`: the tables that it reads over the window, the SQL that is executed, and what is refused."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kpi_assets.model.lookback import Window
from kpi_assets.model.names import Relation
from kpi_assets.model.query import Query, parse_query
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import MART, RAW, Tree

PATH = Path("sql/shop/marts/things.sql")
DAY, WINDOW = "load_date = %(load_date)s", "load_date between %(window_start)s and %(load_date)s"
GRAINS = {Relation("raw", "t"): ["a"], Relation("raw", "u"): ["a", "b"]}
LATEST_T = (
    '(select distinct on ("a") * from "raw"."t" where load_date = any(%(load_dates_there)s) '
    'order by "a", load_date desc)'
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
def test_tables_that_are_tied_to_the_window_are_read_over_it(sql: str, tables: str) -> None:
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
def test_a_table_tied_to_neither_load_date_nor_window_is_refused(sql: str) -> None:
    with pytest.raises(
        ModelError, match=r"raw\.t is read for all load_dates at once: .* or to the window by `load_date "
    ):
        parsed(sql)


def test_window_start_needs_the_word_lookback() -> None:
    with pytest.raises(ModelError, match=r":2: %\(window_start\)s needs the word lookback in the header: add it"):
        parse_query(f"select a\nfrom raw.t where {WINDOW}", PATH)


def test_the_executed_sql_reads_the_latest_row_of_each_key() -> None:
    assert parsed(f"select a from raw.t where {WINDOW}").executed == f'select a from {LATEST_T} as "t" where {WINDOW}'
    assert parsed(f"select x.a from raw.t as x where x.{WINDOW}").executed == (
        f"select x.a from {LATEST_T} as x where x.{WINDOW}"
    )
    day = f"select a from raw.t where {DAY}"
    assert parsed(day).executed == day


def test_the_executed_sql_reads_all_rows_of_the_window_without_a_key() -> None:
    found = parse_query(f"select a from raw.t where {WINDOW}", PATH, lookback=True)
    all_rows = replace(found, keys={Relation("raw", "t"): None})
    assert all_rows.executed == (
        f'select a from (select * from "raw"."t" where load_date = any(%(load_dates_there)s)) as "t" where {WINDOW}'
    )
    versions = {
        replace(found, keys={Relation("raw", "t"): key}).fingerprint for key in (None, ["a"], ["a", "b"], ["all"])
    }
    assert len(versions) == 4


def test_percent_signs_and_this_do_not_shift_the_replaced_table() -> None:
    sql = f"\nselect '%%', '%%' from {{this}} where a not in (select a from raw.t where b like '5%%' and {WINDOW})\n"
    assert parsed(sql).executed == sql.strip().replace("raw.t", f'{LATEST_T} as "t"')


def test_of_two_references_only_the_one_over_the_window_is_replaced() -> None:
    sql = f"select x.a from raw.t as x join raw.t as y on x.a = y.a where x.{DAY} and y.{WINDOW}"
    assert parsed(sql).executed == sql.replace("raw.t as y", f"{LATEST_T} as y")


def test_a_column_named_with_its_schema_is_refused() -> None:
    with pytest.raises(ModelError, match=r":1: write raw\.t\.a as t\.a: a subquery is read in the place of its table"):
        parsed(f"select raw.t.a from raw.t where {WINDOW}")


def test_a_table_read_over_a_window_is_not_read_by_slices() -> None:
    query = parsed(f"select a from raw.t where {WINDOW}")
    assert query.pushed_down("a", lambda *_: "(select 1)") == (query.sql, False)


def test_absent_load_dates_are_listed_as_ranges() -> None:
    there = tuple(date(2025, 3, day) for day in (1, 3, 7, 8, 10))
    window = Window(date(2025, 3, 1), date(2025, 3, 10), there)
    assert window.absent == "2025-03-02, 2025-03-04 to 2025-03-06, 2025-03-09"
    assert Window(there[0], there[0], there[:1]).absent == ""


# ---- which rows of the window are read

RECENT = MART.replace("grain:", "lookback: 28\ngrain:").replace(
    "load_date = ", "load_date between %(window_start)s and "
)
SEEN = """\
/* @asset
description: Things, seen.
owner: team:tests
grain: [thing]
storage: view
columns:
  thing: {type: integer, description: Thing.}
@end */
select thing_id as thing from raw.things where load_date = %(load_date)s
"""
OVER_THE_VIEW = RECENT.replace("    thing_id,", "    thing as thing_id,").replace("    name\n", "    'x' as name\n")
OVER_THE_VIEW = OVER_THE_VIEW.replace("raw.things", "marts.seen")


def saying(text: str, word: str) -> str:
    return text.replace("grain:", f"{word}\ngrain:", 1)


def key_of(tree: Tree, name: str) -> object:
    query = tree.load().table("marts.sold").query
    assert query is not None
    return query.keys[Relation.parse(name)]


def test_a_window_over_a_table_without_versions_is_refused_and_both_remedies_are_named(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", RECENT)
    assert tree.error() == (
        "marts/sold.sql:15: raw.things is read over 28 calendar days, and nothing says which of its rows count: write "
        "`versions: latest` in the header of raw.things if only the latest row of each thing_id does, or "
        "`lookback: {days: 28, rows: all}` here if all do"
    )


def test_versions_latest_makes_readers_use_the_latest_rows(tree: Tree) -> None:
    tree.write("shop/raw/things.sql", saying(RAW, "versions: latest"))
    for days in ("28", "{days: 28}"):
        tree.write("shop/marts/sold.sql", RECENT.replace("lookback: 28", f"lookback: {days}"))
        assert key_of(tree, "raw.things") == ("thing_id",)


@pytest.mark.parametrize("says", ["", "versions: latest"])
def test_rows_all_of_the_reader_overrides_versions_latest(tree: Tree, says: str) -> None:
    tree.write("shop/raw/things.sql", saying(RAW, says))
    tree.write("shop/marts/sold.sql", RECENT.replace("lookback: 28", "lookback: {days: 28, rows: all}"))
    assert key_of(tree, "raw.things") is None


def test_a_view_inherits_versions_from_its_table(tree: Tree) -> None:
    tree.write("shop/marts/seen.sql", SEEN)
    tree.write("shop/marts/sold.sql", OVER_THE_VIEW)
    error = tree.error()
    assert error.startswith("marts/sold.sql:15: marts.seen is read over 28 calendar days, and nothing says ")
    assert "in the header of raw.things if only the latest row of each thing_id does" in error
    tree.write("shop/raw/things.sql", saying(RAW, "versions: latest"))
    assert key_of(tree, "marts.seen") == ("thing",)
    tree.write("shop/marts/seen.sql", saying(SEEN, "versions: latest"))
    assert tree.error() == "marts/seen.sql:4: versions: a view has what its table says: put it there"


def test_a_table_that_only_a_check_reads_over_the_window_needs_versions_as_well(tree: Tree) -> None:
    tree.write("shop/raw/others.sql", RAW.replace("things", "others"))
    tree.write("shop/raw/things.sql", saying(RAW, "versions: latest"))
    check = f"checks:\n  odd: {{bad_rows: 'select 1 from raw.others where {WINDOW}'}}"
    tree.write("shop/marts/sold.sql", RECENT.replace("checks:", check))
    assert tree.error().startswith("marts/sold.sql:10: raw.others is read over 28 calendar days, and nothing says ")


def test_the_rows_read_over_a_window_affect_only_the_versions_of_the_reader(tree: Tree) -> None:
    """The checks version of the reader changes as well, because reconcile counts the same rows."""
    reconciled = RECENT.replace("checks:", "checks:\n  reconcile: {source: raw.things}")
    found = []
    for says, lookback in (("versions: latest", "28"), ("", "{days: 28, rows: all}"), ("versions: latest", "29")):
        tree.write("shop/raw/things.sql", saying(RAW, says))
        tree.write("shop/marts/sold.sql", reconciled.replace("lookback: 28", f"lookback: {lookback}"))
        tables = tree.load()
        raw, sold = tables.table("raw.things"), tables.table("marts.sold")
        found.append((sold.code_version, sold.checks_version, raw.code_version, raw.checks_version))
    (latest, all_rows, longer) = found
    assert latest[0] != all_rows[0] != longer[0] != latest[0]
    assert latest[1] != all_rows[1]
    assert latest[1] == longer[1]
    assert latest[2:] == all_rows[2:] == longer[2:]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("lookback: {days: 28, rows: latest}", r":4: lookback\.rows: 'latest' is not known here: write 'all'"),
        ("lookback: {rows: all}", r":4: 'lookback\.days' is missing: add it"),
        ("lookback: {days: 28, weeks: 4}", r":4: unknown word 'lookback\.weeks'"),
        ("lookback: 28\nversions: all", r":5: versions: 'all' is not known here: write 'latest'"),
    ],
)
def test_unknown_words_of_lookback_and_versions_are_refused(tree: Tree, words: str, sentence: str) -> None:
    tree.write("shop/marts/sold.sql", RECENT.replace("lookback: 28", words))
    with pytest.raises(ModelError, match=sentence):
        tree.load()
