"""Carry on: a table whose SELECT reads its own rows of the load_date before, and adds what came since.

The SELECT says so by `load_date = %(previous_load_date)s`; there is no word for it. The parameter is the table's own
latest load_date that is published before that of the build. On the first load_date there is none, and the SELECT reads
no rows of the table. The rows that it reads are an input of the build, as those of any other table are.

Only the table itself may be tied to this parameter: it alone has one load_date before that the ledger names. So every
other table must be tied to a parameter of its own, and not through a CTE or subquery, which may have the load_date
before.

Belongs here: what such a SELECT may read. Not here: how a table is tied to a parameter (partition_filter.py), and which
load_date is the one before (materialize/carry_on.py).
"""

from collections.abc import Iterator

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from kpi_assets.model.names import LOAD_DATE, PREVIOUS, Relation
from kpi_assets.model.partition_filter import previous_tables
from kpi_assets.model.table_ref import tables_in

TIE = f"{LOAD_DATE} = %({PREVIOUS})s"


def reads_itself(tree: exp.Query, itself: Relation) -> bool:
    """Return whether a SELECT names the table that it makes."""
    return any(Relation(table.db, table.name) == itself for table in tree.find_all(exp.Table))


def problems(scope: Scope, itself: Relation) -> Iterator[tuple[exp.Table, str]]:
    """Yield the tables of a scope that are wrongly tied to the load_date before, or wrongly not, with the reason."""
    tied = {table.alias_or_name for table in previous_tables(scope)}
    for table in tables_in(scope):
        relation, is_tied = Relation(table.db, table.name), table.alias_or_name in tied
        if relation == itself and not is_tied:
            yield (
                table,
                f"reads {itself}, which is itself: it can only read its rows of the load_date before, by `{TIE}`",
            )
        elif relation != itself and is_tied:
            yield (
                table,
                f"{relation} is limited to %({PREVIOUS})s, which is a load_date of {itself} alone: limit it by "
                f"`{LOAD_DATE} = %({LOAD_DATE})s`",
            )


def of_history(itself: Relation) -> str:
    """Return why a history does not read itself."""
    return f"reads {itself}, which is itself: a history is of what its load_date delivers"


def unused(tree: exp.Query, itself: Relation) -> str:
    """Return what is wrong if a SELECT has the parameter and does not read itself; empty otherwise."""
    if reads_itself(tree, itself) or all(each.name != PREVIOUS for each in tree.find_all(exp.Placeholder)):
        return ""
    return (
        f"%({PREVIOUS})s is a load_date of {itself}, which the SELECT does not read: read it by `{TIE}`, or take the "
        "parameter out"
    )
