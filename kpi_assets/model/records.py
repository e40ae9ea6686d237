"""Records of an object that are read one by one: as they are in the file, and as they are quarantined."""

from dataclasses import dataclass


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


@dataclass(frozen=True)
class BadRecord:
    """A record that cannot be read as the columns of its table."""

    line: int
    record: str
    column: str | None
    value: str | None
    reason: str
