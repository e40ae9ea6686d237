"""The words of a KPI that readers see: measures, labels, dimensions and boards, and every error with its line."""

from decimal import Decimal
from pathlib import Path

import pytest

from kpi_assets.model.header import Header, split
from kpi_assets.model.measure import Measure
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.model.conftest import MART, YAML, Tree

PATH = Path("sql/shop/marts/sold.sql")
# Line 13 is the value, and the alert is on line 19.
KPI = """\
/* @asset
description: Orders of a day.
owner: team:tests
grain: [dow]
min_volume: {column: orders, at_least: 2}
kpi:
  title: Orders by day
  chart:
    x: dow
    y: orders
    labels: [Sunday, Monday]
  measures:
    orders: {title: Orders, value: sum(orders), unit: orders, better: up, target: {at_least: 7500}, compare: 1}
    items:
      title: Items per order
      value: sum(items) / sum(orders)
      description: Over all orders.
      format: decimal2
      alert: {below: 8, above: 12.5, change: {more_than: 0.3}, for: 3 load_dates}
  dimensions: [dow, country]
columns:
  dow: {type: smallint, description: Day.}
  country: {type: text, description: Country.}
  orders: {type: bigint, description: Orders.}
  items: {type: integer, description: Items.}
  paid: {type: boolean, description: Paid.}
  day: {type: date, description: Day.}
  notes: {type: json, description: Notes.}
  tags: {type: "text[]", description: Tags.}
@end */
select 1
"""


def header(text: str = KPI) -> Header:
    return split(PATH, text)[0]


def changed(old: str, new: str) -> str:
    assert KPI.count(old) == 1, old
    return KPI.replace(old, new)


def problem(text: str) -> str:
    with pytest.raises(ModelError) as caught:
        split(PATH, text)
    return str(caught.value).removeprefix(f"{PATH}:")


def test_the_words_of_a_measure_are_read_into_exact_values() -> None:
    found = header()
    assert found.kpi
    orders, items = found.kpi.measures.values()
    assert (found.kpi.title, [*found.kpi.measures]) == ("Orders by day", ["orders", "items"])
    assert (orders.title, orders.unit, orders.better, orders.compare, orders.format, orders.alert) == (
        *("Orders", "orders", "up", 1, "integer", None),
    )
    assert orders.target and (orders.target.number, orders.target.is_met(Decimal("7499.99"))) == (Decimal(7500), False)
    assert orders.target.is_met(Decimal(7500))
    assert items.alert and items.alert.change
    assert (items.alert.below, items.alert.above, items.alert.for_) == (Decimal(8), Decimal("12.5"), 3)
    assert items.alert.change.more_than == Decimal("0.3"), "not the nearest binary fraction"
    assert (items.compare, items.better, items.target, items.description) == (7, None, None, "Over all orders.")
    assert items.columns == ("items", "orders")
    assert found.measure_sql("items") == (
        '(sum("items"::numeric))::numeric / nullif((sum("orders"::numeric))::numeric, 0)'
    )


def test_a_bare_kpi_has_no_measures_and_the_dimensions_of_its_grain() -> None:
    bare = KPI[: KPI.index("  title")] + "  chart: {x: dow, y: orders}\n" + KPI[KPI.index("columns:") :]
    found = header(bare)
    assert found.kpi and (found.kpi.title, found.kpi.measures, found.dimensions) == (None, {}, ["dow"])
    assert header().dimensions == ["dow", "country"]
    assert header(changed("dimensions: [dow, country]", "dimensions: []")).dimensions == []


def test_the_version_of_a_measure_is_that_of_what_it_computes() -> None:
    def version(value: str) -> str:
        return Measure(title="A", value=value).version

    assert version("sum(orders)") == version(" SUM( orders ) -- all") != version("sum(items)")
    assert version("sum(orders)") == "89fa5cb7ef724d5d"


@pytest.mark.parametrize("words", ["at_most: 3", "at_most: 3.0"])
def test_a_target_may_be_the_most(words: str) -> None:
    found = header(changed("at_least: 7500", words)).kpi
    assert found and found.measures["orders"].target
    assert [found.measures["orders"].target.is_met(Decimal(value)) for value in ("3", "3.01")] == [True, False]


