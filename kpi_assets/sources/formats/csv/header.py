"""The header line of a CSV, compared with the columns of its table.

Belongs here: the problems of the first line, in sentences for the people who deliver the file.
Not here: the records below it (records.py), and objects that are not CSV (sources/signatures.py).
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from kpi_assets.model import excerpt
from kpi_assets.sources.formats.csv.records import GrammarError, cut_record
from kpi_assets.sources.signatures import other_format

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEADER_LIMIT = 1 << 20  # the most bytes of a header line


def header_problem(start: bytes, columns: Sequence[str]) -> str:
    """Return what is wrong with the first line of a CSV, compared with the contract's columns; empty if nothing is."""
    return other_format(start, "CSV") or _line_problem(start, columns)


def _line_problem(start: bytes, columns: Sequence[str]) -> str:
    if start.startswith(BYTE_ORDER_MARK):
        return "it begins with a byte order mark: save it as plain UTF-8"
    line = start.split(b"\n", 1)[0].removesuffix(b"\r")
    if len(line) >= HEADER_LIMIT:
        return "its first line does not end: it is not a CSV with a header"
    try:
        names = [(name or b"").decode() for name in cut_record(line)[0]]
    except UnicodeDecodeError:
        return "its first line is not UTF-8: save it as UTF-8"
    except GrammarError as error:
        return f"its first line cannot be read: {error}"
    return "" if names == list(columns) else _written_otherwise(names, columns) or _difference(names, columns)


def _difference(names: Sequence[str], columns: Sequence[str]) -> str:
    missing = [name for name in columns if name not in names]
    extra = [name for name in names if name not in columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    parts = [
        f"{what} {excerpt.cut(', '.join(map(repr, which)))}"
        for what, which in (("missing", missing), ("unknown", extra), ("twice", twice))
        if which
    ]
    difference = "; ".join(parts) or "the same columns in another order"
    return f"its header is {excerpt.cut(','.join(names))!r}, not {','.join(columns)!r} ({difference})"


def _written_otherwise(names: Sequence[str], columns: Sequence[str]) -> str:
    """Return what is wrong with a header that has the contract's columns in order but writes them in another way."""
    for delimiter, shown in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")):
        if len(names) == 1 and _plainly(names[0].split(delimiter)) == _plainly(columns) and len(columns) > 1:
            return f"its values are separated by {shown}, not by commas: export it with commas"
    if _plainly(names) != _plainly(columns):
        return ""
    wrong, right = next((name, column) for name, column in zip(names, columns, strict=True) if name != column)
    shown = f"{excerpt.cut(wrong)!r} for the column {right!r}"
    return f"its header writes {shown}: rename it where the file is made, or before it is landed"


def _plainly(names: Iterable[str]) -> list[str]:
    """Normalize names so that `Order ID`, `OrderId` and `order_id` are equal."""
    return ["".join(letter for letter in name.casefold() if letter.isalnum()) for name in names]
