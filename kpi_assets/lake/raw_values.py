"""The value of one field as Spark SQL: its written form first, then what Postgres takes of it, then the cast.

A cast alone reads other texts than Postgres does, such as blanks around a number. Belongs here: the forms of the types
that an engine holds (model/portable/types.py), and texts as SQL. Not here: the forms themselves (model/written.py), and
records (raw_text.py).
"""

from collections.abc import Iterable

from kpi_assets.model.portable.types import declared
from kpi_assets.model.written import Form, Notation

_TRUE, _FALSE = ("t", "true", "T", "True", "TRUE"), ("f", "false", "F", "False", "FALSE")
# What Postgres takes of what has the form of a number, after its marks were replaced.
_WHOLE = r"-?[0-9]+"
_DECIMAL = r"-?(?:[0-9]+(?:\.[0-9]*|)|\.[0-9]+)"
_LONGEST = 26  # characters of a timestamp with 6 decimals; more of them are zeros


def read(form: Form, notation: Notation, text: str) -> str:
    """Return SQL for the value of a text in the form of its column, in the engine's type; NULL if it is none."""
    type_ = declared(form.type)
    assert type_ is not None, "the pipeline was refused"
    if type_.base == "text":
        return text
    to = type_.on("spark").sql("spark").lower()
    if type_.base == "boolean":
        true, false = (notation.true, notation.false) if notation.true else (_TRUE, _FALSE)
        true, false = (tuple(filter(None, each)) for each in (true, false))
        return f"case when {in_texts(text, true)} then true when {in_texts(text, false)} then false end"
    assert form.pattern is not None
    has_form = f"{text} rlike {pattern(whole_of(form.pattern))}"
    if type_.is_exact:
        number = text
        for old, new in form.translation.items():
            number = f"replace({number}, {constant(old)}, {constant(new)})"
        plain = pattern(whole_of(_WHOLE if type_.is_integer else _DECIMAL))
        return f"case when {has_form} and {number} rlike {plain} then try_cast({number} as {to}) end"
    has_year = f"not startswith({text}, '0000')"
    return f"case when {has_form} and {has_year} then try_cast(substring({text}, 1, {_LONGEST}) as {to}) end"


def in_texts(value: str, texts: Iterable[str]) -> str:
    """Return SQL for whether a value is one of some texts."""
    found = ", ".join(map(constant, texts))
    return f"coalesce({value} in ({found}), false)" if found else "false"


def constant(text: str) -> str:
    """Return a text as SQL, whatever the settings of the session; an engine replaces `${…}` in any SQL.

    >>> constant("N/A"), constant("it's")
    ("'N/A'", "cast(X'69742773' as string)")
    """
    is_plain = text.isascii() and text.isprintable() and not set(text) & set("'\\$")
    return f"'{text}'" if is_plain else f"cast(X'{text.encode().hex()}' as string)"


def pattern(regex: str) -> str:
    """Return a regular expression as SQL."""
    is_plain = regex.isascii() and regex.isprintable() and not set(regex) & set("'$")
    return f"r'{regex}'" if is_plain else constant(regex)


def whole_of(regex: str) -> str:
    """Return the regular expression that a whole text matches."""
    return rf"\A(?:{regex})\z"


def byte_of(letter: bytes) -> str:
    """Return one character of ASCII as a part of a regular expression; empty if there is none.

    >>> byte_of(b"|")
    '\\\\x7c'
    """
    return "".join(rf"\x{byte:02x}" for byte in letter)
