"""Differences between the columns that a header declares and those that its SELECT returns.

Not here: what a column may be (column.py, question.py).
"""

from collections.abc import Iterator, Sequence

from kpi_assets.model.query import Query
from kpi_assets.model.strict_yaml import Lines


def column_differences(declared: Sequence[str], lines: Lines, query: Query) -> Iterator[tuple[int, str]]:
    """Yield (line, sentence) for each difference between the columns of the SELECT and of the header."""
    declared, returned = list(declared), query.columns
    nameless = [number for number, column in enumerate(returned) if column in {"", "*"}]
    for number in nameless:
        yield (
            query.line_of(number),
            "the SELECT must name each column it returns: write them out instead of *, give expressions an alias",
        )
    for number, column in enumerate(returned):
        if column not in {"", "*", *declared}:
            what = f"the SELECT returns the column {column!r}, which the header does not declare: declare it there"
            yield query.line_of(number), what
        elif column in returned[:number] and column not in {"", "*"}:
            yield query.line_of(number), f"the SELECT returns the column {column!r} a second time: take it out"
    if nameless:
        return
    for column in declared:
        if column not in returned:
            yield lines.of("columns", column), f"the column {column!r} is declared but the SELECT does not return it"
    if sorted(declared) == sorted(returned) and declared != returned:
        number = next(n for n, column in enumerate(returned) if column != declared[n])
        order = f"({', '.join(declared)}) have another order in the SELECT ({', '.join(returned)})"
        yield query.line_of(number), f"the header's columns {order}: write both in one order"
