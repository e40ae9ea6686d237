"""Excerpts: cuts values, rows and messages to the length that is stored and shown, and marks what was cut.

Belongs here: the lengths, and the same cut for Python and for SQL. Not here: where it is applied. SQL cuts on the
server what a client should not have to hold; Python cuts the rest.
"""

from collections.abc import Mapping
from typing import Any

VALUE = 1_000  # characters of one value
MESSAGE = 4_000  # characters of one sentence that may quote a value
RECORD = 16_000  # characters of a record, of a sample row, and of several messages together
_NOTE = "… (cut)"


def cut(text: str, most: int = VALUE) -> str:
    """Cut a text to `most` characters, including the note that it was cut."""
    return text if len(text) <= most else text[: most - len(_NOTE)] + _NOTE


def is_cut(text: str, most: int = VALUE) -> bool:
    """Whether a text was cut to `most` characters."""
    return len(text) == most and text.endswith(_NOTE)


def cut_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Cut each value of a row of JSON values, and leave out the last values if the row is still too long."""
    shown: dict[str, Any] = {}
    left = RECORD
    for name, value in row.items():
        text = value if isinstance(value, str) else str(value)
        short = value if len(text) <= VALUE else cut(text)
        size = len(name) + len(text if short is value else short)
        if size > left:
            shown["…"] = f"(cut: {len(row) - len(shown)} more columns)"
            break
        shown[name], left = short, left - size
    return shown


def sql_cut(expression: str, most: int = VALUE) -> str:
    """Return SQL that does the same as `cut` to a text expression."""
    return (
        f"(case when length({expression}) <= {most} then {expression} "
        f"else left({expression}, {most - len(_NOTE)}) || '{_NOTE}' end)"
    )


def sql_cut_values(row: str, kind: str = "json") -> str:
    """Return SQL that cuts each value of the `json` (which keeps its order) or `jsonb` object `row`."""
    short = sql_cut("value #>> '{}'")
    return (
        f"(select coalesce({kind}_object_agg(key, case when length(value::text) <= {VALUE} then value "  # noqa: S608
        f"else to_{kind}({short}) end), '{{}}') from {kind}_each({row}))"
    )
