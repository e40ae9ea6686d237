"""`kpi serve`: the pages and the API for those who read the KPIs.

This module imports no Dagster, so that the pages are there within two seconds.
"""

import re
import secrets
import signal
from contextlib import ExitStack
from typing import Annotated

import typer

from kpi_assets.cli.process import enable_gc
from kpi_assets.cli.terminal import say, styled
from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UsageError
from kpi_assets.settings import Settings, settings


def serve(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; default: KPI_SERVE_PORT, which is 8000.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; any but 127.0.0.1 needs KPI_SERVE_KEYS or KPI_SERVE_PROXY_HEADER."),
    ] = None,
    new_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make a key for a reader, print it once with its hash, and end."),
    ] = None,
) -> None:
    """Serve the pages and the API for those who read the KPIs; Ctrl-C stops it."""
    if new_key is not None:
        _print_new_key(new_key)
        return
    config = _with(settings(), port, host)
    from kpi_assets.surface.run import run  # noqa: PLC0415  it takes half a second
    from kpi_assets.surface.security import policy_of  # noqa: PLC0415

    policy_of(config, config.serve_port)  # refuse before servers are started
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that embedded servers are stopped then too
    with ExitStack() as opened:
        if config.embedded_postgres and config.serve_postgres_url is None:
            stack = opened.enter_context(Stack(config.home, s3=False))
            config = stack.add_servers_to(config)
        enable_gc()
        run(config, lambda address: say(styled(address, "bold"), "  (Ctrl-C stops it)"))


def _with(config: Settings, port: int | None, host: str | None) -> Settings:
    """Return the settings with those of the command line, checked as if they were set."""
    given = {"serve_port": port, "serve_host": host}
    changes = {name: value for name, value in given.items() if value is not None}
    try:
        checked = Settings.model_validate({"home": config.home, "sql_dir": config.sql_dir, **changes})
    except ValueError:
        raise UsageError(
            f"--host {host}: write the address of one network interface, such as 127.0.0.1 or 0.0.0.0."
        ) from None
    return config.model_copy(update={name: getattr(checked, name) for name in changes})


def _print_new_key(name: str) -> None:
    from kpi_assets.surface.security import hash_of  # noqa: PLC0415

    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name):
        raise UsageError("Name a key with lower case letters, digits, - and _, as in --new-key finance.")
    key = f"kpi_{secrets.token_urlsafe(32)}"
    say("The key, which is shown only now: ", styled(key, "bold"))
    say(f"Add this to KPI_SERVE_KEYS, or to the file kpi_serve_keys in KPI_SECRETS_DIR: {name}:{hash_of(key)}")
