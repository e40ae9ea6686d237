"""The numbers of the API equal those of `kpi show`, and those that DuckDB computes from the same files."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.number_format import write
from kpi_assets.read.export import as_csv, without_formulas
from kpi_assets.read.rows import Rows, read_rows
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.oracle import Kpis, kpis
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.surface.server import Client, serving
from kpi_assets_tests.test_oracle import INSTACART, land_all, run_all

KPIS = ("kpi_orders_by_dow", "kpi_orders_by_dow_28d", "kpi_products_reorder")


@dataclass
class Served:
    """The shipped pipeline instacart, one load_date of which is published, and what DuckDB makes of its files."""

    client: Client
    lab: PipelineHarness
    oracle: Kpis

    def ask(self, path: str) -> Any:
        found = self.client.get(f"/api/v1/kpis/{self.lab.name}/{path}")
        assert found.status == 200, found.data
        return json.loads(found.data, parse_float=Decimal)

    def shown(self, table: str) -> Rows:
        """Return what `kpi show` prints."""
        with self.lab.session() as session:
            return read_rows(session, self.lab.pipeline(), self.lab.pipeline().table(f"marts.{table}"), place="here")


@pytest.fixture(scope="module")
def served(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("instacart")
    with PipelineHarness.open(stack, folder, INSTACART) as lab:
        context = lab.prepared()
        GENERATORS["instacart"].write(folder, load_date=DAY, orders=3000, seed=1)
        land_all(context, folder, DAY)
        run_all(context, DAY)
        with serving(settings(), {lab.name: lab.pipeline()}) as client:
            yield Served(client, lab, kpis(folder))


def test_rows_equal_the_oracle(served: Served) -> None:
    columns = (
        "order_dow",
        "total_orders",
        "avg_items_per_order",
        "pct_orders_with_any_reorder",
        "avg_reorder_item_rate",
    )
    found = served.ask("kpi_orders_by_dow/rows")["rows"]
    assert [tuple(row[column] for column in columns) for row in found] == served.oracle.by_dow
    columns = ("product_id", "product_name", "orders_with_product", "times_reordered", "product_reorder_rate")
    found = served.ask("kpi_products_reorder/rows?limit=100000")
    shown = [row[:-1] for row in served.oracle.by_product if not row[-1]]  # the last says whether volume is low
    assert [tuple(row[column] for column in columns) for row in found["rows"]] == shown
    assert (found["total"], found["left_out"]) == (len(shown), len(served.oracle.by_product) - len(shown))


@pytest.mark.parametrize("table", KPIS)
def test_rows_equal_what_kpi_show_prints(served: Served, table: str) -> None:
    shown = served.shown(table)
    content = served.client.get(f"/api/v1/kpis/{served.lab.name}/{table}/rows").data
    rows = json.loads(content, parse_float=str, parse_int=str)["rows"]
    assert [[row[column] for column in shown.columns] for row in rows] == [list(row) for row in shown.rows][:1000]
    file = served.client.get(f"/api/v1/kpis/{served.lab.name}/{table}/rows?format=csv").data
    plain = as_csv(shown.columns, without_formulas(shown.types, shown.rows)).decode()
    assert file.decode() == "".join(
        f"{DAY if number else 'load_date'},{line}" for number, line in enumerate(plain.splitlines(keepends=True))
    )


def test_measures_equal_the_oracle(served: Served) -> None:
    found = {each["name"]: each["value"] for each in served.ask("kpi_orders_by_dow")["measures"]}
    assert found["orders"] == sum(row[1] for row in served.oracle.by_dow) == 3000
    [point] = served.ask("kpi_orders_by_dow/series?measure=orders")["points"]
    assert (point["load_date"], point["value"], point["text"]) == (str(DAY), 3000, "3,000")


@pytest.mark.parametrize("table", ["kpi_orders_by_dow", "kpi_products_reorder"])
def test_every_measure_is_what_duckdb_makes_of_the_rows_of_the_oracle(served: Served, table: str) -> None:
    rows = {
        "kpi_orders_by_dow": served.oracle.by_dow,
        "kpi_products_reorder": [row[:-1] for row in served.oracle.by_product if not row[-1]],
    }[table]
    header = served.lab.pipeline().table(f"marts.{table}").header
    assert header.kpi
    with duckdb.connect() as database:
        types = {"text": "varchar", "smallint": "bigint"}
        columns = [f"{name} {types.get(column.type, column.type)}" for name, column in header.columns.items()]
        database.execute(f"create table kpi ({', '.join(columns[: len(rows[0])])})")
        database.executemany(f"insert into kpi values ({', '.join('?' for _ in rows[0])})", rows)
        for found in served.ask(table)["measures"]:
            measure = header.kpi.measures[found["name"]]
            [(value,)] = database.execute(f"select {measure.value} from kpi").fetchall()
            assert found["text"] == write(Decimal(str(value)), measure.format), found["name"]


def test_filters_and_order_equal_the_oracle(served: Served) -> None:
    found = served.ask("kpi_orders_by_dow/rows?order_dow=1&order_dow=5&order=-total_orders")["rows"]
    wanted = sorted((row for row in served.oracle.by_dow if row[0] in (1, 5)), key=lambda row: (-row[1], row[0]))
    assert [row["order_dow"] for row in found] == [row[0] for row in wanted]


def test_every_kpi_of_the_pipeline(served: Served) -> None:
    found = json.loads(served.client.get("/api/v1/kpis").data)["kpis"]
    assert {each["id"] for each in found} == {f"{served.lab.name}/{table}" for table in KPIS}
    assert {each["trust"]["load_date"] for each in found} == {str(DAY)}
    behind = served.ask("kpi_orders_by_dow/lineage")
    assert behind["every_record_accounted"] is True
    assert behind["records"] == sum(each["records"] for node in behind["nodes"] for each in node["files"])


def test_a_bi_tool_may_send_every_query_of_the_guide(served: Served) -> None:
    text = (Path(__file__).parents[3] / "docs" / "guides" / "bi_tools.md").read_text()
    queries = [query for query in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) if query.startswith("select")]
    answers = []
    with connect(served.lab.server, served.lab.name, "test", role=READER, read_only=True) as reader:
        for query in queries:
            in_grafana = query.replace("$__timeFrom()", "'2000-01-01T00:00:00Z'").replace("$__timeTo()", "'2100-01-01'")
            answers.append(reader.execute(in_grafana).fetchall())  # type: ignore[call-overload]
    [[tile], trend, restated, [panel], [(not_current,)]] = answers
    assert tile[:6] == (3000, "late", DAY, None, None, None)
    assert (trend, restated, panel[1], not_current) == ([(DAY, 3000, None)], [], 3000, 3)
