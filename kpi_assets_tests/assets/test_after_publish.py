"""Nothing after a publish fails its step: the build counts and downstream tables are built, whatever the values are."""

import math
from typing import Any

import dagster as dg
import pytest

from kpi_assets import drawing
from kpi_assets.assets import chart, metadata
from kpi_assets.model.names import Relation
from kpi_assets.model.results import CheckResult
from kpi_assets_tests.assets.test_gates import run
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.orders_pipeline import PRODUCTS, RAW, declare, deliver
from kpi_assets_tests.pipeline_harness import GOOD, RAW_THINGS, PipelineHarness

# Values that Python, JSON, an SVG or the API of the UI cannot represent.
EXTREMES = {
    "double precision": ["'Infinity'", "'-Infinity'", "'NaN'", "1.7e308", "5e-324"],
    "numeric": ["'Infinity'", "'NaN'", "'1e400'", "'-1e400'", "('1' || repeat('0', 6000))"],
    "date": ["'infinity'", "'-infinity'", "'10000-01-01'", "'4000-01-01 BC'"],
    "timestamp without time zone": ["'infinity'", "'-infinity'", "'294276-01-01'"],
    "timestamp with time zone": ["'infinity'", "'-infinity'", "'294276-01-01'"],
    "jsonb": ["""'{"a": [1, null]}'""", "('{\"a\": 1' || repeat('0', 6000) || '}')", "'1e400'"],
    "text": ["repeat('x', 5000000)", "E'\\x1b[31m\\u0007| *a* <b> &amp; `c`\\n'", "''"],
    "boolean": ["true", "false"],
}
KPI = """\
/* @asset
description: Values of one type.
owner: team:tests
grain: [number]
kpi:
  chart: {{x: {x}, y: {y}}}
columns:
  number: {{type: integer, description: Its number.}}
  value: {{type: {type}, description: The value.}}
@end */
select v.number, v.value::{type} as value
from (values {values}) as v (number, value)
where exists (select 1 from raw.things as t where t.load_date = %(load_date)s)
"""
AFTER = """\
/* @asset
description: What is built of it.
owner: team:tests
grain: [number]
columns:
  number: {type: integer, description: Its number.}
@end */
select number
from marts.odd
where load_date = %(load_date)s
"""


def odd(type_: str, x: str = "number", y: str = "value") -> str:
    values = ", ".join(f"({number}, {value}::text)" for number, value in enumerate(EXTREMES[type_], start=1))
    return KPI.format(type=type_, values=values, x=x, y=y)


def materialization(result: dg.ExecuteInProcessResult, table: str) -> dict[str, Any]:
    [found] = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[-1] == table
    ]
    return {name: value.value for name, value in found.metadata.items()}


@pytest.mark.parametrize(("x", "y"), few(1, [("number", "value"), ("value", "number")]))
def test_an_extreme_value_is_published_shown_and_built_upon(lab: PipelineHarness, x: str, y: str) -> None:
    """Build, in one run, a table for each type and a table that reads it."""
    lab.file("raw/things.sql", RAW_THINGS)
    tables = {type_: f"odd_{type_.replace(' ', '_')}" for type_ in EXTREMES}
    for type_, table in tables.items():
        lab.file(f"marts/{table}.sql", odd(type_, x, y))
        lab.file(f"marts/after_{table}.sql", AFTER.replace("marts.odd", f"marts.{table}"))
    lab.put_things(GOOD)
    result = run(lab, dg.DagsterInstance.ephemeral())
    assert result.success
    counts = {table: len(EXTREMES[type_]) for type_, table in tables.items()}
    published = lab.rows("select asset, rows from ops.published where asset like 'marts.%'")
    assert dict(published) == {
        f"marts.{before}{table}": count for table, count in counts.items() for before in ("", "after_")
    }
    for table, count in counts.items():
        shown = materialization(result, table)
        assert shown["chart"].startswith("!["), table
        assert shown["preview"].count("\n") == count + 1, table
        assert not [value for value in shown.values() if isinstance(value, float) and not math.isfinite(value)], table


def test_the_page_of_a_table_shows_what_was_set_aside(lab: PipelineHarness) -> None:
    lab.file("raw/orders.sql", RAW)
    lab.file("raw/products.sql", PRODUCTS)
    declare(lab, "not_null: [product_id]\nrange: {price: [0, null]}")
    deliver(lab, "5,,-5.00,paid", "6,,6.00,paid")
    result = run(lab, dg.DagsterInstance.ephemeral())
    assert result.success
    [shown] = [
        {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-2:] == ["stg", "orders"]
    ]
    assert {name: value for name, value in shown.items() if name.startswith("set_aside/")} == {
        "set_aside/waiting": 2,
        "set_aside/corrected": 0,
        "set_aside/accepted": 0,
        "set_aside/discarded": 0,
        "set_aside/by not_null(product_id)": 2,
        "set_aside/by range(price)": 1,
    }
    assert shown["quarantine"].splitlines()[2:] == [
        '| waiting | {"order\\_id": 5} | *NULL* | *NULL* | breaks not\\_null(product\\_id), range(price) | *NULL* | '
        '{"order\\_id":5,"product\\_id":null,"price":-5.00,"status":"paid"} |',
        '| waiting | {"order\\_id": 6} | *NULL* | *NULL* | breaks not\\_null(product\\_id) | *NULL* | '
        '{"order\\_id":6,"product\\_id":null,"price":6.00,"status":"paid"} |',
    ]


