"""The versions of tables, which the ledger of every installation stores, do not change with a release.

A changed value would make every published load_date stale, or build every held one again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kpi_assets.model import versions
from kpi_assets.model.affects import Affects, affected_by
from kpi_assets.model.column import Column
from kpi_assets.model.header import Header, split
from kpi_assets.model.strict_yaml import Strict
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.examples import few
from kpi_assets_tests.model.conftest import Tree
from kpi_assets_tests.new_check_words import registered

# table -> (code_version, checks_version, object_version). Edit a value only together with its file below sql/.
SHIPPED = {
    "marts.dim_products": ("ea878df6b975cd77", "bc1c1c35d8fa1a09", None),
    "marts.fact_order_items": ("7426b8945d888bf0", "e1b52047b74f15fd", None),
    "marts.fact_orders": ("c16f0722792ead31", "4f135f33c219036b", None),
    "marts.kpi_orders_by_dow": ("f69e2ba37070e304", "f62428a97ec194d2", None),
    "marts.kpi_orders_by_dow_28d": ("ff59ec751aeb0ed1", "7b5848c911df40d1", None),
    "marts.kpi_products_reorder": ("9b5cef5096eb9b56", "d82340006f62093a", None),
    "raw.aisles": ("10ccbeb40e950360", "7a5c9b07cd6e7865", "632a77f635c93583"),
    "raw.departments": ("8c82760de87f216b", "5772c83145817ddf", "51eab914f0302297"),
    "raw.order_products_prior": ("aa29198c99b6a355", "99f8fffcb946208d", "bd0bee7c1869737f"),
    "raw.orders": ("0dec0faae4bf8cda", "d86d157f31d83e01", "c0c99037b222ae18"),
    "raw.products": ("4215126e2de10ee5", "954b447db762b470", "d4b32f03a2ac9714"),
    "stg.stg_order_products_prior": ("8dc860e8e0a95b63", "52a71b06105b7754", None),
    "stg.stg_orders": ("d704750e9dab6962", "ac273d8c3dda0107", None),
    "stg.stg_products": ("cd1077e0054a2ba0", "2d81357131fc0366", None),
}
# The same for a pipeline whose files have every word that existed when these values were recorded
EVERY_WORD = {
    "marts.people": ("dd9217e24cc8978c", "bdd4f1da6fbccb40", None),
    "marts.recent": ("f067f582baaeb053", "b8dfbf43d1f00db7", None),
    "marts.sold": ("c6d8be1e6d2bae64", "76527ca2a294193f", None),
    "raw.people": ("897d8dee109c04d4", "a2dedf147f82c251", "2b7041d60a13650c"),
    "raw.things": ("a825d5e1979af12e", "a5a606c06318e028", "53b774aed56fea38"),
}
# The same with another minimum in the environment
OF_THE_ENVIRONMENT = {
    "marts.sold": ("c6d8be1e6d2bae64", "9bc3a99d717eb05a", None),
}
SHOP = """\
description: A shop with every word.
bucket: kpi-shop
start_date: 2025-01-01
layers: {raw: raw, marts: marts}
readers: [marts]
defaults: {min_rows: {of_previous: 0.5}}
"""
RAW = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
versions: latest
storage: partitions
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
  ends_with_line_end: hold
  same_bytes: ignore
quarantine: {rows: 3}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
  share: {type: double precision, description: Share.}
checks:
  not_null: [thing_id]
  accepted_values: {name: [no, "ñ 辣", "it's"], thing_id: [1, 2.5e22]}
  range: {share: [-.inf, 1e-9], weight: [null, 1e22]}
@end */
"""
PEOPLE = """\
/* @asset
description: People as delivered.
owner: team:tests
grain: [thing_id, name]
source: {object: "raw/people/load_date={load_date}/people.csv", format: csv}
columns:
  thing_id: {type: bigint, description: Thing.}
  name: {type: text, description: Name.}
@end */
"""
KPI = """\
/* @asset
description: Things that were sold.
owner: name@example.com
grain: [thing_id]
lookback: {days: 7, rows: all}
kpi:
  title: Things sold
  chart: {x: name, y: weight, top: 5, labels: {no: nothing}}
  measures:
    sold:
      title: Sold
      value: sum(sold)
      description: How many.
      format: decimal1
      unit: things
      better: up
      target: {at_least: 7}
      compare: 28
      alert: {below: 1, above: 9.5, change: {more_than: 0.5}, for: 3 load_dates}
    weight: {title: Weight, value: max(weight), target: {at_most: 50}}
  dimensions: [name]
min_volume: {column: sold, at_least: 9}
freshness: {within_hours: 36}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
  sold: {type: bigint, description: Sales.}
checks:
  min_rows: {at_least: 2, of_previous: 0.25, of_usual: 1}
  unique: {names: [name, sold], weights: [weight]}
  foreign_key: {thing_id: raw.people.thing_id}
  reconcile: {source: raw.things, sum: weight, here: weight + 0, dropped: {free: weight = 0}}
  heavy: {bad_rows: "select * from {this} where weight > 50", severity: warn, description: No thing is heavy.}
  rows: {reconcile: {source: raw.things, counted: sum(sold), dropped: {light: weight < 1, odd: "name = 'odd'"}}}
@end */
select
    thing_id,
    name,
    weight,
    1::bigint as sold
from raw.things
where load_date between %(window_start)s and %(load_date)s
"""
RECENT = """\
/* @asset
description: Things seen lately.
owner: team:tests
grain: [thing_id]
lookback: 28
columns:
  thing_id: {type: integer, description: Thing.}
@end */
select thing_id
from raw.things
where load_date between %(window_start)s and %(load_date)s
"""
VIEW = """\
/* @asset
description: People as they are.
owner: team:tests
grain: [thing, name]
storage: view
columns:
  thing: {type: bigint, description: Thing.}
  name: {type: text, description: Name.}
@end */
select thing_id as thing, name
from raw.people
where load_date = %(load_date)s
"""
FILES = {
    "pipeline.yaml": SHOP,
    "raw/things.sql": RAW,
    "raw/people.sql": PEOPLE,
    "marts/sold.sql": KPI,
    "marts/recent.sql": RECENT,
    "marts/people.sql": VIEW,
}


