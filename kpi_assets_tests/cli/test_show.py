"""Commands that read: `kpi show`, `kpi checks`, `kpi url`, `kpi status`; and `kpi recheck`."""

import csv
import io
import json
import subprocess
from datetime import date
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import Literal

from kpi_assets_tests.cli.command import KPI, CliHarness
from kpi_assets_tests.cli.conftest import FORMULAS, HOSTILE, Published

BY_DOW = "marts.kpi_orders_by_dow"
COLUMNS = ["order_dow", "total_orders", "avg_items_per_order", "pct_orders_with_any_reorder", "avg_reorder_item_rate"]
MANY_ORDERS = "  many_orders: {severity: warn, bad_rows: 'select * from {this} where total_orders < 100000'}\n@end */"


def expected(kpi: CliHarness, day: date) -> list[tuple[str, ...]]:
    columns = ", ".join(f"{name}::text" for name in COLUMNS)
    return kpi.rows(f"select {columns} from {BY_DOW} where load_date = %s order by order_dow", day)


def latest(kpi: CliHarness) -> date:
    [(day,)] = kpi.rows("select max(load_date) from ops.published where asset = %s", BY_DOW)
    assert isinstance(day, date)
    return day


def test_show_prints_the_latest_load_date_as_a_table(kpi: CliHarness, published: Published) -> None:
    said = kpi("show", "instacart", BY_DOW)
    assert said.line(BY_DOW) == f"{BY_DOW}, load_date {latest(kpi)}"
    assert said.line(*COLUMNS) == " ".join(COLUMNS)
    rows = [" ".join(line.split()) for line in said.out.splitlines() if line.strip()[:1].isdigit()]
    assert [row.replace(",", "") for row in rows] == [" ".join(row) for row in expected(kpi, latest(kpi))]


def test_another_load_date_is_shown_as_csv(kpi: CliHarness, published: Published) -> None:
    said = kpi("show", "instacart", BY_DOW, "--load-date", published.day, "--format", "csv")
    assert list(csv.reader(io.StringIO(said.out))) == [COLUMNS, *map(list, expected(kpi, published.day))]
    assert said.err == ""


def test_json_is_a_list_of_objects(kpi: CliHarness, published: Published) -> None:
    said = kpi("show", "instacart", BY_DOW, "--load-date", published.day, "--format", "json")
    found = json.loads(said.out)
    assert [tuple(str(row[name]) for name in COLUMNS) for row in found] == expected(kpi, published.day)
    assert [list(row) for row in found] == [COLUMNS] * 7


def test_a_long_table_says_how_much_of_it_is_shown(kpi: CliHarness, published: Published) -> None:
    said = kpi("show", "instacart", "marts.dim_products", "--load-date", published.day, "--limit", 3)
    assert said.line("of 1,201 rows") == "3 of 1,201 rows: --limit and --format csv show more."
    assert len([line for line in said.out.splitlines() if line.strip()[:1].isdigit()]) == 3 + 1


def test_a_long_text_is_shown_as_an_excerpt_and_exported_whole(kpi: CliHarness, published: Published) -> None:
    words = ("show", "instacart", "marts.dim_products", "--load-date", published.day, "--limit", 1)
    change = "update marts.dim_products set product_name = {} where load_date = '{}' and product_id = 1"
    [(name,)] = kpi.rows(
        "select product_name from marts.dim_products where load_date = %s and product_id = 1", published.day
    )
    kpi.execute(change.format("repeat('y', 5000)", published.day))
    try:
        shown, exported = kpi(*words), kpi(*words, "--format", "csv")
    finally:
        kpi.execute(change.format(Literal(name).as_string(), published.day))
    assert shown.out.count("y" * 10) < 100 < exported.out.count("y" * 10)
    assert "(cut)" in shown.out
    assert "y" * 5000 in exported.out


