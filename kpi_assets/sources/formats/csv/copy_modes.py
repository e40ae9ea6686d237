"""The copy modes of CSV, from the fastest to the most tolerant.

- as text, a third faster than CSV, if nothing in the object stands in quotes;
- as CSV, by COPY's own rules;
- rewritten: cut and written again, if COPY cannot read the dialect, or its columns or values, by itself.

Belongs here: which modes an object has, their options, and the independent count of records. Not here: the proof that
the bytes follow the rules (proof.py), and how records are rewritten (rewrite.py).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kpi_assets.model.written import Form
from kpi_assets.sources.formats.base import NO_SETTINGS, CopyMode, CopyStream, ModeMismatchError, UnprovenError
from kpi_assets.sources.formats.csv.encoding import to_utf8
from kpi_assets.sources.formats.csv.grammar import USUAL, Grammar
from kpi_assets.sources.formats.csv.layout import Layout
from kpi_assets.sources.formats.csv.proof import FieldProof, Proof
from kpi_assets.sources.formats.csv.rewrite import Rewriter

_SPLIT = 128 << 10  # bytes split at quotes at once; each part takes 90 bytes of memory more
Blocks = Iterable[bytes]


class Read(Protocol):
    """One pass over bytes of an object."""

    done: int  # bytes so far

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes."""

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""


class Content(Protocol):
    """The bytes of a CSV, packed no more."""

    @property
    def size(self) -> int:
        """The number of bytes."""

    def read(self, start: int = 0, end: int | None = None) -> Read:
        """Return a read of the bytes from `start` to `end`."""


@dataclass(frozen=True)
class Part:
    """A part of one CSV, on its way to COPY."""

    read: Read
    layout: Layout
    at_start: bool
    is_whole: bool

    @property
    def blocks(self) -> Iterator[bytes]:
        """The bytes of its records, as UTF-8 and without what stands before the first record."""
        left = self.layout.skipped if self.at_start else 0
        for block in to_utf8(self.read, self.layout.dialect.encoding):
            yield block[left:] if left else block
            left = max(left - len(block), 0)


class CsvStream:
    """The bytes of a part for COPY, and what COPY has to know about them."""

    def __init__(
        self,
        part: Part,
        blocks: Blocks,
        columns: Sequence[str],
        options: str,
        settings: Mapping[str, str],
        count: Callable[[], int],
    ) -> None:
        self._part, self._blocks, self._count = part, blocks, count
        self.columns, self.options, self.settings = columns, options, settings

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)

    @property
    def records(self) -> int:
        """Records so far."""
        return self._count()

    @property
    def done(self) -> int:
        """Bytes of the object so far."""
        return self._part.read.done

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""
        return self._part.read.waited


class CsvCopy(CopyMode):
    """One of the modes, for one object."""

    def __init__(self, content: Callable[[], Content], layout: Layout, make: Callable[[Part], CopyStream]) -> None:
        self._content, self._layout, self._make = content, layout, make

    def stream(self, start: int, end: int) -> CopyStream:
        """Return the bytes of a part for COPY."""
        content = self._content()
        is_whole = (start, end) == (0, content.size)
        return self._make(Part(content.read(start, end), self._layout, at_start=not start, is_whole=is_whole))


def modes(content: Callable[[], Content], layout: Layout) -> list[CsvCopy]:
    """Return the modes for an object with this layout, the fastest first; `content` is called when it is read."""
    forms = [each.form for each in layout.fields if each is not None]
    style = _date_style(forms)
    direct = _Direct.of(layout, style)
    made: list[Callable[[Part], CopyStream]] = []
    if direct:
        made += [direct.as_text, direct.as_csv] if layout.grammar.quote else [direct.as_text]
    if direct is None or not direct.is_complete:
        made.append(_Rewritten(layout, style))
    return [CsvCopy(content, layout, each) for each in made]


