"""The checks that each word of a header makes. kpi_assets_tests/warehouse/ tests their queries on real rows."""

from math import inf
from pathlib import Path

import pytest
import yaml

from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.base import Check
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.checks.keys import ForeignKey, Grain, Unique
from kpi_assets.model.checks.reconcile import Reconcile
from kpi_assets.model.checks.row_counts import MinRows, MinRowsSpec
from kpi_assets.model.checks.source_object import NotSeenBefore, Quarantine, RowAccounting
from kpi_assets.model.checks.sql_text import literal
from kpi_assets.model.checks.word import CheckWord
from kpi_assets.model.checks.words import WORDS
from kpi_assets.model.header import split
from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError

PATH = Path("sql/shop/marts/things.sql")
TEXT = """\
/* @asset
description: Things that were sold.
owner: team:tests
grain: [thing_id, user]
columns:
  thing_id: {type: integer, description: Thing.}
  user: {type: text, description: Buyer.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
checks:
CHECKS@end */
"""
ALL = """\
  reconcile:
    source: raw.lines
    counted: sum(thing_id)
    dropped:
      unsold: price is null
      orphans: >
        not exists (select 1 from raw.people as p where p.load_date = %(load_date)s)
  foreign_key: {thing_id: raw.catalog.id}
  range: {weight: [0, null]}
  unique: {buyer: [user]}
  accepted_values: {user: [ann, "it's"]}
  not_null: [user, weight]
  heavy:
    severity: warn
    bad_rows: |

      select *
      from {this}
      where weight > 50
  light_things: {bad_rows: "select * from {this} where weight = 0", description: No thing is without weight.}
  every_kilo:
    reconcile: {source: raw.kilos, sum: kilos, here: weight}
    severity: warn
  min_rows: {at_least: 1}
"""


def expanded(checks: str, minimum: int | None = None) -> dict[str, Check]:
    header, lines, _ = split(PATH, TEXT.replace("CHECKS", checks))
    return {check.name: check for check in expand(header, PATH, lines, minimum)}


def test_every_word_makes_its_checks_in_a_fixed_order() -> None:
    checks = expanded(ALL)
    assert [(name, type(check), check.blocking, check.line) for name, check in checks.items()] == [
        ("grain", Grain, True, 4),
        ("min_rows", MinRows, True, 33),
        ("not_null", BadRows, True, 21),
        ("accepted_values__user", BadRows, True, 20),
        ("range__weight", BadRows, True, 18),
        ("unique__buyer", Unique, True, 19),
        ("foreign_key__thing_id", ForeignKey, True, 17),
        ("reconcile", Reconcile, True, 11),
        ("heavy", BadRows, False, 22),
        ("light_things", BadRows, True, 29),
        ("every_kilo", Reconcile, False, 30),
    ]
    assert [check.description for check in checks.values()] == [
        "One row per thing_id, user; none is null.",
        "At least 1 row.",
        "Never null: user, weight.",
        "user is one of ann, it's.",
        "weight lies in 0 to ....",
        "No two rows share user.",
        "Each thing_id is a raw.catalog.id.",
        "Every row of raw.lines is here or dropped by a named rule (unsold, orphans).",
        "Heavy.",
        "No thing is without weight.",
        "All of sum(kilos) of raw.kilos is here or dropped by a named rule; no rule drops any.",
    ]


KPI = "kpi: {chart: {x: user, y: thing_id}}\n"
SOURCE = "source: {object: 'raw/{load_date}.csv', format: csv}\n"
FALL = MinRowsSpec(of_previous=0.5, of_usual=0.4)


