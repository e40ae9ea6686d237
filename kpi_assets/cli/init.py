"""`kpi init`: writes a small project as a starting point."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets import templates
from kpi_assets.cli.terminal import say, styled
from kpi_assets.errors import UsageError, UserError

PROJECT = Path(templates.__file__).with_name("project")
NEXT = (
    ("kpi check", "reads the files and runs the fixtures"),
    ("kpi land website --load-date 2025-06-01 --from samples/2025-06-01", "uploads the files of a day to S3"),
    ("kpi run website --load-date 2025-06-01", "builds, checks and publishes that day"),
    ("kpi show website marts.kpi_visits_by_page", "prints what readers see"),
    ("kpi up", "serves the web UI"),
)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
) -> None:
    """Write a small project into a new folder: a pipeline with a KPI, its fixtures, and files to land."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is not an empty folder: name a new or empty one.")
        written = [_copy(path, folder / path.relative_to(PROJECT)) for path in template_files()]
    except OSError as error:
        raise UserError(
            f"The project cannot be written to {folder} ({error.strerror}: {error.filename}): name another folder."
        ) from None
    say(styled("wrote", "green"), f" {len(written)} files to {folder}. Next:")
    width = max(len(command) for command, _ in NEXT)
    say(f"  cd {shlex.quote(str(folder))}")
    for command, what in NEXT:
        say(f"  {command:{width}}  # {what}")


def template_files() -> list[Path]:
    """Return the files of the project, in order."""
    return sorted(path for path in PROJECT.rglob("*") if path.is_file())


def _copy(source: Path, target: Path) -> Path:
    """Write a copy with the mode of a new file, because the files of an installed package may be read-only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target
