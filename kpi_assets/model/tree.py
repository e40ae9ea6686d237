"""Reads the tree below sql/ into pipelines, and reports all its errors together.

An error that only follows from another one is left out: a table whose file cannot be read still counts as known.
Belongs here: which folders are pipelines, and which pipelines are sound. Not here: reading one folder (folder.py), and
checking its tables against each other (neighbors.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kpi_assets.errors import UsageError
from kpi_assets.model.folder import Folder, MinimumRows, read_folder
from kpi_assets.model.lake_tables import check_lake
from kpi_assets.model.neighbors import (
    check_apis,
    check_boards,
    check_calendars,
    check_carried,
    check_generated_names,
    check_jobs,
    check_release,
    check_retention,
    check_sources,
    check_streams,
    check_views,
    in_build_order,
)
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.pipeline_config import PIPELINE_FILE, PipelineConfig
from kpi_assets.model.question_tables import check_questions
from kpi_assets.model.strict_yaml import ModelError, Problems, together
from kpi_assets.model.subject_tables import check_subjects


def load_pipelines(sql_dir: Path, minimum_rows: MinimumRows | None = None) -> dict[str, Pipeline]:
    """Read every pipeline below `sql_dir`, by name.

    Raises ModelError with all errors of the tree, or UsageError if there is no pipeline.
    """
    problems = Problems()
    folders = _read_folders(sql_dir, minimum_rows or {}, problems)
    check_jobs(folders, problems)
    pipelines = _pipelines_of(folders, problems)
    problems.raise_any()
    _check_minimum_rows(minimum_rows or {}, pipelines)
    return pipelines


def _check_minimum_rows(
    minimum_rows: MinimumRows, pipelines: Mapping[str, Pipeline], not_read: Collection[Path] = ()
) -> None:
    """Check that each name is one of a table; of the folders that are not read, a file of that name is enough."""
    known = {f"{name}.{relation}" for name, pipeline in pipelines.items() for relation in pipeline.tables}
    for name in minimum_rows:
        unread = [path for path in not_read if name.startswith(f"{path.name}.")]
        if name not in known and not any((path.parent / f"{name.replace('.', '/')}.sql").is_file() for path in unread):
            raise UsageError(f"KPI_MIN_ROWS names {name!r}, which is not a table: write pipeline.schema.table.")


@dataclass(frozen=True)
class Broken:
    """A pipeline that cannot be read, and why; `config` is its pipeline.yaml, if that can be read."""

    name: str
    error: ModelError
    config: PipelineConfig | None


def load_sound(
    sql_dir: Path, minimum_rows: MinimumRows | None = None, only: str | None = None
) -> tuple[dict[str, Pipeline], dict[str, Broken]]:
    """Return the sound and the broken pipelines, by name: an error in one does not affect the others.

    If one is called `only`, the files of the others are not read. Raises UsageError if there is no pipeline.
    """
    problems, names = Problems(), pipeline_names(sql_dir)
    if only in names:
        folders = [read_folder(sql_dir / only, minimum_rows or {}, problems)]
        others = [Folder(sql_dir / name) for name in names if name != only]
    else:
        folders, others = _read_folders(sql_dir, minimum_rows or {}, problems), []
    check_jobs([*folders, *others], problems)
    pipelines = _pipelines_of(folders, problems)
    configs = {folder.name: folder.config for folder in folders}
    broken = {}
    for name in {error.path.relative_to(sql_dir).parts[0] for error in problems.found}:
        own = [error for error in problems.found if error.path.relative_to(sql_dir).parts[0] == name]
        broken[name] = Broken(name, together(own), configs.get(name))
    sound = {name: pipeline for name, pipeline in pipelines.items() if name not in broken}
    of_sound = {name: rows for name, rows in (minimum_rows or {}).items() if name.partition(".")[0] not in broken}
    _check_minimum_rows(of_sound, sound, [folder.path for folder in others])
    return sound, broken


def pipeline_names(sql_dir: Path) -> list[str]:
    """Return the names of the folders below `sql_dir` that have a pipeline.yaml."""
    return sorted(path.parent.name for path in sql_dir.glob(f"*/{PIPELINE_FILE}"))


def _read_folders(sql_dir: Path, minimum_rows: MinimumRows, problems: Problems) -> list[Folder]:
    paths = sorted(path.parent for path in sql_dir.glob(f"*/{PIPELINE_FILE}"))
    for lost in sorted({path.parent.parent for path in sql_dir.glob("*/*/*.sql")} - {*paths}):
        problems.add(lost / PIPELINE_FILE, 1, f"is missing, and files lie in {lost.name}/: write it, or move them")
    if not paths and not problems.found:
        raise UsageError(f"No pipeline lies below {sql_dir}: KPI_SQL_DIR must name a folder with */{PIPELINE_FILE}.")
    return [read_folder(path, minimum_rows, problems) for path in paths]


def _pipelines_of(folders: Sequence[Folder], problems: Problems) -> dict[str, Pipeline]:
    check_generated_names(folders, problems)
    return {folder.name: pipeline for folder in folders if (pipeline := _pipeline_of(folder, problems))}


def _pipeline_of(folder: Folder, problems: Problems) -> Pipeline | None:
    """Return the pipeline of a folder, or None if it or one of its tables has an error."""
    before = len(problems.found)
    ordered = in_build_order(folder, problems)
    check_views(folder, problems)
    if folder.config is None:
        return None
    tables = {relation: table for relation, table in ordered.items() if table.storage.has_load_date}
    live = {relation: table for relation, table in ordered.items() if relation not in tables}
    pipeline = Pipeline(folder.name, folder.path, folder.config, tables, folder.calendar, live)
    check_sources(pipeline, problems)
    check_streams(pipeline, folder, problems)
    pipeline = replace(pipeline, questions=check_questions(folder, ordered, problems))
    is_whole = len(ordered) == len(folder.files) and len(problems.found) == before
    if is_whole:
        check_retention(pipeline, folder, problems)
        check_calendars(pipeline, problems)
        check_carried(pipeline, problems)
        check_apis(pipeline, problems)
        check_boards(pipeline, folder, problems)
        check_release(pipeline, folder, problems)
        check_subjects(pipeline, problems)
        pipeline = check_lake(pipeline, problems)
    return pipeline if is_whole else None
