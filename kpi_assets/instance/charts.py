"""The charts of KPIs that the web UI serves beside Dagster's pages: /kpi/chart/<pipeline>/<schema.table>.svg.

A chart shows the published rows of the latest load_date, or of the one in `?load_date=`. Belongs here: the address, the
rows that are read for it, and the response. Not here: drawing (drawing.py), access control (guard.py).
"""

import asyncio
import logging
import re
from datetime import date
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs

import psycopg

from kpi_assets.drawing import left_out, message_svg, small_svg
from kpi_assets.errors import UserError
from kpi_assets.instance.guard import ASGIApp, Headers, Receive, Scope, Send
from kpi_assets.ledger import publishes
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.names import IDENTIFIER, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.model.tree import Broken, load_sound
from kpi_assets.settings import Settings
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.content import find_lost
from kpi_assets.warehouse.preview import published_chart_rows

logger = logging.getLogger(__name__)

PAGES = "/kpi/"
LIMITS = {"statement_timeout": "10s", "lock_timeout": "5s"}  # a person is waiting for the chart
_PATH = re.compile(rf"/kpi/chart/({IDENTIFIER})/({IDENTIFIER}\.{IDENTIFIER})\.svg")
_SVG: Headers = [
    (b"content-type", b"image/svg+xml"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'"),
]
_SENTENCE: Headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]


def chart_path(pipeline: str, relation: Relation) -> str:
    """Return the path of a KPI's chart below the address of the web UI."""
    return f"{PAGES}chart/{pipeline}/{relation}.svg"


class Charts:
    """An ASGI app that serves the charts, and passes every other path on to `app`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings, self._pipelines = app, settings, _Pipelines(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for a path below PAGES; pass every other one on."""
        if scope["type"] != "http" or not scope["path"].startswith(PAGES):
            await self._app(scope, receive, send)
            return
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        status, headers, text = await asyncio.to_thread(self._answer, scope["path"], query.get("load_date", [""])[0])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    def _answer(self, path: str, wanted: str) -> tuple[int, Headers, str]:
        """Return status, headers and body. If a chart cannot be drawn now, the body is an image that says why."""
        names = _PATH.fullmatch(path)
        if names is None:
            return 404, _SENTENCE, f"There is no such page: a chart is {PAGES}chart/PIPELINE/SCHEMA.TABLE.svg.\n"
        try:
            if broken := self._pipelines.current()[1].get(names[1]):
                raise broken.error
            table = self._kpis().get((names[1], names[2]))
            if table is None:
                known = ", ".join(sorted(f"{name}/{kpi}" for name, kpi in self._kpis()))
                return 404, _SENTENCE, f"There is no KPI {names[1]}/{names[2]}: there is {known or 'none'}.\n"
            load_date = parse_date(wanted) if wanted else None
            return 200, _SVG, self._draw(table, load_date)
        except ValueError as error:
            return 400, _SENTENCE, f"{error}\n"
        except UserError as error:
            return 503, _SVG, message_svg(names[2], str(error))
        except psycopg.Error:
            logger.exception("The rows of a chart could not be read.")
            return 503, _SVG, message_svg(names[2], "The chart could not be read: see the log of the web UI.")

    def _kpis(self) -> dict[tuple[str, str], Table]:
        """Return all KPIs by pipeline and `schema.table`. An address only selects one; its text never reaches SQL."""
        return {
            (pipeline.name, str(relation)): table
            for pipeline in self._pipelines.current()[0].values()
            for relation, table in pipeline.tables.items()
            if table.header.kpi
        }

    def _draw(self, table: Table, load_date: date | None) -> str:
        assert table.header.kpi is not None
        assert self._settings.postgres_url is not None
        relation, chart = table.relation, table.header.kpi.chart
        with connect(self._settings.postgres_url, table.pipeline, "chart", read_only=True, more=LIMITS) as connection:
            day = load_date or publishes.latest_load_date(connection, relation)
            publish = publishes.current(connection, [relation], day).get(relation) if day else None
            if publish is None:
                which = f"The load_date {load_date}" if load_date else "No load_date"
                return message_svg(str(relation), f"{which} of {relation} is {'not ' if load_date else ''}published.")
            if publish.rows and find_lost(connection, table, [publish.load_date]):
                sentence = f"The rows of {relation} of {day} are gone from the database: run the load_date again."
                return message_svg(str(relation), sentence)
            # Use the columns of the publish, because the file may have other columns by now.
            columns = publish.types or table.types
            if {chart.x, chart.y} - {*columns}:
                sentence = f"{relation} of {day} was published without {chart.x} or {chart.y}: run the load_date again."
                return message_svg(str(relation), sentence)
            rows = published_chart_rows(connection, table, publish.load_date, columns, chart)
        which = "Load_date" if load_date else "Latest published load_date"
        return small_svg(rows.bars, f"{which} {day}: {chart.y} by {chart.x}{left_out(rows)}")


class _Pipelines:
    """A cache of the pipelines, which is read again when a file below `sql/` has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._lock = settings, Lock()
        self._seen: frozenset[tuple[Path, int, int]] | None = None
        self._found: tuple[dict[str, Pipeline], dict[str, Broken]] = ({}, {})

    def current(self) -> tuple[dict[str, Pipeline], dict[str, Broken]]:
        """Return the pipelines that can be read, and the broken ones, by name. Raises UserError if there is none."""
        with self._lock:
            seen = self._files()
            if seen != self._seen:
                self._found = load_sound(self._settings.sql_dir, self._settings.min_rows)
                self._seen = seen
            return self._found

    def _files(self) -> frozenset[tuple[Path, int, int]]:
        files = [(path, path.stat()) for path in self._settings.sql_dir.rglob("*") if path.is_file()]
        return frozenset((path, found.st_mtime_ns, found.st_size) for path, found in files)
