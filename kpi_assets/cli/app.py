"""The list of all commands, and the one line that reports the error of a command.

Belongs here: which commands exist, and how errors are reported. Not here: what a command does. The module of a command
is imported when the command is called, so that `kpi --help` and a wrong name are answered at once.
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
from kpi_assets.cli.process import restrict_new_files
from kpi_assets.cli.terminal import err, error_line, say
from kpi_assets.errors import UserError
from kpi_assets.printable import printable
from kpi_assets.scrub import scrub

HELP = "From files on S3 to KPIs a person can defend."

# Each command, in the order of `kpi --help`, and the module of this package that has its function of the same name. The
# `group` of a module, if it has one, is a command with commands of its own; the function is their common part. Its
# `CONTEXT`, if it has one, is how the command line is read.
COMMANDS = {
    "init": "init",
    "infer": "infer",
    "up": "stack",
    "serve": "serve",
    "stream": "stream",
    "down": "stack",
    "status": "status",
    "enable": "switch",
    "disable": "switch",
    "sample": "data",
    "land": "land",
    "fetch": "fetch",
    "run": "run",
    "backfill": "run",
    "plan": "plan",
    "show": "show",
    "ask": "ask",
    "checks": "show",
    "measures": "measures",
    "quality": "quality",
    "quarantine": "quarantine",
    "waive": "rulings",
    "rulings": "rulings",
    "revoke": "rulings",
    "publishes": "publishes",
    "rollback": "rollback",
    "erase": "erase",
    "trace": "trace",
    "diff": "diff",
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
    """Return the docstring of a command. It is read from the source, because an import may take two seconds."""
    text = (Path(__file__).with_name(COMMANDS[name]).with_suffix(".py")).read_text()
    [function] = [each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef) and each.name == name]
    return ast.get_docstring(function) or ""


@cache
def _load(name: str) -> TyperCommand | TyperGroup:
    """Import the module of a command and return the command."""
    module = import_module(f"kpi_assets.cli.{COMMANDS[name]}")
    if isinstance(group := getattr(module, "group", None), typer.Typer):
        made = cast("TyperGroup", typer.main.get_command(group))
        made.name = name
        for each in made.commands.values():
            each.short_help = each.help  # as in _LazyCommand
        return made
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    context = getattr(module, "CONTEXT", None)
    single.command(name, short_help=_docstring(name), context_settings=context)(getattr(module, name))
    return cast("TyperCommand", typer.main.get_command(single))


class _LazyCommand(TyperCommand):
    """A command with a name and a help text, whose module is imported when it is called or completed by a shell."""

    def __init__(self, name: str) -> None:
        # Without short_help, the list of commands would cut the end of a long sentence.
        super().__init__(name, help=_docstring(name), short_help=_docstring(name), rich_markup_mode=None)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Return a context of the imported command."""
        assert self.name is not None
        return _load(self.name).make_context(info_name, args, parent, **extra)


class _LoadedCommands(MutableMapping[str, Any]):
    """Every command by name, for code that iterates over them; a command is imported when it is accessed."""

    def __getitem__(self, name: str) -> TyperCommand | TyperGroup:
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
    """The group of the commands in COMMANDS."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _LoadedCommands()

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> TyperCommand | None:
        """Return the command of that name, which is imported when it is called."""
        return _LazyCommand(cmd_name) if cmd_name in COMMANDS else None


# Rich markup would draw a box around the error of a wrong argument and break its sentence into lines.
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
    """Read the options that stand before every command."""
    _state["debug"] = debug


_state = {"debug": False}


# What typer raises for wrong usage; the common class has no public name.
WrongUsage = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


def main() -> None:
    """Run a command. An error that a person can mend is one line; --debug adds the stack trace."""
    gc.disable()  # until enable_gc(): collecting garbage during the imports took a fifth of a command's start
    _escape_log_lines()
    restrict_new_files()
    try:
        code = app(standalone_mode=False) or 0
        if code == STOPPED:  # Ctrl-C, for which typer prints nothing
            error_line("Stopped.")
    except UserError as error:
        _print_error(*error.sentences)
        code = error.exit_code
    except WrongUsage as error:
        error.message = "\n".join(map(printable, error.message.split("\n")))  # it quotes the command line
        error.show()
        code = error.exit_code
    except Exception as error:
        _print_error(f"{type(error).__name__}: {error} (this is a bug in kpi_assets; --debug shows where).")
        code = 1
    sys.exit(code)


class _PrintableFormatter(logging.Formatter):
    """Formats log lines without secrets and without characters that would control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, scrub(super().format(record)).split("\n")))


def _escape_log_lines() -> None:
    """Escape the warnings that Python prints when no log is configured."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_PrintableFormatter())
    logging.lastResort = handler


def _print_error(*sentences: str) -> None:
    if _state["debug"]:
        for line in scrub(traceback.format_exc()).splitlines():
            say(line, console=err)
    for sentence in sentences:
        error_line(scrub(sentence))
