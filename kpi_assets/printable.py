"""Text that a person is shown: what a file or a person gave cannot steer the terminal or the page that shows it.

Belongs here: which characters are not shown as they are, and strict JSON. Not here: printing (cli/common.py), and
escaping for a language such as Markdown or SVG (assets/).
"""

import json
import math
import re
from typing import Any

# C0, DEL and C1; what turns the direction of writing; line ends that only some programs take for one; halves of a pair;
# what no picture may hold.
_STEERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(value: object) -> str:
    """A value as text on one line, with an escape such as `\\x1b` for each character that would steer what shows it."""
    return _STEERS.sub(_escape, str(value))


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    return _SHORT.get(found) or (f"\\x{ord(found):02x}" if found < "\u0100" else f"\\u{ord(found):04x}")


def strict_json(value: Any, indent: int | None = None) -> str:
    """A value as JSON that every reader takes: NaN and the infinities are the texts that PostgreSQL has for them.

    Characters that would steer a terminal are escaped, which changes nothing for who parses it.
    """
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    return "\n".join(_STEERS.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return number_text(value) if not math.isfinite(value) else value
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def number_text(value: float) -> str:
    """NaN and the infinities as PostgreSQL writes them."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
