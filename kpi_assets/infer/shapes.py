"""Shapes of texts: what certainly is no name of a field."""

import re

_TYPED = re.compile(r"[-+]?[0-9][0-9.,:/'T \u00a0\u202fZ+-]*(?:[eE][-+]?[0-9]+)?%?|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}")


def is_typed(text: str) -> bool:
    """Return whether a text is a number, a date, a time or a UUID."""
    return bool(_TYPED.fullmatch(text))
