"""The simulated APIs on servers of their own, and a caller of them."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import psycopg
import pytest
import urllib3
from psycopg import sql
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack, embedded_servers
from kpi_assets.model.tree import load_pipelines
from kpi_assets.samples import API_GENERATORS
from kpi_assets.settings import Settings
from kpi_assets.simulators import databases
from kpi_assets.simulators.api import SIMULATED
from kpi_assets_tests.machine import no_named_servers
from kpi_assets_tests.simulators.tree import write_tree
from kpi_assets_tests.template import give_up_durability

DAY = date(2025, 7, 1)
ORDERS = 300
RECORDS = {"retailer_1": 522, "retailer_2": 518, "retailer_3": 523}  # of DAY


@dataclass
class Apis:
    """The APIs: their rows as the databases have them, and as they answer over HTTP."""

    server: SecretStr
    urls: Mapping[str, str]
    secrets: Mapping[str, str]
    sessions: Mapping[str, psycopg.Connection[Any]]  # on their databases
    http: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))

    def fill(
        self, day: date = DAY, *faults: str, orders: int = ORDERS, pipeline: str = "retail", days: int = 1
    ) -> dict[str, int]:
        """Fill a day as `kpi sample` does."""
        generator = API_GENERATORS[pipeline].sized(events=None, days=days)
        return generator.fill(self.server, load_date=day, orders=orders, seed=1, faults=faults)

    def execute(self, api: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.sessions[api].execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def rows(self, api: str, first: date = DAY, last: date = DAY) -> list[dict[str, Any]]:
        """The records of some days as its table has them, as JSON."""
        of = SIMULATED[api]
        query = sql.SQL("select to_jsonb(t) - {} - {} from {} as t where {} between %s and %s order by {}, {}").format(
            sql.Literal(of.day), sql.Literal(of.key), *map(sql.Identifier, (of.table, of.day, of.day, of.key))
        )
        return [row for (row,) in self.sessions[api].execute(query, [first, last])]

    def ask(
        self, api: str, day: date = DAY, to: date | None = None, *, secret: str | None = None, **more: object
    ) -> urllib3.BaseHTTPResponse:
        """Ask an API for the records of a day; `more` are parameters."""
        given = self.secrets[api] if secret is None else secret
        first, last = str(day), str(to or day)
        if api == "retailer_3":
            body = {"dateFrom": first, "dateTo": last, "apikey": given, **more}
            return self.http.request("POST", f"{self.urls[api]}/sales/query", json=body, redirect=False)
        path, dates, headers = {
            "retailer_1": ("/sales", {"start_date": first, "end_date": last}, {"Authorization": f"Bearer {given}"}),
            "retailer_2": ("/transactions", {"from": first, "to": last}, {"X-API-Key": given}),
            "products": ("/products", {"date": first}, {"X-API-Key": given}),
        }[api]
        fields = {name: str(value) for name, value in {**dates, **more}.items()}
        return self.http.request("GET", self.urls[api] + path, fields=fields, headers=headers, redirect=False)

    def page(self, api: str, number: int, size: int, cursor: str | None = None, day: date = DAY) -> "Page":
        """Ask for a page, the first of which is 1; `cursor` is that of the page before."""
        more: dict[str, object] = {"limit": size}
        if api == "retailer_1":
            more["page"] = number
        elif api == "retailer_3":
            more["offset"] = (number - 1) * size
        elif cursor:
            more["cursor"] = cursor
        return Page.of(self.ask(api, day, **more))


@dataclass(frozen=True)
class Page:
    """An answer, taken apart."""

    records: Sequence[dict[str, Any]]
    total: int | None
    following: str | None

    @classmethod
    def of(cls, answer: urllib3.BaseHTTPResponse) -> "Page":
        assert answer.status == 200, answer.data
        document = json.loads(answer.data)
        [records] = [value for value in document.values() if isinstance(value, list)]
        meta = document.get("meta", document)
        return cls(records, meta.get("total"), meta.get("next"))


@pytest.fixture(scope="package")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Servers with all simulated APIs."""
    folder = tmp_path_factory.mktemp("simulators")
    pipelines = load_pipelines(write_tree(folder / "sql")).values()
    with no_named_servers(), embedded_servers(Settings(home=folder / "home"), pipelines) as (found, stack):
        assert stack is not None
        give_up_durability(found.postgres_url)  # type: ignore[arg-type]
        yield stack
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def apis(started: Stack) -> Iterator[Apis]:
    """The simulated APIs, with the sales of DAY."""
    environment = started.environment()
    urls, secrets = (json.loads(environment[name]) for name in ("KPI_API_URLS", "KPI_API_SECRETS"))
    server = SecretStr(environment["KPI_POSTGRES_URL"])
    with ExitStack() as opened:
        found = Apis(
            server,
            {name: url for of_pipeline in urls.values() for name, url in of_pipeline.items()},
            {name: secret for of_pipeline in secrets.values() for name, secret in of_pipeline.items()},
            {name: opened.enter_context(databases.connect(server, api.database)) for name, api in SIMULATED.items()},
        )
        assert found.fill() == RECORDS
        yield found
