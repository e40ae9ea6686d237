"""A pipeline of two shops whose sales come from HTTP APIs, and a small server that answers for both.

The server gives sales of any day, page by page. A test says which shop is down or busy, and reads what was asked.
"""

import itertools
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from kpi_assets.ledger import runs
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.verify_object import verify
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.settings import settings
from kpi_assets.sources.api.problems import ApiError
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, PipelineHarness

_runs = itertools.count(1)
SECRET = "north-secret-7f3a"
APIS = """\
apis:
  north: {headers: {Authorization: "Bearer {secret:north}"}}
  south: {headers: {X-Key: "{secret:south}"}}
"""
RAW = """\
/* @asset
description: Sales of a shop as its API told them.
owner: team:tests
grain: [record_no]
source:
  object: raw/SHOP/{load_date:year=%Y/month=%m/day=%d}/sales_data.json
  format: json
  records: data
  position: record_no
  api: SHOP
  call:
    path: /SHOP/sales
    query: {day: "{load_date}"}
    pages: {by: page, parameter: page, size: {limit: 2}}
    total: total
columns:
  sale_id: {type: integer, description: Sale.}
  amount: {type: "numeric(9,2)", description: Amount.}
@end */
"""
ALL = """\
/* @asset
description: Sales of both shops.
owner: team:tests
grain: [shop, sale_id]
columns:
  shop: {type: text, description: Shop.}
  sale_id: {type: integer, description: Sale.}
  amount: {type: "numeric(9,2)", description: Amount.}
@end */
select 'north' as shop, sale_id, amount
from raw.north_sales
where load_date = %(load_date)s
union all
select 'south' as shop, sale_id, amount
from raw.south_sales
where load_date = %(load_date)s
"""

FILES = {
    "raw/north_sales.sql": RAW.replace("SHOP", "north"),
    "raw/south_sales.sql": RAW.replace("SHOP", "south"),
    "marts/all_sales.sql": ALL,
}


@dataclass
class SalesApi:
    """The server, and what was asked of it."""

    url: str = ""
    sales: int = 3  # of each shop and day
    down: set[str] = field(default_factory=set)
    busy_every: int = 0  # each so many requests, one is refused with 429
    retry_after: str = "0"
    on_ask: Any = None  # called with the shop before each answer
    asked: list[tuple[float, str, str, str]] = field(default_factory=list)  # time, shop, day, page

    def of(self, shop: str) -> list[tuple[str, str]]:
        """The (day, page) that were asked of a shop."""
        return [(day, page) for _, each, day, page in self.asked if each == shop]

    def answer(self, path: str, headers: Any) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        parts = urlsplit(path)
        shop, query = parts.path.split("/")[1], {key: values[0] for key, values in parse_qs(parts.query).items()}
        day, page = query.get("day", ""), query.get("page", "1")
        self.asked.append((time.monotonic(), shop, day, page))
        if self.on_ask:
            self.on_ask(shop)
        if shop not in ("north", "south"):
            return 404, {}, b"{}"
        if shop in self.down:
            return 403, {}, b'{"error": "closed"}'
        if self.busy_every and len(self.asked) % self.busy_every == 0:
            return 429, {"Retry-After": self.retry_after}, b"{}"
        if shop == "north" and headers["Authorization"] != f"Bearer {SECRET}":
            return 401, {}, b"{}"
        limit = int(query.get("limit", "1000"))
        first = (int(page) - 1) * limit
        data = [{"sale_id": n + 1, "amount": f"{n}.50"} for n in range(first, min(first + limit, self.sales))]
        return 200, {}, json.dumps({"data": data, "total": self.sales}).encode()


@contextmanager
def sales_api() -> Iterator[SalesApi]:
    """Yield a server that runs until the end."""
    api = SalesApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = api.answer(self.path, self.headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


class SalesPipeline(PipelineHarness):
    """The pipeline of both shops. Tests share its database, and each has ten load_dates of its own from `day` on."""

    api: SalesApi

    day = date(2025, 3, 1)

    def stock(self, api: SalesApi) -> "SalesPipeline":
        """Write its files, name the server in the settings of its builds, and advance to load_dates of its own."""
        self.api = api
        self.day += timedelta(days=10)
        for folder in ("raw", "marts"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        self.words()
        for name, text in FILES.items():
            self.file(name, text)
        return self

    def words(self, more: str = "", apis: str = APIS) -> None:
        """Write pipeline.yaml."""
        self.file("pipeline.yaml", PIPELINE_YAML.format(bucket=self.bucket) + apis + more)

    def context(self, **changes: Any) -> BuildContext:
        """Return the context of a build, with settings that name the server and the secrets."""
        urls = {self.name: {"north": self.api.url, "south": self.api.url}}
        secrets = {self.name: {"north": SecretStr(SECRET), "south": SecretStr("south-secret-91bd")}}
        named = settings().model_copy(update={"api_urls": urls, "api_secrets": secrets})
        return super().context(**{"settings": named, **changes})

    def key(self, shop: str, day: date) -> str:
        """Return the key of an object."""
        return f"raw/{shop}/year={day:%Y}/month={day:%m}/day={day:%d}/sales_data.json"

    def body(self, shop: str, day: date) -> bytes | None:
        """Return the object of a shop and day; None if there is none."""
        manifest = self.store.manifest("", day, self.key(shop, day))
        return self.store.head(manifest, manifest.size_bytes) if manifest else None

    def landed(self, day: date) -> list[str]:
        """Return the shops whose objects lie on S3."""
        return [shop for shop in ("north", "south") if self.body(shop, day) is not None]

    def run(self, day: date, *tables: str) -> dict[str, str]:
        """Run a load_date, in the order of the graph; return the outcome of each table: of one that failed, its error.

        A table that reads one that was not published is not built.
        """
        context, found = self.prepared(run_id=f"run of {day} {next(_runs)}"), dict[str, str]()
        with self.session() as session:
            row = runs.open_row(session, run_id=context.run_id, pipeline=self.name, job=self.name, load_date=day)
            for relation, table in context.pipeline.tables.items():
                try:
                    if table.has_object and (outcome := verify(context, table, day)).held:
                        found[str(relation)] = "; ".join(r.message for r in outcome.results if r.message)
                    elif any(found.get(str(read)) not in {None, "published"} for read in table.reads):
                        found[str(relation)] = "not built"
                    else:
                        found[str(relation)] = "held" if build(context, table, day).held else "published"
                except ApiError as error:
                    found[str(relation)] = str(error)
            runs.close_run(session, row, context.run_id)
        return found

    def status(self, day: date, now: str = "") -> LoadDateStatus:
        """Return the status of a load_date, by default two days after it."""
        at = datetime.fromisoformat(f"{now or f'{day + timedelta(days=2)}T00:00'}+00:00")
        pipeline = self.prepared().pipeline
        with self.session() as session:
            [of_year] = collect(pipeline, self.store, session, day, day, at)
        return of_year[0]

    def verdict(self, day: date, now: str = "") -> tuple[str, str]:
        """Return the state of a load_date, and its reason."""
        found = self.status(day, now)
        return found.state, found.reason
