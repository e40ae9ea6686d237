"""The page of the header of a question: every word that may stand in a file below `questions/`."""

from kpi_assets.docs.markdown import code, page_of, table, word
from kpi_assets.docs.words import Words
from kpi_assets.model.ops_relations import FOR_READERS, OF_NO_LOAD_DATE, OPS
from kpi_assets.model.question import LONGEST_TEXT, QuestionHeader
from kpi_assets.read.ask import MOST_ROWS, TIMEOUT

_INTRO = f"""
A file `sql/<pipeline>/questions/<name>.sql` is a question: a header and one SELECT. The comment starts with
`/* @question` and ends with `@end */`. The words below are all that may stand in it. An unknown word fails the load,
and the error names the file, the line and the word that was probably meant. The
[guide to questions](../guides/questions.md) says how to write and how to ask one.

The SELECT has the columns of the header, in the same order, and ends with ORDER BY. It may take {TIMEOUT} seconds and
return {MOST_ROWS:,} rows.
"""
_EXAMPLE = """
/* @question
title: Which products do people come back for?
description: Of the products in enough orders, those most often bought by somebody who had bought them before.
owner: team:analytics
parameters:
  at_least: {title: In at least so many orders, type: integer, default: 50, range: [1, 1000000]}
columns:
  product_name: {title: Product}
  orders_with_product: {title: Orders, format: integer}
  product_reorder_rate: {title: Reordered, format: percent1, bar: true}
@end */
select
    product_name,
    orders_with_product,
    product_reorder_rate
from marts.kpi_products_reorder
where load_date = %(load_date)s and orders_with_product >= %(at_least)s
order by product_reorder_rate desc, orders_with_product desc, product_id asc
limit 15
"""
_TYPES = [
    ("integer", "`50`, `-5`", "Digits only; as large as Postgres' bigint."),
    ("numeric", "`0.25`, `.5`", "A plain decimal number, without an exponent; exact."),
    ("date", "`2026-11-24`", "A day. In the header it stands in quotes."),
    ("boolean", "`true`, `false`", "In the SELECT it is a condition: `not %(without_first_orders)s`."),
    ("text", "any", f"At most {LONGEST_TEXT} characters that can be printed."),
]
_TIES = """
Every table stands in a FROM, and in the same SELECT it must be limited to one of these:

| condition | rows of |
| --- | --- |
| `load_date = %(load_date)s`, or a join using it | the load_date |
| `load_date = %(load_date)s::date - 7` | a fixed number of days before it, to compare |
| `load_date between %(window_start)s and %(load_date)s` | the window of `lookback` |

A history needs no condition: it is read as it was known on the load_date. A live view is limited by its column
`load_date`, or by the date in its grain. These relations of the schema `ops` may be read, by their `load_date`:
"""


def page() -> str:
    """Return the page as Markdown."""
    words = Words(QuestionHeader, {"Lookback": "header.md#lookback"})
    known = [f"{OPS}.{name}" for name in FOR_READERS if name not in OF_NO_LOAD_DATE]
    return page_of(
        "Header of a question",
        _INTRO,
        code(_EXAMPLE, "sql"),
        words.sections(),
        "## Types of parameters",
        table(("type", "value", "meaning"), ((word(name), value, meaning) for name, value, meaning in _TYPES)),
        "## What it reads",
        _TIES,
        ", ".join(map(word, known)) + ".",
    )
