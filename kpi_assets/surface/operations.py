"""Addresses for those who run it: is it alive, is it ready, what does it count, and which version does it show.

Not here: what any pipeline shows (pages/, api/).
"""

import asyncio
import json

import psycopg
from fastapi import APIRouter, Depends, Request, Response

from kpi_assets.errors import UserError
from kpi_assets.surface.answer import Answers, Body, Reading, answer
from kpi_assets.surface.api.answers import VersionAnswer
from kpi_assets.surface.api.finding import PROBLEMS
from kpi_assets.surface.api.parameters import only_declared
from kpi_assets.surface.files import Files, code_hash
from kpi_assets.telemetry.page import text_of

router = APIRouter()
of_data = APIRouter()  # what waits for the pipelines' files
_NEVER_KEPT = {"Cache-Control": "no-store"}


@router.get("/healthz", include_in_schema=False)
async def healthz() -> Response:
    """Say that the process answers."""
    return Response(b'{"ok": true}\n', media_type="application/json", headers=_NEVER_KEPT)


@router.get("/readyz", include_in_schema=False)
async def readyz(request: Request) -> Response:
    """Say whether the files are read and every database answers. No name is told, because everybody may ask."""
    surface = request.app.state.surface
    files: Files = surface.files
    states = await asyncio.gather(*(_state(surface.answers, name) for name in files.pipelines))
    ready = files.is_read and "away" not in states
    body = {
        "ready": ready,
        "files": ("broken" if files.problem else "read") if files.is_read else "being read",
        "databases": {state: states.count(state) for state in ("ready", "empty", "away")},
    }
    content = json.dumps(body).encode() + b"\n"
    return Response(content, 200 if ready else 503, _NEVER_KEPT, "application/json")


async def _state(answers: Answers, name: str) -> str:
    try:
        found = await answers.versions([name])
    except (UserError, psycopg.Error):
        return "away"
    return "ready" if found[name].builds else "empty"


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Say how each pipeline is, and what was counted since the start, as text that Prometheus reads."""
    surface = request.app.state.surface
    figures = await asyncio.get_running_loop().run_in_executor(surface.figures.thread, surface.figures.now)
    return Response(
        (text_of(figures) + surface.numbers.text(surface.answers.cache.size)).encode(),
        headers=_NEVER_KEPT,
        media_type="text/plain; version=0.0.4; charset=utf-8",
    )


@router.get("/api/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """Describe the API, for programs that make clients of it."""
    schema = json.dumps(request.app.openapi(), ensure_ascii=False).encode()
    return Response(schema, media_type="application/json", headers={"Cache-Control": "no-cache"})


@of_data.get(
    "/api/v1/version",
    tags=["Trust"],
    operation_id="version",
    response_model=VersionAnswer,
    responses={422: PROBLEMS[422]},
    dependencies=[Depends(only_declared)],
    summary="Changes whenever something was published, held or failed",
)
async def version(request: Request) -> Response:
    """Say which state of each pipeline is shown: the newest publish, and a version that differs if any part does."""

    def make(reading: Reading) -> Body:
        found = {name: reading.versions[name] for name, each in reading.pipelines.items() if reading.has(each)}
        of = {name: {"publish_id": each.publish_id, "version": each.digest} for name, each in found.items()}
        body = {"version": code_hash(), "pipelines": of}
        return Body(json.dumps(body, separators=(",", ":")).encode(), "application/json")

    return await answer(request, list(request.app.state.surface.pipelines), make)
