"""The forms of arrays of one dimension: `{1,2,NULL}`, as Postgres writes them.

Each element has the form of its own type, in double quotes or without them. The three patterns are of the same values:
alone, as a field of a CSV without quotes (no comma, no quote), and between a CSV's quotes, which are doubled.
"""

_BLANK = r" \t\n\v\f\r"
# A text element without quotes: Postgres drops the blanks around it, so there are none.
_PLAIN = rf'[^{{}},"\\{_BLANK}]+(?: +[^{{}},"\\{_BLANK}]+)*'
_TEXT = rf'(?:{_PLAIN}|"(?:[^"\\]|\\[^\x00])*")'
_TEXT_IN_QUOTES = rf'(?:{_PLAIN}|""(?:[^"\\]|\\""|\\[^"])*"")'


def alone(element: str | None) -> str:
    """Return the pattern of an array whose elements have this form; None stands for texts."""
    return _array(rf"(?:{element}|\"{element}\")" if element else _TEXT)


def bare(element: str | None) -> str:
    """Return the pattern of an array that needs no quotes in a CSV, with at most one element, or of nothing."""
    return rf"(?:\{{(?:(?!\}})(?:NULL|{element or _PLAIN})|)\}}|)"


def in_quotes(element: str | None) -> str:
    """Return the pattern of an array between the quotes of a CSV."""
    return _array(rf'(?:{element}|""{element}"")' if element else _TEXT_IN_QUOTES)


def _array(element: str) -> str:
    one = rf"(?![,}}])(?:NULL|{element})"
    return rf"\{{(?:{one}(?:,{one})*|)\}}"
