"""`kpi run`: what is published, what is selected, and what a gate held."""

import json
from datetime import date

import pytest

from kpi_assets.cli.selection import select_names
from kpi_assets.errors import UsageError
from kpi_assets_tests.cli.command import CliHarness, Output
from kpi_assets_tests.cli.conftest import Published
from kpi_assets_tests.cli.test_usage import NAMES, TABLES
from kpi_assets_tests.shipped import ASSETS, PIPELINE

BAD, ALONE = date(2025, 6, 11), date(2025, 1, 20)


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def assets(said: Output) -> list[str]:
    """Return the assets in the output of a run, in order; an incident that another test left may end in it."""
    return [line.split()[0] for line in said.err.splitlines() if not line.startswith("alert: ")]


def test_each_asset_is_published_after_what_it_reads(kpi: CliHarness, published: Published) -> None:
    order = assets(published.said)
    assert sorted(order) == sorted(NAMES.split(", "))
    for relation, table in PIPELINE.tables.items():
        before = [f"s3.{relation.table}"] if table.has_object else [str(other) for other in table.reads]
        assert all(order.index(name) < order.index(str(relation)) for name in before), relation


def test_each_published_table_is_shown_and_its_rows_accounted_for(kpi: CliHarness, published: Published) -> None:
    assert published.said.line("raw.orders ").startswith("raw.orders published")
    assert published.said.line("raw.orders ").endswith("2,000 rows")
    assert published.said.line("s3.orders").startswith("s3.orders verified")
    passed, summary = lines(published.said.out)
    assert summary == f"published instacart, load_date 2025-06-10: {ASSETS} assets"
    assert set(published.tables) == set(TABLES.split(", "))
    records = sum(path.read_bytes().count(b"\n") - 1 for path in published.files.iterdir())
    [(run_id, *accounts)] = kpi.rows(
        "select run_id, status, rows_extracted, rows_loaded_raw, rows_quarantined, ended_at is not null "
        "from ops.pipeline_runs where job = 'instacart' and load_date = %s order by id limit 1",
        published.day,
    )
    [(checks,)] = kpi.rows("select count(*) from ops.data_quality_results where run_id = %s", run_id)
    assert passed == f"{checks} pass"
    assert accounts == ["success", records, records, 0, True]
    assert kpi.rows("select status from runs where run_id = %s", run_id, database="dagster") == [("SUCCESS",)]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ("", NAMES),
        ("s3.orders", "s3.orders"),
        ("raw.orders,s3.orders", "s3.orders, raw.orders"),
        ("marts", NAMES[NAMES.index("marts.dim") :]),
        ("+raw.orders", "s3.orders, raw.orders"),
        (
            "+stg.stg_products",
            "s3.aisles, s3.departments, s3.products, raw.aisles, raw.departments, raw.products, stg.stg_products",
        ),
        ("marts.fact_orders+", "marts.fact_orders, marts.kpi_orders_by_dow, marts.kpi_orders_by_dow_28d"),
        ("stg.stg_products+", "stg.stg_products, marts.dim_products, marts.kpi_products_reorder"),
        (
            "+raw.aisles+",
            "s3.aisles, raw.aisles, raw.products, raw.order_products_prior, stg.stg_products, "
            "stg.stg_order_products_prior, marts.dim_products, marts.fact_order_items, marts.fact_orders, "
            "marts.kpi_products_reorder, marts.kpi_orders_by_dow, marts.kpi_orders_by_dow_28d",
        ),
        (" marts.kpi_orders_by_dow , raw.aisles", "raw.aisles, marts.kpi_orders_by_dow"),
    ],
)
def test_a_selection_names_tables_and_what_is_up_or_downstream(keys: str, names: str) -> None:
    assert select_names(PIPELINE, keys) == names.split(", ")


@pytest.mark.parametrize("keys", ["orders", "raw.", "raw.orders,", "+", "instacart.raw.orders", "RAW.orders"])
def test_a_selection_of_an_unknown_name_is_wrong_usage(keys: str) -> None:
    with pytest.raises(UsageError, match="instacart has no "):
        select_names(PIPELINE, keys)


@pytest.fixture(scope="module")
def alone(kpi: CliHarness) -> Output:
    """A run of a few assets for the load_date of RUN_DATE."""
    kpi.upload(ALONE, kpi.sample(ALONE, 300))
    return kpi("run", "instacart", "--select", "+raw.departments,s3.aisles", RUN_DATE=str(ALONE))


def test_only_the_selection_is_run_and_run_date_gives_the_load_date(kpi: CliHarness, alone: Output) -> None:
    assert assets(alone) == ["s3.aisles", "s3.departments", "raw.departments"]
    assert lines(alone.out)[-1] == f"published instacart, load_date {ALONE}: 3 assets"
    assert set(kpi.published(ALONE)) == {"raw.departments"}