@pytest.mark.parametrize("broken", few(1, ["chart.markdown", "metadata.build_metadata", "metadata.check_metadata"]))
def test_an_error_while_a_build_is_described_fails_nothing(
    lab: PipelineHarness, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/odd.sql", odd("double precision"))
    lab.file("marts/after.sql", AFTER)
    lab.put_things(GOOD)

    def fails(*_words: object) -> None:
        raise OverflowError("cannot convert float infinity to integer")

    module, _, name = broken.partition(".")
    monkeypatch.setattr({"chart": chart, "metadata": metadata}[module], name, fails)
    instance = dg.DagsterInstance.ephemeral()
    result = run(lab, instance)
    assert result.success
    assert lab.rows("select asset from ops.published order by 1") == [("marts.after",), ("marts.odd",), ("raw.things",)]
    warned = [
        entry.message for entry in instance.all_logs(result.run_id) if "what was built stays published" in entry.message
    ]
    assert warned
    assert all("OverflowError: cannot convert float infinity to integer" in message for message in warned)


BARS = [("a", math.inf), ("b", 2.0), ("c", 1.0), ("d", math.nan), ("e", None), ("f", -math.inf), ("g", -3.0)]


def test_a_bar_is_as_long_as_its_value_if_the_value_is_finite() -> None:
    drawn = drawing.svg(BARS, "title")
    lengths = [int(part.partition('"')[0]) for part in drawn.split('width="')[3:]]
    whole = lengths[0]
    assert lengths == [whole, whole, round(whole / 2), 0, 0, 0, 0]
    for text in ("Infinity", "2", "1", "NaN", "NULL", "-Infinity", "-3"):
        assert f">{text}</text>" in drawn


@pytest.mark.parametrize("value", [1.7e308, 5e-324, -1.7e308])
def test_a_chart_of_any_single_value_is_drawn(value: float) -> None:
    assert "<svg" in drawing.svg([("a", value)], "title")


def test_no_value_is_markup_or_breaks_out_of_its_table_cell() -> None:
    rows = [{"a": "\x1b[31m|\n*b* <i> &lt; `c` ~~d~~ [e](f)"}]
    assert metadata.markdown_table(rows).md_str == (
        "| a |\n| --- |\n| \\\\x1b\\[31m\\|\\\\n\\*b\\* \\<i\\> \\&lt; \\`c\\` \\~\\~d\\~\\~ \\[e\\](f) |"
    )
    picture = drawing.svg([("<a>\x1b&", 1.0)], str(Relation("marts", "t")))
    assert "&lt;a&gt;\\x1b&amp;" in picture


@pytest.mark.parametrize(("metric", "shown"), [(math.inf, "inf"), (math.nan, "nan"), (10**400, str(10**400)), (2, 2.0)])
def test_a_metric_that_is_not_finite_is_shown_as_text(metric: float, shown: object) -> None:
    result = CheckResult(
        "c", passed=True, blocking=True, metric=metric, threshold=metric, message="", samples=[{"a": math.nan}]
    )
    found = metadata.check_metadata(result, {})
    assert (found["metric"], found["threshold"]) == (shown, shown)
    assert found["bad_row_1"] == '{"a": "NaN"}'


SOLD = """\
/* @asset
description: Things by name.
owner: team:tests
grain: [name]
columns:
  name: {type: text, description: Name.}
  weight: {type: numeric, description: Kilograms.}
@end */
select
    name,
    weight::numeric as weight
from raw.things
where load_date = %(load_date)s
"""


def test_the_measures_of_a_kpi_are_numbers_of_its_materialization(lab: PipelineHarness) -> None:
    measures = (
        "{things: {title: Things, value: count(*)}, mean: {title: Mean, value: sum(weight) / count(*), "
        "format: decimal2}, none: {title: None of them, value: sum(weight) filter (where name = 'nobody')}}"
    )
    kpi = f"kpi: {{chart: {{x: name, y: weight}}, measures: {measures}}}\ncolumns:"
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/sold.sql", SOLD.replace("columns:", kpi))
    lab.put_things(GOOD)
    found = materialization(run(lab, dg.DagsterInstance.ephemeral()), "sold")
    assert {name: value for name, value in found.items() if name.startswith("kpi/")} == {
        "kpi/things": 2,
        "kpi/mean": 10.25,
    }
