"""An error in a file below sql/ stops every command before it connects to a server; the message has file and line."""

from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.conftest import Published

BY_DOW, YAML = "instacart/marts/kpi_orders_by_dow.sql", "instacart/pipeline.yaml"


@pytest.mark.parametrize(
    ("file", "old", "new", "on", "problem"),
    [
        (BY_DOW, "/* @asset", "/* asset", "/* asset", "does not begin with a header: the first line must be /* @asset"),
        (BY_DOW, "kpi:", "kips: 1\nkpi:", "kips: 1", "unknown word 'kips'"),
        (
            BY_DOW,
            "    count(*) as total_orders,\n",
            "",
            "  total_orders: {type: bigint",
            "the column 'total_orders' is declared but the SELECT does not return it",
        ),
        (
            BY_DOW,
            "count(*) as total_orders,",
            "count(*) as total_orders,\n    1 as one,",
            "    1 as one,",
            "the SELECT returns the column 'one', which the header does not declare",
        ),
        (
            BY_DOW,
            "from marts.fact_orders",
            "from marts.nonsense",
            "from marts.nonsense",
            "reads marts.nonsense, which has no file here: correct the name or add the file",
        ),
        (BY_DOW, "group by order_dow", "group by (order_dow", "group by (order_dow", "this SQL cannot be parsed"),
        (
            YAML,
            "bucket: kpi-instacart",
            "bucket: X",
            "bucket: X",
            "bucket: 'X' is not a bucket name: write 3 to 63 lower case",
        ),
    ],
)
def test_an_error_in_a_file_is_named_with_its_line(
    kpi: CliHarness, sql: Path, file: str, old: str, new: str, on: str, problem: str
) -> None:
    path = sql / file
    path.write_text(path.read_text().replace(old, new, 1))
    [line] = [number for number, text in enumerate(path.read_text().splitlines(), start=1) if text.startswith(on)]

    said = kpi("run", "instacart", "--load-date", "2025-06-01", code=1, KPI_SQL_DIR=str(sql))

    assert said.out == ""
    assert said.err.startswith(f"error: {path}:{line}: ")
    assert problem in said.err
    assert said.err.count("\n") == 1


NEW_KPI = """\
/* @asset
description: Orders by hour of the day.
owner: team:analytics
grain: [order_hour_of_day]
kpi:
  chart: {x: order_hour_of_day, y: total_orders}
columns:
  order_hour_of_day: {type: smallint, description: "Hour of the day, 0 to 23."}
  total_orders: {type: bigint, description: Orders of that hour.}
checks:
  range:
    order_hour_of_day: [0, 23]
    total_orders: [1, 100]
  reconcile: {source: marts.fact_orders, counted: sum(total_orders)}
@end */
select
    order_hour_of_day,
    count(*) as total_orders
from marts.fact_orders
where load_date = %(load_date)s
group by order_hour_of_day
"""


def test_a_new_kpi_is_one_new_file(kpi: CliHarness, published: Published, sql: Path) -> None:
    path, broken = sql / "instacart/marts/kpi_orders_by_hour.sql", sql / "instacart/marts/kpi_broken.sql"
    path.write_text(NEW_KPI)
    broken.write_text(NEW_KPI.replace("count(*) as", "(1 / (count(*) - count(*)))::bigint as"))
    words = ["run", "instacart", "--load-date", published.day, "--select", "marts.kpi_orders_by_hour,marts.kpi_broken"]

    gated = kpi(*words, code=1, KPI_SQL_DIR=str(sql))

    assert gated.line("failed marts.kpi_broken:") == (
        f"failed marts.kpi_broken: {broken}: building marts.kpi_broken failed (DivisionByZero: division by zero)."
    )
    [(hours,)] = kpi.rows(
        "select count(*) from (select 1 from marts.fact_orders where load_date = %s "
        "group by order_hour_of_day having count(*) > 100) as busy",
        published.day,
    )
    assert gated.line("range__total_orders fail") == (
        f"marts.kpi_orders_by_hour range__total_orders fail {hours} 0 {hours} bad rows"
    )
    assert gated.line("held marts.kpi_orders_by_hour: held by range__total_orders")
    assert {"marts.kpi_orders_by_hour", "marts.kpi_broken"}.isdisjoint(kpi.published(published.day))

    path.write_text(NEW_KPI.replace("[1, 100]", "[1, null]"))
    kpi(*words[:-1], "marts.kpi_orders_by_hour", KPI_SQL_DIR=str(sql))

    shown = kpi("show", "instacart", "marts.kpi_orders_by_hour", "--format", "csv", KPI_SQL_DIR=str(sql)).out
    expected = kpi.rows(
        "select order_hour_of_day, count(*) from marts.fact_orders where load_date = %s group by 1 order by 1",
        published.day,
    )
    assert shown == "order_hour_of_day,total_orders\n" + "".join(f"{hour},{count}\n" for hour, count in expected)
    assert kpi.rows("select * from marts.kpi_orders_by_hour_latest order by 2") == [
        (published.day, *row) for row in expected
    ]
    assert kpi.rows(
        "select check_name, status from ops.data_quality_results where build_id = %s order by id",
        kpi.rows("select build_id from ops.published where asset = 'marts.kpi_orders_by_hour'")[0][0],
    ) == [
        (name, "pass") for name in ("grain", "min_rows", "range__order_hour_of_day", "range__total_orders", "reconcile")
    ]