@pytest.mark.parametrize(
    ("labels", "x", "value", "label"),
    [
        ("[Sunday, Monday]", "dow", 1, "Monday"),
        ("[Sunday, Monday]", "dow", 2, "2"),
        ("{6: Saturday, 0: Sunday}", "dow", 6, "Saturday"),
        ("{de: Germany, '': nowhere}", "country", "", "nowhere"),
        ("{true: paid, false: open}", "paid", False, "open"),
    ],
)
def test_labels_name_values(labels: str, x: str, value: object, label: str) -> None:
    text = changed("labels: [Sunday, Monday]", f"labels: {labels}").replace("x: dow", f"x: {x}")
    found = header(text).kpi
    assert found and found.chart.label(value) == label


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("value: sum(orders)", "value: sum(order)", 13, "kpi.measures.orders.value: 'order' is not one of the columns"),
        ("value: sum(orders)", "value: count(notes)", 13, "kpi.measures.orders.value: 'notes' is json, of which"),
        ("value: sum(orders)", "value: sum(country)", 13, "kpi.measures.orders.value: 'country' is a text: a number"),
        ("value: sum(orders)", "value: orders", 13, "kpi.measures.orders.value: 'orders' stands outside an aggregate"),
        ("value: sum(orders)", "value: pg_sleep(1)", 13, "kpi.measures.orders.value: 'PG_SLEEP(1)' cannot stand"),
        ("value: sum(orders),", "", 13, "'kpi.measures.orders.value' is missing: add it, as in `value: sum(total_"),
        (
            "value: sum(items) / sum(orders)",
            "value: sum(items) filter (where not is_low_volume)",
            16,
            "kpi.measures.items.value: readers are shown no row with is_low_volume: take it out",
        ),
        (
            "title: Items per order",
            "title: orders",
            15,
            "kpi.measures.items.title: 'orders' is the title of orders too",
        ),
        ("title: Orders,", "title: '',", 13, "kpi.measures.orders.title: '' is too short: write at least 1"),
        ("title: Orders,", 'title: "a\\nb",', 13, "kpi.measures.orders.title: 'a\\nb' has a line end or another"),
        ("    orders: {title", "    Orders: {title", 13, "'Orders' is not a valid name"),
        (
            "format: decimal2",
            "format: decimal9",
            18,
            "kpi.measures.items.format: 'decimal9' is no format: write integer",
        ),
        (
            "better: up",
            "better: more",
            13,
            "kpi.measures.orders.better: 'more' is not known here: write 'up' or 'down'",
        ),
        ("at_least: 7500", "at_least: 1, at_most: 2", 13, "kpi.measures.orders.target: a target is either at_least or"),
        ("{at_least: 7500}", "{}", 13, "kpi.measures.orders.target: a target is either at_least or at_most"),
        ("at_least: 7500", "at_least: '7500'", 13, "kpi.measures.orders.target.at_least: '7500' is not a number"),
        ("at_least: 7500", "at_least: true", 13, "kpi.measures.orders.target.at_least: true is not a number"),
        ("at_least: 7500", "at_least: .nan", 13, "kpi.measures.orders.target.at_least: nan is not a number to compare"),
        ("compare: 1", "compare: 0", 13, "kpi.measures.orders.compare: 0 is too small: write 1 or more"),
        ("below: 8", "below: 12.5", 19, "kpi.measures.items.alert: no value is right below 12.5 and above 12.5"),
        ("{below: 8, above: 12.5, change: {more_than: 0.3}, for", "{for", 19, "it does not say when people are told"),
        ("more_than: 0.3", "more_than: 0", 19, "kpi.measures.items.alert.change.more_than: 0 is too small: write more"),
        (
            "for: 3 load_dates",
            "for: 3",
            19,
            "kpi.measures.items.alert.for: 3 is no number of load_dates: write `3 load",
        ),
        ("for: 3 load_dates", "for: 0 load_dates", 19, "'0 load_dates' is no number of load_dates"),
        ("for: 3 load_dates", "for: 10 minutes", 19, "'10 minutes' is for tables that grow within their load_date"),
        ("for: 3 load_dates", "fur: 3 load_dates", 19, "unknown word 'kpi.measures.items.alert.fur': write 'for'"),
        ("labels: [Sunday, Monday]", "labels: []", 11, "kpi.chart.labels: it has no labels: write them, or take the"),
        ("labels: [Sunday, Monday]", "labels: [1, 2]", 11, "kpi.chart.labels.0: 1 is not text: write a name"),
        ("labels: [Sunday, Monday]", "labels: Sunday", 11, "kpi.chart.labels: 'Sunday' names no values: write a list"),
        (
            "labels: [Sunday, Monday]",
            "labels: {one: Monday}",
            11,
            "kpi.chart.labels: 'one' is no value of 'dow', which",
        ),
        ("x: dow", "x: day", 11, "kpi.chart.labels: 'day' is date, whose values speak for themselves: take the labels"),
        ("x: dow", "x: weekday", 9, "kpi.chart.x: 'weekday' is not one of the columns"),
        ("[dow, country]", "[dow, city]", 20, "kpi.dimensions.1: 'city' is not one of the columns"),
        ("[dow, country]", "[dow, dow]", 20, "kpi.dimensions.1: 'dow' is named twice: take it out once"),
        ("[dow, country]", "[tags]", 20, "kpi.dimensions.0: 'tags' is text[], of which nobody filters a value"),
        ("[dow, country]", "[is_low_volume]", 20, "kpi.dimensions.0: readers are shown no row with is_low_volume"),
        ("[dow, country]", "[notes]", 20, "kpi.dimensions.0: 'notes' is json"),
        ("  measures:", "  measure:", 12, "unknown word 'kpi.measure': write 'measures'"),
    ],
)
def test_a_word_that_cannot_be_right_is_refused_with_its_line(old: str, new: str, line: int, sentence: str) -> None:
    found = problem(changed(old, new))
    assert found.startswith(f"{line}: ") and sentence in found, found


