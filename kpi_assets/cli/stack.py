"""The stack: `kpi up`, `kpi down`.

Imports no Dagster: `kpi up` watches processes that do.
"""

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from kpi_assets.cli.process import loaded
from kpi_assets.cli.terminal import err, say, styled
from kpi_assets.cli.workspace import Workspace, sound_pipelines
from kpi_assets.embedded.stack import running, stop
from kpi_assets.instance import services
from kpi_assets.settings import settings


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the web UI; 3000 or the next free one.")
    ] = None,
) -> None:
    """Start the embedded servers, the Dagster web UI and the daemon, until Ctrl-C."""
    first = settings()
    # What the services begin with, wherever they run.
    os.environ.update(KPI_HOME=str(first.home), KPI_SQL_DIR=str(first.sql_dir))
    with running(first) as stack:
        config = settings()
        for pipeline in sound_pipelines():
            assert config.postgres_url is not None
            Workspace(pipeline, config, config.postgres_url, stack).ready()
        loaded()
        say("Starting the web UI and the daemon ...", console=err)
        services.serve(config, stack, port, _ready)


def _ready(address: str, off: Sequence[str]) -> None:
    say(styled(address, "bold"), "  (Ctrl-C stops everything)")
    for name in off:
        say_off(name)


def down() -> None:
    """Stop the web UI, the daemon and the embedded servers of this KPI_HOME."""
    home = settings().home
    stopped = [*services.stop(home), *stop(home)]
    say(f"Stopped: {', '.join(stopped)}." if stopped else f"Nothing was running in {home}.")


def say_off(name: str) -> None:
    """One line on a pipeline that runs nothing by itself."""
    say(f"{name}: automation is ", styled("off", "yellow"), f": `kpi enable {name}` switches it on.")
