"""Records of an object that are read one by one: as they are in the file, and as they are quarantined."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """One record: its line, its text, and its fields, or in `problem` the reason why it has none.

    `line` is the line on which the record begins (the header is line 1), or its position in an object without lines. No
    two records share it.
    """

    line: int
    text: str
    fields: list[str | None] | None
    problem: str | None = None
    # Where it comes from, if the table has columns for it: its number in its object, from 1, and the object's key.
    position: int | None = None
    object_key: str | None = None
    byte_offset: int | None = None  # of its first byte in its object, unpacked, if the format counts bytes
    refusals: Mapping[int, str] = field(default_factory=dict)  # why some of its fields are no value of their column


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be read as the columns of its table."""

    line: int
    record: str
    column: str | None
    value: str | None
    reason: str
    object_key: str = ""  # of its object
    byte_offset: int | None = None  # of its first byte in its object, unpacked, if the format counts bytes
