"""`kpi init`: writes a small project as a starting point, or a pipeline without tables for files of one's own."""

import shlex
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets import templates
from kpi_assets.cli.arguments import date_option
from kpi_assets.cli.terminal import say, styled
from kpi_assets.errors import UsageError, UserError
from kpi_assets.model.names import name_problem
from kpi_assets.model.pipeline_config import PIPELINE_FILE, TAKEN_DATABASES

PROJECT = Path(templates.__file__).with_name("project")
NEXT = (
    ("kpi check", "reads the files and runs the fixtures"),
    ("kpi land website --load-date 2025-06-01 --from samples/2025-06-01", "uploads the files of a day to S3"),
    ("kpi run website --load-date 2025-06-01", "builds, checks and publishes that day"),
    ("kpi show website marts.kpi_visits_by_page", "prints what readers see"),
    ("kpi up", "serves the pages of the KPIs and Dagster's UI"),
)


OF_ANY_PIPELINE = (".gitignore", "workspace.yaml")  # the files of the example that a project of one's own has too
CONFIG = """\
description: The pipeline {name}.
bucket: {bucket}
start_date: {first}
layers: {{raw: raw, stg: staging, marts: marts}}
readers: [marts]
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    pipeline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Write a pipeline of this name, without tables, instead of the example.",
            show_default=False,
        ),
    ] = None,
    first: Annotated[
        date | None,
        date_option("--start-date", help="The first load_date of that pipeline; January 1 of this year by default."),
    ] = None,
) -> None:
    """Write a small project into a new folder: a pipeline with a KPI, its fixtures, and files to land."""
    if pipeline is None and first is not None:
        raise UsageError("--start-date is for a pipeline of your own: give --pipeline too, or leave it out.")
    if pipeline is not None and (problem := name_problem(pipeline)):
        raise UsageError(f"A pipeline is called as its database is: {problem}.")
    if pipeline is not None and pipeline in TAKEN_DATABASES:
        raise UsageError(f"A database called {pipeline!r} is there for another purpose: choose another name.")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} exists and is not an empty folder: name a new or empty one.")
        chosen = [path for path in template_files() if pipeline is None or path.name in OF_ANY_PIPELINE]
        written = [_copy(path, folder / path.relative_to(PROJECT)) for path in chosen]
        if pipeline is not None:
            written.append(_write_pipeline(folder, pipeline, first))
    except OSError as error:
        raise UserError(
            f"The project cannot be written to {folder} ({error.strerror}: {error.filename}): name another folder."
        ) from None
    say(styled("wrote", "green"), f" {len(written)} files to {folder}. Next:")
    following = NEXT if pipeline is None else _next(pipeline)
    width = max(len(command) for command, _ in following)
    say(f"  cd {shlex.quote(str(folder))}")
    for command, what in following:
        say(f"  {command:{width}}  # {what}")


def template_files() -> list[Path]:
    """Return the files of the project, in order."""
    return sorted(path for path in PROJECT.rglob("*") if path.is_file())


def _write_pipeline(folder: Path, name: str, first: date | None) -> Path:
    """Write the pipeline.yaml of a pipeline without tables; return its path."""
    path = folder / "sql" / name / PIPELINE_FILE
    path.parent.mkdir(parents=True)
    bucket = "kpi-" + name.replace("_", "-").strip("-")
    start = first or datetime.now(timezone.utc).date().replace(month=1, day=1)
    path.write_text(CONFIG.format(name=name, bucket=bucket, first=start))
    return path


def _next(pipeline: str) -> tuple[tuple[str, str], ...]:
    return (
        ("kpi infer FILE...", "proposes the file of a raw table, from your files"),
        ("kpi check", "reads the files below sql/"),
        (f"kpi land {pipeline} --from DIR", "uploads your files to S3, by the dates in their paths"),
    )


def _copy(source: Path, target: Path) -> Path:
    """Write a copy with the mode of a new file, because the files of an installed package may be read-only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target
