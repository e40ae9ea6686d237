"""`kpi land` uploads files to S3: those of one load_date, or those of every load_date that the paths name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.terminal import error_line, progress_bar, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of, prepare_bucket
from kpi_assets.errors import UserError
from kpi_assets.lake_places import object_url
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.sources.dated_files import DatedFile, DatedFiles, find_dated_files
from kpi_assets.sources.landing import Outcome, file_problem, files_of, land_all
from kpi_assets.sources.landing import land as upload
from kpi_assets.sources.reference import lost_by_replacing
from kpi_assets.sources.store import Store, open_store

_LINES = 10  # load_dates with a line of their own; of more, only the sums are printed
_NAMED = 3  # files, load_dates and errors that a sentence names
_OUTCOMES: tuple[Outcome, ...] = ("landed", "replaced", "unchanged")


def land(
    pipeline: PipelineName,
    source: Annotated[Path, typer.Option("--from", help="Folder that holds the files.")],
    load_date: Annotated[
        date | None,
        date_option(
            "--load-date",
            help="Land the files of this load_date only, whose paths need not name it; RUN_DATE by default.",
            envvar="RUN_DATE",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite objects that hold other bytes.")] = False,
) -> None:
    """Upload files to S3, of every load_date that their paths name; objects that exist already stay as they are."""
    found = pipeline_of(pipeline)
    if load_date is not None:
        found.check_delivery(load_date, found.object_tables)
        with open_workspace(pipeline) as work:
            land_files(work, load_date, source, replace=replace)
        return
    dated = find_dated_files(found, source)
    if dated.files:
        with open_workspace(pipeline) as work:
            problems = land_dated(work, dated, replace=replace)
    else:
        problems = []
    _say_left_out(dated)
    for problem in problems[:_LINES]:
        error_line(str(problem))
    if len(problems) > _LINES:
        error_line(f"{len(problems) - _LINES} more files could not be landed.")
    if problems or dated.refused:
        raise typer.Exit(UserError.exit_code)


def land_files(work: Workspace, load_date: date, source: Path, *, replace: bool) -> None:
    """Upload the pipeline's files that are in the folder. Raises UserError if the folder has none of them."""
    pipeline = work.pipeline
    files = files_of(pipeline, load_date, source)
    prepare_bucket(work.stack, pipeline)
    store = open_store(pipeline, work.settings)
    tables = {
        key: table
        for table in pipeline.object_tables
        for key in files
        if table.source.key.matches(key, load_date) or key == table.object_key(load_date)
    }
    undue = {t.object_key(load_date) for t in pipeline.object_tables if not pipeline.is_object_due(t, load_date)}
    landed: list[_Landed] = []
    for key, path in files.items():
        if not path.is_file() and (key in undue or tables[key].source.api):
            continue
        if not path.is_file():
            say(
                styled("absent", "yellow"),
                f"    {path} {file_problem(path)}: {object_url(store.bucket, key)} was not landed",
            )
            continue
        with progress_bar(path.name, path.stat().st_size, in_bytes=True) as bar:
            kind = tables[key].format.content_type
            outcome = upload(store, path, key, replace=replace, content_type=kind, on_progress=bar)
        say(f"{outcome:9} {object_url(store.bucket, key)} ({path.stat().st_size:,} bytes)")
        landed.append(_Landed(path, key, tables[key], load_date, outcome))
    _say_useless(pipeline, landed)
    _say_lost(store, landed)


def land_dated(work: Workspace, dated: DatedFiles, *, replace: bool) -> Sequence[UserError]:
    """Upload the files, print what was done, and return an error for each file that could not be landed."""
    prepare_bucket(work.stack, work.pipeline)
    store = open_store(work.pipeline, work.settings)
    files = dated.files
    outcomes: dict[DatedFile, Outcome] = {}
    try:
        with progress_bar(f"landing {len(files)} files", sum(each.size for each in files), in_bytes=True) as bar:
            problems = land_all(store, files, outcomes, replace=replace, on_progress=bar)
    finally:  # what was landed stays, also where the command is stopped
        _say_outcomes(object_url(store.bucket).rstrip("/"), outcomes, len(files))
        landed = [_Landed(each.path, each.key, each.table, each.load_date, outcomes[each]) for each in outcomes]
        _say_useless(work.pipeline, landed)
        _say_lost(store, landed)
    return problems


class _Landed(NamedTuple):
    """A file that was landed."""

    path: Path
    key: str
    table: Table
    load_date: date | None
    outcome: Outcome


def _say_useless(pipeline: Pipeline, landed: Sequence[_Landed]) -> None:
    """Name the files of load_dates on which no object comes: no run reads them."""
    undue = [
        (each.path, pipeline.object_not_due(each.table, each.load_date))
        for each in landed
        if each.load_date and not each.table.source.key.is_reference
        if not pipeline.is_object_due(each.table, each.load_date)
    ]
    for path, reason in undue[:_LINES]:
        say(styled("not due", "yellow"), f"   {path} was landed, but no run reads it: {reason}.")
    if len(undue) > _LINES:
        say(styled("not due", "yellow"), f"   {len(undue) - _LINES} more files.")


def _say_lost(store: Store, landed: Sequence[_Landed]) -> None:
    """Say what the replacement of a reference object has lost."""
    for each in landed:
        is_overwritten = each.outcome == "replaced" and each.table.source.key.is_reference
        if is_overwritten and (lost := lost_by_replacing(store, each.key)):
            say(styled("gone", "yellow"), f"      {lost}.")


def _say_outcomes(bucket: str, outcomes: Mapping[DatedFile, Outcome], files: int) -> None:
    by_day: dict[date | None, list[DatedFile]] = {}
    for file in outcomes:
        by_day.setdefault(file.load_date, []).append(file)
    days = sorted(day for day in by_day if day)
    for day in days if len(days) <= _LINES else []:
        counts = Counter(outcomes[each] for each in by_day[day])
        say(f"{day}: {_counted(counts)} ({sum(each.size for each in by_day[day]):,} bytes)")
    if outcomes:
        span = f", {days[0]} to {days[-1]}" if len(days) > 1 else ""
        of = f"of {len(days)} load_date{'s' * (len(days) != 1)}{span}" if days else "for all load_dates"
        objects = f"object{'s' * (len(outcomes) != 1)}"
        size = sum(each.size for each in outcomes)
        left = f"; {files - len(outcomes)} of {files} files were not landed" if len(outcomes) < files else ""
        say(f"{_counted(Counter(outcomes.values()))} {objects} {of} in {bucket} ({size:,} bytes){left}.")


def _counted(counts: Mapping[Outcome, int]) -> str:
    return ", ".join(f"{outcome} {counts[outcome]}" for outcome in _OUTCOMES if counts.get(outcome))


def _say_left_out(dated: DatedFiles) -> None:
    if dated.unknown:
        names = [str(path) for path in dated.unknown[:_NAMED]]
        more = ", ..." if len(dated.unknown) > _NAMED else ""
        count = f"{len(dated.unknown)} file{'s' * (len(dated.unknown) != 1)}"
        why = "they belong to no source of the pipeline or have no load_date in their path"
        say(styled("not landed", "yellow"), f" {count}, since {why}: {', '.join(names)}{more}")
    for problem in list(dated.refused.values())[:_LINES]:
        say(styled("left out", "yellow"), f" {problem}")
    if len(dated.refused) > _LINES:
        say(styled("left out", "yellow"), f" {len(dated.refused) - _LINES} more load_dates.")
