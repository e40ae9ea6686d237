"""What an API does with each of its faults, over HTTP."""

import json
import time
from collections.abc import Iterator
from datetime import date

import pytest
import urllib3

from kpi_assets.errors import UsageError
from kpi_assets.simulators import databases
from kpi_assets.simulators.api import RETAILERS, SIMULATED
from kpi_assets.simulators.faults import ApiFault, api_faults, split_api_faults
from kpi_assets_tests.simulators.conftest import DAY, RECORDS, Apis, Page

SIZE = 100  # records on a page
RETAILER_NAMES = tuple(api.name for api in RETAILERS)


@pytest.fixture(autouse=True)
def _without_faults_again(apis: Apis) -> Iterator[None]:
    yield
    plant(apis)


def plant(apis: Apis, *faults: str) -> None:
    """Give the APIs these faults and no others, as `kpi sample` does, but leave their records as they are."""
    of_apis, others = split_api_faults(faults, SIMULATED)
    assert others == []
    for api, planted in of_apis.items():
        databases.replace_faults(apis.sessions[api], planted)


def statuses(apis: Apis, api: str, count: int, **more: object) -> list[int]:
    return [apis.ask(api, **more).status for _ in range(count)]  # type: ignore[arg-type]


def pages(apis: Apis, api: str, count: int) -> list[Page]:
    """The first pages."""
    found = [apis.page(api, 1, SIZE)]
    while len(found) < count:
        found.append(apis.page(api, len(found) + 1, SIZE, found[-1].following))
    return found


@pytest.mark.parametrize(
    ("api", "fault", "expected"),
    [
        ("retailer_1", "down", [503, 503, 503, 503, 503]),
        ("retailer_2", "400", [400, 400, 400, 400, 400]),
        ("retailer_3", "500", [500, 500, 500, 500, 500]),
        ("retailer_1", "500_once", [500, 200, 200, 200, 200]),
        ("retailer_2", "503_thrice", [503, 503, 503, 200, 200]),
        ("retailer_3", "503_wait", [503, 200, 200, 200, 200]),
        ("retailer_1", "429", [429, 200, 200, 200, 200]),
        ("retailer_2", "429_half", [200, 429, 200, 429, 200]),
        ("retailer_3", "429_always", [429, 429, 429, 429, 429]),
        ("retailer_1", "token", [401, 401, 401, 401, 401]),
        ("retailer_2", "redirect", [307, 307, 307, 307, 307]),
    ],
)
def test_requests_are_refused(apis: Apis, api: str, fault: str, expected: list[int]) -> None:
    plant(apis, f"{api}_{fault}")
    assert statuses(apis, api, 5) == expected
    other = next(each for each in RETAILER_NAMES if each != api)
    assert statuses(apis, other, 2) == [200, 200]
    assert apis.http.request("GET", f"{apis.urls[api]}/health").status == (503 if fault == "down" else 200)
    plant(apis)
    assert statuses(apis, api, 2) == [200, 200]


def test_a_fault_holds_until_a_sample_without_it(apis: Apis) -> None:
    assert apis.fill(DAY, "retailer_2_down", "retailer_3_500") == RECORDS
    assert [apis.ask(api).status for api in RETAILER_NAMES] == [200, 503, 500]
    assert apis.fill(DAY, "retailer_3_500") == RECORDS
    assert [apis.ask(api).status for api in RETAILER_NAMES] == [200, 200, 500]
    assert apis.fill(DAY) == RECORDS
    assert [apis.ask(api).status for api in RETAILER_NAMES] == [200, 200, 200]


def test_each_page_is_refused_once_with_429(apis: Apis) -> None:
    plant(apis, "retailer_1_429=0")
    found = [apis.ask("retailer_1", page=page) for page in (1, 1, 2, 2)]
    assert [answer.status for answer in found] == [429, 200, 429, 200]
    assert found[0].headers["Retry-After"] == "0"
    assert json.loads(found[0].data) == {"error": "There were too many requests."}


def test_a_refusal_says_when_to_come_again(apis: Apis) -> None:
    plant(apis, "retailer_3_503_wait")
    assert apis.ask("retailer_3").headers["Retry-After"] == "1"
    plant(apis, "retailer_3_429_always=2.5")
    assert apis.ask("retailer_3").headers["Retry-After"] == "2.5"


def test_a_secret_expires_midway(apis: Apis) -> None:
    plant(apis, "retailer_2_token_midway")
    first = apis.page("retailer_2", 1, SIZE)
    assert apis.ask("retailer_2", cursor=first.following).status == 401


def test_answers_without_records(apis: Apis) -> None:
    plant(apis, "retailer_1_html")
    page = apis.ask("retailer_1")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.data.startswith(b"<!doctype html>")
    plant(apis, "retailer_1_error_200")
    assert json.loads(apis.ask("retailer_1").data) == {"error": "Something went wrong."}
    plant(apis, "retailer_1_null_records")
    assert json.loads(apis.ask("retailer_1").data) == {"data": None, "total": RECORDS["retailer_1"]}
    plant(apis, "retailer_2_no_total")
    assert list(json.loads(apis.ask("retailer_2").data)["meta"]) == ["next"]


@pytest.mark.parametrize("api", RETAILER_NAMES)
def test_an_answer_ends_before_its_body_does(apis: Apis, api: str) -> None:
    plant(apis, f"{api}_truncated_once")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        apis.ask(api)
    assert apis.ask(api).status == 200
    plant(apis, f"{api}_truncated")
    for _ in range(2):
        with pytest.raises(urllib3.exceptions.ProtocolError):
            apis.ask(api)


