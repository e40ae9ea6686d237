"""`python -m kpi_assets.instance.web -h HOST -p PORT -w WORKSPACE`: Dagster's web UI with our pages, behind our guard.

Its options are those of dagster-webserver. Belongs here: how the guard is put before Dagster's app. Dagster has no hook
for that (dagster_internals.py). Where an upgrade makes the app in another way, `kpi up` and the health check refuse to
go on (probe.py).
"""

import sys

from dagster_webserver import cli

from kpi_assets.dagster_internals import wrap_web_app
from kpi_assets.errors import UserError
from kpi_assets.instance.access import allowed_hosts, cookie_name, token_of
from kpi_assets.instance.charts import Charts
from kpi_assets.instance.guard import Guard
from kpi_assets.settings import Settings, settings

PREFIX = "DAGSTER_WEBSERVER"  # of the environment variables that stand for an option


def main() -> None:
    """Serve until the process is told to end. Without a port, a token or readable settings: a sentence."""
    try:
        put_guard_before_dagster(settings(), _port(sys.argv[1:]))
    except UserError as error:
        sys.exit(f"error: {error}")
    cli.cli(auto_envvar_prefix=PREFIX)


def put_guard_before_dagster(config: Settings, port: int) -> None:
    """From here on, the app that dagster-webserver makes in this process is a guarded one."""
    hosts, token, cookie = allowed_hosts(config, port), token_of(config), cookie_name(port)
    wrap_web_app(lambda app: Guard(Charts(app, config), hosts, token, cookie))


def _port(words: list[str]) -> int:
    """The port among the options, which is part of the host names that are answered."""
    options = cli.cli.make_context("web", list(words), auto_envvar_prefix=PREFIX).params
    if options["path_prefix"]:
        raise UserError("The web UI is served without a path before its pages: take out --path-prefix.")
    if not options["port"]:
        raise UserError("The web UI needs a port of its own: say --port.")
    return int(options["port"])


if __name__ == "__main__":
    main()
