"""Records of an object that are read one by one: as they stand in the file, and as they are quarantined."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """One record: its number, its text, and its fields or why it has none.

    `line` is the line on which it begins (the header is line 1), or its place in the object where that has no lines; no
    two records share it.
    """

    line: int
    text: str
    fields: list[str | None] | None
    problem: str | None = None


@dataclass(frozen=True)
class BadRecord:
    """One record that cannot be read as its table's columns."""

    line: int
    record: str
    column: str | None
    value: str | None
    reason: str
