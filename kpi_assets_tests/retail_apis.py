"""The shipped pipeline retail, whose retailers answer over HTTP from databases on the server of the session.

A test changes what a retailer has by SQL, and the pipeline asks for it. The program of the simulated APIs runs within
the process of the tests; simulators/ tests it as a process.
"""

import itertools
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

import psycopg
import uvicorn
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.fetch import fetch_object
from kpi_assets.materialize.verify_object import verify
from kpi_assets.plan.collect import collect
from kpi_assets.samples.retail.generator import Retail
from kpi_assets.settings import Settings, default_sql_dir, settings
from kpi_assets.simulators import databases
from kpi_assets.simulators.api import RETAILERS, SIMULATED
from kpi_assets.simulators.app import make_app
from kpi_assets.simulators.databases import OPTIONS, ROLE
from kpi_assets_tests.pipeline_harness import PipelineHarness

RETAIL = default_sql_dir() / "retail"
_runs = itertools.count(1)


@dataclass(frozen=True)
class Retailers:
    """The retailers: where they answer, and what they have."""

    url: str
    server: SecretStr
    secrets: Mapping[str, str]
    sessions: Mapping[str, psycopg.Connection[Any]]  # on their databases

    def fill(self, day: date, *faults: str, orders: int = 30, seed: int = 1) -> None:
        """Put a sample of a day's sales in the place of what they have of it."""
        Retail().fill(self.server, load_date=day, orders=orders, seed=seed, faults=faults)

    def put(self, name: str, day: date, records: Iterable[Mapping[str, object]]) -> None:
        """Put records in the place of those that a retailer has of a day; a field that is left out is NULL."""
        api, session = SIMULATED[name], self.sessions[name]
        table, booked = sql.Identifier(api.table), sql.Identifier(api.day)
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            table,
            sql.SQL(", ").join(map(sql.Identifier, (api.day, *api.fields))),
            sql.SQL(", ").join([sql.Placeholder()] * (1 + len(api.fields))),
        )
        session.execute(sql.SQL("delete from {} where {} = %s").format(table, booked), [day])
        with session.cursor() as cursor:
            cursor.executemany(statement, [[day, *(record.get(field) for field in api.fields)] for record in records])

    def execute(self, name: str, statement: str, *values: object) -> int:
        """Change what a retailer has; return how many of its records."""
        return self.sessions[name].execute(statement.encode(), values or None).rowcount


@contextmanager
def open_retailers(server: SecretStr) -> Iterator[Retailers]:
    """Yield the retailers, without sales."""
    secrets = {name: f"secret-of-{name}-5d0e" for name in SIMULATED}
    password = SecretStr("password-of-the-simulators-77c1")
    databases.ensure_databases(server, password, SIMULATED.values())

    def url_of(database: str) -> str:
        return make_conninfo(
            server.get_secret_value(),
            dbname=database,
            user=ROLE,
            password=password.get_secret_value(),
            options=OPTIONS,
        )

    app = make_app({"of_apis": secrets, "password": password.get_secret_value()}, url_of)
    program = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning"))
    with ExitStack() as opened:
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=program.run, args=([listening],), daemon=True)
        thread.start()
        opened.callback(thread.join, 10)
        opened.callback(setattr, program, "should_exit", True)
        sessions = {api.name: opened.enter_context(databases.connect(server, api.database)) for api in RETAILERS}
        yield Retailers(f"http://127.0.0.1:{listening.getsockname()[1]}", server, secrets, sessions)
    with databases.connect(server, "postgres") as session:
        for api in SIMULATED.values():
            session.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(api.database)))


class RetailPipeline(PipelineHarness):
    """The pipeline retail under another name, with the retailers in the settings of its builds."""

    asked: Retailers

    def named(self) -> Settings:
        """Return the settings with the addresses and secrets of the retailers."""
        apis = self.pipeline().config.apis
        urls = {name: f"{self.asked.url}/{name}" for name in apis}
        secrets = {name: SecretStr(self.asked.secrets[name]) for name in apis}
        return settings().model_copy(update={"api_urls": {self.name: urls}, "api_secrets": {self.name: secrets}})

    def context(self, **changes: Any) -> BuildContext:
        """Return the context of a build."""
        return super().context(**{"settings": self.named(), **changes})

    def run(self, day: date, tables: Sequence[str] = ()) -> dict[str, str]:
        """Build a load_date, or some tables of it; return the checksums."""
        context, checksums = self.prepared(run_id=f"run {next(_runs)}"), {}
        for relation, table in context.pipeline.tables.items():
            if tables and str(relation) not in tables:
                continue
            if table.has_object:
                verified = verify(context, table, day)
                assert not verified.held, verified.results
            outcome = build(context, table, day)
            assert not outcome.held, (str(relation), day, [each for each in outcome.results if not each.passed])
            checksums[str(relation)] = outcome.checksum
        return checksums

    def ask_again(self, day: date, name: str) -> None:
        """Do what `kpi fetch --load-date DAY --table raw.NAME_sales --replace` does."""
        context = self.prepared()
        table = context.pipeline.table(f"raw.{name}_sales")
        with context.session(table, "fetch") as connection:
            assert fetch_object(context, connection, table, day, replace=True).outcome == "replaced"

    def forget(self, name: str, day: date) -> None:
        """Remove the object that a retailer gave, so that the next build asks for it."""
        key = self.pipeline().table(f"raw.{name}_sales").object_key(day)
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def stale(self, days: Sequence[date]) -> dict[date, tuple[str, ...]]:
        """Return the load_dates that the plan would build, each with the tables to build; empty for all of them."""
        context, now = self.prepared(), datetime.now(timezone.utc)
        with self.session() as session:
            found = [
                each
                for of_year in collect(context.pipeline, context.store, session, min(days), max(days), now)
                for each in of_year
                if each.load_date in days
            ]
        return {each.load_date: each.tables_to_build for each in found if each.state != "published"}

    def settle(self, days: Sequence[date]) -> int:
        """Build what the plan says until it says nothing more; return how many load_dates were built."""
        for built in range(3 * len(days)):
            stale = self.stale(days)
            if not stale:
                return built
            first = min(stale)
            self.run(first, stale[first])
        raise AssertionError(f"still to be built: {self.stale(days)}")
