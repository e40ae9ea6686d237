"""`kpi url`: the addresses of a pipeline's database and of the web UI."""

from typing import Annotated
from urllib.parse import quote, urlsplit, urlunsplit

import typer

from kpi_assets.cli.arguments import complete_pipeline
from kpi_assets.cli.workspace import open_workspace, pipeline_of
from kpi_assets.errors import UsageError, UserError
from kpi_assets.instance import access, services
from kpi_assets.settings import settings


def url(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="[PIPELINE]",
            help="Print the URL of its database; without it, the address of the web UI.",
            show_default=False,
            autocompletion=complete_pipeline,
        ),
    ] = "",
    reader: Annotated[
        bool,
        typer.Option(
            "--reader",
            help="Use the login kpi_reader, which reads marts and the columns of ops that quote no row; for BI tools.",
        ),
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Print the address of the pages for those who read the KPIs.")
    ] = False,
) -> None:
    """Print the URL of a pipeline's database or of the web UI; it contains the password or token."""
    if pages:
        if pipeline or reader:
            raise UsageError("--pages stands alone: the pages are the same for all pipelines.")
        typer.echo(_pages())
        return
    if not pipeline:
        if reader:
            raise UsageError("--reader is for a database: name a pipeline too.")
        typer.echo(_web_ui())
        return
    pipeline_of(pipeline)
    with open_workspace(pipeline) as work:
        work.readable()
        parts = urlsplit(work.server.get_secret_value())
        place = parts.netloc
        if reader:
            if work.stack is None or not work.embedded_postgres:
                raise UserError(
                    "KPI_POSTGRES_URL names your own server: grant kpi_reader to a login of yours, and use that."
                )
            password = work.stack.credentials.reader_password.get_secret_value()
            place = f"kpi_reader:{quote(password)}@{place.rpartition('@')[2]}"
        typer.echo(urlunsplit((parts.scheme, place, f"/{work.pipeline.name}", parts.query, "")))


def _pages() -> str:
    """Return the address of the pages, of the settings or of the `kpi up` of this home."""
    config = settings()
    if found := services.pages_url(config):
        return found
    raise UserError(f"No pages are served from {config.home.resolve()}: start them with `kpi up`, or `kpi serve`.")


def _web_ui() -> str:
    """Return the address, with its token, of the web UI that `kpi up` serves from this home."""
    config = settings()
    [port] = [port for name, runs, port, _ in services.status(config.home) if name == services.WEB and runs] or [None]
    if port is None:
        raise UserError(f"No web UI runs in {config.home.resolve()}: start it with `kpi up`.")
    return access.link(services.address(port), access.token_of(config))