def test_rows_of_low_volume_are_shown_only_with_the_option_all(kpi: CliHarness, published: Published) -> None:
    name, words = "marts.kpi_products_reorder", ("--load-date", published.day, "--format", "json")
    counts = (
        "select count(*), count(*) filter (where is_low_volume) from marts.kpi_products_reorder where load_date = %s"
    )
    [(rows, low)] = kpi.rows(counts, published.day)
    assert 0 < low < rows
    said = kpi("show", "instacart", name, *words)
    shown = json.loads(said.out)
    assert (len(shown), min(row["orders_with_product"] for row in shown)) == (rows - low, 20)
    assert "is_low_volume" not in shown[0]
    assert said.err == f"{low:,} of {rows:,} rows are left out for their low volume: --all shows them.\n"
    said = kpi("show", "instacart", name, *words, "--all")
    everything = json.loads(said.out)
    assert (len(everything), sum(row["is_low_volume"] for row in everything), said.err) == (rows, low, "")


def exported(kpi: CliHarness, day: date, *words: str) -> list[str]:
    """Return the names of aisles as CSV in bytes, because reading the pipe as text would change line ends."""
    command = [KPI, "show", "instacart", "raw.aisles", "--load-date", str(day), "--format", "csv", *words]
    done = subprocess.run(command, env=kpi.environment, cwd=kpi.folder, stdout=subprocess.PIPE, check=True)
    return [name for _, name in csv.reader(io.StringIO(done.stdout.decode(), newline=""))][1:]


def test_csv_holds_the_stored_values_and_escapes_formulas_only_with_the_option(
    kpi: CliHarness, published: Published
) -> None:
    stored = [
        name
        for (name,) in kpi.rows("select aisle from raw.aisles where load_date = %s order by aisle_id", published.day)
    ]
    assert stored[: len(HOSTILE)] == HOSTILE, "the stored values are the delivered ones"
    assert exported(kpi, published.day) == stored
    harmless = [*(f"'{name}" for name in FORMULAS), *stored[len(FORMULAS) :]]
    assert exported(kpi, published.day, "--no-formulas") == harmless
    kpi.fails(
        "--no-formulas is for spreadsheets: give --format csv too, or leave it out.",
        *("show", "instacart", "raw.aisles", "--no-formulas"),
        code=2,
    )
    assert "--no-formulas" in kpi("show", "--help").out


def test_what_is_not_published_cannot_be_shown(kpi: CliHarness, published: Published) -> None:
    kpi.fails(
        f"{BY_DOW} of 2025-01-01 is not published in the home {kpi.home}: land and run the load_date first.",
        *("show", "instacart", BY_DOW, "--load-date", "2025-01-01"),
    )


def test_a_pipeline_without_any_publish_says_so(kpi: CliHarness, sql: Path) -> None:
    (sql / "instacart").rename(sql / "grocery")
    environment = {"KPI_SQL_DIR": str(sql)}
    kpi.fails(
        f"{BY_DOW} is not published in the home {kpi.home}: land and run the load_date first.",
        *("show", "grocery", BY_DOW),
        **environment,
    )
    kpi.fails(
        f"Nothing of grocery has been checked yet in the home {kpi.home}: land and run a load_date first.",
        *("checks", "grocery"),
        **environment,
    )


def test_checks_are_shown_with_status_metric_threshold_and_message(kpi: CliHarness, published: Published) -> None:
    said = kpi.process("checks", "instacart", "--load-date", published.day)
    assert said.line("table", "check", "status") == "table check status metric threshold what was found"
    assert said.line("marts.fact_orders reconcile ") == (
        "marts.fact_orders reconcile pass 0 0 2000 rows of stg.stg_orders = 2000 here"
    )
    assert said.line("raw.orders rows_accounted ") == (
        "raw.orders rows_accounted pass 0 0 2000 records in the object = 2000 loaded + 0 in quarantine"
    )
    [(count,)] = kpi.rows(
        "select count(*) from (select distinct table_name, check_name from ops.data_quality_results "
        "where load_date = %s and table_name <> 'marts.kpi_orders_by_hour') as made",
        published.day,
    )
    assert count > 80
    kpi.fails(
        f"Nothing of instacart was checked for 2025-01-01 in the home {kpi.home}: land and run that load_date first.",
        *("checks", "instacart", "--load-date", "2025-01-01"),
    )


