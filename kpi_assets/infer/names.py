"""Names of columns and tables from those of fields and files."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

from kpi_assets.model.names import IDENTIFIER, LOAD_DATE, LONGEST, SYSTEM_COLUMNS

_LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "o", "å": "a", "đ": "d", "ł": "l", "&": " and "}
# Words that a SELECT could name only in quotes.
RESERVED = frozenset(
    (
        *("all", "analyse", "analyze", "and", "any", "array", "as", "asc"),
        *("asymmetric", "authorization", "between", "bigint", "binary", "both", "case", "cast"),
        *("check", "collate", "column", "concurrently", "constraint", "create", "cross", "current_date"),
        *(
            "current_role",
            "current_time",
            "current_timestamp",
            "current_user",
            "default",
            "deferrable",
            "desc",
            "distinct",
        ),
        *("do", "else", "end", "except", "false", "fetch", "for", "foreign"),
        *("freeze", "from", "full", "grant", "group", "having", "ilike", "in"),
        *("initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral"),
        *("leading", "left", "like", "limit", "localtime", "localtimestamp", "natural", "not"),
        *("notnull", "null", "offset", "on", "only", "or", "order", "outer"),
        *("overlaps", "placing", "primary", "references", "returning", "right", "select", "session_user"),
        *("similar", "some", "symmetric", "table", "tablesample", "then", "to", "trailing"),
        *("true", "union", "unique", "user", "using", "variadic", "verbose", "when"),
        *("where", "window", "with"),
    )
)
TAKEN = frozenset({LOAD_DATE, "extra_fields", "record_no", *SYSTEM_COLUMNS})


def column_names(fields: Sequence[str]) -> list[str]:
    """Return a name for each field, all different.

    >>> column_names(["Order ID", "InvoiceNo", "Größe", "", "order", "order_id", "2nd"])
    ['order_id', 'invoice_no', 'groesse', 'column_4', 'order_', 'order_id_2', 'c_2nd']
    """
    found: list[str] = []
    for number, text in enumerate(fields, start=1):
        name = identifier(text) or f"column_{number}"
        if name in RESERVED or name in TAKEN:
            name += "_"
        base, count = name, 1
        while name in found:
            count += 1
            name = f"{base[: LONGEST - len(str(count)) - 1].rstrip('_')}_{count}"
        found.append(name)
    return found


def identifier(text: str) -> str:
    """Return a text as a name, or an empty text if it has no letter and no digit."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text.strip())
    text = "".join(_LETTERS.get(letter, letter) for letter in text.lower())
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")[:LONGEST].rstrip("_")
    if text[:1].isdigit():
        text = f"c_{text}"[:LONGEST].rstrip("_")
    return text if re.fullmatch(IDENTIFIER, text) else ""


def table_name(path: PurePath) -> str:
    """Return a name for the table of a file: its own without dates and numbers, or else that of its folder.

    >>> table_name(PurePath("shop/2025-03-01/Orders_2025-03-01.csv.gz"))
    'orders'
    """
    for part in (path.name.split(".")[0], *reversed(path.parts[:-1])):
        text = re.sub(r"[0-9]{4}[-_./]?[0-9]{2}[-_./]?[0-9]{2}|(?:part)?[-_ ]*[0-9]+", "", part.split("=")[0])
        if (name := identifier(text)) and name not in ("load_date", "date", "year", "month", "day", "data"):
            return name + "_" * (name in RESERVED)
    return "records"
