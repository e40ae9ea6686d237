"""The page of the schema ops: its tables and columns, as the migrations create and describe them.

The migrations are parsed and not executed, so the page needs no server. A test compares the page with the comments in a
real database.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from kpi_assets.docs.markdown import page_of, table, word
from kpi_assets.ledger.schema import migrations
from kpi_assets.model.ops_relations import FOR_READERS

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it cannot read every function; none has a place on the page

_INTRO = """
Every pipeline has a database of its own, and its schema `ops` records what happened there. It is the truth for
`kpi plan`, the sensor and the gates: nothing is decided from the history that Dagster keeps. Read it with
`psql "$(kpi url PIPELINE)"`.

The role `kpi_reviewer` reads all of it. The roles `kpi_reader` and `kpi_pii_reader` read all columns but those that may
quote a delivered value; these are marked below. A reader therefore names the columns: `select *` from a table with such
a column is refused.

`kpi bootstrap`, or the first command on the embedded server, applies the migrations in the order of their numbers. The
table `ops.migrations` records which were applied, and when.
"""


@dataclass
class Relation:
    """A table or view of ops: its description, and the types and descriptions of its columns.

    `shows` is the table that a view reads; the columns of the view have the descriptions of that table's columns. The
    columns of a view of several tables have their own.
    """

    shows: str = ""
    description: str = ""
    types: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)


def relations() -> dict[str, Relation]:
    """Return each table and view by name, as it is after all migrations."""
    found: dict[str, Relation] = {}
    for _, path in migrations():
        for statement in sqlglot.parse(path.read_text(), read="postgres"):
            if isinstance(statement, exp.Create) and statement.kind == "TABLE":
                made = found.setdefault(statement.this.this.name, Relation())
                made.types.update(_types(statement.this.expressions))
            elif isinstance(statement, exp.Create) and statement.kind == "VIEW":
                _add_view(statement, found)
            elif isinstance(statement, exp.Alter):
                found[statement.this.name].types.update(_types(statement.args["actions"]))
            elif isinstance(statement, exp.Comment):
                _describe(statement, found)
    for each in found.values():
        if each.shows:
            each.columns = found[each.shows].columns
    return dict(sorted(found.items()))


def page() -> str:
    """Return the page as Markdown."""
    return page_of("Schema ops", _INTRO, *(part for name, each in relations().items() for part in _section(name, each)))


def _section(name: str, relation: Relation) -> Iterator[str]:
    yield f"## {word(f'ops.{name}')}"
    yield relation.description
    hidden = FOR_READERS.get(name)
    if hidden is None:
        yield "The role `kpi_reader` does not read this table."
    yield table(
        ("column", "type", "meaning"),
        (
            (word(column), type_, _hidden(relation.columns.get(column, ""), quoted=column in (hidden or ())))
            for column, type_ in relation.types.items()
        ),
    )


def _hidden(text: str, *, quoted: bool) -> str:
    return f"{text} *Not for `kpi_reader`.*" if quoted else text


def _types(parts: list[exp.Expression]) -> dict[str, str]:
    """Return the types of the columns among the parts of a statement, as Postgres names them."""
    return {part.name: _type(part.kind) for part in parts if isinstance(part, exp.ColumnDef) and part.kind}


def _type(kind: exp.DataType) -> str:
    text = kind.sql("postgres").lower()
    return (
        text.replace("decimal", "numeric").replace("timestamptz", "timestamp with time zone").replace("int4", "integer")
    )


def _add_view(statement: exp.Create, found: dict[str, Relation]) -> None:
    """Add a view; `create or replace` may add columns to it."""
    if statement.expression.find(exp.Join):
        found.setdefault(statement.this.name, Relation()).types = _inferred(statement.expression, found)
        return
    shown = statement.expression.find(exp.Table).name
    made = found.setdefault(statement.this.name, Relation(shows=shown))
    made.types = {column.name: found[shown].types[column.name] for column in statement.expression.expressions}


def _inferred(query: exp.Expression, found: dict[str, Relation]) -> dict[str, str]:
    """Return the types of the columns of a query that reads tables and views of ops."""
    schema: dict[str, object] = {"ops": {name: dict(each.types) for name, each in found.items()}}
    body = query.copy()
    for lateral in list(body.find_all(exp.Lateral)):  # whose columns sqlglot does not infer
        if isinstance(lateral.this, exp.Subquery):
            lateral.this.set("alias", lateral.args["alias"])
            lateral.replace(lateral.this)
    qualified = qualify(body, schema=schema, dialect="postgres", validate_qualify_columns=False)
    annotated = annotate_types(qualified, schema=schema, dialect="postgres")
    assert isinstance(annotated, exp.Query)
    return {column.alias_or_name: _type(column.type) for column in annotated.selects if column.type}


def _describe(statement: exp.Comment, found: dict[str, Relation]) -> None:
    """Add the comment on a table, a view or a column; a later comment replaces an earlier one."""
    text = statement.expression.this
    if statement.args["kind"] == "column":
        found[statement.this.table].columns[statement.this.name] = text
    else:
        found[statement.this.name].description = text
