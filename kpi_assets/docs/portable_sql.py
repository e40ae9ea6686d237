"""The page of portable SQL: what means the same on another engine, and what is refused with the way to write it."""

from collections.abc import Iterable, Iterator

from kpi_assets.docs.markdown import page_of, table, word
from kpi_assets.model.portable.aggregates import KINDS
from kpi_assets.model.portable.expressions import RULES
from kpi_assets.model.portable.refusals import OF_LAKE, OF_OBJECTS, OF_TABLES, REFUSALS, Refusal
from kpi_assets.model.portable.types import PORTABLE

_INTRO = """
A table with `storage: lake` is computed by Apache Spark, and so is each table that selects from one
([Tables on the lake](../guides/lake.md)); all others are computed by Postgres. The SQL that Spark executes must mean
the same there: what does not is refused as the files are read, with its file and line. `kpi check --engine spark` says
of all other files what would be refused (Spark SQL 4.0, ANSI mode), and `--engine duckdb` does so for DuckDB. Write
portable SQL where a table may outgrow one machine one day.

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
  divisor, and the result 20; the engine fails where they are larger.
- Up to 12 places are allowed where what is divided has at most 16 digits before the point by its type, less those
  after the point of the divisor: `n::numeric(22,12) / m` of two integers. The result may then have 16 digits before the
  point.
- Postgres rounds a quotient twice: first to the digits that it chooses, which are 20 after the point below 1, 16 below
  10,000, 12 below 10⁸, and so on. The engine rounds it first to 16, or to 20 where 12 places are allowed. So a quotient
  that lies almost at a half may be rounded to the other side once its divisor counts more than 5·10ᵏ units of its last
  digit, where k is the lesser of these digits, less the places, less 1: 5,000,000,000 for 6 places of 16.
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

_HEADS = ("refused", "because", "example", "portable")
_OF_TABLES = """
Of a table, this is refused whatever its SQL says, because an engine would compute the rows and Postgres does more
with them:
"""
_OF_OBJECTS = """
Of the objects of a raw table, an engine reads Parquet, and CSV line by line. Of a CSV with a value that goes on in the
next line, no record is loaded. This is refused:
"""
_OF_LAKE = """
In a pipeline with tables on the lake, this is refused besides. `kpi check --engine spark` says nothing of it before a
table has `storage: lake`:
"""
_PORTABLE = """
These are portable, as far as the SQL in them is:

- a table that carries on, which reads its own rows of `%(previous_load_date)s`, though none on the lake may;
- a window: `lookback`, with `versions: latest` or `rows: all`;
- all checks, `reconcile` with the expressions of `sum`, `here` and `counted` and the conditions of `dropped` and
  `changed` included.

Questions and live views are not looked at, because readers ask them on Postgres. A question that is to read what an
engine has computed reads a KPI of it.
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
        table(_HEADS, _rows(REFUSALS.values())),
        _OF_TABLES,
        table(_HEADS, _rows(OF_TABLES.values())),
        _OF_OBJECTS,
        table(_HEADS, _rows(OF_OBJECTS.values())),
        _OF_LAKE,
        table(_HEADS, _rows(OF_LAKE.values())),
        _PORTABLE,
    )


def _rows(refusals: Iterable[Refusal]) -> Iterator[tuple[str, str, str, str]]:
    for each in refusals:
        yield each.what, each.why, word(each.example), word(each.instead) if each.instead else "no way"