def shop(tree: Tree) -> Tree:
    """Write the pipeline with every word into the tree and return the tree."""
    for name, text in FILES.items():
        tree.write(f"shop/{name}", text)
    return tree


Versions = tuple[str, str, str | None]


def versions_of(table: Table) -> Versions:
    return table.code_version, table.checks_version, table.object_version if table.header.source else None


def shipped() -> dict[str, Versions]:
    tables = load_pipelines(default_sql_dir())["instacart"].tables
    return {str(relation): versions_of(table) for relation, table in tables.items()}


def of_every_word(tree: Tree, minimum: dict[str, int] | None = None) -> dict[str, Versions]:
    return {str(relation): versions_of(table) for relation, table in shop(tree).load(minimum).tables.items()}


def test_the_versions_of_every_shipped_table_are_unchanged() -> None:
    assert shipped() == SHIPPED


def test_the_versions_of_files_with_every_word_are_unchanged(tree: Tree) -> None:
    assert of_every_word(tree) == EVERY_WORD
    assert of_every_word(tree, {"shop.marts.sold": 7}) == {**EVERY_WORD, **OF_THE_ENVIRONMENT}


# ---- what a field affects is declared at the field


def models_within(annotation: Any) -> set[type[BaseModel]]:
    """Return the models that a value of this type may be, or may have as an item."""
    found = {model for argument in get_args(annotation) for model in models_within(argument)}
    is_model = isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel)
    return {annotation} if is_model else found


