"""Records of an object that are read one by one, what a build sets aside of them and of rows, and unknown fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

State = Literal["waiting", "corrected", "accepted", "discarded"]  # as in ops.quarantine


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
    state: State = "waiting"
    decision: str | None = None  # the place of the last decision on it
    corrected: str | None = None  # the record that took its place, if it was corrected


@dataclass(frozen=True)
class Drifted:
    """A field of events that no column takes, and a type of its values, in the rows of one build."""

    field: str
    json_type: str
    events: int
    first_seen: datetime
    last_seen: datetime
    sample: str


def unused_text(count: int) -> str:
    """Return what people are told of decisions that found no record or row; empty if there are none."""
    return f"{count} decision{'s' * (count > 1)} on rows that are not there" if count else ""


@dataclass(frozen=True)
class SetAside:
    """How many rows of a build rules took out, by what became of them; `samples` are a few of those that wait.

    Rows that were corrected or accepted are in the table again. `unused` decisions are on rows that are not there.
    """

    waiting: int = 0
    corrected: int = 0
    accepted: int = 0
    discarded: int = 0
    by_rule: Mapping[str, int] = field(default_factory=dict)  # of those that wait; a row may break several rules
    refused: int = 0  # of those that wait: a decision could not be applied
    unused: int = 0
    samples: Sequence[dict[str, Any]] = ()

    @property
    def out(self) -> int:
        """The rows that are not in the table."""
        return self.waiting + self.discarded

    @property
    def text(self) -> str:
        """The counts as a sentence; empty if there is nothing to tell."""
        rules = ", ".join(f"{count} by {rule}" for rule, count in self.by_rule.items())
        decided = {"corrected": self.corrected, "accepted": self.accepted, "discarded": self.discarded}
        by_decision = ", ".join(f"{count} {state}" for state, count in decided.items() if count)
        refused = f"{self.refused} decision{'s' * (self.refused > 1)} could not be applied"
        parts = [
            f"{self.waiting} row{'s' * (self.waiting > 1)} set aside: {rules}" if self.waiting else "",
            f"by decision: {by_decision}" if by_decision else "",
            f"{refused}: see the reason in ops.quarantine" if self.refused else "",
            unused_text(self.unused),
        ]
        return "; ".join(filter(None, parts))
