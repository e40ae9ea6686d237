"""The layout of a CSV: which field is which column, and where the records begin.

Belongs here: the first lines of a file, compared with the columns of its table, in sentences that say what to write.
Not here: the records below them (records.py), and objects that are not CSV (sources/signatures.py).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from kpi_assets.model import excerpt
from kpi_assets.model.dialect import Dialect, Field
from kpi_assets.model.pii import MASKED
from kpi_assets.sources.formats.csv.encoding import BYTE_ORDER_MARK, UTF8, misfit, to_utf8
from kpi_assets.sources.formats.csv.grammar import Grammar
from kpi_assets.sources.formats.csv.records import GrammarError, cut_record
from kpi_assets.sources.signatures import other_format

HEADER_LIMIT = 1 << 20  # the most bytes up to the end of a header line
_DELIMITERS = {";": "';'", "\t": "tabs", "|": "'|'", ",": "','"}


@dataclass(frozen=True)
class Layout:
    """The fields of one file, in its order; if `problem` is not empty, nothing else is known."""

    dialect: Dialect
    problem: str = ""
    names: Sequence[str] = ()  # of the fields
    fields: Sequence[Field | None] = ()  # the column that each fills; None: a field that is no column
    skipped: int = 0  # bytes of UTF-8 before the first record
    line: int = 1  # the line on which the first record begins
    grammar: Grammar = field(default_factory=Grammar)

    @property
    def columns(self) -> list[str]:
        """The columns that the fields fill, in the order of the file."""
        return [each.column for each in self.fields if each is not None]

    @property
    def extra(self) -> list[int]:
        """The numbers of the fields that are no column."""
        return [number for number, each in enumerate(self.fields) if each is None]

    def is_header(self, values: Sequence[str]) -> bool:
        """Return whether a record repeats the header."""
        first = values[0].removeprefix("\ufeff") if values else ""
        return self.dialect.header and [first, *values[1:]] == list(self.names)


def layout_of(start: bytes, dialect: Dialect, load_date: date) -> Layout:
    """Return the layout of a file that begins with these bytes, HEADER_LIMIT of them if there are so many."""
    if problem := other_format(start, "CSV", dialect.encoding):
        return Layout(dialect, problem)
    text = b"".join(to_utf8([start], dialect.encoding))
    skipped = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    skipped, line = _first_line(text, skipped, dialect)
    if dialect.header:
        return _with_header(text, skipped, line, dialect, load_date)
    fields = [each for each in dialect.fields if each.since is None or each.since <= load_date]
    names = [each.name for each in fields]
    found = Layout(dialect, "", names, fields, skipped, line, Grammar.of(dialect))
    problem = _first_record_problem(text[skipped:], found)
    return Layout(dialect, problem) if problem else found


def _first_line(text: bytes, at: int, dialect: Dialect) -> tuple[int, int]:
    """Return where the header or the first record begins, behind skipped lines and comments, and its line."""
    line = 1
    while line <= dialect.skip_lines or (dialect.comment and text.startswith(dialect.comment.encode(), at)):
        end = text.find(b"\n", at) + 1
        if not end:
            return len(text), line
        at, line = end, line + 1
    return at, line


def _with_header(text: bytes, at: int, line: int, dialect: Dialect, load_date: date) -> Layout:
    names, end, problem = _names(text, at, dialect)
    problem = problem or _difference(names, dialect, load_date)
    if problem:
        return Layout(dialect, problem)
    due = {each.name: each for each in dialect.fields if each.since is None or each.since <= load_date}
    fields = [due.get(name) for name in names]
    return Layout(dialect, "", names, fields, end, line + max(text.count(b"\n", at, end), 1), Grammar.of(dialect))


def _names(text: bytes, at: int, dialect: Dialect) -> tuple[list[str], int, str]:
    """Return the names in the header that begins at `at` and where it ends, or what is wrong with it."""
    which = "header line" if dialect.skip_lines or dialect.comment else "first line"
    line = text[at : text.find(b"\n", at) + 1 or len(text)]
    if len(line) >= HEADER_LIMIT:
        return [], at, f"its {which} does not end: it is not a CSV with a header"
    if not line and dialect.skip_lines:
        return [], at, f"it has no header behind {dialect.skip_lines} lines: correct skip_lines"
    if misfit(line, dialect.encoding):
        name, remedy = dialect.encoding, "correct encoding"
        if dialect.encoding == UTF8:
            name, remedy = "UTF-8", "save it as UTF-8, or write its own encoding, such as encoding: cp1252"
        return [], at, f"its {which} is not {name}: {remedy}"
    try:
        cells, end = cut_record(text, at, Grammar.of(dialect))
        return [cell.decode() for cell, _ in cells], end, ""
    except GrammarError as error:
        return [], at, f"its {which} cannot be read: {error}"
    except UnicodeDecodeError:
        return [], at, f"its {which} is not {dialect.encoding}: correct encoding"


def _difference(names: Sequence[str], dialect: Dialect, load_date: date) -> str:
    """Return how the names of a header differ from those of the fields, and what to write; empty if they do not."""
    early = [each for each in dialect.fields if each.since is not None and each.since > load_date]
    due = [each for each in dialect.fields if each not in early]
    known = [each.name for each in due]
    missing = [each.name for each in due if each.name not in names and not each.optional]
    unknown = [name for name in names if name not in known]
    counts = Counter(names)
    checked = names if dialect.extra == "keep" else known
    twice = sorted({name for name in checked if counts[name] > 1})
    if dialect.extra == "hold" and (found := next((each for each in early if each.name in unknown), None)):
        return f"its header has {found.name!r} before {found.since}, from which day on it should: correct since"
    if dialect.extra != "hold":
        unknown = []
    if not (missing or unknown or twice):
        return ""
    if problem := _written_otherwise(names, dialect, known):
        return problem
    if dialect.is_personal:  # a file without a header has values where its names should be
        names, unknown = ([name if name in known else MASKED for name in each] for each in (names, unknown))
    return _listed(names, known, missing, unknown, twice)


def _listed(names: Sequence[str], known: Sequence[str], *which: Sequence[str]) -> str:
    parts = [
        f"{what} {excerpt.cut(', '.join(map(repr, found)))}"
        for what, found in zip(("missing", "unknown", "twice"), which, strict=True)
        if found
    ]
    if not set(names) & set(known):
        parts.append("if it has no header, write header: false")
    return f"its header is {excerpt.cut(','.join(names))!r}, not {','.join(known)!r} ({'; '.join(parts)})"


def _written_otherwise(names: Sequence[str], dialect: Dialect, known: Sequence[str]) -> str:
    """Return what is wrong with a header that has the names of the fields but writes them in another way."""
    if len(names) == 1 and len(known) > 1:
        for delimiter, shown in _DELIMITERS.items():
            found = names[0].split(delimiter)
            if delimiter != dialect.delimiter and set(_plainly(known)) <= set(_plainly(found)):
                return f"its values are separated by {shown}: write delimiter: {_word(delimiter)}"
    plain = dict(zip(_plainly(names), names, strict=True))
    other = [
        (name, plain[key])
        for name, key in zip(known, _plainly(known), strict=True)
        if name not in names and key in plain
    ]
    if len(other) < sum(name not in names for name in known) or not other:
        return ""
    columns = {each.name: each.column for each in dialect.fields}
    right, wrong = other[0]
    more = f", and so for {len(other) - 1} more" if len(other) > 1 else ""
    shown = excerpt.cut(wrong)
    return f"its header writes {shown!r} for the column {columns[right]!r}: write field: {_word(shown)} there{more}"


def _first_record_problem(text: bytes, layout: Layout) -> str:
    """Return what is wrong with a file without a header, as far as its first record tells."""
    line = text.split(b"\n", 1)[0].removesuffix(b"\r")
    try:
        cells, _ = cut_record(line, 0, layout.grammar)
        values = [cell.decode() for cell, _ in cells]
    except (GrammarError, UnicodeDecodeError):
        return ""  # it is set aside as other records are
    if values == list(layout.names):
        return "its first record has the names of its columns: write header: true"
    if len(values) == 1 and len(layout.fields) > 1:
        for delimiter, shown in _DELIMITERS.items():
            if delimiter != layout.dialect.delimiter and len(values[0].split(delimiter)) == len(layout.fields):
                return f"its values are separated by {shown}: write delimiter: {_word(delimiter)}"
    return ""


def _word(text: str) -> str:
    """Return a text as it is written in YAML."""
    return "tab" if text == "\t" else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plainly(names: Iterable[str]) -> list[str]:
    """Normalize names so that `Order ID`, `OrderId` and `order_id` are equal."""
    return ["".join(letter for letter in name.casefold() if letter.isalnum()) for name in names]
