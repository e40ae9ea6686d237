"""`kpi stream`: lands the events of a pipeline's streams as they come.

This module imports no Dagster, so that landing begins within a second.
"""

import getpass
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Annotated

import typer

from kpi_assets.cli.arguments import complete_pipeline
from kpi_assets.cli.process import enable_gc
from kpi_assets.cli.terminal import error_line, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of, prepare_bucket, sound_pipelines
from kpi_assets.errors import UsageError, UserError
from kpi_assets.printable import printable
from kpi_assets.scrub import scrub
from kpi_assets.sources.lake import open_lake
from kpi_assets.sources.store import bucket_of
from kpi_assets.stream.described import Stream, streams_of
from kpi_assets.stream.land import skip_lost as skip
from kpi_assets.stream.reader import open_reader
from kpi_assets.stream.service import land_all
from kpi_assets.telemetry.start import start
from kpi_assets.warehouse.connection import WarehouseError


def stream(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="[PIPELINE]",
            help="A folder below sql/. Not given: the only pipeline that has streams.",
            autocompletion=complete_pipeline,
        ),
    ] = "",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="STREAM", help="Land this stream only; may be repeated.")
    ] = None,
    skip_lost: Annotated[
        str,
        typer.Option(
            "--skip-lost",
            metavar="STREAM",
            help="Record that the events which the broker no longer has are lost, so that landing goes on behind them, "
            "and end.",
        ),
    ] = "",
) -> None:
    """Land the events of a pipeline's streams as objects, each exactly once; Ctrl-C stops it, and nothing is lost."""
    pipeline = pipeline or _only_one()
    streams = _chosen(pipeline, [skip_lost] if skip_lost else only or [])
    with _signals_as_flag() as is_over, open_workspace(pipeline) as work:
        if skip_lost:
            _skip(work, streams[0])
            return
        _log_lines()
        _prepare(work)
        start("kpi-stream")
        enable_gc()
        say(f"Landing {', '.join(each.name for each in streams)}  (Ctrl-C stops it)")
        land_all(work.pipeline, streams, work.settings, work.server, is_over)


def _only_one() -> str:
    """Return the name of the only pipeline that has streams. Raises UsageError."""
    names = [each.name for each in sound_pipelines() if streams_of(each)]
    if len(names) != 1:
        raise UsageError(
            f"Several pipelines have streams: name one of {', '.join(names)}, in a process each."
            if names
            else "No pipeline has streams: no raw table has the word source.stream."
        )
    return names[0]


def _chosen(name: str, only: Sequence[str]) -> list[Stream]:
    """Return the streams of a pipeline, or those that are named. Raises UsageError."""
    streams = streams_of(pipeline_of(name))
    if not streams:
        raise UsageError(f"{name} has no streams: no raw table has the word source.stream.")
    names = [each.name for each in streams]
    for each in only:
        if each not in names:
            raise UsageError(f"{name} has no stream {each!r}: it has {', '.join(names)}.")
    return [each for each in streams if not only or each.name in only]


def _prepare(work: Workspace) -> None:
    """Create the database and the bucket if they are missing. Landing does not wait for a database that is down."""
    try:
        work.ready()
    except WarehouseError as error:
        if not error.transient:
            raise
        error_line(f"{error} Landing begins without it, and reports follow.")


def _skip(work: Workspace, stream: Stream) -> None:
    prepare_bucket(work.stack, work.pipeline)
    lake = open_lake(work.settings, bucket_of(work.pipeline, work.settings))
    with open_reader(work.settings, stream.name) as reader:
        skipped = skip(stream, reader, lake, datetime.now(timezone.utc), getpass.getuser())
    for frame in skipped:
        positions = f"positions {frame.start} to {frame.next - 1}"
        say(styled("skipped", "yellow"), f"  {stream.name}, partition {frame.partition}: {positions} are lost.")
    if not skipped:
        say(f"Nothing of {stream.name} is lost: the broker has every event from the ends of the chains on.")


class _Lines(logging.Formatter):
    """A line for each message, with its time, and without secrets and characters that control the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = " ".join(scrub(super().format(record)).split("\n"))
        at = datetime.fromtimestamp(record.created, timezone.utc)
        return printable(f"{at:%Y-%m-%d %H:%M:%S} UTC {record.levelname.lower()}: {text}")


def _log_lines() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    log = logging.getLogger("kpi_assets")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    # What librdkafka says of each connection; the reader says in a sentence what matters.
    logging.getLogger("kpi_assets.stream.kafka").setLevel(logging.CRITICAL)


@contextmanager
def _signals_as_flag() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag, so that what was read is landed before the end; a second ends at once."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        if seen:
            raise UserError("Stopped before all that was read was landed: the next `kpi stream` reads it again.")
        seen.append(number)

    before = {sent: signal.signal(sent, note) for sent in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)