def _date_style(forms: Iterable[Form]) -> str:
    """Return the DateStyle by which Postgres reads most columns; empty if any will do."""
    styles = Counter(form.date_style for form in forms if form.date_style)
    return max(styles, key=lambda style: styles[style]) if styles else ""


def _settings(style: str) -> Mapping[str, str]:
    return {"DateStyle": style} if style else NO_SETTINGS


@dataclass(frozen=True)
class _Direct:
    """COPY reads the bytes of the object itself."""

    layout: Layout
    style: str
    null: str
    translation: Mapping[str, str]
    is_complete: bool  # whether it reads every value that is read otherwise

    @classmethod
    def of(cls, layout: Layout, style: str) -> "_Direct | None":
        """Return the mode for a layout, or None if COPY cannot read it."""
        grammar, fields = layout.grammar, [each.form for each in layout.fields if each is not None]
        null = {form.null for form in fields}
        if layout.extra or len(null) != 1 or any(len(each) != 1 for each in null):
            return None
        [[text]] = null
        if any(map(grammar.is_special, text)) and text != grammar.escape.decode():
            return None
        for form in fields:
            special = any(map(grammar.is_special, form.alphabet or ""))
            if special or not form.is_native or form.date_style not in ("", style):
                return None
        translation = _translation(fields, text, grammar)
        if translation is None:
            return None
        complete = not grammar.comment and all(form.is_text or form.native == form.pattern for form in fields)
        return cls(layout, style, text, translation, complete)

    def as_text(self, part: Part) -> CsvStream:
        """Load by COPY's text format, in which a backslash is special and a quote is not."""
        null = self.null.replace("\\", "\\\\")  # it is compared with the bytes
        options = f"format text, delimiter {_literal(self.layout.dialect.delimiter)}, null {_literal(null)}"
        return self._stream(part, options, _plain(self._checked(part.blocks), self.layout.grammar))

    def as_csv(self, part: Part) -> CsvStream:
        """Load by COPY's CSV format."""
        dialect = self.layout.dialect
        escape = dialect.escape or dialect.quote
        options = (
            f"format csv, delimiter {_literal(dialect.delimiter)}, quote {_literal(dialect.quote)}, "
            f"escape {_literal(escape)}, null {_literal(self.null)}"
        )
        return self._stream(part, options, self._checked(part.blocks), is_text=False)

    def _checked(self, blocks: Blocks) -> Iterator[bytes]:
        """Yield the blocks. Raises ModeMismatchError at a line that is a comment."""
        comment, before = self.layout.grammar.comment, b"\n"
        for block in blocks:
            if comment and block and ((before == b"\n" and block.startswith(comment)) or b"\n" + comment in block):
                raise ModeMismatchError
            before = block[-1:] or before
            yield block

    def _stream(self, part: Part, options: str, blocks: Blocks, *, is_text: bool = True) -> CsvStream:
        layout, counter = self.layout, RecordCounter(self.layout.grammar)
        fields = [FieldProof.of(each.form, layout.grammar, native=True) for each in layout.fields if each is not None]
        proof = Proof(fields, layout.names if layout.dialect.header else None, layout.grammar)
        proven: Blocks = self._proven(proof.watch(counter.watch(blocks)))
        if self.translation:
            proven = _translated(proven, self.translation)
        if is_text:
            proven = _with_backslashes(proven)
        return CsvStream(part, proven, layout.columns, options, _settings(self.style), lambda: counter.records)

    def _proven(self, blocks: Blocks) -> Iterator[bytes]:
        try:
            yield from blocks
        except UnprovenError:
            if not self.is_complete:
                raise ModeMismatchError from None
            raise


