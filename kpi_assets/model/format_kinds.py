"""The formats of objects that a header may name, and what the model has to know about each.

Belongs here: what is known about a format without reading an object. Not here: reading and loading objects
(sources/formats).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FormatKind:
    """The traits of one value of the word `format` of a source."""

    name: str  # the value
    content_type: str  # of its objects on S3
    start_check: str  # the description of the check `header`, which examines an object's first bytes
    ends_with_line_end: bool  # whether an object without a line end at its end may have been cut off
    has_dialect: bool = False  # whether the header says how its values are written


CSV = FormatKind(
    "csv",
    content_type="text/csv",
    start_check="Its first line names the contract's columns.",
    ends_with_line_end=True,
    has_dialect=True,
)
PARQUET = FormatKind(
    "parquet",
    content_type="application/vnd.apache.parquet",
    start_check="Its columns are the contract's, with types that fit.",
    ends_with_line_end=False,
)
FORMAT_KINDS = {kind.name: kind for kind in (CSV, PARQUET)}
