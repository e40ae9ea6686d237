"""`python -m kpi_assets.instance.web -h HOST -p PORT -w WORKSPACE`: Dagster's web UI with our pages, behind our guard.

Its options are those of dagster-webserver. Belongs here: wrapping Dagster's app with the guard, for which Dagster has
no hook (dagster_internals.py). If a new version of Dagster creates the app in another way, `kpi up` and the health
check notice that the guard is missing, and fail (probe.py).
"""

import sys

from dagster_webserver import cli

from kpi_assets.dagster_internals import wrap_web_app
from kpi_assets.errors import UserError
from kpi_assets.instance.access import allowed_hosts, cookie_name, token_of
from kpi_assets.instance.charts import Charts
from kpi_assets.instance.guard import Guard
from kpi_assets.settings import Settings, settings

PREFIX = "DAGSTER_WEBSERVER"  # of the environment variables that can replace an option


def main() -> None:
    """Serve until the process is stopped. Exit with an error message if port, token or settings cannot be used."""
    try:
        install_guard(settings(), _port(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
    cli.cli(auto_envvar_prefix=PREFIX)


def install_guard(config: Settings, port: int) -> None:
    """Wrap every app that dagster-webserver creates in this process from now on with the charts and the guard."""
    hosts, token, cookie = allowed_hosts(config, port), token_of(config), cookie_name(port)
    wrap_web_app(lambda app: Guard(Charts(app, config), hosts, token, cookie))


def _port(arguments: list[str]) -> int:
    """Return the port from the options. It is part of the accepted host names."""
    options = cli.cli.make_context("web", list(arguments), auto_envvar_prefix=PREFIX).params
    if options["path_prefix"]:
        raise UserError("The web UI cannot be served below a path: remove --path-prefix.")
    if not options["port"]:
        raise UserError("The web UI needs a port of its own: pass --port.")
    return int(options["port"])


if __name__ == "__main__":
    main()