@pytest.fixture(scope="module")
def held(kpi: CliHarness, published: Published) -> Output:
    """A run of all assets for BAD, with three faults in its lines."""
    kpi.upload(BAD, kpi.sample(BAD, 2000, ["duplicate_line", "orphan_product", "reordered_7"]))
    return kpi("run", "instacart", "--load-date", BAD, code=3)


def test_a_held_run_names_the_checks_the_counts_and_the_rows(kpi: CliHarness, held: Output) -> None:
    for check in ("grain", "foreign_key__product_id", "accepted_values__reordered"):
        assert held.line(f"raw.order_products_prior {check} ") == f"raw.order_products_prior {check} fail 1 0 1 bad row"
    samples = [json.loads(line) for line in held.out.splitlines() if line.startswith("  {")]
    assert len(samples) == 3
    [duplicate] = [row for row in samples if "rows" in row]
    [orphan] = [row for row in samples if row.get("product_id") == 2000000000]
    [seven] = [row for row in samples if row.get("reordered") == 7]
    assert duplicate["rows"] == 2
    assert {*orphan} == {*seven} == {"order_id", "product_id", "add_to_cart_order", "reordered"}
    [(candidate,)] = kpi.rows("select candidate from ops.pipeline_runs where load_date = %s and candidate <> ''", BAD)
    assert held.line("held raw.order_products_prior:") == (
        "held raw.order_products_prior: held by grain, accepted_values__reordered, foreign_key__product_id; read from "
        "s3://kpi-instacart/raw/order_products_prior/load_date=2025-06-11/order_products__prior.csv; "
        f"the candidate is kept as {candidate}"
    )
    [(rows,)] = kpi.rows(f"select count(*) from {candidate}")
    assert rows > 10_000


def test_nothing_downstream_of_a_held_table_is_published_and_the_rest_is(kpi: CliHarness, held: Output) -> None:
    assert set(kpi.published(BAD)) == {
        *("raw.orders", "raw.products", "raw.aisles", "raw.departments", "stg.stg_orders", "stg.stg_products"),
        "marts.dim_products",
    }
    for name in ("stg.stg_order_products_prior", "marts.fact_orders", "marts.kpi_orders_by_dow"):
        assert "skipped" in held.line(f"{name} ")
    assert kpi.rows("select distinct load_date from marts.kpi_orders_by_dow_latest") == kpi.rows(
        "select max(load_date) from ops.published where asset = 'marts.kpi_orders_by_dow'"
    )


def test_the_status_shows_the_servers_and_the_state_of_each_load_date(
    kpi: CliHarness, held: Output, alone: Output
) -> None:
    said = kpi("status", "--all")
    for name in ("postgres", "s3"):
        assert said.line(f"{name} running")
    for name in ("web UI", "daemon"):
        assert said.line(f"{name} down")
    assert said.line("load_date s3 raw stg") == "load_date s3 raw stg marts"
    assert said.line("2025-06-10") == "2025-06-10 published published published published"
    assert said.line(f"{BAD}") == f"{BAD} published held: order_products_prior 2 of 3 published 1 of 6 published"
    assert said.line(f"{ALONE}") == f"{ALONE} 2 of 5 published 1 of 5 published missing missing"


@pytest.mark.nightly
def test_downstream_tables_do_not_get_past_the_gate_until_the_files_are_corrected(
    kpi: CliHarness, held: Output
) -> None:
    alone = kpi("run", "instacart", "--load-date", BAD, "--select", "marts.fact_order_items", code=1)
    assert alone.out == (
        "failed marts.fact_order_items: marts.fact_order_items of 2025-06-11 cannot be built: "
        "stg.stg_order_products_prior of that load_date must be published first; build that.\n"
    )
    assert "marts.fact_order_items" not in kpi.published(BAD)

    corrected = kpi.sample(BAD, 2000)
    kpi("land", "instacart", "--load-date", BAD, "--from", corrected, "--replace")
    healed = kpi("run", "instacart", "--load-date", BAD)

    assert lines(healed.out)[-1] == f"published instacart, load_date {BAD}: {ASSETS} assets"
    assert set(kpi.published(BAD)) == set(TABLES.split(", "))
    assert kpi.rows("select sum(total_orders)::int from marts.kpi_orders_by_dow where load_date = %s", BAD) == [(2000,)]
    assert kpi.rows(
        "select count(*) from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r' "
        "and not relispartition and relname like '%20250611%'"
    ) == [(0,)], "the held candidate is removed"