def test_answers_that_take_long(apis: Apis) -> None:
    plant(apis, "retailer_1_slow=0.2")
    began = time.monotonic()
    assert apis.ask("retailer_1").status == 200
    assert 0.2 <= time.monotonic() - began < 2
    plant(apis, "retailer_1_drip=0.02")
    began = time.monotonic()
    assert len(Page.of(apis.ask("retailer_1", limit=1)).records) == 1
    assert time.monotonic() - began > 0.2
    plant(apis, "retailer_1_hang")
    url = f"{apis.urls['retailer_1']}/sales"
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        apis.http.request("GET", url, timeout=0.2)
    assert apis.ask("retailer_2").status == 200


@pytest.mark.parametrize("api", RETAILER_NAMES)
def test_pages_that_do_not_fit_together(apis: Apis, api: str) -> None:
    rows, total = apis.rows(api), RECORDS[api]
    parts = [rows[start : start + SIZE] for start in range(0, 4 * SIZE, SIZE)]

    plant(apis, f"{api}_wrong_total")
    assert [(page.records, page.total) for page in pages(apis, api, 2)] == [(part, total + 1) for part in parts[:2]]
    plant(apis, f"{api}_empty_page")
    assert [page.records for page in pages(apis, api, 2)] == [parts[0], []]
    plant(apis, f"{api}_missing_page")
    assert [page.records for page in pages(apis, api, 3)] == [parts[0], parts[2], parts[3]]
    plant(apis, f"{api}_shrinking")
    assert [page.records for page in pages(apis, api, 3)] == [parts[0], parts[1][:-1], parts[2][:-1]]
    plant(apis, f"{api}_loop")
    assert [page.records for page in pages(apis, api, 3)] == [parts[0], parts[0], parts[0]]


@pytest.mark.parametrize("api", RETAILER_NAMES)
def test_a_sale_seems_to_be_booked_between_pages(apis: Apis, api: str) -> None:
    rows, total = apis.rows(api), RECORDS[api]
    plant(apis, f"{api}_torn")
    first, second = pages(apis, api, 2)
    assert (first.records, first.total, second.total) == (rows[1 : SIZE + 1], total - 1, total)
    again = pages(apis, api, 2)
    assert [page.records for page in again] == [rows[:SIZE], rows[SIZE : 2 * SIZE]]
    assert [page.total for page in again] == [total, total]
    plant(apis, f"{api}_torn_always")
    for _ in range(3):
        assert [page.total for page in pages(apis, api, 2)] == [total - 1, total]


@pytest.mark.parametrize(("api", "field"), [(api.name, api.number) for api in RETAILERS])
def test_fields_that_are_not_as_they_were(apis: Apis, api: str, field: str) -> None:
    rows = apis.rows(api)

    def first_pages(fault: str) -> list[dict[str, object]]:
        plant(apis, f"{api}_{fault}")
        return [record for page in pages(apis, api, 2) for record in page.records]

    def without(record: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in record.items() if name != field}

    assert first_pages("renamed_field") == [{**without(row), "renamed": row[field]} for row in rows[: 2 * SIZE]]
    assert first_pages("missing_field") == [without(row) for row in rows[: 2 * SIZE]]
    assert first_pages("extra_field") == [{**row, "coupon": "WELCOME"} for row in rows[: 2 * SIZE]]
    assert first_pages("field_gone") == [*rows[:SIZE], *(without(row) for row in rows[SIZE : 2 * SIZE])]
    wrong = [{**row, field: "two"} if number % SIZE == 0 else row for number, row in enumerate(rows[: 2 * SIZE])]
    assert first_pages("wrong_type") == wrong


def test_the_products_have_faults_too(apis: Apis) -> None:
    monday = date(2025, 7, 7)
    apis.fill(monday, "products_down", pipeline="ecommerce")
    assert apis.ask("products", monday).status == 503
    assert apis.fill(monday, "products_wrong_type", "product-without-name=2", pipeline="ecommerce") == {"products": 264}
    found = Page.of(apis.ask("products", monday))
    assert found.records[0]["current_price"] == "two"
    assert [record["product_name"] for record in found.records].count(None) == 2
    apis.fill(monday, "missing-products", pipeline="ecommerce")
    assert apis.ask("products", monday).status == 404


def test_names_of_faults_are_taken_apart() -> None:
    names = [*api_faults(RETAILER_NAMES)]
    assert (len(names), names[0], names[-1]) == (99, "retailer_1_down", "retailer_3_wrong_type")
    of_apis, others = split_api_faults(
        ["retailer_1_slow", "retailer_2_429_half=0", "null-customer=3", "retailer_9_down"], RETAILER_NAMES
    )
    assert of_apis == {
        "retailer_1": [ApiFault("slow", 1)],
        "retailer_2": [ApiFault("429_half", 0)],
        "retailer_3": [],
    }
    assert others == ["null-customer=3", "retailer_9_down"]
    for wrong in ("retailer_1_down=3", "retailer_1_slow=", "retailer_1_slow=-1", "retailer_1_slow=1e9"):
        with pytest.raises(UsageError) as refused:
            split_api_faults([wrong], RETAILER_NAMES)
        assert str(refused.value) == (
            f"The fault {wrong!r} cannot be planted: only slow, drip, 429 and 503_wait take a number, the seconds, "
            "such as retailer_1_slow=5."
        )
