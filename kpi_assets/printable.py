"""Makes text safe to show: text from files or users cannot control the terminal or the page that shows it.

Belongs here: the characters that are escaped, and strict JSON. Not here: printing (cli/common.py), and
escaping for a language such as Markdown or SVG (assets/).
"""

import json
import math
import re
from typing import Any

# C0, DEL and C1; marks of the writing direction; line ends that only some programs recognize; surrogates; characters
# that SVG does not allow.
_STEERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(value: object) -> str:
    """Return a value as text on one line, with an escape such as `\\x1b` for each control character."""
    return _STEERS.sub(_escape, str(value))


def _escape(match: re.Match[str]) -> str:
    found = match[0]
    return _SHORT.get(found) or (f"\\x{ord(found):02x}" if found < "\u0100" else f"\\u{ord(found):04x}")


def strict_json(value: Any, indent: int | None = None) -> str:
    """Return a value as standard JSON: NaN and the infinities are the texts that PostgreSQL has for them.

    Characters that could control a terminal are escaped, which makes no difference to a parser.
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
    """Return NaN or an infinity as PostgreSQL writes it."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
