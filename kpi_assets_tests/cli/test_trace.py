"""`kpi trace` goes from a row of a KPI down to lines of the objects on S3."""

import json
from typing import Any

from kpi_assets_tests.cli.command import CliHarness, key
from kpi_assets_tests.cli.conftest import DAY, Published

OF_DAY = ("--load-date", str(DAY))  # other tests may have published later load_dates


def line_of(published: Published, file: str, number: int) -> str:
    return (published.files / file).read_text().split("\n")[number - 1]


def below(step: dict[str, Any], *tables: str) -> dict[str, Any]:
    """Return the step that is reached by way of these tables."""
    for name in tables:
        [step] = [each for each in step["sources"] if each["table"] == name]
    return step


def test_a_kpi_is_followed_to_lines_of_the_objects(kpi: CliHarness, published: Published) -> None:
    said = kpi("trace", "instacart", "marts.kpi_orders_by_dow", "3", *OF_DAY, "--format", "json")
    step = json.loads(said.out)
    [row] = step["rows"]
    orders = kpi.rows("select order_id from marts.fact_orders where load_date = %s and order_dow = 3 order by 1", DAY)
    fact = below(step, "marts.fact_orders")
    assert (str(len(orders)), len(orders)) == (row["values"]["total_orders"], fact["count"])
    assert [each["values"]["order_id"] for each in fact["rows"]] == [str(order) for (order,) in orders[:20]]
    assert fact["by"] == ["order_dow"]
    assert step["computed"]["total_orders"] == "COUNT(*)"

    raw = below(fact, "stg.stg_orders", "raw.orders")
    assert raw["count"] == len(orders)
    for each in raw["rows"]:
        origin = each["origin"]
        assert origin["object"] == f"s3://kpi-instacart/{key('orders.csv', DAY)}"
        assert origin["record"] == line_of(published, "orders.csv", origin["line"])
        assert origin["record"].startswith(f"{each['values']['order_id']},")
    lines = below(fact, "stg.stg_order_products_prior", "raw.order_products_prior")
    counted = kpi.rows(
        "select count(*) from raw.order_products_prior where load_date = %s and order_id = any(%s)",
        DAY,
        [order for (order,) in orders],
    )
    assert [(lines["count"],)] == counted
    for each in lines["rows"]:
        origin = each["origin"]
        assert origin["record"] == line_of(published, "order_products__prior.csv", origin["line"])


def test_the_tree_shows_hostile_values_as_text(kpi: CliHarness, published: Published) -> None:
    said = kpi.process("trace", "instacart", "raw.aisles", "5", *OF_DAY)
    assert said.out.splitlines() == [
        f"raw.aisles of {DAY}: 1 row",
        f'└── aisle_id=5: s3://kpi-instacart/{key("aisles.csv", DAY)} line 6: 5,"\\tx"',
    ]
    said = kpi("trace", "instacart", "stg.stg_products", "product_id=1", *OF_DAY)
    assert said.line("stg.stg_products").startswith(f"stg.stg_products of {DAY}: 1 row")
    assert said.line("raw.products").endswith("1 row, by product_id, product_name, aisle_id, department_id")
    assert said.line("raw.aisles").endswith("1 row, by aisle_id, aisle")
    assert said.line("raw/departments/").count("line ") == 1


def test_a_row_that_is_not_there_is_an_error(kpi: CliHarness, published: Published) -> None:
    kpi.fails(
        f"marts.kpi_orders_by_dow of {DAY} has no row with order_dow=9: correct the key.",
        *("trace", "instacart", "marts.kpi_orders_by_dow", "order_dow=9", *OF_DAY),
    )
    kpi.fails(
        "'Monday' is not a value of 'order_dow' of marts.kpi_orders_by_dow, which is smallint: correct it.",
        *("trace", "instacart", "marts.kpi_orders_by_dow", "Monday", *OF_DAY),
        code=2,
    )
