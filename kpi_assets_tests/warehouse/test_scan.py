"""The plan of the one scan that all checks of a build share. It needs no server."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.model.checks.base import AuditFacts, DenseKeyRange
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.header import split
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.scan import ScanPlan, plan_scan
from kpi_assets_tests.new_check_words import registered

DAY = date(2025, 3, 1)
PATH = Path("sql/shop/marts/things.sql")
HEADER = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: [thing_id, name]
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
checks:
  CHECKS
@end */
"""
ORPHANS = DenseKeyRange(Relation("raw", "catalog"), "id")


def planned(checks: str, **facts: Any) -> ScanPlan:
    header, lines, _ = split(PATH, HEADER.replace("CHECKS", checks))
    return plan_scan(expand(header, PATH, lines), AuditFacts(DAY, **facts))


@pytest.mark.parametrize(
    ("checks", "facts", "predicates"),
    [
        ("min_rows: {at_least: 3}", {}, {}),
        # The index proves that the grain is unique. Without an index, a separate query does.
        ("min_rows: {}", {"grain_is_proven": True}, {"grain": '"thing_id" is null or "name" is null'}),
        ("not_null: [name]", {}, {"not_null": '"name" is null'}),
        ("range: {weight: [0, 9]}", {}, {"range__weight": '"weight" < 0 or "weight" > 9'}),
        ("accepted_values: {name: ['50%']}", {}, {"accepted_values__name": "\"name\" not in ('50%%')"}),
        ('heavy: {bad_rows: "select * from {this} where weight > 9"}', {}, {"heavy": "weight > 9"}),
        ('heavy: {bad_rows: "select name from {this} where weight > 9"}', {}, {}),
        ("unique: {names: [name]}", {}, {}),
        # A reference to a dense key is checked without the other table. Any other key needs a query.
        ("foreign_key: {thing_id: raw.catalog.id}", {}, {}),
        ("foreign_key: {thing_id: raw.catalog.id}", {"looked_up": {ORPHANS: None}}, {}),
        (
            "foreign_key: {thing_id: raw.catalog.id}",
            {"looked_up": {ORPHANS: (3, 8)}},
            {"foreign_key__thing_id": '"thing_id" not between 3 and 8'},
        ),
    ],
)
def test_a_check_on_single_rows_is_counted_in_the_scan(
    checks: str, facts: dict[str, Any], predicates: dict[str, str]
) -> None:
    assert planned(checks, **facts).predicates == predicates


def test_reconcile_is_an_aggregate_of_the_scan() -> None:
    found = planned("reconcile: {source: raw.lines, sum: price, here: weight}\n  rows: {reconcile: {source: raw.a}}")
    assert found.aggregates == {"reconcile": "coalesce(sum(weight\n), 0)", "rows": "coalesce(count(*), 0)"}
    assert (found.predicates, found.any_bad) == ({}, {})


def test_one_count_covers_all_predicates_and_a_comment_in_one_cannot_hide_the_rest() -> None:
    found = planned('not_null: [name]\n  odd: {bad_rows: "select * from {this} where weight > 9 -- heavy"}')
    assert found.any_bad == {"BAD": 'count(*) filter (where ("name" is null\n) or (weight > 9 -- heavy\n))'}
    assert found.counts == {
        "not_null": 'count(*) filter (where ("name" is null\n))',
        "odd": "count(*) filter (where (weight > 9 -- heavy\n))",
    }


def test_several_measures_of_one_check_have_separate_columns() -> None:
    with registered():
        found = planned("spread: {weight: 5}")
    assert found.aggregates == {"spread__weight": 'min("weight")', "spread__weight 1": 'max("weight")'}
    assert found.columns == {
        ("spread__weight", "lowest"): "spread__weight",
        ("spread__weight", "highest"): "spread__weight 1",
    }
