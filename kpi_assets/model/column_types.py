"""The types of columns: the names that a header may use for them, and the one spelling that everything else sees.

A type becomes part of CREATE TABLE, so this is an allow-list. A header may use Postgres' aliases, capitals and blanks;
the name that is kept is the one of Postgres' catalog (`format_type`), so that versions and comparisons see no
difference between `int` and `integer`.
Belongs here: names of types, and their families. Not here: how a value is written (written.py), and which type holds
the values of which other one (warehouse/shape.py).
"""

import re

from kpi_assets.model.sentences import nearest, shown

INTEGERS = ("smallint", "integer", "bigint")
FLOATS = ("real", "double precision")
NUMBERS = (*INTEGERS, "numeric", *FLOATS)
TEXTS = ("text", "character varying", "character")
_TIMES = ("date", "time without time zone", "timestamp without time zone", "timestamp with time zone")
_DAYS = ("date", "timestamp without time zone")
BASES = (*NUMBERS, "boolean", *TEXTS, *_TIMES, "uuid", "json", "jsonb")  # without parameters
ARRAY = "[]"  # the end of the name of an array's type

# Postgres' own other names of a type.
_ALIASES = {
    "int2": "smallint",
    **dict.fromkeys(("int", "int4"), "integer"),
    "int8": "bigint",
    **dict.fromkeys(("decimal", "dec"), "numeric"),
    "float4": "real",
    **dict.fromkeys(("float", "float8"), "double precision"),
    "bool": "boolean",
    **dict.fromkeys(("varchar", "char varying"), "character varying"),
    "char": "character",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
# The names of other systems, and of what is no type of a column here, each with the type to write instead.
_FOREIGN = {
    **dict.fromkeys(("string", "str", "nvarchar", "bpchar", "clob", "citext"), "text"),
    **dict.fromkeys(("tinyint", "smallserial"), "smallint"),
    **dict.fromkeys(("serial", "mediumint"), "integer"),
    **dict.fromkeys(("long", "bigserial"), "bigint"),
    **dict.fromkeys(("number", "money"), "numeric"),
    "double": "double precision",
    "datetime": "timestamp without time zone",
}
_REFUSED = {
    "time with time zone": "a time with an offset but without a date names no instant: write time, and declare the "
    "offset as a column of its own, or timestamp with time zone if the value has a date",
    "timestamp(": "it would round the seconds: write the type without digits in brackets",
    "interval": "one length of time is written in many ways: declare its seconds as numeric, or its text as text",
    "jsonb[]": "jsonb holds lists itself: write jsonb",
}
_REFUSED["timetz"], _REFUSED["time("], _REFUSED["json[]"] = (
    _REFUSED[each] for each in ("time with time zone", "timestamp(", "jsonb[]")
)
_DIGITS, _LETTERS = 1000, 10_485_760  # the most that Postgres allows in numeric(p,s) and in character varying(n)
_NAME = re.compile(r"(?P<name>[a-z][a-z0-9 ]*)(?:\((?P<numbers>[0-9]{1,9}(?:,[0-9]{1,9})?)\))?(?P<array>\[\])?")
KNOWN = (
    *(*INTEGERS, "numeric", "numeric(p,s)", *FLOATS, "boolean", "text", "character varying(n)", "character(n)"),
    *(*_TIMES, "uuid", "json", "jsonb"),
)  # for people; `character varying` alone means the same as text


def catalog_name(written: str) -> str:
    """Return the name of a type in Postgres' catalog. Raises ValueError with a sentence if it is no type of a column.

    >>> catalog_name("INT"), catalog_name("decimal (10, 2)"), catalog_name("varchar(3)")
    ('integer', 'numeric(10,2)', 'character varying(3)')
    """
    text = re.sub(r" ?([(),\[\]]) ?", r"\1", " ".join(written.lower().split(" ")))
    text = re.sub(r" +", " ", text).strip(" ")
    for name, reason in _REFUSED.items():
        if text.startswith(name):
            raise ValueError(f"{shown(written)} is not a column type here: {reason}")
    found = _NAME.fullmatch(text)
    base = _ALIASES.get(found["name"], found["name"]) if found else ""
    if found is None or base not in BASES:
        raise ValueError(_unknown(written, text))
    type_ = base + _parameters(written, base, found["numbers"])
    if found["array"] and length_of(type_):
        raise ValueError(f"{shown(written)} is not a column type here: write text[], whose elements have any length")
    return type_ + (found["array"] or "")


def base_of(type_: str) -> str:
    """Return the name of a type without its parameters.

    >>> base_of("numeric(10,2)"), base_of("numeric(10,2)[]")
    ('numeric', 'numeric[]')
    """
    return re.sub(r"\(.*\)", "", type_)


def are_alike(one: str, other: str) -> bool:
    """Return whether Postgres compares the values of two types as what they are; json has no values to compare.

    >>> are_alike("integer", "numeric(10,2)"), are_alike("text", "date"), are_alike("json", "json")
    (True, False, False)
    """
    bases = {base_of(one), base_of(other)}
    return "json" not in bases and (len(bases) == 1 or any(bases <= {*family} for family in (NUMBERS, TEXTS, _DAYS)))


def element_of(type_: str) -> str | None:
    """Return the type of an array's elements; None for another type.

    >>> element_of("numeric(10,2)[]"), element_of("text")
    ('numeric(10,2)', None)
    """
    return type_.removesuffix(ARRAY) if type_.endswith(ARRAY) else None


def length_of(type_: str) -> int | None:
    """Return the most characters of a `character varying(n)` or a `character(n)`; None for another type."""
    found = re.fullmatch(r"character(?: varying)?\(([0-9]+)\)", type_)
    return int(found[1]) if found else None


def _parameters(written: str, base: str, numbers: str | None) -> str:
    """Return the parameters of a type as the catalog spells them."""
    if numbers is None:
        return "(1)" if base == "character" else ""
    first, *others = map(int, numbers.split(","))
    if base == "numeric":
        scale = others[0] if others else 0
        if not 1 <= first <= _DIGITS or scale > _DIGITS:
            raise ValueError(f"{shown(written)} has too many digits or none: write 1 to {_DIGITS:,}, or numeric alone")
        return f"({first},{scale})"
    if base not in ("character varying", "character") or others:
        raise ValueError(f"{shown(written)} is not a known column type: write {base} without brackets")
    if not 1 <= first <= _LETTERS:
        raise ValueError(f"{shown(written)} has a length that Postgres has not: write 1 to {_LETTERS:,}, or text")
    return f"({first})"


def _unknown(written: str, text: str) -> str:
    if "(" in text and ")" not in text:
        return f'{shown(written)} ends at a comma: write the type in quotes, as in "numeric(10,2)"'
    if re.search(r"\[[0-9]*\]\[|\[[0-9]+\]", text):
        return f"{shown(written)} is not a known column type: an array has one dimension and no length: write integer[]"
    name = text.split("(", maxsplit=1)[0].removesuffix(ARRAY)
    instead = _FOREIGN.get(name) or nearest(name, (*BASES, *_ALIASES))
    write = f"{instead}, or another of" if instead else "one of"
    return (
        f"{shown(written)} is not a known column type: write {write} {', '.join(KNOWN)}, or an array such as integer[]"
    )
