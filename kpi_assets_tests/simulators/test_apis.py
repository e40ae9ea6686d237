"""What the simulated APIs answer over HTTP: their pages, their secrets, and their errors."""

import base64
import json
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from kpi_assets.embedded.stack import Stack
from kpi_assets.simulators.databases import ROLE
from kpi_assets_tests.simulators.conftest import DAY, RECORDS, Apis, Page

RETAILERS = tuple(RECORDS)
MONDAY = date(2025, 6, 30)


def all_pages(apis: Apis, api: str, size: int, day: date = DAY) -> list[Page]:
    """Ask for pages until all records are there."""
    pages = [apis.page(api, 1, size, day=day)]
    while sum(len(page.records) for page in pages) < (pages[0].total or 0):
        pages.append(apis.page(api, len(pages) + 1, size, pages[-1].following, day))
    return pages


@pytest.mark.parametrize("api", RETAILERS)
@pytest.mark.parametrize("size", [1000, 500, 7])
def test_all_pages_together_are_the_records_of_the_day(apis: Apis, api: str, size: int) -> None:
    pages = all_pages(apis, api, size)
    assert [record for page in pages for record in page.records] == apis.rows(api)
    assert {page.total for page in pages} == {RECORDS[api]}
    assert len(pages) == -(-RECORDS[api] // size)
    assert (pages[-1].following, pages[0].following is None) == (None, api != "retailer_2" or len(pages) == 1)


def test_each_retailer_has_fields_and_forms_of_its_own(apis: Apis) -> None:
    first = {api: apis.page(api, 1, 1).records[0] for api in RETAILERS}
    assert first == {
        "retailer_1": {
            "order_id": "A250701-000001",
            "order_date": "2025-07-01",
            "customer_id": "C0000001",
            "store_id": "S08",
            "sku": "SKU-00031",
            "product_name": "Hôtel du Nord Bottle, Travel",
            "category": "Sports",
            "quantity": 3,
            "price": 20.99,
            "total": 50.38,
            "discount_percentage": 20,
            "payment_method": "card",
        },
        "retailer_2": {
            "transaction_number": 220250701000001,
            "date": "2025-07-01",
            "member_id": 101618,
            "location_id": 404,
            "item_code": 700005,
            "item_name": "Grey Harbour Turntable, Classic",
            "department": "HIFI",
            "qty": 1,
            "unit_cost": 91.99,
            "amount": 91.99,
            "tax_amount": 17.48,
            "loyalty_points_earned": 91,
            "promotion_code": "WEEKEND-10",
            "sales_rep_id": 32,
        },
        "retailer_3": {
            "sale_id": "sale_2025182_000001",
            "timestamp": "2025-07-01T07:33:24+00:00",
            "buyer_id": "b-1",
            "outlet_id": "out11",
            "product_code": "P5.3",
            "name": "Alder & Sons Almanac, Small",
            "type": "print",
            "count": 1,
            "price_per_unit": 20.99,
            "revenue": 20.99,
            "shipping_cost": 0,
            "warranty_months": 0,
            "return_policy_days": 90,
            "supplier_id": 6,
        },
    }


@pytest.mark.parametrize("api", RETAILERS)
def test_pages_of_several_days_and_of_a_day_without_sales(apis: Apis, api: str) -> None:
    first, last = date(2025, 7, 10), date(2025, 7, 11)
    apis.fill(first, days=2, orders=40)
    rows = apis.rows(api, first, last)
    found = Page.of(apis.ask(api, first, last, limit=1000))
    assert (found.records, found.total) == (rows, len(rows))
    empty = Page.of(apis.ask(api, date(2024, 1, 1)))
    assert (empty.records, empty.total, empty.following) == ([], 0, None)
    if api != "retailer_2":
        behind = apis.page(api, 99, 500)
        assert (behind.records, behind.total) == ([], RECORDS[api])


@pytest.mark.parametrize("api", RETAILERS)
def test_a_page_far_behind_the_first_is_found_by_a_mark(apis: Apis, api: str) -> None:
    day = date(2025, 7, 20)
    apis.fill(day, orders=1300)
    rows = apis.rows(api, day, day)
    assert len(rows) > 2000
    assert [record for page in all_pages(apis, api, 333, day) for record in page.records] == rows


@pytest.mark.parametrize("api", RETAILERS)
def test_without_its_secret_an_api_answers_nothing(apis: Apis, api: str) -> None:
    for secret in ("", "wrong", apis.secrets[api][:-1], apis.secrets[api] + "x", "ä"):
        refused = apis.ask(api, secret=secret) if secret != "ä" or api == "retailer_3" else None
        if refused is not None:
            assert refused.status == 401
            assert json.loads(refused.data)["error"].endswith("is missing or wrong.")
    others = next(each for name, each in apis.secrets.items() if name != api)
    assert apis.ask(api, secret=others).status == 401
    health = apis.http.request("GET", f"{apis.urls[api]}/health")
    assert (health.status, json.loads(health.data)) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("api", "parameters", "sentence"),
    [
        ("retailer_1", {"start_date": "2025-7-1"}, "start_date must be a date as YYYY-MM-DD."),
        ("retailer_1", {"end_date": "2025-06-30"}, "start_date is after end_date."),
        ("retailer_1", {"page": 0}, "page must be a whole number from 1 to 1000000."),
        ("retailer_1", {"limit": 1001}, "limit must be a whole number from 1 to 1000."),
        ("retailer_1", {"limit": "5.0"}, "limit must be a whole number from 1 to 1000."),
        ("retailer_2", {"from": "2025-02-30"}, "from must be a date as YYYY-MM-DD."),
        ("retailer_2", {"cursor": "AAAA"}, "cursor is none that this API has given."),
        ("retailer_2", {"cursor": "ä' or 1=1"}, "cursor is none that this API has given."),
        ("retailer_3", {"dateFrom": None}, "dateFrom must be a date as YYYY-MM-DD."),
        ("retailer_3", {"offset": -1}, "offset must be a whole number from 0 to 1000000000."),
        ("retailer_3", {"limit": True}, "limit must be a whole number from 1 to 1000."),
        ("retailer_3", {"limit": [1]}, "limit must be a whole number from 1 to 1000."),
    ],
)
def test_a_bad_parameter_is_named(apis: Apis, api: str, parameters: dict[str, object], sentence: str) -> None:
    refused = apis.ask(api, **parameters)  # type: ignore[arg-type]
    assert (refused.status, json.loads(refused.data)) == (400, {"error": sentence})