def test_a_recheck_checks_published_rows_and_builds_nothing(kpi: CliHarness, published: Published, sql: Path) -> None:
    before = kpi.published(published.day)
    words = ("recheck", "instacart", "--load-date", published.day)

    good = kpi.process(*words)

    [(lines,)] = kpi.rows(
        "select count(*) from stg.stg_order_products_prior where load_date = %s",
        published.day,
    )
    assert good.line("marts.fact_orders every_line_counted ") == (
        f"marts.fact_orders every_line_counted pass 0 0 {lines} rows of stg.stg_order_products_prior = {lines} here"
    )
    checked = (
        "select distinct table_name, status from ops.data_quality_results where subject = 'published' and run_id = "
    )
    newest = "(select run_id from ops.data_quality_results order by id desc limit 1)"
    of_another_test = "marts.kpi_orders_by_hour"
    assert sorted(kpi.rows(checked + newest)) == sorted((name, "pass") for name in before if name != of_another_test)

    path = sql / "instacart/marts/kpi_orders_by_dow.sql"
    text = path.read_text()
    path.write_text(text.replace("@end */", MANY_ORDERS.replace("severity: warn, ", "")))
    bad = kpi(*words, "--select", "marts", code=3, KPI_SQL_DIR=str(sql))
    assert bad.line(f"{BY_DOW} many_orders ") == f"{BY_DOW} many_orders fail 7 0 7 bad rows"
    path.write_text(text.replace("@end */", MANY_ORDERS))
    warned = kpi(*words, "--select", BY_DOW, KPI_SQL_DIR=str(sql))
    assert warned.line(f"{BY_DOW} many_orders ") == f"{BY_DOW} many_orders warn 7 0 7 bad rows"
    assert kpi.rows(
        "select status, subject, metric_value from ops.data_quality_results "
        "where check_name = 'many_orders' order by id"
    ) == [("fail", "published", 7), ("warn", "published", 7)]
    assert kpi.published(published.day) == before


def test_a_recheck_of_a_load_date_that_is_not_published_is_an_error(kpi: CliHarness, published: Published) -> None:
    kpi.fails(
        f"Nothing of instacart is published for 2025-01-01 in the home {kpi.home}: run that load_date first.",
        *("recheck", "instacart", "--load-date", "2025-01-01"),
    )


def test_the_url_opens_the_database(kpi: CliHarness, published: Published) -> None:
    with psycopg.connect(kpi.process("url", "instacart").out.strip()) as connection:
        assert connection.info.dbname == "instacart"
        assert connection.execute(
            f"select sum(total_orders)::int from {BY_DOW} where load_date = %s", [published.day]
        ).fetchone() == (2000,)


def test_the_reader_s_url_opens_marts_and_ops_and_nothing_else(kpi: CliHarness, published: Published) -> None:
    with psycopg.connect(kpi("url", "instacart", "--reader").out.strip(), autocommit=True) as reader:
        assert reader.info.user == "kpi_reader"
        for query in (f"select 1 from {BY_DOW}_latest", f"select 1 from {BY_DOW}", "select 1 from ops.publishes"):
            assert reader.execute(query).fetchone() == (1,)
        for statement in (
            "select 1 from raw.orders",
            "select 1 from stg.stg_orders",
            f"delete from {BY_DOW}",
            "insert into ops.migrations values (9, 'x')",
            "create table marts.mine (x integer)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


def test_on_a_named_server_the_reader_s_url_is_left_to_its_owner(kpi: CliHarness) -> None:
    kpi.fails(
        "KPI_POSTGRES_URL names your own server: grant kpi_reader to a login of yours, and use that.",
        *("url", "instacart", "--reader"),
        **kpi.servers,
    )
