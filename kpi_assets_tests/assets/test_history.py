"""What the UI shows of a history: its columns, where they come from, and what each build changed in its versions."""

import dagster as dg

from kpi_assets.assets.metadata import build_metadata, column_lineage, column_schema
from kpi_assets_tests.assets.test_gates import run
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_harness import Customers, day, surrogate_key

A, B = ("John", "NYC", "1.0"), ("John", "LA", "1.0")
MADE = ["customer_sk", "effective_date", "end_date", "is_current", "is_active", "updated_at"]


def test_the_schema_has_the_columns_of_versions_and_no_load_date(lab: PipelineHarness) -> None:
    table = Customers(lab).lab.pipeline().table("marts.customers")
    columns = {column.name: (column.type, column.description) for column in column_schema(table).columns}
    assert list(columns) == [MADE[0], "customer_id", "name", "city", "score", *MADE[1:]]
    assert columns["customer_sk"] == ("bigint", "Number of the version, made of customer_id, effective_date.")
    assert columns["updated_at"] == ("date", "Last day with a change.")
    assert columns["end_date"][0] == "date"


def test_the_number_of_a_version_comes_from_the_key_and_its_dates_from_all_columns(lab: PipelineHarness) -> None:
    pipeline = Customers(lab).lab.pipeline()
    lineage = column_lineage(pipeline, pipeline.table("marts.customers")).deps_by_column
    found = {name: [dep.column_name for dep in deps] for name, deps in lineage.items()}
    everything = ["city", "customer_id", "name", "score"]
    assert found == {
        **{name: [name] for name in everything},
        **dict.fromkeys(MADE, everything),
        "customer_sk": ["customer_id"],
    }
    assert {dep.asset_key.path[-1] for deps in lineage.values() for dep in deps} == {"customers"}


def test_a_build_says_what_it_changed_in_the_versions(lab: PipelineHarness) -> None:
    customers = Customers(lab)
    customers.deliver(day(0), {"C1": A, "C2": A})
    customers.deliver(day(9), {"C1": B, "C3": A})
    late = customers.deliver(day(5), {"C1": A, "C2": B, "C3": A})
    pipeline = lab.pipeline()
    shown = build_metadata(pipeline, pipeline.table("marts.customers"), late)
    counts = {name: value for name, value in shown.items() if name.startswith("versions")}
    assert counts == {"versions/new": 1, "versions/changed": 1, "versions/ended": 0}
    assert (shown["dagster/row_count"], shown["dagster/partition_row_count"]) == (3, 3)
    lines = shown["preview"].value.splitlines()
    assert lines[0] == "| customer_sk | customer_id | name | city | score | " + " | ".join(MADE[1:]) + " |"
    number = surrogate_key('"C1"', day(0))
    assert lines[2].replace("\\_", "_") == (
        f"| {number} | C1 | John | NYC | 1.0 | {day(0)} | *NULL* | true | true | {day(0)} |"
    )
    assert len(lines) == 2 + 3
    again = customers.deliver(day(5), {"C1": A, "C2": B, "C3": A})
    shown = build_metadata(pipeline, pipeline.table("marts.customers"), again)
    assert [shown[f"versions/{name}"] for name in ("new", "changed", "ended")] == [0, 0, 0]


def test_a_run_materializes_the_figures_of_the_versions(lab: PipelineHarness) -> None:
    customers = Customers(lab)
    customers.deliver(day(0), {"C1": A, "C2": A})
    customers.land(day(1), {"C1": B, "C2": A})
    result = run(lab, dg.DagsterInstance.ephemeral(), day(1))
    [made] = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[1:] == ["marts", "customers"]
    ]
    shown = {name: value.value for name, value in made.metadata.items()}
    assert {name: shown[name] for name in shown if name.startswith("versions")} == {
        "versions/new": 0,
        "versions/changed": 1,
        "versions/ended": 0,
    }
    assert [column.name for column in shown["dagster/column_schema"].columns][:2] == ["customer_sk", "customer_id"]