def test_a_request_that_no_api_knows_is_an_error_in_json(apis: Apis) -> None:
    url = apis.urls["retailer_3"]
    answers = {
        ("GET", "/sales/query"): (405, "Method Not Allowed: GET /retailer_3/sales/query."),
        ("POST", "/sales"): (404, "Not Found: POST /retailer_3/sales."),
    }
    for (method, path), (status, sentence) in answers.items():
        found = apis.http.request(method, url + path)
        assert (found.status, json.loads(found.data)) == (status, {"error": sentence})
    for body in (b"", b"[]", b"{", b"[" * 100_000):
        found = apis.http.request("POST", f"{url}/sales/query", body=body)
        assert found.status == (413 if len(body) > 65_536 else 400)


def test_a_cursor_is_good_for_its_own_days_alone(apis: Apis) -> None:
    cursor = apis.page("retailer_2", 1, 10).following
    assert cursor is not None
    other = apis.ask("retailer_2", DAY, DAY + timedelta(days=1), cursor=cursor)
    assert json.loads(other.data) == {"error": "cursor belongs to other days."}
    changed = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    changed[-1] ^= 1
    forged = apis.ask("retailer_2", cursor=base64.urlsafe_b64encode(changed).decode().rstrip("="))
    assert json.loads(forged.data) == {"error": "cursor is none that this API has given."}


