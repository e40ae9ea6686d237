"""`kpi ask`: the list of questions, an answer in each format, and what it says of a wrong word."""

import csv
import io
import json

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.cli.conftest import Published

QUESTION = "products_people_come_back_for"
COLUMNS = ["product_name", "orders_with_product", "product_reorder_rate"]
ROWS = """
select product_name, orders_with_product::text, product_reorder_rate::text from marts.kpi_products_reorder
where load_date = %s and orders_with_product >= %s
order by product_reorder_rate desc, kpi_products_reorder.orders_with_product desc, product_id limit 15
"""


def test_without_a_question_all_are_listed(kpi: CliHarness) -> None:
    said = kpi("ask", "instacart")
    assert said.line(QUESTION) == f"{QUESTION} Which products do people come back for? --at-least"
    assert sum("?" in line for line in said.out.splitlines()) == 11


def test_an_answer_is_a_table_with_bars(kpi: CliHarness, published: Published) -> None:
    said = kpi("ask", "instacart", QUESTION, "--at-least", 30, "--load-date", published.day)
    assert said.line("load_date") == f"load_date {published.day}, In at least so many orders: 30"
    assert said.line("Product", "Orders") == "Product Orders Reordered"
    [name, orders, rate] = kpi.rows(ROWS, published.day, 30)[0]
    assert said.line(name) == f"{name} {orders} {'█' * 20} {float(rate):.1%}".replace("%", " %")
    publish_id = published.tables["marts.kpi_products_reorder"]
    assert f"Made of marts.kpi_products_reorder (publish {publish_id}) of {published.day}, a Tuesday." in said.out


def test_csv_and_json_have_exact_values(kpi: CliHarness, published: Published) -> None:
    words = ("ask", "instacart", QUESTION, "--at-least=30", "--load-date", published.day)
    expected = kpi.rows(ROWS, published.day, 30)
    assert len(expected) == 15
    rows = list(csv.reader(io.StringIO(kpi(*words, "--format", "csv").out)))
    assert rows == [COLUMNS, *map(list, expected)]
    found = json.loads(kpi(*words, "--format", "json").out)
    assert [tuple(str(row[name]) for name in COLUMNS) for row in found] == expected


def test_the_statement_runs_elsewhere(kpi: CliHarness, published: Published) -> None:
    said = kpi("ask", "instacart", QUESTION, "--at-least", 30, "--load-date", published.day, "--format", "sql")
    assert f"where load_date = '{published.day}'::date and orders_with_product >= 30" in said.out
    assert [tuple(map(str, row)) for row in kpi.rows(said.out)] == kpi.rows(ROWS, published.day, 30)


def test_what_was_not_published_a_week_before_is_said(kpi: CliHarness, published: Published) -> None:
    said = kpi("ask", "instacart", "weekdays_against_a_week_before", "--load-date", published.day)
    assert "Marts.kpi_orders_by_dow of 2025-06-03 is not published." in said.out


@pytest.mark.nightly
def test_a_wrong_word_is_refused_before_a_server_is_asked(kpi: CliHarness) -> None:
    ask = ("ask", "instacart", QUESTION)
    nowhere = {"KPI_POSTGRES_URL": "postgresql://localhost:1/x"}
    kpi.fails("at_least: 'x' is not a whole number: write digits only.", *ask, "--at-least", "x", code=2, **nowhere)
    kpi.fails("at_least: '0' is too low: write 1 or more.", *ask, "--at-least", "0", code=2, **nowhere)
    kpi.fails("at_least: '-5' is too low: write 1 or more.", *ask, "--at-least", "-5", code=2, **nowhere)
    kpi.fails("--at-least has no value: write it behind.", *ask, "--at-least", code=2, **nowhere)
    kpi.fails("--at-least is given twice: leave one out.", *ask, "--at-least=3", "--at-least=4", code=2, **nowhere)
    said = f"{QUESTION} has no parameter '--at-leest': its parameters are --at-least."
    kpi.fails(said, *ask, "--at-leest", "3", code=2, **nowhere)
    kpi.fails(f"{QUESTION} has no parameter 'more': its parameters are --at-least.", *ask, "more", code=2, **nowhere)
    said = "Name the question before its parameters: kpi ask PIPELINE QUESTION --PARAMETER VALUE."
    kpi.fails(said, "ask", "instacart", "--at-least", "3", code=2, **nowhere)
    said = kpi("ask", "instacart", "products_people_come_back_to", code=2, **nowhere).err
    assert said.startswith("error: instacart has no question 'products_people_come_back_to' (")
    assert said.endswith("/questions): write products_people_come_back_for.\n")
