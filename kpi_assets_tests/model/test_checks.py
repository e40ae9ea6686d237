"""What each word of a header asks of a build. What the queries find on real rows: kpi_assets_tests/warehouse/."""

from pathlib import Path

import pytest

from kpi_assets.model.checks import (
    Accounted,
    BadRows,
    Check,
    ForeignKey,
    Grain,
    MinRows,
    NotSeenBefore,
    Quarantine,
    Reconcile,
    Unique,
    expand,
    literal,
)
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
    counted: sum(weight)
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
    reconcile: {source: raw.kilos, counted: sum(weight)}
    severity: warn
"""


def expanded(checks: str, minimum: int | None = None) -> dict[str, Check]:
    header, lines, _ = split(PATH, TEXT.replace("CHECKS", checks))
    return {check.name: check for check in expand(header, PATH, lines, minimum)}


def test_every_word_becomes_checks_in_the_order_in_which_people_read_them() -> None:
    checks = expanded(ALL)
    assert [(name, type(check), check.blocking, check.line) for name, check in checks.items()] == [
        ("grain", Grain, True, 4),
        ("min_rows", MinRows, True, 9),
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
        "Not suddenly empty or shrunk.",
        "Never null: user, weight.",
        "user is one of ann, it's.",
        "weight lies in 0 to ....",
        "No two rows share user.",
        "Each thing_id is a raw.catalog.id.",
        "Every row of raw.lines is here or dropped by a named rule (unsold, orphans).",
        "Heavy.",
        "No thing is without weight.",
        "Every row of raw.kilos is here or dropped by a named rule; no rule drops any.",
    ]


def test_without_words_there_are_the_grain_and_the_minimum() -> None:
    header, lines, _ = split(PATH, TEXT.replace("checks:\nCHECKS", ""))
    assert [check.name for check in expand(header, PATH, lines)] == ["grain", "min_rows"]


def test_a_raw_table_accounts_for_the_records_of_its_object_first() -> None:
    source = "source: {object: 'raw/{load_date}.csv', format: csv, quarantine_budget: 7}\nchecks:\nCHECKS"
    header, lines, _ = split(PATH, TEXT.replace("checks:\nCHECKS", source.removesuffix("CHECKS") + "  min_rows: {}\n"))
    checks = expand(header, PATH, lines)
    assert [(type(check), check.name, check.blocking) for check in checks] == [
        (Accounted, "rows_accounted", True),
        (Quarantine, "quarantine", True),
        (NotSeenBefore, "not_seen_before", False),
        (Grain, "grain", True),
        (MinRows, "min_rows", True),
    ]
    assert isinstance(checks[1], Quarantine)
    assert checks[1].budget == 7


def test_the_tables_that_checks_read_are_known_with_their_lines() -> None:
    checks = expanded(ALL)
    assert checks["foreign_key__thing_id"].mentions == {Relation("raw", "catalog"): 17}
    assert checks["reconcile"].mentions == {Relation("raw", "lines"): 11, Relation("raw", "people"): 16}
    assert checks["every_kilo"].mentions == {Relation("raw", "kilos"): 30}
    known = {"foreign_key__thing_id", "reconcile", "every_kilo"}
    assert {name for name, check in checks.items() if check.mentions} == known


def test_the_environment_sets_the_absolute_minimum_alone() -> None:
    assert expanded("  min_rows: {at_least: 5, of_previous: 0.9}\n")["min_rows"] == MinRows(
        "min_rows", "Not suddenly empty or shrunk.", line=10, at_least=5, of_previous=0.9
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
def test_the_sql_of_a_check_is_proven_like_a_table_s_and_its_line_is_exact(
    checks: str, line: int, sentence: str
) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        expanded(checks)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("value", "written"),
    [("it's", "'it''s'"), ("50%", "'50%%'"), ("{this}", "'{this}'"), (1, "1"), (-1.5, "-1.5"), (True, "true")],
)
def test_a_constant_of_a_header_cannot_leave_its_quotes(value: str | int | float, written: str) -> None:
    assert literal(value) == written
