"""Addresses for those who run it: is it alive, is it ready, what does it count, and which version does it show.

Not here: what any pipeline shows (pages/, api/).
"""

import json

from fastapi import APIRouter, Request, Response

from kpi_assets.surface.answer import Body, Reading, answer
from kpi_assets.surface.files import code_hash

router = APIRouter()
of_data = APIRouter()  # what waits for the pipelines' files


@router.get("/healthz", include_in_schema=False)
async def healthz() -> Response:
    """Whether the process answers."""
    return Response(b'{"ok": true}\n', media_type="application/json")


@router.get("/api/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """The description of the API, for programs that make clients of it."""
    schema = json.dumps(request.app.openapi(), ensure_ascii=False).encode()
    return Response(schema, media_type="application/json", headers={"Cache-Control": "no-cache"})


@of_data.get("/api/v1/version", tags=["Trust"], summary="Changes whenever something was published, held or failed")
async def version(request: Request) -> Response:
    """Say which state of each pipeline is shown: the newest publish, and a version that differs if any part does."""

    def make(reading: Reading) -> Body:
        found = {name: reading.versions[name] for name, each in reading.pipelines.items() if reading.has(each)}
        of = {name: {"publish_id": each.publish_id, "version": each.digest} for name, each in found.items()}
        body = {"version": code_hash(), "pipelines": of}
        return Body(json.dumps(body, separators=(",", ":")).encode(), "application/json")

    return await answer(request, list(request.app.state.surface.pipelines), make)
