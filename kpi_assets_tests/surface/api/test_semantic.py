"""The semantic model: what other tools are told of tables and measures."""

import json
from pathlib import Path

from kpi_assets.surface.api.semantic import semantic_model
from kpi_assets_tests import shipped
from kpi_assets_tests.surface.api.made import pipeline


def ansi(expression: str) -> dict[str, object]:
    return {"dialects": [{"dialect": "ANSI_SQL", "expression": expression}]}


def test_a_pipeline_is_a_model_of_the_tables_that_readers_may_read(tmp_path: Path) -> None:
    shop = pipeline(tmp_path)
    found = semantic_model({"shop": shop})
    [model] = found["semantic_model"]
    assert (found["version"], model["name"], model["description"]) == ("0.2.0.dev0", "shop", "A shop of one test.")
    weighed, heavy = model["datasets"]
    assert (weighed["name"], heavy["name"]) == ("weighed", "heavy")
    assert heavy["source"] == "shop.marts.heavy"
    assert heavy["primary_key"] == ["load_date", "label"]
    assert [(each["name"], each["datatype"], each.get("dimension")) for each in heavy["fields"]] == [
        ("load_date", "Date", {"is_time": True}),
        ("label", "String", {"is_time": False}),
        ("weight", "Decimal", None),
    ]
    [about] = heavy["custom_extensions"]
    assert (about["vendor_name"], json.loads(about["data"])) == (
        "KPI_ASSETS",
        {"load_date_is": "partition", "owner": "team:tests", "code_version": shop.table("marts.heavy").code_version},
    )
    assert [(each["name"], each["expression"], each["datatype"]) for each in model["metrics"]] == [
        ("heavy_kilograms", ansi("SUM(heavy.weight)"), "Decimal"),
        ("heavy_labels", ansi("COUNT(*)"), "Integer"),
    ]
    assert json.loads(model["metrics"][0]["custom_extensions"][0]["data"]) == {
        "title": "Weight",
        "format": "decimal1",
        "unit": "kg",
        "better": "up",
    }
    assert json.loads(model["metrics"][1]["custom_extensions"][0]["data"])["target"] == {"at_least": "2"}


def test_a_reference_between_tables_of_readers_is_a_relationship() -> None:
    [found] = semantic_model({"retail": shipped.PIPELINES["retail"]})["semantic_model"]
    assert found["relationships"][0] == {
        "name": "fact_sales_retailer_id",
        "from": "fact_sales",
        "to": "dim_retailer",
        "from_columns": ["load_date", "retailer_id"],
        "to_columns": ["load_date", "retailer_id"],
    }


def test_what_readers_may_not_read_is_no_part_of_the_model() -> None:
    [found] = semantic_model({"ecommerce": shipped.PIPELINES["ecommerce"]})["semantic_model"]
    assert "relationships" not in found
    datasets = {each["name"]: each for each in found["datasets"]}
    assert "user_id" not in {field["name"] for each in datasets.values() for field in each["fields"]}
    without_key = {name for name, each in datasets.items() if "primary_key" not in each}
    assert without_key == {"dim_user", "kpi_repeat_customers"}
    assert datasets["fact_orders"]["primary_key"] == ["load_date", "order_id"]
