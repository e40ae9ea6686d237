"""`kpi up` and `kpi down`: start and stop the embedded servers, the web UI, the daemon and the pages for readers.

This module imports no Dagster: `kpi up` watches processes that do.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from kpi_assets.cli.process import enable_gc
from kpi_assets.cli.terminal import err, say, styled
from kpi_assets.cli.workspace import Workspace, sound_pipelines
from kpi_assets.embedded.stack import embedded_servers, stop
from kpi_assets.instance import services
from kpi_assets.settings import settings


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the web UI; default: 3000 or the next free one.")
    ] = None,
) -> None:
    """Start the embedded servers, Dagster's web UI and daemon, `kpi serve` and `kpi stream`; Ctrl-C stops them."""
    pipelines = sound_pipelines()
    with embedded_servers(settings(), pipelines) as servers:
        for pipeline in pipelines:
            Workspace(pipeline, servers).ready()
        enable_gc()
        say("Starting the web UI, the daemon and the pages ...", console=err)
        with_streams = [pipeline.name for pipeline in pipelines if pipeline.stream_tables]
        services.serve(servers.settings, servers.stack, port, _ready, with_streams)


def _ready(address: str, pages: str, off: Sequence[str]) -> None:
    say(styled(address, "bold"), "  Dagster  (Ctrl-C stops everything)")
    say(styled(pages, "bold"), "  KPIs, for those who read them")
    for name in off:
        say_off(name)


def down() -> None:
    """Stop the web UI, the daemon, the pages and the embedded servers of this KPI_HOME."""
    home = settings().home
    stopped = [*services.stop(home), *stop(home)]
    say(f"Stopped: {', '.join(stopped)}." if stopped else f"Nothing was running in {home}.")


def say_off(name: str) -> None:
    """Print that the automation of a pipeline is off."""
    say(f"{name}: automation is ", styled("off", "yellow"), f": `kpi enable {name}` switches it on.")
