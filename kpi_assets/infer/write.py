"""The text of a proposal: the file of a raw table, with a comment beside each word that nothing decided.

A comment cannot end the header: `*/` is taken apart wherever a sample has it.
"""

import json
import re
from collections.abc import Iterator, Mapping

from kpi_assets.infer.persons import guess
from kpi_assets.infer.proposal import Proposal, needs_own_nulls
from kpi_assets.infer.values import Column, Reading
from kpi_assets.model import excerpt
from kpi_assets.model.pii import Kind

_POSITION = "record_no"
_WHOLE = "raw_data"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[ ./-][A-Za-z0-9_]+)*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_FEW = 12  # different values that are listed
_EXAMPLE = 80  # characters of a line


def text_of(proposal: Proposal) -> str:
    """Return the file."""
    return "\n".join(["/* @asset", *(_inside(line) for line in _lines(proposal)), "@end */", ""])


def _inside(line: str) -> str:
    """Return a line that does not end the comment in which the header stands."""
    return line.replace("*/", "*\\/")


def _lines(proposal: Proposal) -> Iterator[str]:
    names = ", ".join(path.name for path in proposal.paths[:3])
    more = f" and {len(proposal.paths) - 3} more" if len(proposal.paths) > 3 else ""
    yield f"description: {_value(f'Rows of {proposal.table} as delivered.')}"
    yield "owner: team:data  # who answers for the table: team:name or an address"
    yield f"# Proposed by kpi infer from {_comment(names)}{more}."
    yield from (f"# {_comment(note)}." for note in proposal.notes)
    yield from _grain(proposal)
    yield "source:"
    yield from (f"  {line}" for line in _source(proposal))
    yield "columns:"
    for number, (name, column) in enumerate(zip(proposal.names, proposal.columns, strict=True)):
        yield from (f"  {line}" for line in _column(proposal, number, name, column))
    yield from _checks(proposal)


def _grain(proposal: Proposal) -> Iterator[str]:
    if proposal.key:
        what = "different" if len(proposal.key) == 1 else "together different"
        records = f"in the {proposal.records:,} records that were read"
        yield f"grain: [{', '.join(proposal.key)}]  # {what} {records}; is it the key?"
    elif proposal.source.format == "parquet":
        yield f"grain: [{proposal.names[0]}]  # not known from a schema: name the key"
    else:
        yield f"grain: [{_POSITION}]  # no column is a key in the records that were read"


def _source(proposal: Proposal) -> Iterator[str]:
    several, note = proposal.objects.several, _comment(proposal.objects.note)
    yield f"object: {_value(proposal.objects.key)}" + (f"  # {note}" if note else "")
    if several is not None:
        yield f"complete: {{objects: {several}}}" if several else "complete: {settled_minutes: 15}"
    yield f"format: {proposal.source.format}"
    if proposal.source.format == "csv":
        yield from _dialect(proposal)
    if proposal.source.format == "json":
        yield from _json_words(proposal)


def _dialect(proposal: Proposal) -> Iterator[str]:
    source, dialect = proposal.source, proposal.source.dialect
    words = {
        "compression": source.compression,
        "encoding": source.encoding.name if source.encoding.name != "utf-8" else "",
        "delimiter": ("tab" if dialect.delimiter == "\t" else dialect.delimiter) if dialect.delimiter != "," else "",
        "quote": (dialect.quote or "none") if dialect.quote != '"' else "",
        "escape": dialect.escape,
        "skip_lines": dialect.skip_lines,
        "comment": dialect.comment,
        "null": ["", *proposal.nulls] if proposal.nulls else "",
        "position": "" if proposal.key else _POSITION,
    }
    has_persons = any(_pii(name, column) for name, column in zip(proposal.names, proposal.columns, strict=True))
    line = "" if has_persons else f"; a line: {source.example}"
    notes = {"encoding": f"a guess, for it is not UTF-8{line}"} if source.encoding.is_guess else {}
    for word, value in words.items():
        if value:
            yield f"{word}: {_value(value)}" + (f"  # {_comment(notes[word])}" if word in notes else "")
    if not source.header:
        yield "header: false" + (
            "  # a guess; take it out if the first line names the fields" * source.is_header_a_guess
        )
    elif source.is_header_a_guess:
        yield "# header: true is a guess. Write header: false if the first line is a record."


