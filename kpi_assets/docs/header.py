"""The page of the header: every word that may stand in the header of a file below sql/."""

from kpi_assets.docs.markdown import code, page_of, table, word
from kpi_assets.docs.words import Words
from kpi_assets.model.column_types import KNOWN
from kpi_assets.model.header import Header

_INTRO = """
A file below `sql/` begins with a comment that holds YAML. It starts with `/* @asset` and ends with `@end */`. The words
below are all that may stand in it. An unknown word fails the load, and the error names the file, the line and the word
that was probably meant.

A file with a `source` is a raw table and has no SELECT. Every other file has one SELECT after the header, and its
columns are the columns of the header, in the same order and with the same types.
"""
_EXAMPLE = """
/* @asset
description: Orders by hour of the day.
owner: team:analytics
grain: [order_hour_of_day]
kpi:
  chart: {x: order_hour_of_day, y: total_orders}
columns:
  order_hour_of_day: {type: smallint, description: "Hour of the day, 0 to 23."}
  total_orders: {type: bigint, description: All orders of that hour.}
checks:
  range:
    order_hour_of_day: [0, 23]
@end */
"""
_TYPES = """
The types have the names of Postgres' catalog. Postgres' other names mean the same: `int`, `int2`, `int4`, `int8`,
`float4`, `float8`, `bool`, `decimal(p,s)`, `varchar(n)`, `char(n)`, `time`, `timestamp` and `timestamptz`, in capitals
too. Everything that kpi_assets shows has the catalog's name, and `int` and `integer` are the same version of a table.
`[]` after a type, but not after json and jsonb, makes the array of one dimension: `integer[]`. A type with a comma
stands in quotes: `{type: "numeric(10,2)", description: Price.}`.

`json` keeps a value letter by letter, which `jsonb` does not. PostgreSQL does not compare values of json, so such a
column is in no grain and in no check but `not_null`.

The [guide to authoring](../guides/authoring.md#types) says which type to take, and [values](values.md) says how a value
of each type is written in a CSV file.
"""


def page() -> str:
    """Return the page as Markdown."""
    words = Words(Header, {"Checks": "checks.md"})
    return page_of(
        "Header",
        _INTRO,
        code(_EXAMPLE, "sql"),
        words.sections(),
        "## Types of columns",
        _TYPES,
        table(("type",), ((word(name),) for name in KNOWN)),
    )
