"""Problems as answers: RFC 9457 for programs, a page for people.

Belongs here: what a refusal looks like. Not here: when one is made.
"""

import json
from collections.abc import Mapping

from starlette.responses import Response

from kpi_assets.surface.render import problem_page

NO_HEADERS: Mapping[str, str] = {}
_TITLES = {
    400: "The request cannot be read",
    401: "A key is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Only GET is allowed",
    413: "The request is too large",
    414: "The address is too long",
    421: "Wrong host name",
    422: "A parameter is wrong",
    429: "Too many requests",
    431: "The request is too large",
    500: "The answer could not be made",
    503: "Not available now",
}


class Problem(Exception):  # noqa: N818  the name that RFC 9457 gives it
    """A request that gets no answer. `detail` is one sentence that says why, and what to do."""

    def __init__(self, status: int, title: str = "", detail: str = "", headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(detail or title)
        self.status, self.detail, self.headers = status, detail, headers
        self.title = title or _TITLES.get(status, "The request was refused")


def is_for_programs(path: str) -> bool:
    """Whether an address is one of the API, of which problems are JSON."""
    return path.startswith("/api/") or path in {"/healthz", "/readyz", "/metrics"}


def problem_response(path: str, problem: Problem) -> Response:
    """Return the response for a problem with the address `path`."""
    headers = {"Cache-Control": "no-store", **problem.headers}
    if is_for_programs(path):
        body = {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}
        content = json.dumps({name: value for name, value in body.items() if value}, ensure_ascii=False).encode()
        return Response(content, problem.status, headers, "application/problem+json")
    content = problem_page(problem.status, problem.title, problem.detail)
    return Response(content, problem.status, headers, "text/html; charset=utf-8")
