"""The doctor asks each API once: it says what is not set, who refuses us and who does not answer."""

import socket

import pytest
from pydantic import SecretStr

from kpi_assets.doctor.apis import apis
from kpi_assets.settings import Settings, settings
from kpi_assets_tests.sales_api import APIS, SECRET, SalesPipeline

OTHER = "other-secret-4d1e"


def configured(sales: SalesPipeline, url: str = "", secret: str = SECRET) -> Settings:
    urls = {"north": url or sales.api.url, "south": sales.api.url}
    secrets = {"north": SecretStr(secret), "south": SecretStr(OTHER)}
    return settings().model_copy(update={"api_urls": {sales.name: urls}, "api_secrets": {sales.name: secrets}})


def of_north(sales: SalesPipeline, config: Settings) -> tuple[str, str]:
    [found] = [each for each in apis(config, sales.pipeline()) if each.subject == f"api {sales.name}.north"]
    assert SECRET not in found.text
    return found.state, found.text


def test_an_api_that_answers_and_accepts_us_is_ok_and_nothing_lands(sales: SalesPipeline) -> None:
    place = f"{sales.api.url}/north/sales"
    assert of_north(sales, configured(sales)) == ("ok", f"{place} answers and accepts us")
    assert [page for _, page in sales.api.of("north")] == ["1"], "only the first page is asked for"
    assert list(sales.store.entries("raw/north")) == []


def test_an_api_that_refuses_us_is_broken_and_names_the_setting(sales: SalesPipeline) -> None:
    refused = (
        f"{sales.api.url}/north/sales refuses us (status 401): look at the secrets "
        f"(KPI_API_SECRETS__{sales.name.upper()}__NORTH), and at our rights"
    )
    assert of_north(sales, configured(sales, secret=OTHER)) == ("broken", refused)


def test_another_status_is_an_answer(sales: SalesPipeline) -> None:
    sales.api.busy_every = 1
    assert of_north(sales, configured(sales)) == (
        "advice",
        f"{sales.api.url}/north/sales answers with status 429: look at source.call of the files that name it, or ask "
        "those who run it",
    )


def test_an_api_that_does_not_answer_is_broken(sales: SalesPipeline) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    text = f"{url}/north/sales cannot be asked: nobody listens there; runs that need it fail until then"
    assert of_north(sales, configured(sales, url)) == ("broken", text)


def test_what_is_not_set_is_named_by_its_setting(sales: SalesPipeline) -> None:
    found, name = list(apis(settings(), sales.pipeline())), sales.name.upper()
    assert [each.state for each in found] == ["advice", "advice"], "who lands files needs no address"
    for each, api in zip(found, ("NORTH", "SOUTH"), strict=True):
        assert each.text.startswith("it has no address, so its objects are read where they have landed as files, ")
        assert f"fails: set KPI_API_URLS__{name}__{api}," in each.text
    state, text = of_north(sales, configured(sales).model_copy(update={"api_secrets": {}}))
    assert state == "broken"
    assert f"KPI_API_SECRETS__{name}__NORTH" in text


@pytest.mark.parametrize(("shop", "state"), [("south", "ok"), ("nowhere", "advice")])
def test_an_api_with_a_login_is_asked_for_a_token(sales: SalesPipeline, shop: str, state: str) -> None:
    login = 'login: {path: /PATH, form: {client_secret: "{secret:north}"}}'.replace("PATH", f"{shop}/token")
    sales.words(apis=APIS.replace('"Bearer {secret:north}"}}', f'"Bearer {{token}}"}}, {login}}}'))
    found = of_north(sales, configured(sales))
    assert found[0] == state, found