def _translation(forms: Sequence[Form], null: str, grammar: Grammar) -> Mapping[str, str] | None:
    """Return the characters to replace in every byte of an object; None if one means something else in some column."""
    found: dict[str, str] = {}
    for form in forms:
        found.update(form.translation)
    for letter, new in found.items():
        if letter in null or not letter.isascii() or grammar.is_special(letter):
            return None
        for form in forms:
            if form.alphabet is None or (letter in form.alphabet and form.translation.get(letter) != new):
                return None
    return found


def _translated(blocks: Blocks, translation: Mapping[str, str]) -> Iterator[bytes]:
    replaced = [(old, new) for old, new in translation.items() if new]
    table = bytes.maketrans(*("".join(each).encode() for each in zip(*replaced, strict=True))) if replaced else None
    deleted = "".join(old for old, new in translation.items() if not new).encode()
    for block in blocks:
        yield block.translate(table, deleted)


def _literal(text: str) -> str:
    """Return a text as SQL, whatever the server's standard_conforming_strings."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _plain(blocks: Blocks, grammar: Grammar) -> Iterator[bytes]:
    """Yield the blocks. Raises ModeMismatchError at the first block with a quote: then a line may not be a record."""
    for block in blocks:
        if grammar.quote and grammar.quote in block:
            raise ModeMismatchError
        yield block


def _with_backslashes(blocks: Blocks) -> Iterator[bytes]:
    """Yield the blocks as COPY's text format needs them: a backslash is no special character there if it is doubled."""
    for block in blocks:
        yield block.replace(b"\\", b"\\\\") if b"\\" in block else block


class RecordCounter:
    """Counts the records of a CSV block by block: line ends outside quotes, and a last line without line end."""

    def __init__(self, grammar: Grammar = USUAL) -> None:
        self._quote, self._escape = grammar.quote, grammar.escape
        self._ends = 0
        self._quoted = False
        self._open = False  # whether bytes follow the last line end
        self._escapes = b""  # at the end of the block before

    def watch(self, blocks: Blocks) -> Iterator[bytes]:
        """Yield the blocks unchanged, and count their records."""
        for block in blocks:
            if self._escape:
                self._count(self._without_escapes(block))
            else:
                self._count(block)
            yield block

    def _count(self, block: bytes) -> None:
        if self._quote and self._quote in block:
            for start in range(0, len(block), _SPLIT):
                parts = block[start : start + _SPLIT].split(self._quote)  # alternately outside and inside quotes
                self._ends += b"".join(parts[self._quoted :: 2]).count(b"\n")
                self._quoted ^= len(parts) % 2 == 0
        elif not self._quoted:
            self._ends += block.count(b"\n")
        if block:
            self._open = not block.endswith(b"\n") or self._quoted

    def _without_escapes(self, block: bytes) -> bytes:
        """Return a block without escaped characters; its last escapes wait for the next block."""
        data = self._escapes + block
        kept = data.rstrip(self._escape)
        self._escapes = data[len(kept) :]
        return kept.replace(self._escape * 2, b"").replace(self._escape + self._quote, b"")

    @property
    def records(self) -> int:
        """Records so far."""
        return self._ends + (self._open or bool(self._escapes))


@dataclass(frozen=True)
class _Rewritten:
    """COPY reads what the records were rewritten to."""

    layout: Layout
    style: str

    def __call__(self, part: Part) -> CsvStream:
        """Prove the records of a part, and rewrite them. In a part between two cuts, a quote may hide line ends."""
        layout = self.layout
        fields = [
            FieldProof() if each is None else FieldProof.of(each.form, layout.grammar, native=False)
            for each in layout.fields
        ]
        proof = Proof(fields, layout.names if layout.dialect.header else None, layout.grammar, exact=True)
        rewriter = Rewriter(layout, self.style)
        blocks: Blocks = part.blocks if part.is_whole else _plain(part.blocks, layout.grammar)
        rewritten = rewriter.rewrite(proof.records(blocks))
        options = "format text"
        return CsvStream(part, rewritten, rewriter.columns, options, _settings(self.style), lambda: rewriter.records)