@pytest.mark.parametrize("api", RETAILERS)
def test_a_sale_that_is_booked_or_cancelled_between_two_pages_changes_total_and_pages(apis: Apis, api: str) -> None:
    table, day, sale = {
        "retailer_1": ("sales", "booked_on", "order_id"),
        "retailer_2": ("transactions", "posted_on", "transaction_number"),
        "retailer_3": ("sale_lines", "business_day", "sale_id"),
    }[api]
    before = apis.page(api, 1, 500)
    apis.execute(api, f"insert into {table} ({day}, {sale}) values (%s, %s)", DAY, "7")
    after = apis.page(api, 2, 500, before.following)
    assert (before.total, after.total) == (RECORDS[api], RECORDS[api] + 1)
    assert str(after.records[-1][sale]) == "7"
    assert len(after.records) == RECORDS[api] + 1 - 500
    apis.execute(api, f"delete from {table} where {day} = %s and {sale} = %s", DAY, "7")
    again = apis.page(api, 2, 500, before.following)
    assert (again.total, len(again.records)) == (RECORDS[api], RECORDS[api] - 500)


def test_filling_a_day_again_replaces_that_day_alone(apis: Apis) -> None:
    days = [date(2025, 8, 1), date(2025, 8, 2)]
    apis.fill(days[0], days=2, orders=50)
    before = [apis.rows("retailer_1", day, day) for day in days]
    apis.fill(days[0], orders=50)
    assert [apis.rows("retailer_1", day, day) for day in days] == before
    apis.fill(days[0], orders=51)
    after = [apis.rows("retailer_1", day, day) for day in days]
    assert (len({row["order_id"] for row in after[0]}), after[1]) == (51, before[1])
    assert {row["order_id"][:7] for row in after[0]} == {"A250801"}


def test_the_products_of_a_week_are_those_of_its_monday(apis: Apis) -> None:
    assert apis.fill(MONDAY, pipeline="ecommerce", days=8) == {"products": 262 + 264}
    lists = {day: Page.of(apis.ask("products", day)) for day in (MONDAY, MONDAY + timedelta(days=6))}
    assert lists[MONDAY] == lists[MONDAY + timedelta(days=6)]
    assert (lists[MONDAY].records, lists[MONDAY].total) == (apis.rows("products", MONDAY, MONDAY), 262)
    assert set(lists[MONDAY].records[0]) == {"product_id", "product_name", "category", "brand", "current_price"}
    following = Page.of(apis.ask("products", MONDAY + timedelta(days=7)))
    assert following.records != lists[MONDAY].records
    for day in (MONDAY - timedelta(days=1), MONDAY + timedelta(days=14)):
        missing = apis.ask("products", day)
        sentence = f"There is no list of products of {day} or the six days before it."
        assert (missing.status, json.loads(missing.data)) == (404, {"error": sentence})


def test_the_program_can_read_its_tables_and_nothing_else(apis: Apis, started: Stack) -> None:
    password = json.loads((Path(started.environment()["KPI_HOME"]) / "apis.json").read_text())["password"]
    admin = apis.server.get_secret_value()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("drop database if exists warehouse")
        connection.execute("create database warehouse")
    with psycopg.connect(make_conninfo(admin, dbname="warehouse"), autocommit=True) as connection:
        connection.execute("create schema marts")
        connection.execute("create table marts.secret as select 1 as n")

    def refuses(database: str, statement: str) -> bool:
        url = make_conninfo(admin, user=ROLE, password=password, dbname=database)
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        return True

    assert refuses("warehouse", "select n from marts.secret")
    assert refuses("simulated-retailer_1", "delete from sales")
    assert refuses("simulated-retailer_1", "insert into faults (name) values ('down')")
    assert refuses("simulated-retailer_1", "create table t ()")
    assert refuses("postgres", "create role other superuser")


def test_sessions_that_were_ended_are_opened_anew(apis: Apis) -> None:
    with psycopg.connect(apis.server.get_secret_value(), autocommit=True) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [ROLE]
        ).fetchall()
    assert len(ended) == 4
    for api in RETAILERS:
        assert apis.page(api, 1, 10).total == RECORDS[api]
