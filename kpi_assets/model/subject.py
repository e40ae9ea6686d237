"""Subjects: which column of a raw table names the person whom a row is about, so that the person can be erased.

The word `subject` of a header has for each kind of person a column, or an expression of one that makes its spellings
alike. The value is compared as the text that Postgres writes of it.
Belongs here: the expression, and which words of a header forbid the word. Not here: the persons who were erased
(erasure.py), and the tables that are made of the raw table (subject_tables.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from kpi_assets.model.sentences import Loc, shown

if TYPE_CHECKING:
    from kpi_assets.model.header import Header
    from kpi_assets.model.source import Source

_POSSIBLE = "write a column, or lower, upper, trim and replace of one"
_FUNCTIONS = (exp.Lower, exp.Upper, exp.Trim, exp.Replace, exp.Paren)
_VALUE = "value of the subject"  # stands for the column in the parsed expression


@dataclass(frozen=True)
class Subject:
    """A kind of person, the column that names one, and how its values are written alike."""

    kind: str
    column: str
    expression: exp.Expr

    @property
    def is_plain(self) -> bool:
        """Whether the values are compared as they are."""
        return isinstance(self.expression, exp.Column)

    def of(self, value: str) -> str:
        """Return the SQL for the key of a person, of the SQL for a value of the column.

        >>> Subject.parse("customer", "lower(trim(email))").of("c3")
        'LOWER(TRIM(c3))'
        """

        def put(node: exp.Expr) -> exp.Expr:
            return exp.to_identifier(_VALUE, quoted=True) if isinstance(node, exp.Column) else node

        written = self.expression.transform(put).sql("postgres")
        return written.replace(f'"{_VALUE}"', value)

    @classmethod
    def parse(cls, kind: str, text: str) -> "Subject":
        """Read the expression of a subject. Raises ValueError with a reason if it is not one of those that are known.

        >>> Subject.parse("customer", "customer_id").column
        'customer_id'
        """
        try:
            tree = parse_one(text, read="postgres")
        except (SqlglotError, ValueError):
            raise ValueError(f"{shown(text)} is no SQL expression: {_POSSIBLE}") from None
        for node in tree.walk():
            is_text = isinstance(node, exp.Literal) and node.is_string and not set(node.this) & {"%", "\\", '"'}
            if not (isinstance(node, (exp.Column, exp.Identifier, *_FUNCTIONS)) or is_text):
                raise ValueError(f"{shown(text)} is no key of a person: {_POSSIBLE}")
        columns = {column.sql("postgres") for column in tree.find_all(exp.Column)}
        if len(columns) != 1 or any(column.table for column in tree.find_all(exp.Column)):
            raise ValueError(f"{shown(text)} does not name one column: {_POSSIBLE}")
        return cls(kind, next(tree.find_all(exp.Column)).name, tree)


def subjects_of(words: Mapping[str, str]) -> list[Subject]:
    """Return the subjects that the word of a header names; it was checked before."""
    return [Subject.parse(kind, text) for kind, text in words.items()]


def subject_problems(header: "Header") -> Iterator[tuple[Loc, str]]:
    """Yield what is wrong with the words `subject` and `erase`, each with its place."""
    if not header.subject:
        if header.erase != "rows":
            yield ("erase",), "says what becomes of the rows of an erased person: name the column with subject"
        return
    if refused := _source_problem(header.source):
        yield ("subject",), refused
        return
    for kind, text in header.subject.items():
        try:
            subject = Subject.parse(kind, text)
        except ValueError as error:
            yield ("subject", kind), str(error)
            continue
        yield from _column_problems(header, subject)
    if header.erase == "values":
        yield from _value_problems(header)


def _source_problem(source: "Source | None") -> str:
    """Return why nobody could be erased from the objects of a source; empty if somebody can."""
    if source is None:
        return "is for raw tables: name the person where the rows come from, and what reads them follows"
    if source.stream:
        return (
            "the objects of a stream form a chain that no rewritten object continues: leave the person out of its "
            "events, or keep it no longer than the stream may"
        )
    if source.key.is_reference:
        return (
            "an object that is the same for all load_dates is read in the versions that it had, and an erasure deletes "
            "those: write {load_date} into source.object"
        )
    if source.encoding.startswith(("utf-16", "utf-32")):
        return f"no record can be taken out of {source.encoding}: have the file written in utf-8"
    return ""


def _column_problems(header: "Header", subject: Subject) -> Iterator[tuple[Loc, str]]:
    column = header.delivered.get(subject.column)
    if column is None:
        known = ", ".join(header.delivered)
        yield ("subject", subject.kind), f"{subject.column!r} is not one of the columns that the object fills ({known})"
    elif column.pii in (None, "none"):
        yield ("subject", subject.kind), f"{subject.column!r} names a person: write pii: id at the column"
    elif column.type in ("json", "jsonb") or column.type.endswith("[]"):
        yield ("subject", subject.kind), f"{subject.column!r} is {column.type}, which names nobody: name another column"
    elif not subject.is_plain and column.type != "text":
        problem = f"{subject.column!r} is {column.type}, whose values have one spelling: write the column alone"
        yield ("subject", subject.kind), problem


def _value_problems(header: "Header") -> Iterator[tuple[Loc, str]]:
    """Yield what keeps the values of a person from being taken out of rows that stay."""
    assert header.source is not None
    keys = {subject.column for subject in subjects_of(header.subject)}
    if header.source.whole or header.source.extra == "keep":
        word = "whole" if header.source.whole else "extra: keep"
        yield ("erase",), f"source.{word} keeps the record with its values: write erase: rows, or take it out"
    for name in sorted(keys):
        if name in header.columns and header.columns[name].type != "text":
            yield ("erase",), f"{name!r} is {header.columns[name].type}, which no replaced key fits: write erase: rows"
    personal = [name for name, column in header.columns.items() if column.pii not in (None, "none")]
    bound = {*header.grain, *(getattr(header.checks, "not_null", None) or ())}
    for name in (each for each in personal if each in bound and each not in keys):
        yield ("erase",), f"{name!r} is personal and may not be NULL here: write erase: rows, or let it be NULL"
