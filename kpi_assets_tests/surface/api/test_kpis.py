"""KPIs, series and restatements over HTTP: exact values, and problems that say what to do."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import settings
from kpi_assets_tests.read.kpi_shop import KPI, MORE_THINGS, KpiShop
from kpi_assets_tests.surface.api.conftest import Site
from kpi_assets_tests.surface.server import serving


def ask(site: Site, path: str) -> Any:
    found = site.client.get(path)
    assert found.status == 200, found.data
    assert found.headers["Content-Type"] == "application/json"
    return json.loads(found.data, parse_float=Decimal)


def problem(site: Site, path: str, status: int) -> dict[str, Any]:
    found = site.client.get(path)
    assert (found.status, found.headers["Content-Type"]) == (status, "application/problem+json"), found.data
    body = found.json()
    assert (body["type"], body["status"]) == ("about:blank", status)
    assert isinstance(body, dict)
    return body


def publishes(site: Site) -> list[int]:
    """Return the publishes of the KPI, the oldest first."""
    found = site.shop.rows("select publish_id from ops.publishes where asset = 'marts.heavy' order by 1")
    return [publish_id for (publish_id,) in found]


def test_every_kpi(site: Site) -> None:
    found = ask(site, "/api/v1/kpis")
    [kpi] = found["kpis"]
    assert found["mixed"] is False
    assert kpi == ask(site, f"/api/v1/kpis?pipeline={site.shop.name}")["kpis"][0]
    assert kpi == ask(site, site.base)
    assert [(each["name"], each["value"], each["text"]) for each in kpi["measures"]] == [
        ("kilograms", Decimal("30.00"), "30.0"),
        ("labels", 2, "2"),
    ]
    assert kpi["measures"][0]["compared"]["value"] == Decimal("40.00")
    trust = kpi["trust"]
    assert (trust["load_date"], trust["publish_id"], trust["restated"]) == (str(site.latest), publishes(site)[1], 0)
    gate = trust["gate"]
    assert (gate["state"], gate["load_date"], gate["table"]) == ("held", str(site.held), "raw.things")
    assert gate["reason"] == "1 row of things stands twice"
    assert b"anvil again" not in site.client.get(site.base).data, "no row that failed is quoted"


def test_kpis_of_which_one_is_not_built_since_its_data_was_corrected_are_mixed(stack: Stack, tmp_path: Path) -> None:
    with KpiShop.open(stack, tmp_path) as shop:
        assert isinstance(shop, KpiShop)
        shop.stock().prepared()
        shop.file("marts/light.sql", KPI)
        shop.land()
        assert set(shop.run().values()) == {"published"}
        [(before,)] = shop.rows("select clock_timestamp()")
        shop.land(things=MORE_THINGS)
        for name in ("raw.things", "marts.weighed", "marts.light"):
            shop.build(name, shop.day)
        with serving(settings(), {shop.name: shop.pipeline()}) as client:
            assert client.json("/api/v1/kpis")["mixed"] is True
            assert client.json(f"/api/v1/kpis?as_of={quote(before.isoformat())}")["mixed"] is False


def test_a_load_date_of_one_kpi(site: Site) -> None:
    kpi = ask(site, f"{site.base}?load_date={site.first}")
    assert kpi["measures"][0]["value"] == Decimal("40.00")
    assert (kpi["trust"]["publish_id"], kpi["trust"]["restated"]) == (publishes(site)[2], 1)


def test_what_readers_were_shown_before(site: Site) -> None:
    as_of = quote(site.before.isoformat())
    kpi = ask(site, f"{site.base}?load_date={site.first}&as_of={as_of}")
    assert kpi["measures"][0]["value"] == Decimal("30.00")
    assert (kpi["trust"]["publish_id"], kpi["trust"]["restated"]) == (publishes(site)[0], 0)
    assert kpi["trust"]["gate"]["state"] == "published", "the load_date that is held was not yet"
    series = ask(site, f"{site.base}/series?as_of={as_of}")
    assert ([each["value"] for each in series["points"]], series["not_published"]) == ([Decimal("30.00")] * 2, [])


def test_a_measure_over_load_dates(site: Site) -> None:
    found = ask(site, f"{site.base}/series")
    ids = publishes(site)
    assert [
        (each["load_date"], each["value"], each["publish_id"], each["restated_from"]) for each in found["points"]
    ] == [
        (str(site.first), Decimal("40.00"), ids[2], [Decimal("30.00")]),
        (str(site.latest), Decimal("30.00"), ids[1], []),
    ]
    kept = site.shop.rows("select distinct measure_version from ops.kpi_values where measure = 'kilograms'")
    assert [(each["measure_version"],) for each in found["points"]] == kept * 2
    [stopped] = found["not_published"]
    assert (stopped["load_date"], stopped["state"], stopped["table"]) == (str(site.held), "held", "raw.things")
    assert (stopped["reason"], stopped["shown_instead"]) == ("1 row of things stands twice", None)
    labels = ask(site, f"{site.base}/series?measure=labels&from={site.latest}&to={site.latest}")
    assert [(each["load_date"], each["value"]) for each in labels["points"]] == [(str(site.latest), 2)]
    assert labels["not_published"] == []


def test_an_address_with_a_slash_too_many_leads_nowhere_else(site: Site) -> None:
    found = site.client.get(f"{site.base}/", redirect=False)
    assert (found.status, found.headers.get("location")) == (404, None)


def test_what_was_restated(site: Site) -> None:
    [found] = ask(site, f"{site.base}/restatements")["restatements"]
    assert (found["measure"], found["was"], found["now"]) == ("kilograms", Decimal("30.00"), Decimal("40.00"))
    assert (found["was_publish_id"], found["publish_id"]) == (publishes(site)[0], publishes(site)[2])
    assert (found["was_text"], found["now_text"]) == ("30.0", "40.0")
    raw = "select publish_id from ops.published where asset = 'raw.things' order by load_date limit 1"
    assert (found["cause"], found["caused_by"]) == ("objects", [site.shop.rows(raw)[0][0]])
    assert found["why"] == "the source object of things was replaced"
    assert ask(site, f"{site.base}/restatements?from={site.latest}")["restatements"] == []


def test_an_answer_that_the_reader_has_is_not_sent_again(site: Site) -> None:
    first = site.client.get(site.base)
    again = site.client.get(site.base, If_None_Match=first.headers["ETag"])
    assert (again.status, again.data) == (304, b"")
    assert site.client.get(f"{site.base}/series").headers["ETag"] != first.headers["ETag"]


def test_a_load_date_that_is_not_published_says_why(site: Site) -> None:
    held = problem(site, f"{site.base}?load_date={site.held}", 404)
    assert held["title"] == f"marts.heavy of {site.held} is not published."
    assert held["detail"].endswith("Why: 1 row of things stands twice.")
    assert problem(site, f"{site.base}?load_date=2024-12-31", 404)["detail"] == "It is not due on this load_date."
    assert problem(site, f"{site.base}?load_date=2999-01-01", 404)["detail"] == "The load_date lies in the future."


@pytest.mark.parametrize("path", ["heavy2", "weighed", "marts.weighed", "..%2F..%2Fetc%2Fpasswd", "%00", "heavy'--"])
def test_what_is_no_kpi_is_not_there(site: Site, path: str) -> None:
    assert site.client.get(f"/api/v1/kpis/{site.shop.name}/{path}").status == 404
    assert site.client.get(f"/api/v1/kpis/{path}/heavy").status == 404


@pytest.mark.parametrize(
    ("query", "title", "detail"),
    [
        ("?loaddate=2025-03-01", "There is no parameter 'loaddate'.", "This address has load_date, as_of."),
        ("?load_date=yesterday", "The parameter load_date is wrong.", "load_date: write a day such as 2026-11-24."),
        ("?load_date=1700000000", "The parameter load_date is wrong.", "load_date: write a day such as 2026-11-24."),
        ("?load_date=2025-02-30", "The parameter load_date is wrong.", "load_date: write a day such as 2026-11-24."),
        ("?load_date=", "The parameter load_date is wrong.", "load_date: write a day such as 2026-11-24."),
        (
            "?load_date=2025-03-01&load_date=2025-03-02",
            "The parameter load_date is given more than once.",
            "Give it once.",
        ),
        (
            "?as_of=1",
            "The parameter as_of is wrong.",
            "as_of: write an instant such as 2026-11-24T09:00:00Z; without an offset it is UTC.",
        ),
        (
            "?as_of=2999-01-01T00:00Z",
            "The parameter as_of lies in the future.",
            "Leave it out for what readers are shown now.",
        ),
        ("/series?measure=x", "The parameter measure is wrong.", "'x' is no measure: it has kilograms, labels."),
        ("/series?from=2025-03-02&to=2025-03-01", "The parameter from is after the parameter to.", "Exchange them."),
        ("/restatements?limit=1", "There is no parameter 'limit'.", "This address has from, to, as_of."),
    ],
)
def test_a_wrong_parameter_is_named(site: Site, query: str, title: str, detail: str) -> None:
    found = problem(site, site.base + query, 422)
    assert (found["title"], found["detail"]) == (title, detail)


def test_of_a_pipeline_that_was_never_run_nothing_is_published(site: Site) -> None:
    never = replace(site.shop.pipeline(), name="never_run")
    with serving(settings(), {"never_run": never}) as client:
        [kpi] = client.json("/api/v1/kpis")["kpis"]
        assert (kpi["id"], kpi["trust"]["gate"]["state"], kpi["trust"]["load_date"]) == (
            "never_run/heavy",
            "none",
            None,
        )
        assert client.json("/api/v1/kpis/never_run/heavy/series")["points"] == []
        for end in ("rows", "checks", "lineage"):
            found = client.get(f"/api/v1/kpis/never_run/heavy/{end}")
            assert (found.status, found.json()["title"]) == (404, "No load_date of marts.heavy is published.")


def test_the_version_is_typed_and_has_no_parameters(site: Site) -> None:
    found = ask(site, "/api/v1/version")
    newest = site.shop.rows("select max(publish_id) from ops.publishes")[0][0]
    assert found["pipelines"][site.shop.name]["publish_id"] == newest
    assert problem(site, "/api/v1/version?x=1", 422)["title"] == "There is no parameter 'x'."


def test_an_unknown_pipeline_is_a_wrong_parameter(site: Site) -> None:
    assert problem(site, "/api/v1/kpis?pipeline=x", 422)["detail"] == "There is no pipeline 'x'."
    assert problem(site, "/api/v1/semantic.yaml?pipeline=x", 422)["detail"] == "There is no pipeline 'x'."


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(site: Site, method: str) -> None:
    assert site.client.get(site.base, method).status == 405
