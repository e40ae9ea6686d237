"""`kpi sample` writes synthetic files."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.process import user_umask
from kpi_assets.cli.terminal import progress_bar, say
from kpi_assets.errors import UsageError
from kpi_assets.samples import GENERATORS


def sample(
    pipeline: PipelineName,
    load_date: Annotated[
        date | None,
        date_option("--load-date", help="The load_date; RUN_DATE by default.", envvar="RUN_DATE"),
    ] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Folder to write into.")] = None,
    orders: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many orders, for storefront those of its first day; 3421083 gives the real sizes of instacart.",
        ),
    ] = 20_000,
    events: Annotated[
        int | None, typer.Option(min=1, help="How many events, for ecommerce; 8 for each order by default.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="How many load_dates, but not for instacart; 1 by default. The first has the faults."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Plant a fault; can be repeated; `list` lists the faults.")
    ] = None,
) -> None:
    """Write synthetic files for one load_date of a pipeline, or for several in a row."""
    if fault == ["list"]:
        for name, what in generator_faults(pipeline).items():
            say(f"{name:28} {what}")
        return
    if load_date is None or to is None:
        raise UsageError(f"Give {'--load-date' if load_date is None else '--out'} too, or only --fault list.")
    write_sample(pipeline, load_date, to, orders, seed, fault or [], events=events, days=days)


def generator_faults(pipeline: str) -> dict[str, str]:
    """Return the faults that a pipeline's generator can plant. Raises UsageError if there is no generator."""
    if pipeline not in GENERATORS:
        raise UsageError(f"There is no sample generator for {pipeline!r}: there is one for {', '.join(GENERATORS)}.")
    return GENERATORS[pipeline].faults


def write_sample(
    pipeline: str,
    load_date: date,
    to: Path,
    orders: int,
    seed: int,
    faults: list[str],
    *,
    events: int | None = None,
    days: int | None = None,
) -> None:
    """Write the files and print what was written."""
    generator_faults(pipeline)
    generator = GENERATORS[pipeline].sized(events=events, days=days)
    with user_umask(), progress_bar(f"writing {load_date}", orders, in_bytes=False) as bar:
        written = generator.write(
            to, load_date=load_date, orders=orders, seed=seed, faults=faults, progress=lambda done, _all: bar(done)
        )
    planted = f", with {', '.join(faults)} planted" if faults else ""
    rows: Counter[str] = Counter()
    for name, count in written.items():
        rows[Path(name).name] += count
    dates = f"{load_date} to {load_date + timedelta(days=days - 1)}" if days and days > 1 else f"{load_date}"
    say(f"Wrote {dates} to {to}{planted}: {', '.join(f'{name} {count:,}' for name, count in rows.items())}.")
