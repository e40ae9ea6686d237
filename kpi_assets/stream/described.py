"""A stream as the landing needs it: its name, where its objects lie, and what its table asks of an event.

Not here: reading it (reader.py), and the words of the header (model/).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.source import STREAM_FOLDER

CLOSED = "_closed.json"  # beside the hours of a load_date in which nothing is landed any more


@dataclass(frozen=True)
class Stream:
    """A stream of a pipeline. `folder` is the part of all keys before `load_date=`, as in `raw/clicks/`."""

    name: str
    folder: str
    start_date: date  # of the pipeline: nothing is landed before it
    contract: str  # the version of the table that is built from the events
    required: Collection[str] = field(default=frozenset())  # the fields that no event may lack
    flush_seconds: float = 5.0
    close_after_minutes: float = 10.0

    def prefix(self, load_date: date) -> str:
        """Return the part of a key before its hour."""
        return f"{self.folder}load_date={load_date}/"


def streams_of(pipeline: Pipeline) -> list[Stream]:
    """Return the streams of a pipeline, in order of their names."""
    live = pipeline.config.live
    found = [
        Stream(
            table.stream,
            table.source.object.removesuffix(STREAM_FOLDER),
            pipeline.config.start_date,
            table.code_version,
            frozenset(table.header.columns[name].field or name for name in dict(table.header.checks)["not_null"] or ()),
            live.flush_seconds,
            live.close_after_minutes,
        )
        for table in pipeline.stream_tables
        if table.stream
    ]
    return sorted(found, key=lambda stream: stream.name)
