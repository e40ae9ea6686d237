"""The page of the command `kpi`: its subcommands with their arguments and options, and the exit codes."""

from collections.abc import Iterator
from datetime import date
from enum import Enum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from typer.core import TyperGroup
from typer.main import get_command

from kpi_assets.cli import STOPPED
from kpi_assets.cli.app import app
from kpi_assets.cli.runner import EXIT_CODES
from kpi_assets.docs.markdown import code, listed, page_of, table, word
from kpi_assets.errors import UsageError, UserError

_INTRO = """
`kpi` works in the project that it is called in: the nearest folder, from the current one upwards, that holds
`sql/<pipeline>/pipeline.yaml`. It reads the folder `sql` of the project and keeps data, credentials and logs in the
folder `.kpi`. The [settings](settings.md) `KPI_SQL_DIR` and `KPI_HOME` name other folders.

If the environment names no servers, a command starts the embedded ones and stops them at its end. If `kpi up` runs, the
command uses the servers that are there.
"""
_EXIT_CODES = {
    0: "All that was asked for is done; of a run: everything is published.",
    UserError.exit_code: "Something failed, or an object has not landed. A sentence on stderr says what to do.",
    UsageError.exit_code: "The command, a setting or a file below `sql/` is wrong, and nothing was begun.",
    EXIT_CODES["held"]: "A gate holds the load_date: nothing of the held tables was published.",
    STOPPED: "Ctrl-C stopped the command; `kpi up` ends with 0, because Ctrl-C is how it is stopped.",
}
_COMPLETION = """
## Shell completion

`kpi --install-completion` makes the Tab key complete commands and options in your shell; open a new shell afterwards.
`kpi --show-completion` prints the script instead, so that you can put it where you want it.
"""
_KINDS = {str: "text", int: "whole number", float: "number", Path: "path", date: "date"}


@cache
def commands() -> dict[str, Any]:
    """Return each subcommand by name, in the order of `kpi --help`."""
    group: Any = get_command(app)
    return {name: group.commands[name] for name in group.commands}


def options() -> list[Any]:
    """Return the options of `kpi` itself, which stand before the subcommand."""
    return list(get_command(app).params)


def page() -> str:
    """Return the page as Markdown."""
    names = {option for parameter in options() for option in parameter.opts}
    return page_of(
        "The command `kpi`",
        _INTRO,
        "## Exit codes",
        table(("exit code", "meaning"), ((word(number), text) for number, text in _EXIT_CODES.items())),
        "## Options of every command",
        "They stand before the name of the command, as in `kpi --debug run …`.",
        table(("option", "meaning"), ((_spelled(each), _meaning(each)) for each in options())),
        _COMPLETION if "--install-completion" in names else "",
        *(part for name, command in commands().items() for part in _command(name, command)),
    )


def _command(name: str, command: Any) -> Iterator[str]:
    """Describe a command and, if it is a group, each command in it."""
    yield f"##{'#' * name.count(' ')} {word(f'kpi {name}')}"
    yield str(command.help)
    if isinstance(command, TyperGroup):
        for inner, each in command.commands.items():
            yield from _command(f"{name} {inner}", each)
        return
    usage = ["kpi", name, *(_usage(parameter) for parameter in command.params)]
    yield code(" ".join(filter(None, usage)), "text")
    if command.params:
        yield table(
            ("argument or option", "value", "default", "meaning"),
            ((_spelled(each), _value(each), _default(each), _meaning(each)) for each in command.params),
        )


def _usage(parameter: Any) -> str:
    if _is_argument(parameter):
        name = str(parameter.metavar or parameter.name.upper())
        return name if parameter.required or name.startswith("[") else f"[{name}]"
    return f"{parameter.opts[0]} {parameter.metavar or 'VALUE'}" if parameter.required else ""


def _spelled(parameter: Any) -> str:
    if _is_argument(parameter):
        return word(str(parameter.metavar or parameter.name.upper()).strip("[]."))
    return listed([word(option) for option in (*parameter.opts, *parameter.secondary_opts)])


def _value(parameter: Any) -> str:
    """Return the kind of value of a parameter in a few words; empty for a flag."""
    if getattr(parameter, "is_flag", False):
        return ""
    kind = parameter.type_descriptor.annotation
    several = get_origin(kind) is list
    if several:
        [kind] = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return listed([word(each.value) for each in kind])
    name = word(parameter.metavar) if parameter.metavar and not _is_argument(parameter) else _KINDS.get(kind, "text")
    return f"{name}, several times" if several and not _is_argument(parameter) else name


def _default(parameter: Any) -> str:
    if parameter.required:
        return f"required, or {word(parameter.envvar)}" if getattr(parameter, "envvar", None) else "required"
    value = parameter.default
    if value in (None, "", False) or callable(value):
        return ""
    if value is True:  # a flag that is on
        return word(parameter.opts[0])
    return word(value.value if isinstance(value, Enum) else value)


def _meaning(parameter: Any) -> str:
    return str(getattr(parameter, "help", None) or "")


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")
