"""`kpi sample` writes synthetic files, and `kpi land` uploads files to S3."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets.cli.arguments import LoadDateOrRunDate, PipelineName, date_option
from kpi_assets.cli.process import user_umask
from kpi_assets.cli.terminal import progress_bar, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of, prepare_bucket
from kpi_assets.errors import UsageError
from kpi_assets.samples import GENERATORS
from kpi_assets.sources.landing import file_problem, files_of
from kpi_assets.sources.landing import land as upload
from kpi_assets.sources.store import open_store


def sample(
    pipeline: PipelineName,
    load_date: Annotated[
        date | None,
        date_option("--load-date", help="The load_date; RUN_DATE by default.", envvar="RUN_DATE"),
    ] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Folder to write into.")] = None,
    orders: Annotated[int, typer.Option(min=1, help="How many orders; 3421083 gives the real sizes.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Plant a fault; can be repeated; `list` lists the faults.")
    ] = None,
) -> None:
    """Write synthetic files for one load_date of a pipeline."""
    if fault == ["list"]:
        for name, what in generator_faults(pipeline).items():
            say(f"{name:28} {what}")
        return
    if load_date is None or to is None:
        raise UsageError(f"Give {'--load-date' if load_date is None else '--out'} too, or only --fault list.")
    write_sample(pipeline, load_date, to, orders, seed, fault or [])


def generator_faults(pipeline: str) -> dict[str, str]:
    """Return the faults that a pipeline's generator can plant. Raises UsageError if there is no generator."""
    if pipeline not in GENERATORS:
        raise UsageError(f"There is no sample generator for {pipeline!r}: there is one for {', '.join(GENERATORS)}.")
    return GENERATORS[pipeline].faults


def write_sample(pipeline: str, load_date: date, to: Path, orders: int, seed: int, faults: list[str]) -> None:
    """Write the files and print what was written."""
    generator_faults(pipeline)
    with user_umask(), progress_bar(f"writing {load_date}", orders, in_bytes=False) as bar:
        written = GENERATORS[pipeline].write(
            to, load_date=load_date, orders=orders, seed=seed, faults=faults, progress=lambda done, _all: bar(done)
        )
    planted = f", with {', '.join(faults)} planted" if faults else ""
    rows = ", ".join(f"{name} {count:,}" for name, count in written.items())
    say(f"Wrote {load_date} to {to}{planted}: {rows}.")


def land(
    pipeline: PipelineName,
    load_date: LoadDateOrRunDate,
    source: Annotated[Path, typer.Option("--from", help="Folder that holds the files.")],
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite objects that hold other bytes.")] = False,
) -> None:
    """Upload the files of a load_date to S3; objects that exist already stay as they are."""
    pipeline_of(pipeline).check_load_date(load_date)
    with open_workspace(pipeline) as work:
        land_files(work, load_date, source, replace=replace)


def land_files(work: Workspace, load_date: date, source: Path, *, replace: bool) -> None:
    """Upload the pipeline's files that are in the folder. Raises UserError if the folder has none of them."""
    pipeline = work.pipeline
    files = files_of(pipeline, load_date, source)
    prepare_bucket(work.stack, pipeline)
    store = open_store(pipeline, work.settings)
    types = {table.object_key(load_date): table.format.content_type for table in pipeline.object_tables}
    for key, path in files.items():
        if not path.is_file():
            say(
                styled("absent", "yellow"),
                f"    {path} {file_problem(path)}: s3://{store.bucket}/{key} was not landed",
            )
            continue
        with progress_bar(path.name, path.stat().st_size, in_bytes=True) as bar:
            outcome = upload(store, path, key, replace=replace, content_type=types[key], on_progress=bar)
        say(f"{outcome:9} s3://{store.bucket}/{key} ({path.stat().st_size:,} bytes)")
