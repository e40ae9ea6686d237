"""`kpi sample` writes synthetic files, fills the databases of simulated APIs, and sends events to a broker."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.process import user_umask
from kpi_assets.cli.terminal import progress_bar, say
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of, read_tree
from kpi_assets.embedded.apis import needed_apis
from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples import API_GENERATORS, GENERATORS, STREAM_GENERATORS, Generator
from kpi_assets.settings import settings
from kpi_assets.simulators.faults import split_api_faults


def sample(
    pipeline: PipelineName,
    load_date: Annotated[
        date | None,
        date_option("--load-date", help="The load_date; RUN_DATE by default.", envvar="RUN_DATE"),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder to write into; retail fills the simulated retailers instead.")
    ] = None,
    orders: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many orders, for storefront those of its first day, for retail those of each retailer; 20000 by "
            "default, and 300 for retail; 3421083 gives the real sizes of instacart.",
            show_default=False,
        ),
    ] = None,
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
    rate: Annotated[
        float | None,
        typer.Option(help="Send so many events a second to the broker instead, as they happen, for a stream."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="For how many minutes events are sent.")] = 5,
    pace: Annotated[
        float, typer.Option(help="How much quicker than in life orders that are sent get on; 1440: a day in a minute.")
    ] = 1,
) -> None:
    """Write synthetic files for one load_date of a pipeline, or for several; of APIs, fill the simulated ones.

    Of streams, `--rate` sends events to the broker.
    """
    generators = _generators_of(pipeline)
    if fault == ["list"]:
        for generator in generators:
            for name, what in generator.faults.items():
                say(f"{name:28} {what}")
        return
    if rate is not None:
        send_sample(pipeline, rate, minutes, seed, fault or [], pace=pace)
        return
    is_file = pipeline in GENERATORS
    if not is_file and to is not None:
        raise UsageError(f"The samples of {pipeline} go into the databases of its simulated APIs: leave --out out.")
    if load_date is None or (is_file and to is None):
        raise UsageError(f"Give {'--load-date' if load_date is None else '--out'} too, or only --fault list.")
    count = generators[0].default_orders if orders is None else orders
    of_apis, of_files = _faults(pipeline, fault or [])
    fills = pipeline in API_GENERATORS and _has_simulated_apis(pipeline, is_wanted=not is_file or bool(of_apis))
    if to is not None:
        write_sample(pipeline, load_date, to, count, seed, of_files, events=events, days=days)
    if fills:
        with open_workspace(pipeline) as work:
            fill_sample(work, load_date, count, seed, fault or [], events=events, days=days)


def _generators_of(pipeline: str) -> list[Generator]:
    """Return the generators of a pipeline, that of files first. Raises UsageError if there is none."""
    known: tuple[Mapping[str, Generator], ...] = (GENERATORS, API_GENERATORS)
    found = [of_kind[pipeline] for of_kind in known if pipeline in of_kind]
    if not found:
        names = ", ".join(dict.fromkeys([*GENERATORS, *API_GENERATORS]))
        raise UsageError(f"There is no sample generator for {pipeline!r}: there is one for {names}.")
    return found


def _faults(pipeline: str, faults: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the faults of a pipeline's simulated APIs, and those of files and records."""
    apis = API_GENERATORS[pipeline].apis if pipeline in API_GENERATORS else ()
    _, others = split_api_faults(faults, apis)
    return [name for name in faults if name not in others], others


def _has_simulated_apis(pipeline: str, *, is_wanted: bool) -> bool:
    """Return whether there are simulated APIs to be filled. UsageError if there are none although that is wanted."""
    if is_wanted:
        pipeline_of(pipeline)
    sound, _ = read_tree()
    if pipeline in sound and needed_apis(settings(), [sound[pipeline]]):
        return True
    if is_wanted:
        raise UsageError(
            f"No API of {pipeline} is simulated here: that is done on the embedded servers, for APIs in pipeline.yaml "
            "of which neither that file nor the environment names the URL."
        )
    return False


def write_sample(
    pipeline: str,
    load_date: date,
    to: Path,
    orders: int,
    seed: int,
    faults: Sequence[str],
    *,
    events: int | None = None,
    days: int | None = None,
) -> None:
    """Write the files and print what was written."""
    generator = GENERATORS[pipeline].sized(events=events, days=days)
    with user_umask(), progress_bar(f"writing {load_date}", orders, in_bytes=False) as bar:
        written = generator.write(
            to, load_date=load_date, orders=orders, seed=seed, faults=faults, progress=lambda done, _all: bar(done)
        )
    rows: Counter[str] = Counter()
    for name, count in written.items():
        path = Path(name)
        # Of a stream there are many objects, in a folder of its name.
        rows[path.parts[1] if pipeline in STREAM_GENERATORS else path.name] += count
    say(f"Wrote {_dates(load_date, days)} to {to}{_planted(faults)}: {_counts(rows)}.")


def fill_sample(
    work: Workspace,
    load_date: date,
    orders: int,
    seed: int,
    faults: Sequence[str],
    *,
    events: int | None = None,
    days: int | None = None,
) -> None:
    """Fill the databases of a pipeline's simulated APIs and print what they have of the load_dates."""
    generator = API_GENERATORS[work.pipeline.name].sized(events=events, days=days)
    with progress_bar(f"filling {load_date}", orders, in_bytes=False) as bar:
        rows = generator.fill(
            work.server,
            load_date=load_date,
            orders=orders,
            seed=seed,
            faults=faults,
            progress=lambda done, _all: bar(done),
        )
    say(f"Filled {_dates(load_date, days)} of the simulated APIs{_planted(faults)}: {_counts(rows)}.")


def send_sample(
    pipeline: str, rate: float, minutes: float, seed: int, faults: Sequence[str], *, pace: float = 1
) -> None:
    """Send the events of a pipeline's streams to its broker as they happen, and print how many it took."""
    if pipeline not in STREAM_GENERATORS:
        raise UsageError(f"{pipeline} has no streams that are simulated: leave --rate out.")
    from kpi_assets.samples.realtime.faults import Message  # noqa: PLC0415  few need it
    from kpi_assets.samples.realtime.sending import Sent, send  # noqa: PLC0415

    def messages() -> Iterator[Message]:
        opening = datetime.now(timezone.utc)
        return STREAM_GENERATORS[pipeline].messages(opening, rate, seed=seed, faults=faults, pace=pace)

    messages()  # what cannot be made is refused before servers start
    with open_workspace(pipeline) as work:
        say(f"Sending {rate:g} events a second for {minutes:g} minutes{_planted(faults)}  (Ctrl-C ends it)")
        with progress_bar("seconds", round(minutes * 60), in_bytes=False) as bar:
            sent: Sent = send(
                work.settings, messages(), seconds=minutes * 60, progress=lambda seconds, _sent: bar(round(seconds))
            )
    say(f"The broker took {sent.taken.total():,} events: {_counts(dict(sorted(sent.taken.items())))}.")
    if sent.refused:
        raise UserError(f"The broker did not take {sent.refused:,} events ({sent.reason}): see `kpi doctor`.")


def _dates(load_date: date, days: int | None) -> str:
    return f"{load_date} to {load_date + timedelta(days=days - 1)}" if days and days > 1 else f"{load_date}"


def _planted(faults: Sequence[str]) -> str:
    return f", with {', '.join(faults)} planted" if faults else ""


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in rows.items())
