"""All commands in one, and the one line that a person is told where a command fails."""

import gc
import logging
import sys
import traceback
from typing import cast

import typer

from kpi_assets.cli import STOPPED, alerts, check, data, deploy, drop, plan, retention, run, show, stack, switch
from kpi_assets.cli.common import close_files, err, error_line, say
from kpi_assets.errors import UserError
from kpi_assets.printable import printable
from kpi_assets.scrub import scrub

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
    switch.enable,
    switch.disable,
    data.sample,
    data.land,
    run.run,
    run.backfill,
    plan.plan,
    show.show,
    show.checks,
    check.check,
    alerts.alerts,
    run.recheck,
    retention.retention,
    drop.drop,
    show.url,
    run.demo,
    deploy.bootstrap,
    deploy.doctor,
):
    app.command(short_help=command.__doc__)(command)  # the whole sentence: of a longer one the list would cut the end


# What typer raises for wrong usage; the common class has no public name.
WrongUsage = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


def main() -> None:
    """Run a command; what a person can mend is one line, and a stack trace only with --debug."""
    gc.disable()  # until all is imported (`loaded`): a fifth of a command's start went into looking for garbage there
    _log_printably()
    close_files()
    try:
        code = app(standalone_mode=False) or 0
        if code == STOPPED:  # Ctrl-C, of which typer tells nothing
            error_line("Stopped.")
    except UserError as error:
        _tell(*error.sentences)
        code = error.exit_code
    except WrongUsage as error:
        error.message = "\n".join(map(printable, error.message.split("\n")))  # it has words of the command line in it
        error.show()
        code = error.exit_code
    except Exception as error:
        _tell(f"{type(error).__name__}: {error} (this is a fault of kpi_assets; --debug shows where).")
        code = 1
    sys.exit(code)


class _Printable(logging.Formatter):
    """Log lines in which nothing that they quote can steer the terminal or is a secret."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, scrub(super().format(record)).split("\n")))


def _log_printably() -> None:
    """Set how warnings are printed for which nobody has set up a log."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Printable())
    logging.lastResort = handler


def _tell(*sentences: str) -> None:
    if _state["debug"]:
        for line in scrub(traceback.format_exc()).splitlines():
            say(line, console=err)
    for sentence in sentences:
        error_line(scrub(sentence))
