"""All commands in one, and the one line that a person is told where a command fails.

Belongs here: which commands there are, and how errors end. Not here: what a command does. Its module is imported when
it is called, so `kpi --help` and a wrong name are answered at once.
"""

import ast
import gc
import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from kpi_assets.cli import STOPPED
from kpi_assets.cli.process import close_files
from kpi_assets.cli.terminal import err, error_line, say
from kpi_assets.errors import UserError
from kpi_assets.printable import printable
from kpi_assets.scrub import scrub

HELP = "From files on S3 to KPIs a person can defend."

# Each command, in the order of `kpi --help`, and the module beside this one whose function of the same name it is.
COMMANDS = {
    "init": "init",
    "up": "stack",
    "down": "stack",
    "status": "status",
    "enable": "switch",
    "disable": "switch",
    "sample": "data",
    "land": "data",
    "run": "run",
    "backfill": "run",
    "plan": "plan",
    "show": "show",
    "checks": "show",
    "check": "check",
    "alerts": "alerts",
    "recheck": "recheck",
    "retention": "retention",
    "drop": "drop",
    "url": "url",
    "demo": "demo",
    "bootstrap": "deploy",
    "doctor": "deploy",
}


def _docstring(name: str) -> str:
    """What a command's function says of itself, read from its module's text: an import may take two seconds."""
    text = (Path(__file__).with_name(COMMANDS[name]).with_suffix(".py")).read_text()
    [function] = [each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef) and each.name == name]
    return ast.get_docstring(function) or ""


@cache
def _load(name: str) -> TyperCommand:
    """The command itself."""
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name, short_help=_docstring(name))(getattr(import_module(f"kpi_assets.cli.{COMMANDS[name]}"), name))
    return cast("TyperCommand", typer.main.get_command(alone))


class _Named(TyperCommand):
    """A command of which only the name and the help are known until it is called, or its arguments are completed."""

    def __init__(self, name: str) -> None:
        # The whole sentence: of a longer one the list of commands would cut the end.
        super().__init__(name, help=_docstring(name), short_help=_docstring(name), rich_markup_mode=None)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context of the command itself."""
        assert self.name is not None
        return _load(self.name).make_context(info_name, args, parent, **extra)


class _Loaded(MutableMapping[str, Any]):
    """Every command by name, for whoever looks at all of them; each is imported when it is taken out."""

    def __getitem__(self, name: str) -> TyperCommand:
        return _load(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __setitem__(self, name: str, command: Any) -> None:
        raise TypeError("COMMANDS lists the commands")

    def __delitem__(self, name: str) -> None:
        raise TypeError("COMMANDS lists the commands")


class LazyGroup(TyperGroup):
    """The group of COMMANDS."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Loaded()

    def list_commands(self, _ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> TyperCommand | None:
        """The command of that name, which is imported when it is called."""
        return _Named(cmd_name) if cmd_name in COMMANDS else None


# No markup: it would break the sentence of a wrong argument over the lines of a box.
app = typer.Typer(cls=LazyGroup, help=HELP, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kpi_assets {metadata.version('kpi_assets')}")
        raise typer.Exit


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show where an error came from."),
    _version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Options of every command."""
    _state["debug"] = debug


_state = {"debug": False}


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
