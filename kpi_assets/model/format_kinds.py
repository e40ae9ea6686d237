"""The formats of objects that a header may name, and what the model has to know about each.

Belongs here: what is known about a format without reading an object. Not here: reading and loading objects
(sources/formats).
"""

from dataclasses import dataclass

# The words of a source that say how values are written, and how the text around them is.
VALUE_WORDS = ("null", "decimal", "thousands", "true", "false", "time_zone")
TEXT_WORDS = ("delimiter", "quote", "escape", "header", "skip_lines", "comment", "encoding")
DOCUMENT_WORDS = ("records", "whole")


@dataclass(frozen=True)
class FormatKind:
    """The traits of one value of the word `format` of a source."""

    name: str  # the value
    content_type: str  # of its objects on S3
    start_check: str  # the description of the check `header`, which examines an object's first bytes
    ends_with_line_end: bool  # whether an object without a line end at its end may have been cut off
    words: tuple[str, ...] = ()  # of a source, besides those that are for all formats
    place: str = "record"  # what the number of a record counts
    has_field_counts: bool = False  # whether its fields are known only when all records were read

    @property
    def has_written_values(self) -> bool:
        """Whether the header says how its values are written."""
        return set(VALUE_WORDS) <= set(self.words)


CSV = FormatKind(
    "csv",
    content_type="text/csv",
    start_check="Its first line names the contract's columns.",
    ends_with_line_end=True,
    words=(*TEXT_WORDS, "compression", *VALUE_WORDS),
    place="line",
)
PARQUET = FormatKind(
    "parquet",
    content_type="application/vnd.apache.parquet",
    start_check="Its columns are the contract's, with types that fit.",
    ends_with_line_end=False,
)
JSON = FormatKind(
    "json",
    content_type="application/json",
    start_check="It begins as JSON does.",
    ends_with_line_end=False,
    words=("compression", *VALUE_WORDS, *DOCUMENT_WORDS),
    has_field_counts=True,
)
FORMAT_KINDS = {kind.name: kind for kind in (CSV, PARQUET, JSON)}
NDJSON = FormatKind(
    "ndjson",
    content_type="application/gzip",
    start_check="Its first line is the frame that says which events of the stream it has.",
    ends_with_line_end=True,
)
STREAM_KINDS = {NDJSON.name: NDJSON}  # of the objects that kpi_assets itself lands from a stream (stream/)
NAMED_WORDS = tuple(dict.fromkeys(word for kind in FORMAT_KINDS.values() for word in kind.words))  # by any format
