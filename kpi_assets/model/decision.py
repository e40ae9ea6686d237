"""Decisions: what people decide on records and rows that were set aside, as they lie on S3.

Belongs here: one decision, its words and its kinds. Not here: the objects that hold them, and applying them in a build.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Kind = Literal["correct", "accept", "discard"]


@dataclass(frozen=True)
class Decision:
    """One decision on one row that was set aside, or on one record of an object.

    It names the row by the values of its grain in `key`; it holds only while the row also has the values in `was`. A
    record of an object is named by `object` and `line`, and what it was by `record`. Values are those of JSON.
    """

    kind: Kind
    key: Mapping[str, Any]
    was: Mapping[str, Any]
    set: Mapping[str, Any]  # the corrected values, by column, or the corrected `record`; empty unless kind is correct
    reason: str
    by: str
    at: datetime
    place: str = ""  # the key of its object on S3 and the line there, such as `decisions/…/0001.jsonl:3`