def models_below(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return the model and every model that a value of it may contain."""
    found, left = {model}, [model]
    while left:
        for field in left.pop().model_fields.values():
            new = models_within(field.annotation) - found
            found |= new
            left += new
    return found


MODELS = sorted(models_below(Header), key=lambda model: model.__name__)


def test_every_model_of_a_header_is_tested_here() -> None:
    assert [model.__name__ for model in MODELS] == [
        *(
            "AddedColumn",
            "Call",
            "Change",
            "Chart",
            "Checks",
            "Column",
            "Complete",
            "CustomCheck",
            "CustomRule",
            "Final",
            "Freshness",
            "Header",
        ),
        *(
            "HistorySpec",
            "Kept",
            "Kpi",
            "Lookback",
            "Measure",
            "MinRowsSpec",
            "MinVolume",
            "Pages",
            "QualitySpec",
            "QuarantineSpec",
            "ReconcileSpec",
            "Refresh",
            "Repeats",
            "Rules",
            "Source",
            "Target",
            "Threshold",
            "TimeLimit",
            "WordOptions",
        ),
    ]


@pytest.mark.parametrize("model", MODELS)
def test_every_field_declares_what_it_affects(model: type[BaseModel]) -> None:
    silent = [name for name, field in model.model_fields.items() if affected_by(field) is None]
    assert not silent, f"{model.__name__}: write Annotated[…, Affects.…] for {', '.join(silent)}"


@pytest.mark.parametrize("model", MODELS)
def test_a_field_affects_whatever_its_parts_affect(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        mark = affected_by(field)
        assert mark is not None
        for below in models_within(field.annotation):
            for part in below.model_fields.values():
                assert (affected_by(part) or mark) in mark, f"{model.__name__}.{name} holds {below.__name__}"


def other(value: Any) -> Any:
    """Return another value, which need not be valid."""
    if isinstance(value, dict):
        return {**value, "more": next(iter(value.values()), "x")}
    if isinstance(value, list):
        return [*value, "more"]
    return "other" if value is None or isinstance(value, str) else value + 1


def edits(value: BaseModel) -> Iterator[tuple[str, Affects, BaseModel]]:
    """Yield (field, what it declares to affect, the model with another value of it) for each field at every depth."""
    for name, field in type(value).model_fields.items():
        part, mark = getattr(value, name), affected_by(field)
        assert mark is not None
        if part is None and models_within(field.annotation):
            continue  # a word that the file does not have
        if isinstance(part, BaseModel):
            yield from ((place, below, value.model_copy(update={name: new})) for place, below, new in edits(part))
            continue
        if isinstance(part, dict):
            for key, each in part.items():
                for place, below, new in edits(each) if isinstance(each, BaseModel) else ():
                    yield place, below, value.model_copy(update={name: {**part, key: new}})
        yield f"{type(value).__name__}.{name}", mark, value.model_copy(update={name: other(part)})


# This field affects the fingerprint of the SELECT and the rows that its checks read: see test_lookback.py.
OF_THE_QUERY = "Lookback.rows"


@pytest.mark.parametrize("file", ["raw/things.sql", "raw/people.sql", "marts/sold.sql", "marts/recent.sql"])
def test_a_field_affects_the_versions_that_it_declares(tree: Tree, file: str) -> None:
    header, _, _ = split(tree.root / file, FILES[file])

    def made(of: Header) -> dict[Affects, str]:
        found = {Affects.ROWS: versions.code_version(of, None), Affects.CHECKS: versions.checks_version(of, ())}
        return {**found, Affects.OBJECT: versions.object_version(of)} if of.source else found

    before, looked_at = made(header), 0
    for place, mark, edited in edits(header):
        assert isinstance(edited, Header)
        if place != OF_THE_QUERY:
            changed = {what for what, version in made(edited).items() if version != before[what]}
            assert changed == {what for what in before if what in mark}, place
            looked_at += 1
    assert looked_at >= 15


# ---- words of later releases


def test_a_new_check_word_changes_no_version_of_files_without_it(tree: Tree) -> None:
    with registered():
        assert shipped() == SHIPPED
        assert of_every_word(tree) == EVERY_WORD
        found = []
        for words in ("max_rows: {at_most: 7}", "max_rows: {at_most: 8}", "spread: {weight: 3}"):
            tree.write("shop/raw/things.sql", RAW.replace("checks:", f"checks:\n  {words}"))
            found.append(versions_of(tree.load().table("raw.things")))
    code, checks, of_object = EVERY_WORD["raw.things"]
    assert {(each[0], each[2]) for each in found} == {(code, of_object)}
    assert len({checks, *(each[1] for each in found)}) == 4


RULED = """\
/* @asset
description: People that may be counted.
owner: team:tests
grain: [thing_id]
QUARANTINEcolumns:
  thing_id: {type: bigint, description: Thing.}
@end */
select thing_id
from raw.people
where load_date = %(load_date)s
"""


def test_rules_are_part_of_the_code_and_the_budget_of_the_checks(tree: Tree) -> None:
    def versions_with(quarantine: str) -> Versions:
        shop(tree).write("shop/marts/ruled.sql", RULED.replace("QUARANTINE", quarantine))
        return versions_of(tree.load().table("marts.ruled"))

    plain = versions_with("")
    ruled = versions_with("quarantine: {rules: {not_null: [thing_id]}}\n")
    assert ruled[0] != plain[0]
    for budget in ("rows: 3", "share: 0.5", "rows: 3, share: 0.5"):
        found = versions_with(f"quarantine: {{{budget}, rules: {{not_null: [thing_id]}}}}\n")
        assert (found[0] == ruled[0], found[1] == ruled[1]) == (True, False), budget
    found = {
        versions_with(f"quarantine: {{rules: {{{rules}}}}}\n")[:2]
        for rules in (
            "range: {thing_id: [1, null]}",
            "not_null: [thing_id], unique: {key: [thing_id]}",
            "foreign_key: {thing_id: raw.things.thing_id}",
            "few: {bad_rows: 'select * from {this} where thing_id > 7'}",
            "few: {bad_rows: 'select * from {this} where thing_id > 8'}",
        )
    }
    assert len({code for code, _ in found}) == 5
    assert {checks for _, checks in found} == {ruled[1]}
    described = versions_with(
        "quarantine: {rules: {few: {bad_rows: 'select * from {this} where thing_id > 8', description: No thing.}}}\n"
    )
    assert described[0] in {code for code, _ in found}, "a description changes no row"


def test_the_budget_of_a_raw_table_is_part_of_its_checks_alone(tree: Tree) -> None:
    shop(tree).write("shop/raw/things.sql", RAW.replace("quarantine: {rows: 3}", "quarantine: {rows: 4}"))
    code, checks, of_object = versions_of(tree.load().table("raw.things"))
    assert [code == EVERY_WORD["raw.things"][0], checks == EVERY_WORD["raw.things"][1]] == [True, False]
    assert of_object == EVERY_WORD["raw.things"][2]


def test_when_a_kpi_is_final_is_part_of_its_checks_alone(tree: Tree) -> None:
    def versions_with(words: str) -> Versions:
        shop(tree).write("shop/marts/sold.sql", KPI.replace("kpi:\n", f"kpi:\n{words}"))
        return versions_of(tree.load().table("marts.sold"))

    assert versions_with("") == EVERY_WORD["marts.sold"]
    found = [
        versions_with(f"  final: {{{words}}}\n")
        for words in ("after_days: 3", "after_days: 4", "after_days: 3, on_change: hold")
    ]
    assert {code for code, _, _ in found} == {EVERY_WORD["marts.sold"][0]}
    assert len({EVERY_WORD["marts.sold"][1], *(checks for _, checks, _ in found)}) == 4


@contextmanager
def with_field(model: type[BaseModel], name: str, annotation: Any, default: Any = None) -> Iterator[None]:
    """Add a field to a model for the duration of the block."""
    fields = model.__pydantic_fields__
    fields[name] = FieldInfo.from_annotated_attribute(annotation, default)
    try:
        for each in (model, Header):
            each.model_rebuild(force=True)
        yield
    finally:
        del fields[name]
        for each in (model, Header):
            each.model_rebuild(force=True)


class Growth(Strict):
    """A header word with fields, as a later release might add."""

    column: Annotated[str, Affects.ROWS]
    note: Annotated[str, Affects.NOTHING] = ""
    strict: Annotated[bool, Affects.ROWS | Affects.CHECKS] = False


@pytest.mark.parametrize(
    ("model", "name", "annotation", "old", "new", "moved"),
    few(
        1,
        [
            (Column, "digits", int | None, "type: integer,", "type: integer, digits: 2,", Affects.ROWS),
            (Header, "color", int | None, "grain:", "color: 5\ngrain:", Affects.NOTHING),
            (
                Header,
                "growth",
                Growth | None,
                "grain:",
                "growth: {column: name}\ngrain:",
                Affects.ROWS | Affects.CHECKS,
            ),
        ],
    ),
)
def test_a_new_header_word_changes_its_declared_versions_of_files_with_it(
    tree: Tree, model: type[BaseModel], name: str, annotation: Any, old: str, new: str, moved: Affects
) -> None:
    with with_field(model, name, Annotated[annotation, moved]):
        assert shipped() == SHIPPED
        assert of_every_word(tree) == EVERY_WORD
        tree.write("shop/raw/things.sql", RAW.replace(old, new))
        found = versions_of(tree.load().table("raw.things"))
    axes = (Affects.ROWS, Affects.CHECKS, Affects.OBJECT)
    assert [now != was for now, was in zip(found, EVERY_WORD["raw.things"], strict=True)] == [
        axis in moved for axis in axes
    ]


def test_the_fields_of_a_new_word_affect_the_versions_that_they_declare(tree: Tree) -> None:
    found = []
    with with_field(Header, "growth", Annotated[Growth | None, Affects.ROWS | Affects.CHECKS]):
        for words in ("{column: a}", "{column: a, note: why}", "{column: a, strict: false}", "{column: b}"):
            shop(tree).write("shop/raw/things.sql", RAW.replace("grain:", f"growth: {words}\ngrain:"))
            found.append(versions_of(tree.load().table("raw.things")))
    assert found[0] == found[1] == found[2], "a note affects nothing, and a default equals a missing word"
    assert [now != was for now, was in zip(found[3], found[0], strict=True)] == [True, False, False]
