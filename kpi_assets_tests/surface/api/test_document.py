"""The OpenAPI document is valid, names every address and every problem, and tells nothing that is ours alone."""

import json
from typing import Any

import pytest
from openapi_spec_validator import validate

from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.surface.api.conftest import Site

KPI = "/api/v1/kpis/{pipeline}/{table}"


@pytest.fixture(scope="module")
def document(site: Site) -> Any:
    return site.client.json("/api/v1/openapi.json")


def test_it_is_valid(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1.")


def test_every_address_is_in_it(document: Any) -> None:
    ours = ["/api/v1/kpis", KPI, *(f"{KPI}/{end}" for end in ("series", "restatements", "rows", "checks", "lineage"))]
    assert {*ours, "/api/v1/semantic.yaml"} <= set(document["paths"])
    assert all(list(methods) == ["get"] for methods in document["paths"].values())


def test_every_address_says_what_it_gives_and_how_it_refuses(document: Any) -> None:
    for path, methods in document["paths"].items():
        operation = methods["get"]
        assert operation["summary"], path
        assert operation["tags"], path
        for status, response in operation["responses"].items():
            if status != "200":
                assert list(response["content"]) == ["application/problem+json"], (path, status)
    rows = document["paths"][f"{KPI}/rows"]["get"]
    assert set(rows["responses"]) == {"200", "404", "410", "422", "501"}
    assert set(rows["responses"]["200"]["content"]) == {
        "application/json",
        "text/csv; charset=utf-8",
        "application/vnd.apache.parquet",
        "application/vnd.apache.arrow.stream",
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_parameters_have_types(document: Any) -> None:
    parameters = {each["name"]: each for each in document["paths"][f"{KPI}/series"]["get"]["parameters"]}
    assert {"pipeline", "table", "measure", "from", "to", "as_of"} == set(parameters)
    assert parameters["from"]["schema"]["anyOf"][0] == {"type": "string", "format": "date"}
    assert parameters["as_of"]["schema"]["anyOf"][0] == {"type": "string", "format": "date-time"}


def test_numbers_are_exact(document: Any) -> None:
    value = document["components"]["schemas"]["SeriesPoint"]["properties"]["value"]
    assert [each["type"] for each in value["anyOf"]] == ["number", "string", "null"]


def test_addresses_have_names(document: Any) -> None:
    names = {methods["get"]["operationId"] for methods in document["paths"].values()}
    assert {"kpis", "kpi", "series", "restatements", "rows", "checks", "lineage", "semantic"} <= names


def test_it_tells_nothing_that_is_ours_alone(document: Any, site: Site) -> None:
    text = json.dumps(document)
    for word in ("password", "postgres", "kpi_reader", "psycopg", "ops.", "KPI_", str(site.shop.folder), str(CHECKOUT)):
        assert word not in text.replace("PostgreSQL", ""), word


def test_the_page_about_it_shows_each_address(document: Any, site: Site) -> None:
    found = site.client.get("/api")
    page = found.data.decode()
    assert (found.status, found.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for path in document["paths"]:
        assert f"<code>GET {path}</code>" in page
    assert f'href="{site.base}/rows"' in page
    assert 'aria-current="page">API</a>' in page
    for path in (site.base, f"{site.base}/rows", "/api/v1/semantic.yaml"):
        assert site.client.get(path).status == 200, "the examples can be followed"
