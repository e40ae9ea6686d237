"""The formats of objects that a header may name, and what the model has to know of each.

Belongs here: what is known of a format without reading an object. Not here: reading and loading one, which
sources/formats does for each of these.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FormatKind:
    """What a source's word `format` stands for."""

    name: str  # the word
    content_type: str  # of its objects on S3
    start_check: str  # the description of the check `header`, which looks at an object's first bytes
    ends_with_line_end: bool  # whether an object that does not may have been cut off


CSV = FormatKind(
    "csv",
    content_type="text/csv",
    start_check="Its first line names the contract's columns, in order.",
    ends_with_line_end=True,
)
FORMAT_KINDS = {kind.name: kind for kind in (CSV,)}