def test_the_errors_of_all_measures_are_reported_together() -> None:
    text = changed("value: sum(orders)", "value: sum(order)").replace("value: sum(items)", "value: sum(item)")
    found = problem(text).splitlines()
    assert [line.partition(" is not one")[0] for line in found] == [
        "13: kpi.measures.orders.value: 'order'",
        f"{PATH}:16: kpi.measures.items.value: 'item'",
    ]


# ---- boards


MEASURES = "{sum_of_ids: {title: Sum, value: sum(thing_id)}, rows: {title: Rows, value: count(*)}}"
SOLD = MART.replace("columns:", f"kpi: {{chart: {{x: name, y: thing_id}}, measures: {MEASURES}}}\ncolumns:")


def shop(tree: Tree, boards: str) -> Tree:
    """Write two KPIs of one name, one of another, and a pipeline.yaml whose line 6 is `boards`."""
    tree.write("shop/pipeline.yaml", f"{YAML.replace('marts: marts}', 'marts: marts, eu: marts}')}{boards}\n")
    for name in ("marts/sold", "eu/sold", "marts/things"):
        tree.write(f"shop/{name}.sql", SOLD)
    return tree


def test_a_board_names_tiles_in_their_order(tree: Tree) -> None:
    boards = "boards: {Growth & more: [things.rows, eu.sold.rows, marts.sold.rows], Ids: [marts.things.sum_of_ids]}"
    found = shop(tree, boards).load()
    assert {
        name: [f"{table.relation}.{measure}" for table, measure in tiles] for name, tiles in found.boards.items()
    } == {
        "Growth & more": ["marts.things.rows", "eu.sold.rows", "marts.sold.rows"],
        "Ids": ["marts.things.sum_of_ids"],
    }
    assert sorted(found.tile_names) == [
        *("eu.sold.rows", "eu.sold.sum_of_ids", "marts.sold.rows", "marts.sold.sum_of_ids"),
        *("things.rows", "things.sum_of_ids"),
    ]


@pytest.mark.parametrize(
    ("boards", "sentence"),
    [
        ("boards: {Growth: [things.row]}", "boards.Growth: 'things.row' is no measure of a KPI: write things.rows, or"),
        ("boards: {Growth: [sold.rows]}", "'sold.rows' is a measure of eu.sold and of marts.sold: write the schema"),
        ("boards: {Growth: [things.rows, marts.things.rows]}", "'marts.things.rows' stands here twice: take it"),
        ("boards: {Growth: [things]}", "boards.Growth.0: 'things' is no measure of a KPI: write kpi.measure or"),
        ("boards: {Growth: []}", "boards.Growth: it has 0 parts: write at least 1"),
        ("boards: {a/b: [things.rows]}", "'a/b' is no name of a board: write up to 60 letters, digits and blanks"),
        ("boards:", "boards: it is empty: write its value, or take the word out"),
    ],
)
def test_a_board_that_cannot_be_right_is_refused_with_its_line(tree: Tree, boards: str, sentence: str) -> None:
    found = shop(tree, boards).error()
    assert found.startswith("pipeline.yaml:6: ") and sentence in found, found


def test_a_board_needs_measures(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", f"{YAML}boards: {{Growth: [sold.rows]}}\n")
    assert tree.error() == (
        "pipeline.yaml:6: boards.Growth: 'sold.rows' is no measure of a KPI: no KPI of this pipeline has "
        "measures, so write them in its header first"
    )
