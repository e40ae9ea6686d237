"""The files below static/, kept in memory: a few kilobytes of CSS, JavaScript and pictures.

An address with `?v=` and the hash of the code may be kept by browsers for ever, since another version has another one.
"""

import hashlib
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kpi_assets.surface.cache import Entry
from kpi_assets.surface.files import code_hash
from kpi_assets.surface.problems import Problem

FOLDER = Path(__file__).with_name("static")
_FOR_EVER = "public, max-age=31536000, immutable"


class StaticFolder:
    """An ASGI app that answers with the files of the folder as they were when it was made, and with no other."""

    def __init__(self, folder: Path = FOLDER) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self._files = {path.relative_to(folder).as_posix(): _read(path) for path in paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope)
        entry = self._files.get(scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/"))
        if entry is None:
            raise Problem(404, detail="There is no such file.")
        is_this_version = request.query_params.get("v") == code_hash()
        headers = {"ETag": entry.tag, "Cache-Control": _FOR_EVER if is_this_version else "no-cache"}
        if entry.tag in request.headers.get("if-none-match", ""):
            await Response(status_code=304, headers=headers)(scope, receive, send)
            return
        await entry.response(request, headers)(scope, receive, send)


def _read(path: Path) -> Entry:
    content = path.read_bytes()
    media = guess_type(path.name)[0] or "application/octet-stream"
    tag = f'W/"{hashlib.blake2s(content, digest_size=12).hexdigest()}"'
    return Entry.of(tag, content, f"{media}; charset=utf-8" if media.startswith("text/") else media, {}, 0)
