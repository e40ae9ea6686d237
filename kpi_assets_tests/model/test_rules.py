"""The rules that set rows aside: their names and queries, what they read, and where they collide with checks."""

from pathlib import Path

import pytest

from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.expand import expand, expand_rules
from kpi_assets.model.checks.set_aside import RowsSetAside
from kpi_assets.model.header import split
from kpi_assets.model.names import Relation
from kpi_assets.model.query import parse_query
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import Tree

PATH = Path("sql/shop/marts/things.sql")
TEXT = """\
/* @asset
description: Things that were sold.
owner: team:tests
grain: [thing_id, buyer]
quarantine:
  share: 0.01
  rows: 3
  rules:
RULES
columns:
  thing_id: {type: integer, description: Thing.}
  buyer: {type: text, description: Buyer.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
checks:
  heavy: {bad_rows: "select * from {this} where weight > 50"}
@end */
"""
ALL = """\
    light: {bad_rows: "select * from {this} where weight < 1", description: No thing is light.}
    foreign_key: {thing_id: raw.catalog.id}
    unique: {buyer: [buyer]}
    range: {weight: [0, null]}
    accepted_values: {buyer: [ann, bob]}
    not_null: [buyer, weight]"""


def rules_of(text: str) -> tuple[BadRows, ...]:
    header, lines, _ = split(PATH, TEXT.replace("RULES", text))
    return expand_rules(header, PATH, lines)


def test_each_word_makes_a_rule_for_each_of_its_columns() -> None:
    assert [(rule.name, rule.description, rule.line, rule.rows.is_row_wise) for rule in rules_of(ALL)] == [
        ("not_null(buyer)", "Never null: buyer.", 14, True),
        ("not_null(weight)", "Never null: weight.", 14, True),
        ("accepted_values(buyer)", "buyer is one of ann, bob.", 13, True),
        ("range(weight)", "weight lies in 0 to ....", 12, True),
        ("unique(buyer)", "No two rows share buyer.", 11, False),
        ("foreign_key(thing_id)", "Each thing_id is a raw.catalog.id.", 10, True),
        ("light", "No thing is light.", 9, True),
    ]


def test_the_budget_is_a_check_and_the_rules_are_none() -> None:
    header, lines, _ = split(PATH, TEXT.replace("RULES", ALL))
    check, *others = expand(header, PATH, lines)
    assert isinstance(check, RowsSetAside)
    assert (check.name, check.description, check.line, check.blocking) == (
        "quarantine",
        "At most 3 or 1 % of the rows are set aside by rules.",
        5,
        True,
    )
    assert [other.name for other in others] == ["grain", "heavy"]


def test_a_rule_and_a_check_of_one_name_are_refused() -> None:
    header, lines, _ = split(PATH, TEXT.replace("RULES", ALL.replace("light:", "heavy:")))
    with pytest.raises(ModelError, match=r":9: a rule and a check are called 'heavy': rename one of them"):
        expand(header, PATH, lines)


def test_a_rule_whose_query_lacks_the_key_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r":9: a rule returns the rows that it sets aside, and this one lacks buyer of their key"
    ):
        rules_of('    few: {bad_rows: "select thing_id from {this} group by thing_id having count(*) < 2"}')


@pytest.mark.parametrize(
    ("query", "is_row_wise"),
    [
        ("select * from {this} where weight > 3", True),
        ("select * from {this} as t where t.weight > %(load_date)s - date '2025-01-01'", True),
        (
            "select t.* from {this} as t left join r.u on u.load_date = t.load_date and u.k = t.k where u.k is null",
            True,
        ),
        ("select * from {this} where k in (select k from r.u where load_date = %(load_date)s)", True),
        ("select * from {this} where n > (select max(n) from r.u where load_date = %(load_date)s)", True),
        ("select * from {this} where n > (select max(n) from {this})", False),
        ("select a.* from {this} as a join {this} as b on a.k = b.k and a.n < b.n", False),
        ("select k from {this} group by k having count(*) > 1", False),
        ("select distinct k from {this}", False),
        ("select * from {this} order by n limit 3", False),
        ("select * from (select *, row_number() over (order by n) as place from {this}) as t where place > 1", False),
        ("with t as (select * from {this}) select * from t where n > 1", False),
        ("select * from {this} where n > 3 union all select * from {this} where n < 1", False),
        ("select k, rank() over (order by n) as r from {this}", False),
    ],
)
def test_whether_a_rule_looks_at_one_row_alone(query: str, is_row_wise: bool) -> None:
    assert parse_query(query, PATH).is_row_wise == is_row_wise