@pytest.mark.parametrize(
    ("more", "words", "minimum", "default", "found"),
    [
        # By default a raw table and a KPI must not be empty, and no share of earlier rows is required.
        ("", "", None, None, None),
        (KPI, "", None, None, (1, 0, 0)),
        (SOURCE, "", None, None, (1, 0, 0)),
        (KPI, "{at_least: 0}", None, None, None),
        ("", "{at_least: 2}", None, None, (2, 0, 0)),
        ("", "{of_usual: 0.4}", None, None, (0, 0, 0.4)),
        (SOURCE, "{of_previous: 0.5}", None, None, (1, 0.5, 0)),
        (SOURCE, "{of_previous: 0}", None, None, (1, 0, 0)),
        # The defaults of the pipeline apply to files without min_rows. A file with min_rows replaces them as a whole.
        ("", "", None, FALL, (0, 0.5, 0.4)),
        (KPI, "", None, FALL, (1, 0.5, 0.4)),
        (KPI, "{at_least: 0}", None, FALL, None),
        (KPI, "{of_usual: 0.3}", None, FALL, (1, 0, 0.3)),
        (KPI, "{}", None, FALL, (1, 0, 0)),
        ("", "", None, MinRowsSpec(at_least=3), (3, 0, 0)),
        # The minimum of the environment replaces only at_least.
        ("", "", 7, None, (7, 0, 0)),
        (KPI, "{at_least: 0}", 7, FALL, (7, 0, 0)),
        (KPI, "", 0, FALL, (0, 0.5, 0.4)),
        (KPI, "", 0, None, None),
    ],
)
def test_min_rows_comes_from_file_defaults_and_environment(
    more: str,
    words: str,
    minimum: int | None,
    default: MinRowsSpec | None,
    found: tuple[int, float, float] | None,
) -> None:
    checks = f"checks: {{min_rows: {words}}}\n" if words else ""
    header, lines, _ = split(PATH, TEXT.replace("checks:\nCHECKS", more + checks))
    checks_of = {check.name: check for check in expand(header, PATH, lines, minimum, default)}
    check = checks_of.get("min_rows")
    assert isinstance(check, MinRows) or check is None
    assert (check and (check.at_least, check.of_previous, check.of_usual)) == found
    if found == (0, 0.5, 0.4):
        assert check
        assert check.description == "At least 50% of the load_date before, and 40% of what is usual on its weekday."


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_the_example_of_a_check_word_makes_its_checks(word: CheckWord) -> None:
    value = yaml.safe_load(word.example)[word.name]
    types = {column: "integer" for _, column in word.columns(value)}
    types |= {column: "text" for _, column, constant in word.constants(value) if isinstance(constant, str)}
    columns = "".join(f"  {name}: {{type: {type_}, description: Column.}}\n" for name, type_ in types.items())
    text = TEXT.replace("checks:\nCHECKS", f"{columns}checks:\n  {word.example}\n")
    header, lines, _ = split(PATH, text)
    found = [check for check in expand(header, PATH, lines) if check.name != "grain"]
    assert found
    assert all(check.name.split("__")[0] == word.name and check.line > 9 for check in found)
    assert word.description.endswith(".")
    assert word.name == word.example.partition(":")[0]


def test_without_check_words_only_the_grain_is_checked() -> None:
    header, lines, _ = split(PATH, TEXT.replace("checks:\nCHECKS", ""))
    assert [check.name for check in expand(header, PATH, lines)] == ["grain"]


def test_a_raw_table_has_the_checks_of_its_object_first() -> None:
    source = "source: {object: 'raw/{load_date}.csv', format: csv}\nquarantine: {rows: 7}\nchecks:\nCHECKS"
    header, lines, _ = split(PATH, TEXT.replace("checks:\nCHECKS", source.removesuffix("CHECKS") + "  min_rows: {}\n"))
    checks = expand(header, PATH, lines)
    assert [(type(check), check.name, check.blocking) for check in checks] == [
        (RowAccounting, "rows_accounted", True),
        (Quarantine, "quarantine", True),
        (NotSeenBefore, "not_seen_before", False),
        (Grain, "grain", True),
        (MinRows, "min_rows", True),
    ]
    assert isinstance(checks[1], Quarantine)
    assert checks[1].budget.rows == 7


def test_tables_that_checks_read_are_known_with_their_lines() -> None:
    checks = expanded(ALL)
    assert checks["foreign_key__thing_id"].mentions == {Relation("raw", "catalog"): 17}
    assert checks["reconcile"].mentions == {Relation("raw", "lines"): 11, Relation("raw", "people"): 16}
    assert checks["every_kilo"].mentions == {Relation("raw", "kilos"): 30}
    known = {"foreign_key__thing_id", "reconcile", "every_kilo"}
    assert {name for name, check in checks.items() if check.mentions} == known


def test_the_environment_sets_only_the_absolute_minimum() -> None:
    assert expanded("  min_rows: {at_least: 5, of_previous: 0.9}\n")["min_rows"] == MinRows(
        "min_rows", "At least 5 rows, and 90% of the load_date before.", line=10, at_least=5, of_previous=0.9
    )
    for minimum in (0, 9):
        found = expanded("  min_rows: {at_least: 5, of_previous: 0.9}\n", minimum)["min_rows"]
        assert isinstance(found, MinRows)
        assert (found.at_least, found.of_previous) == (minimum, 0.9)


@pytest.mark.parametrize(
    ("checks", "line", "sentence"),
    [
        (
            "  odd:\n    bad_rows: |\n\n      select *\n      from\n        raw.t\n",
            15,
            "raw.t is read for all load_dates",
        ),
        ("  odd:\n    bad_rows: 'select * from\n      t'\n", 11, "the table 't' must be written as schema.table"),
        ("  odd: {bad_rows: delete from raw.t}\n", 10, "must be exactly one SELECT"),
        ("  odd: {bad_rows: 'select * from {this} where a = %(day)s'}\n", 10, r"unknown parameter %\(day\)s"),
        ("  odd: {bad_rows: 'select * from {this} where 5 % 2 = 1'}\n", 10, "a percent sign must be doubled"),
        ("  odd: {bad_rows: 'select * from {this};'}\n", 10, "without a semicolon"),
        ("  reconcile:\n    source: raw.t\n    counted: count(\n", 12, "cannot be parsed"),
        ("  reconcile:\n    source: raw.t\n    dropped:\n      some: a = = 1\n", 13, "cannot be parsed, at '='"),
        (
            "  reconcile:\n    source: raw.t\n    dropped:\n      some: a like '5%'\n",
            13,
            "a percent sign must be doubled",
        ),
        (
            "  reconcile:\n    source: raw.t\n    dropped:\n      any: |\n        b in (\n        table raw.u)\n",
            15,
            "raw.u is read for all load_dates",
        ),
    ],
)
def test_the_sql_of_a_check_has_the_rules_of_a_select_and_errors_name_its_line(
    checks: str, line: int, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        expanded(checks)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("it's", "'it''s'"),
        ("50%", "'50%%'"),
        ("{this}", "'{this}'"),
        (1, "1"),
        (-1.5, "-1.5"),
        (True, "true"),
        (inf, "'inf'"),
    ],
)
def test_a_constant_of_a_header_cannot_escape_its_quotes(value: str | int | float, written: str) -> None:
    assert literal(value) == written


