"""The broker of a pipeline's streams: whether it answers, has them, and dates their events by its own clock.

Not here: how far the streams are landed (streams.py).
"""

from collections.abc import Iterator

from kpi_assets.doctor.finding import Finding, advice, broken, errors_as_findings, ok
from kpi_assets.embedded.broker import streams_of
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings


def broker(settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    """Ask the broker for each stream of a pipeline, and read no event."""
    for name in streams_of(pipeline):
        if settings.stream_url is None:
            yield advice(
                f"broker of {name}",
                "no broker is named, so nothing more of the stream is landed: set KPI_STREAM_URL to kafka://host:9092 "
                "or kinesis://region",
            )
            continue
        yield from errors_as_findings(f"broker of {name}", lambda of=name: examine(settings, of))  # type: ignore[misc]


def examine(settings: Settings, stream: str) -> Iterator[Finding]:
    """Ask the broker for one stream."""
    from kpi_assets.stream.reader import open_reader  # noqa: PLC0415  its libraries take time, and few pipelines need it

    subject = f"broker of {stream}"
    with open_reader(settings, stream) as reader:
        numbers = reader.partitions()
        if not numbers:
            yield broken(
                subject, f"{settings.stream_url} says that the stream has no partition: look whether it is being made"
            )
            return
        yield ok(subject, f"{settings.stream_url} answers, and the stream has {len(numbers)} partitions")
        if reader.dated_by() == "producer":
            yield advice(
                subject,
                "the events have the time of their producers, so one with a wrong clock puts events into a wrong "
                "load_date: set message.timestamp.type of the topic to LogAppendTime",
            )