def _json_words(proposal: Proposal) -> Iterator[str]:
    source = proposal.source
    words = {
        "records": source.records,
        "compression": source.compression,
        "position": "" if proposal.key else _POSITION,
    }
    yield from (f"{word}: {_value(value)}" for word, value in words.items() if value)
    yield f"# whole: {_WHOLE} keeps each record letter by letter, and fields that are no column with it."


def _column(proposal: Proposal, number: int, name: str, column: Column) -> Iterator[str]:
    """Yield the line of a column; where values decide nothing, a line that does not load, and those to choose from."""
    words: dict[str, object] = {}
    if proposal.source.header and column.name != name:
        words["field"] = column.name
    ends: dict[str, object] = {}
    if proposal.since[number]:
        ends["since"] = str(proposal.since[number])
    if proposal.optional[number]:
        ends["optional"] = True
    if needs_own_nulls(proposal, column):
        ends["null"] = ["", *column.nulls]
    pii = _pii(name, column)
    if pii:
        ends["pii"] = pii
    ends["description"] = f"{_spoken(column.name or name)}, as delivered."
    lines = [f"{name}: {_flow({**words, **_reading(each), **ends})}" for each in column.readings]
    if len(lines) == 1:
        yield lines[0] + _facts(column, is_personal=bool(pii))
        return
    example = "Its first" if pii else repr(next((text for text in column.distinct), ""))
    yield f"# {_comment(example)} and all other values can be read in {len(lines)} ways: take one of these lines."
    yield from (f"# {line}" for line in lines)
    yield f"{name}: {_flow({**words, **dict.fromkeys(('type',)), **ends})}"


def _reading(reading: Reading) -> Mapping[str, object]:
    notation = reading.notation
    marks = {
        **({"decimal": notation.decimal} if notation and notation.decimal != "point" else {}),
        **({"thousands": notation.thousands} if notation and notation.thousands else {}),
    }
    return {"type": reading.type, **reading.words, **marks}


def _pii(name: str, column: Column) -> Kind | None:
    """Return the kind of personal values that a column seems to have."""
    return guess(name, column.distinct)


def _facts(column: Column, *, is_personal: bool) -> str:
    facts = ["whether it is personal is a guess"] if is_personal else list(column.notes)
    if column.null_share:
        facts.insert(0, f"{100 * column.null_share:.3g} % NULL")
    return f"  # {_comment('; '.join(facts))}" if facts else ""


def _checks(proposal: Proposal) -> Iterator[str]:
    if not any(column.counts for column in proposal.columns):
        return
    named = list(zip(proposal.names, proposal.columns, strict=True))
    known = [name for name, column in named if not column.null_share and name not in proposal.key]
    few = {
        name: sorted(column.distinct)
        for name, column in named
        if column.reading.type == "text"
        and not _pii(name, column)
        and 1 < len(column.distinct) <= _FEW < sum(column.counts.values()) / 4
    }
    found = [
        *([f"  not_null: [{', '.join(known)}]"] if known else []),
        *(["  accepted_values:"] if few else []),
        *(f"    {name}: {_value(values)}" for name, values in few.items()),
        *([f"  unique: {_flow({name: [name] for name in proposal.unique})}"] if proposal.unique else []),
    ]
    if found:
        yield "# True of what was read, and perhaps of all:"
        yield from (f"# {line}" for line in ("checks:", *found))


def _spoken(name: str) -> str:
    text = " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\s]+", " ", name).split())
    return (text[:1].upper() + text[1:])[:60]


def _flow(words: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{word}: {_value(value)}" for word, value in words.items()) + "}"


def _value(value: object) -> str:
    """Return a value as YAML; None is nothing, which no word takes."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, (bool, int)):
        return str(value).lower()
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return text
    # JSON's strings are YAML's, but for the characters beyond the first 65,536, of which it makes two.
    return (
        json.dumps(text, ensure_ascii=False).replace("*/", "*\\/").replace("\u2028", "\\u2028").replace("\x7f", "\\x7f")
    )


def _comment(text: str) -> str:
    """Return a text as a part of a comment: one line of characters that can be seen."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return excerpt.cut(" ".join(shown.split()), _EXAMPLE * 3)
