"""The server of an API: its address and its secrets are those of the environment, and what is missing is named."""

from pathlib import Path

import pytest

from kpi_assets.errors import UsageError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings, settings
from kpi_assets.sources.api.server import Server
from kpi_assets_tests.model.conftest import Tree
from kpi_assets_tests.model.test_api import of_server, written


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    words = 'headers: {A: "{secret:own}"}, query: {b: "{secret:other}"}'
    return written(Tree(tmp_path / "sql"), apis=of_server(words)).load()


def of(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Server:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        return Server.of(pipeline, "shop", settings())
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_secrets_come_from_the_environment(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    found = of(
        pipeline,
        monkeypatch,
        KPI_API_SECRETS__SHOP__OWN="first-canary",
        KPI_API_SECRETS='{"shop": {"other": "second-canary", "more": "third-canary"}, "else": {"own": "x"}}',
    )
    assert found.open_secrets == {"own": "first-canary", "other": "second-canary"}
    assert (found.pipeline, found.name, found.url) == ("shop", "shop", "http://127.0.0.1:9")
    assert "canary" not in repr(found) + str(found)
    assert str(found) == "API shop of shop"
    assert found.secret_settings == "KPI_API_SECRETS__SHOP__OTHER, KPI_API_SECRETS__SHOP__OWN"


def test_an_address_of_the_environment_counts(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = '{"shop": {"own": "a", "other": "b"}}'
    found = of(pipeline, monkeypatch, KPI_API_SECRETS=secrets, KPI_API_URLS__SHOP__SHOP="https://host/v1/")
    assert found.url == "https://host/v1"


def test_secrets_that_are_not_set_are_named(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    both = "KPI_API_SECRETS__SHOP__OTHER and KPI_API_SECRETS__SHOP__OWN"
    end = "and nothing is set there: set it, or write the file kpi_api_secrets in KPI_SECRETS_DIR."
    with pytest.raises(UsageError) as caught:
        of(pipeline, monkeypatch)
    assert str(caught.value) == f"The API shop of shop needs {both}, {end}"
    with pytest.raises(UsageError) as caught:
        of(pipeline, monkeypatch, KPI_API_SECRETS__SHOP__OTHER="canary", KPI_API_SECRETS__SHOP__OWN="")
    assert str(caught.value) == f"The API shop of shop needs KPI_API_SECRETS__SHOP__OWN, {end}"


def test_an_address_that_is_not_set_is_named(tmp_path: Path) -> None:
    pipeline = written(Tree(tmp_path / "sql"), apis="apis: {shop: {}}\n").load()
    with pytest.raises(UsageError) as caught:
        Server.of(pipeline, "shop", Settings())
    assert str(caught.value) == (
        "The API shop of shop has no address: set KPI_API_URLS__SHOP__SHOP, or write url under apis.shop of its "
        "pipeline.yaml."
    )
    assert Server.of(pipeline, "shop", Settings(api_urls={"shop": {"shop": "http://h"}})).secret_settings == (
        "it has none"
    )