RAW = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [id]
versions: latest
source: {object: "raw/NAME/{load_date}.csv", format: csv}
columns:
  id: {type: integer, description: Thing.}
  weight: {type: double precision, description: Weight.}
@end */
"""
STAGED = """\
/* @asset
description: Things that can be counted.
owner: team:tests
grain: [id]
quarantine: {rows: 3, rules: {RULES}}
LOOKBACKcolumns:
  id: {type: integer, description: Thing.}
  weight: {type: double precision, description: Weight.}
@end */
select id, weight
from raw.things
where load_date = %(load_date)s
"""


def staged(tree: Tree, rules: str, lookback: str = "") -> None:
    tree.write("shop/pipeline.yaml", "description: A shop.\nbucket: kpi-shop\nstart_date: 2025-01-01\nlayers: "
               "{raw: raw, stg: staging, marts: marts}\n")  # fmt: skip
    for name in ("things", "catalog"):
        tree.write(f"shop/raw/{name}.sql", RAW.replace("NAME", name))
    text = STAGED.replace("RULES", rules).replace("LOOKBACK", lookback)
    if lookback:
        text = text.replace("load_date = %", "load_date between %(window_start)s and %")
    tree.write("shop/stg/things.sql", text)


def test_what_a_rule_reads_is_read_by_the_table(tree: Tree) -> None:
    staged(tree, "foreign_key: {id: raw.catalog.id}")
    table = tree.load().table("stg.things")
    assert table.reads == (Relation("raw", "catalog"), Relation("raw", "things"))
    assert table.load_date_reads == {*table.reads}
    assert table.query_reads == (Relation("raw", "things"),)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ("foreign_key: {id: raw.catalogue.id}", "reads raw.catalogue, which has no file here"),
        ("foreign_key: {id: raw.catalog.ident}", r"quarantine.rules.foreign_key.id: raw.catalog has no column 'ident'"),
        ("few: {bad_rows: 'select * from {this} where id > (select max(id) from raw.catalog)'}", "for all load_dates"),
        ("few: {bad_rows: 'select * from {this} where now() > now()'}", "this reads the clock"),
        (
            "few: {bad_rows: 'select * from {this} where this.id < 0'}",
            r"reads this\.id, and nothing that it reads is called 'this': correct the name, or give it as an alias "
            r"\(from \.\.\. as this\)$",
        ),
        (
            "few: {bad_rows: 'select * from {this} where weight > (select avg(weight) from {this})'}",
            r"avg\(weight\) adds up floating-point numbers",
        ),
        (
            "few: {bad_rows: 'select * from {this} where id > (select sum(weight) from raw.catalog "
            "where load_date = %(load_date)s)'}",
            "adds up floating-point numbers",
        ),
        ("few: {bad_rows: 'select * from {this} where id > (select max(id) from stg.things "
         "where load_date = %(load_date)s)'}", "which is itself"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_proven_is_refused(tree: Tree, rules: str, problem: str) -> None:
    staged(tree, rules)
    with pytest.raises(ModelError, match=problem):
        tree.load()


def test_a_rule_may_read_a_window_and_its_key_is_part_of_the_code(tree: Tree) -> None:
    window = "load_date between %(window_start)s and %(load_date)s"
    rules = f"seen: {{bad_rows: 'select * from {{this}} where id in (select id from raw.catalog where {window})'}}"
    staged(tree, rules, "lookback: 7\n")
    table = tree.load().table("stg.things")
    assert table.window_reads == (Relation("raw", "catalog"), Relation("raw", "things"))
    assert table.rules[0].query.keys[Relation("raw", "catalog")] == ("id",)
    before = table.code_version
    tree.write("shop/raw/catalog.sql", RAW.replace("NAME", "catalog").replace("grain: [id]", "grain: [id, weight]"))
    assert tree.load().table("stg.things").code_version != before
