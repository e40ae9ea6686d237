"""All simulated APIs as one ASGI application: each below the path of its name.

Belongs here: the steps from a request to an answer. Not here: what differs between the APIs (shapes.py), and serving
(__main__.py).
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from kpi_assets.simulators.api import fingerprint
from kpi_assets.simulators.misbehavior import Misbehavior, error
from kpi_assets.simulators.pages import Database, Reader
from kpi_assets.simulators.requests import BadRequestError, json_object, read_body
from kpi_assets.simulators.shapes import SHAPES, Shape

logger = logging.getLogger(__name__)


class Endpoint:
    """Answers the requests of one API."""

    def __init__(self, shape: Shape, database: Database):
        self.shape = shape
        self._database = database
        self._reader = Reader(shape.api, database)
        self._seen: Counter[tuple[object, ...]] = Counter()

    async def close(self) -> None:
        """End the session on the database."""
        await self._database.close()

    async def is_ready(self) -> None:
        """Raise psycopg.Error if the database cannot be read."""
        await self._reader.faults()

    async def health(self, request: Request) -> Response:
        """Say that the API works, without a secret."""
        trouble = await self._trouble()
        return error("This API is down.", 503) if trouble.has("down") else JSONResponse({"status": "ok"})

    async def records(self, request: Request) -> Response:
        """Answer with a page of records."""
        body = await read_body(request)
        trouble = await self._trouble()
        refusal = await trouble.refusal(request.url.query.encode() + body)
        if refusal is not None:
            return refusal
        parameters = json_object(body) if self.shape.method == "POST" else dict(request.query_params)
        self.shape.check_secret(request, parameters)
        ask = await self.shape.ask(parameters, self._reader)
        if trouble.refuses_secret(ask.page_number):
            raise BadRequestError(f"{self.shape.login} is missing or wrong.", 401)
        page = await trouble.read(self._reader, ask)
        return trouble.sent(self.shape.document(ask, page, trouble))

    async def _trouble(self) -> Misbehavior:
        return Misbehavior(self.shape.api, await self._reader.faults(), self._seen)


def make_app(secrets: Mapping[str, Any], url_of: Callable[[str], str]) -> Starlette:
    """Return the application of all APIs; `url_of` a database names where it is, anew for each session."""
    of_apis = secrets["of_apis"]
    endpoints = [
        Endpoint(shape(of_apis[shape.api.name]), Database(_later(url_of, shape.api.database))) for shape in SHAPES
    ]

    async def health(request: Request) -> Response:
        for endpoint in endpoints:
            await endpoint.is_ready()
        return JSONResponse({"status": "ok", "secrets": fingerprint(secrets)})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for endpoint in endpoints:
            await endpoint.close()

    return Starlette(
        routes=[Route("/health", health), *(_mount(endpoint) for endpoint in endpoints)],
        exception_handlers={BadRequestError: _refuse, HTTPException: _refuse_path, psycopg.Error: _say_unavailable},
        lifespan=lifespan,
    )


def _mount(endpoint: Endpoint) -> Mount:
    shape = endpoint.shape
    return Mount(
        f"/{shape.api.name}",
        routes=[
            Route("/health", endpoint.health),
            Route(shape.path, endpoint.records, methods=[shape.method]),
        ],
    )


def _later(url_of: Callable[[str], str], database: str) -> Callable[[], str]:
    return lambda: url_of(database)


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, BadRequestError)
    response = error(str(refusal), refusal.status)
    if refusal.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


async def _refuse_path(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, HTTPException)
    return error(f"{refusal.detail}: {request.method} {request.url.path}.", refusal.status_code)


async def _say_unavailable(request: Request, problem: Exception) -> Response:
    logger.warning("%s", str(problem).partition("\n")[0])
    return error("The database of this API cannot be read.", 503)
