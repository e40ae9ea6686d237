"""The `kpi` command: what a person types, and what they are told.

Belongs here: arguments, printing, exit codes. Not here: what a command does to data; each module imports what it needs
when it runs, so that `kpi --help` is instant.
Exit codes: 0 all published, 1 failed, 2 wrong usage, 3 held by a gate, 130 stopped by Ctrl-C.
"""

import gc
import sys
import traceback

import typer

from kpi_assets.cli import alerts, data, deploy, look, plan, retention, run, stack
from kpi_assets.cli.common import STOPPED, error_line
from kpi_assets.errors import UserError

HELP = "From files on S3 to KPIs a person can defend."

# No markup: it would break the sentence of a wrong argument over the lines of a box.
app = typer.Typer(
    help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None
)


@app.callback()
def options(debug: bool = typer.Option(False, "--debug", help="Show where an error came from.")) -> None:
    """Options of every command."""
    _state["debug"] = debug


_state = {"debug": False}

for command in (
    stack.up,
    stack.down,
    stack.status,
    data.sample,
    data.land,
    run.run,
    run.backfill,
    plan.plan,
    look.show,
    look.checks,
    alerts.alerts,
    run.recheck,
    retention.retention,
    look.url,
    run.demo,
    deploy.bootstrap,
    deploy.doctor,
):
    app.command()(command)


def main() -> None:
    """Run a command; what a person can mend is one line, and a stack trace only with --debug."""
    gc.disable()  # until all is imported (`loaded`): a fifth of a command's start went into looking for garbage there
    try:
        app()
    except UserError as error:
        _tell(str(error))
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code == STOPPED:  # Ctrl-C, of which typer tells nothing
            error_line("Stopped.")
        raise
    except Exception as error:
        _tell(f"{type(error).__name__}: {error} (this is a fault of kpi_assets; --debug shows where).")
        sys.exit(1)


def _tell(sentence: str) -> None:
    if _state["debug"]:
        traceback.print_exc()
    error_line(sentence)
