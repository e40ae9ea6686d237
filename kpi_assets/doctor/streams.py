"""The streams of each pipeline: whether they are landed, how far, and whether their chains are whole.

Without `--deep` only the links of the last hour that has any are read, and those of the hour before; with it those of
the last load_dates. Not here: the broker itself, and the objects that a table was made from (content.py).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from pydantic import SecretStr

from kpi_assets.doctor.finding import Finding, advice, broken, errors_as_findings, ok
from kpi_assets.ledger import growth, schema
from kpi_assets.ledger import streams as ledger
from kpi_assets.ledger.streams import Position
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.sources.lake import Lake, open_lake
from kpi_assets.sources.store import bucket_of
from kpi_assets.stream import chain
from kpi_assets.stream.described import Stream, streams_of
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import has_database

HOURS, DEEP_DAYS = 2, 7  # with objects, that are looked at
LATE = timedelta(minutes=2)  # since a landing reported, or since it had landed all that there was


def streams(settings: Settings, pipeline: Pipeline, server: SecretStr, *, deep: bool) -> Iterator[Finding]:
    """Examine the streams of a pipeline."""
    found = streams_of(pipeline)
    if not found:
        return
    reported: list[Position] = []

    def read() -> Iterator[Finding]:
        reported.extend(_reported(pipeline, server))
        yield from ()

    yield from errors_as_findings(f"streams of {pipeline.name}", read)
    yield from errors_as_findings(f"closed load_dates of {pipeline.name}", lambda: _closed(pipeline, server))
    for stream in found:
        positions = [each for each in reported if each.stream == stream.name]
        yield from _landing(pipeline, stream, positions)
        subject = f"chain of {stream.name}"

        def examine(stream: Stream = stream, subject: str = subject) -> Iterator[Finding]:
            yield from _chain(open_lake(settings, bucket_of(pipeline, settings)), stream, subject, deep=deep)

        yield from errors_as_findings(subject, examine)


def _reported(pipeline: Pipeline, server: SecretStr) -> list[Position]:
    if not has_database(server, pipeline.name):
        return []
    with connect(server, pipeline.name, "doctor", read_only=True) as connection:
        return [] if schema.pending(connection) else ledger.positions(connection)


def _closed(pipeline: Pipeline, server: SecretStr) -> Iterator[Finding]:
    """Say what load_dates lack that were closed."""
    if not has_database(server, pipeline.name):
        return
    with connect(server, pipeline.name, "doctor", read_only=True) as connection:
        found = {} if schema.pending(connection) else growth.with_problems(connection)
    for load_date, problems in found.items():
        for problem in problems:
            yield broken(
                f"load_date {load_date} of {pipeline.name}",
                f"was closed and is not whole: {problem} When that is mended, "
                f"`kpi run {pipeline.name} --load-date {load_date}` builds it again, and it is closed again",
            )


def _landing(pipeline: Pipeline, stream: Stream, positions: Sequence[Position]) -> Iterator[Finding]:
    """Say how far the landing is."""
    subject, start = f"stream {stream.name}", f"`kpi up` or `kpi stream {pipeline.name}` lands it"
    if not positions:
        yield advice(subject, f"has never been landed: {start}")
        return
    for each in positions:
        if each.problem:
            yield broken(subject, f"partition {each.partition} stands still: {each.problem}")
    now = datetime.now(timezone.utc)
    known = [each.caught_up_at for each in positions if each.caught_up_at]
    written = max((each.written_at for each in positions if each.written_at), default=None)
    lag = sum(max(0, (each.high_watermark or 0) - (each.next or 0)) for each in positions)
    if written and now - written > LATE:
        yield advice(subject, f"is not landed now, and was last {written:%Y-%m-%d %H:%M:%S} UTC: {start}")
    elif len(known) < len(positions) or now - min(known) > LATE:
        since = f"since {min(known):%Y-%m-%d %H:%M:%S} UTC" if len(known) == len(positions) else "yet"
        yield advice(
            subject,
            f"lags behind the broker, {lag:,} positions: not all is landed {since}. Look at the log of the landing, "
            "and whether the store takes objects fast enough",
        )
    else:
        yield ok(subject, f"is landed up to {min(known):%Y-%m-%d %H:%M:%S} UTC, {len(positions)} partitions")


def _chain(lake: Lake, stream: Stream, subject: str, *, deep: bool) -> Iterator[Finding]:
    days = chain.load_dates(lake, stream)
    if deep:
        prefixes = [hour for day in days[-DEEP_DAYS:] for hour in lake.folders(stream.prefix(day))]
    else:
        prefixes = [hour for day in days[-HOURS:] for hour in lake.folders(stream.prefix(day))][-HOURS:]
    checked = chain.check(lake, stream, prefixes)
    for problem in checked.problems:
        yield broken(subject, problem)
    if checked.lost:
        yield advice(subject, f"{checked.lost} links stand for events that somebody gave up, as their frames say")
    if not checked.problems:
        what = f"the last {DEEP_DAYS} load_dates" if deep else f"the last {HOURS} hours that have objects"
        yield ok(subject, f"is whole in {what}: {checked.links:,} objects, {checked.records:,} events")
