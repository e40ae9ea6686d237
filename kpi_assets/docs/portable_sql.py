"""The page of portable SQL: what means the same on another engine, and what is refused with the way to write it."""

from collections.abc import Iterator

from kpi_assets.docs.markdown import page_of, table, word
from kpi_assets.model.portable.aggregates import KINDS
from kpi_assets.model.portable.expressions import RULES
from kpi_assets.model.portable.refusals import REFUSALS
from kpi_assets.model.portable.types import PORTABLE

_INTRO = """
All tables are built on Postgres today. `kpi check --engine spark` says which files would mean the same on Spark SQL
(4.0, ANSI mode), and which places would be refused; `--engine duckdb` does so for DuckDB. Write portable SQL where a
table may outgrow one machine one day.

What is refused is found by an allow-list: a type, a function or an operator that this page does not name is refused. A
SELECT that is not refused gives equal rows of equal types on Postgres, Spark and DuckDB. The tests compare them for
hundreds of one-line SELECTs and for the fixtures of all shipped pipelines.
"""
_TYPES = f"""
Columns have one of these types: {", ".join(map(word, PORTABLE))}.

- A sum of `bigint` is `numeric(38,0)`; a sum of `numeric(p,s)` has 9 more digits, so that it holds 1,000,000,000 rows
  of the largest value. The engine fails where a sum is larger; it never gives a wrong number.
- A division of numbers other than whole ones, and `avg`, have their digits only when they are rounded: by
  `round(…, n)` or a cast to `numeric(p,n)` with n up to 6. Before that they may be compared, negated, multiplied by an
  exact number or added to one. What is divided may have 22 digits before the point, less those after the point of the
  divisor, and the result 20; the engine fails where they are larger. A divisor may count up to 5,000,000,000 units of
  its last digit: beyond that, a quotient within 10⁻¹⁶ of a half may be rounded to the other side.
- Values that Postgres alone has, `NaN` and infinity, are in no column of an engine. The open end of a `range` is
  translated as a condition that is never true.
"""
_ALLOWED = """
These kinds of expressions have a rule, by their names in the syntax tree of sqlglot. Each accepts the types for which
engines agree.
"""
_CLAUSES = """
A SELECT may have `with`, joins with ON or USING, subqueries, `values` with names, `where`, `group by`, `having`,
`distinct`, `distinct on` over the grain, `union`, `intersect` and `except`. ORDER BY of a whole SELECT says nothing
about a table, and is left out.
"""
_REFUSED = """
The examples read the columns `n` (integer), `b` (bigint), `d` (numeric(10,2)), `t` (text), `f` (boolean), `day` (date)
and `moment` (timestamp) of a table `probes.values_of` with the grain `id`. A percent sign is doubled, as in all files.
"""


def page() -> str:
    """Return the page as Markdown."""
    return page_of(
        "Portable SQL",
        _INTRO,
        "## Types and digits",
        _TYPES,
        "## What is allowed",
        _ALLOWED,
        ", ".join(word(name) for name in sorted({each.__name__ for each in (*RULES, *KINDS)})) + ".",
        _CLAUSES,
        "## What is refused",
        _REFUSED,
        table(("refused", "because", "example", "portable"), _refusals()),
    )


def _refusals() -> Iterator[tuple[str, str, str, str]]:
    for each in REFUSALS.values():
        yield each.what, each.why, word(each.example), word(each.instead) if each.instead else "no way"
