"""`kpi check`: everything that is wrong with the files below sql/, at once. No server is asked, and none is started."""

from enum import Enum
from typing import Annotated

import typer

from kpi_assets.cli.terminal import say, styled
from kpi_assets.errors import UsageError, UserError
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines, pipeline_names
from kpi_assets.printable import strict_json
from kpi_assets.settings import settings


class Format(str, Enum):
    """How errors are printed."""

    table = "table"
    json = "json"


def check(
    pipelines: Annotated[
        list[str] | None, typer.Argument(metavar="[PIPELINE]...", help="Folders below sql/; all by default.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.table,  # noqa: A002
) -> None:
    """Print all that is wrong with the files, each with file, line and what to write: exit 0, or 2 if anything is."""
    found = _errors(pipelines or [])
    if format is Format.json:
        typer.echo(strict_json([_as_json(error) for error in found], indent=2))
    else:
        for error in found:
            say(styled("error:", "bold red"), f" {error}")
        what = f"{len(found)} error{'s' * (len(found) != 1)}" if found else "All files can be read"
        say(f"{what}: {', '.join(_places(found) or pipelines or pipeline_names(settings().sql_dir)) or 'sql/'}.")
    if found:
        raise typer.Exit(UsageError.exit_code)


def _errors(names: list[str]) -> list[UserError]:
    """What is wrong in the named pipelines, or in all and in what the environment says of them."""
    config = settings()
    known = pipeline_names(config.sql_dir)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"There is no pipeline {unknown[0]!r}: there is {', '.join(known)}.")
    try:
        load_pipelines(config.sql_dir, config.min_rows)
    except ModelError as error:
        folders = {config.sql_dir / name for name in names}
        return [each for each in error.each if not names or folders & {*each.path.parents}]
    except UsageError as error:
        return [error]
    return []


def _places(found: list[UserError]) -> list[str]:
    """The pipelines in which something is wrong."""
    root = settings().sql_dir
    return sorted({error.path.relative_to(root).parts[0] for error in found if isinstance(error, ModelError)})


def _as_json(error: UserError) -> dict[str, object]:
    if isinstance(error, ModelError):
        return {"file": str(error.path), "line": error.line, "problem": error.problem}
    return {"file": None, "line": None, "problem": str(error)}
