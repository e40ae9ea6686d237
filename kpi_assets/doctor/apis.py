"""The APIs of a pipeline: whether their addresses and secrets are set, and whether they answer and accept them."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from kpi_assets.doctor.finding import Finding, advice, broken, errors_as_findings, ok
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.sources.api.client import Client
from kpi_assets.sources.api.clock import Clock, Deadline
from kpi_assets.sources.api.problems import FailedError, RefusedError
from kpi_assets.sources.api.request import Request, login_request, page_request
from kpi_assets.sources.api.server import Server, how_to_name_url, url_of

PATIENCE = 5.0  # seconds for an answer to begin


def apis(settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    """Ask each API of a pipeline once, for the first page of yesterday or for a token, and land nothing."""
    for name in pipeline.config.apis:
        yield from errors_as_findings(f"api {pipeline.name}.{name}", lambda of=name: _examine(settings, pipeline, of))  # type: ignore[misc]


def _examine(settings: Settings, pipeline: Pipeline, name: str) -> Iterator[Finding]:
    subject = f"api {pipeline.name}.{name}"
    if not url_of(pipeline, name, settings):
        what = "its objects are read where they have landed as files, and a run that needs another one fails"
        yield advice(subject, f"it has no address, so {what}: {how_to_name_url(pipeline, name)}")
        return
    server = Server.of(pipeline, name, settings)
    request = _request(pipeline, server)
    if request is None:
        yield ok(subject, "its address and its secrets are set; no file names it in source.api")
        return
    try:
        status = _status(request)
    except (FailedError, RefusedError) as error:
        yield broken(subject, f"{request.place} cannot be asked: {error}; runs that need it fail until then")
        return
    if status in (401, 403):
        yield broken(
            subject,
            f"{request.place} refuses us (status {status}): look at the secrets ({server.secret_settings}), and at "
            "our rights",
        )
    elif 200 <= status < 300:
        yield ok(subject, f"{request.place} answers and accepts us")
    else:
        where = f"at login under apis.{name}" if server.api.login else "at source.call of the files that name it"
        yield advice(subject, f"{request.place} answers with status {status}: look {where}, or ask those who run it")


def _request(pipeline: Pipeline, server: Server) -> Request | None:
    """Return the request for a token, or else for a first page; None if nothing is asked of the API."""
    calls = [table.source.call for table in pipeline.object_tables if table.source.api == server.name]
    if not calls or calls[0] is None:
        return None
    if server.api.login:
        return login_request(server)
    call, yesterday = calls[0], datetime.now(timezone.utc).date() - timedelta(days=1)
    return page_request(server, call, yesterday, call.pages.beginning if call.pages else {}, None)


class _BegunError(Exception):
    """An answer with status 200 has begun, and its records are not wanted."""


def _status(request: Request) -> int:
    """Return the status of an answer. Raises FailedError and RefusedError."""

    def stop(_block: bytes) -> None:
        raise _BegunError

    with Client(PATIENCE, Deadline(Clock(), PATIENCE)) as client:
        try:
            return client.send(request, stop).status
        except _BegunError:
            return 200
