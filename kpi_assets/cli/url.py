"""`kpi url`: where a pipeline's database and the web UI are."""

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
            help="Of its database. Left out: of the web UI.",
            show_default=False,
            autocompletion=complete_pipeline,
        ),
    ] = "",
    reader: Annotated[
        bool,
        typer.Option("--reader", help="As kpi_reader, who reads marts, and of ops what quotes no row; for BI tools."),
    ] = False,
) -> None:
    """Print the Postgres URL of the pipeline's database, or the web UI's address; it holds the password or token."""
    if not pipeline:
        if reader:
            raise UsageError("--reader is for a database: name a pipeline too.")
        typer.echo(_web_ui())
        return
    pipeline_of(pipeline)
    with open_workspace(pipeline) as work:
        work.looked_at()
        parts = urlsplit(work.server.get_secret_value())
        place = parts.netloc
        if reader:
            if work.stack is None or not work.embedded_postgres:
                raise UserError("The server is yours: grant kpi_reader to a login role of your own, and use that.")
            password = work.stack.credentials.reader_password.get_secret_value()
            place = f"kpi_reader:{quote(password)}@{place.rpartition('@')[2]}"
        typer.echo(urlunsplit((parts.scheme, place, f"/{work.pipeline.name}", parts.query, "")))


def _web_ui() -> str:
    """The address that lets a person into the web UI that `kpi up` of this home serves."""
    config = settings()
    [port] = [port for name, runs, port, _ in services.status(config.home) if name == services.WEB and runs] or [None]
    if port is None:
        raise UserError(f"No web UI runs in {config.home.resolve()}: start it with `kpi up`.")
    return access.link(services.address(port), access.token_of(config))