# ---- reconcile

COUNTS = [
    *("count(*)", "count(user)", "count(distinct user)", "count(*) filter (where weight > 1)", "sum(thing_id)"),
    *("sum(case when weight > 1 then 2 else 1 end)", "coalesce(sum(thing_id), 0) + count(*)", "count(*) * 2"),
    *(
        "sum(weight::bigint)",
        "sum((weight > 1)::integer)",
        "(-count(*))",
        "count(*) - sum(thing_id) filter (where 1 = 1)",
    ),
]


@pytest.mark.parametrize("counted", COUNTS)
def test_counted_accepts_expressions_that_count_rows(counted: str) -> None:
    found = expanded(f"  reconcile: {{source: raw.t, counted: '{counted}'}}\n")["reconcile"]
    assert isinstance(found, Reconcile)
    assert (found.here, found.summed, found.total) == (counted, "", None)


NO_COUNTS = [
    *("sum(weight)", "sum(weight)::bigint", "max(thing_id)", "avg(thing_id)", "thing_id", "1 + 1", "count(*) / 2"),
    *("sum(weight * thing_id)", "sum(length(user))", "count(*) + sum(weight)", "sum(thing_id) over ()"),
]


@pytest.mark.parametrize("counted", NO_COUNTS)
def test_counted_refuses_expressions_that_may_not_count_rows(counted: str) -> None:
    with pytest.raises(ModelError) as caught:
        expanded(f"  reconcile:\n    source: raw.t\n    counted: {counted}\n")
    assert str(caught.value) == (
        f"{PATH}:12: counted: {counted!r} is not known to count rows: write count(...), or sum(...) of smallint, "
        "integer or bigint; amounts are compared by `sum: <expression of the source>`"
    )


def test_reconcile_compares_a_sum_with_the_same_expression_by_default() -> None:
    found = expanded("  reconcile: {source: raw.t, sum: 2 * weight, dropped: {light: weight < 1}}\n")["reconcile"]
    assert isinstance(found, Reconcile)
    assert found.total is not None
    assert (found.summed, found.here) == ("2 * weight", "sum(2 * weight\n)")
    day = 'from "raw"."t" where load_date = %(load_date)s'
    assert found.total.sql == f"select coalesce(sum(2 * weight\n), 0) {day}"
    assert [query.sql for _, query in found.dropped] == [f"{found.total.sql} and (weight < 1\n)"]


@pytest.mark.parametrize(
    ("words", "line", "sentence"),
    [
        ("sum: sum(weight)", 12, "'sum(weight)' is added up already: write what a single row adds, without sum(...)"),
        ("sum: kilos\n    here: sum(weight)", 13, "'sum(weight)' is added up already: "),
        (
            "sum: kilos\n    here: user",
            13,
            "'user' is not a number that can be added up: name one, or cast it to numeric",
        ),
        ("sum: kilos\n    here: weight::real", 13, "'weight::real' is floating-point and has no exact sum: write "),
        ("sum: kilos, 1", 12, "'kilos, 1' must be one expression, without a comma outside of brackets"),
        ("sum: kilos +", 12, "this SQL cannot be parsed"),
        ("counted: count(*), 1", 12, "'count(*), 1' must be one expression, without a comma outside of brackets"),
        ("here: weight", 12, "checks.reconcile.here: is what a sum is compared with: say sum as well, or take it out"),
        ("sum: kilos\n    here: weight\n    counted: count(*)", 13, "checks.reconcile.here: says again what counted "),
        ("sum: kilos\n    here: weight\n    dropped:\n      odd: a = = 1", 15, "cannot be parsed, at '='"),
        ("sum: |\n      kilos\n    here: weight\n    dropped:\n      odd: a = = 1", 16, "cannot be parsed, at '='"),
    ],
)
def test_reconcile_refuses_what_cannot_be_compared(words: str, line: int, sentence: str) -> None:
    with pytest.raises(ModelError) as caught:
        expanded(f"  reconcile:\n    source: raw.t\n    {words}\n")
    assert sentence in str(caught.value)
    assert caught.value.line == line
