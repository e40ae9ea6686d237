"""Growing tables: their rows of a load_date are not built at once, but are added one audited batch after another.

A raw table grows whose source is a stream. A table with a SELECT grows if the SELECT has the parameter `%(batch)s`;
there is no word for it. Every growing table has the column `batch`, which no file declares: the number of the batch
that brought the row, from 1, within its load_date. A batch of a SELECT is the batch of the table that it reads.

A replay builds the whole load_date as one batch. It must give the rows that growth gave, so a SELECT whose grain does
not name `batch` must compute each row from one row: what sees several rows would see more of them in a replay. And it
reads one table, because the batches of two tables do not belong together.

Belongs here: the columns that growing tables have, what their SELECTs may read and compute, and reading a table as one
batch. Not here: the proof that a table is limited to the batch (partition_filter.py), the words of the header
(header.py, repeats.py), and building a batch (materialize/grow.py).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from kpi_assets.model.column import Column
from kpi_assets.model.names import (
    BATCH,
    LOAD_DATE,
    RECEIVED_AT,
    STREAM_PARTITION,
    STREAM_POSITION,
    UNEXPECTED,
    Relation,
    quoted,
)
from kpi_assets.model.partition_filter import batchless_tables
from kpi_assets.model.table_ref import THIS, tables_in

if TYPE_CHECKING:
    from kpi_assets.model.table import Table

TIE = f"{BATCH} = %({BATCH})s"
PLACE = (STREAM_PARTITION, STREAM_POSITION)  # where an event stands in its stream: the grain of a stream's raw table
_PARAMETER = re.compile(rf"%\({BATCH}\)s")
_ACROSS_ROWS = ("group", "having", "limit", "offset", "distinct")  # clauses that look at more than one row
_TYPES = {
    BATCH: ("integer", "Number of the batch, within its load_date, that brought the row, from 1."),
    STREAM_PARTITION: ("integer", "Partition of the stream."),
    STREAM_POSITION: ("numeric", "Position of the event in its partition: its offset or sequence number."),
    RECEIVED_AT: ("timestamp with time zone", "When the broker took the event, by the broker's clock."),
    UNEXPECTED: ("jsonb", "Fields of the event that are no column; NULL if there are none."),
}


def has_batch(body: str) -> bool:
    """Return whether the body of a file names the batch, so that its table grows."""
    return _PARAMETER.search(body) is not None


def made_columns(*, of_stream: bool) -> dict[str, Column]:
    """Return the columns that a growing table has without declaring them; one of a stream has more."""
    names = [*PLACE, RECEIVED_AT, UNEXPECTED, BATCH] if of_stream else [BATCH]
    return {name: Column(type=_TYPES[name][0], description=_TYPES[name][1]) for name in names}


def as_one_batch(relation: Relation, columns: Iterable[str], instead: str | None = None) -> str:
    """Return the subquery that a replay reads in the place of a growing table: all its rows, as the batch `%(batch)s`.

    `columns` are those of the table, without load_date. If `instead` is given, the subquery reads that in place of the
    table.
    """
    source = f"{instead} as every_row" if instead else quoted(*relation)
    names = ", ".join(quoted(name) for name in (LOAD_DATE, *columns) if name != BATCH)
    batch = f"%({BATCH})s::integer as {quoted(BATCH)}"
    return f"(select {names}, {batch} from {source})"  # noqa: S608  names of the model


def problems(scope: Scope) -> Iterator[tuple[exp.Table, str]]:
    """Yield the tables of a scope of a growing SELECT, or of a query of its checks, that no condition limits to it."""
    for table in batchless_tables(scope):
        name = f"{table.db}.{table.name}"
        yield (
            table,
            f"{name} is read for all batches at once: limit it by `{LOAD_DATE} = %({LOAD_DATE})s and {TIE}`",
        )


def across_tables(tree: exp.Query) -> Iterator[tuple[exp.Expr, str]]:
    """Yield what is wrong with the number of tables that a growing SELECT reads: it reads one, at one place or more."""
    tables = [table for scope in traverse_scope(tree) for table in tables_in(scope) if table.name != THIS]
    if not tables:
        yield tree, f"%({BATCH})s is a batch of the table that is read, and the SELECT reads none: read one that grows"
    first = Relation(tables[0].db, tables[0].name) if tables else None
    for table in tables:
        other = Relation(table.db, table.name)
        if other != first:
            yield (
                table,
                f"reads {other} beside {first}, and the batches of two tables do not belong together: read one of them "
                "here, and bring them together in a table that does not grow",
            )


def across_rows(tree: exp.Query) -> Iterator[tuple[exp.Expr, str]]:
    """Yield the parts of a growing SELECT that see several rows, for a table whose grain does not name `batch`.

    >>> across("select a, b + 1 as c from raw.t where a > 0")
    []
    >>> across("select a, count(*) as n from raw.t group by a")
    ['GROUP BY', 'count(*)']
    >>> across("select distinct a from (select a from raw.t limit 3) as s")
    ['LIMIT', 'DISTINCT']
    >>> across("select a, row_number() over (order by a) as n from raw.t")
    ['row_number() over (order by a)']
    >>> across("select t.a from raw.t join raw.t as u using (a)")
    ['a second place that reads raw.t']

    >>> across("with s as (select a from raw.t) select x.a from s as x join s as y using (a)")
    ['a second place that reads s']
    >>> across("with s as (select a from raw.t) select a from s union select 1 as a")
    ['UNION']
    >>> across("select 1 as a where exists (select 1 from raw.t)")
    ['a subquery of raw.t']

    What is computed of the values of one row alone, such as the elements of a list, passes, and so does UNION ALL.

    >>> across("select a, (select max(e) from unnest(t.list) as e) as m from raw.t")
    []
    >>> across("with s as (select a from raw.t) select a from s union all select 1 as a")
    []
    """
    of_rows = [scope for scope in traverse_scope(tree) if _reads_rows(scope)]
    for scope in of_rows:
        yield from _clauses_across_rows(scope)
    seen: set[str] = set()
    for scope in of_rows:
        for table in _sources(scope):
            name = f"{table.db}.{table.name}" if table.db else table.name
            if name in seen:
                yield table, _sees(f"a second place that reads {name}")
            elif scope.is_subquery:
                yield table, _sees(f"a subquery of {name}")
            seen.add(name)


def _clauses_across_rows(scope: Scope) -> Iterator[tuple[exp.Expr, str]]:
    select = scope.expression
    if isinstance(select, exp.SetOperation):
        if select.args.get("distinct") or not isinstance(select, exp.Union):
            yield select, _sees(type(select).__name__.upper())
        return
    for clause in (name for name in _ACROSS_ROWS if select.args.get(name)):
        yield select, _sees("GROUP BY" if clause == "group" else clause.upper())
    for node in scope.find_all(exp.AggFunc, exp.Window):
        if not node.find_ancestor(exp.Window):
            yield node, _sees(node.sql("postgres").lower())


def _sees(what: str) -> str:
    return (
        f"{what} sees several rows, and a replay of the load_date would show it more of them than one batch did: "
        f"compute each row from one row, or name {BATCH} in the grain; what comes twice is left out by `repeats`"
    )


def _sources(scope: Scope) -> list[exp.Table]:
    """Return the tables of a scope, and the CTEs that read some."""
    tables = [table for table in tables_in(scope) if table.name != THIS]
    ctes = [
        table
        for table in scope.tables
        if not table.db and isinstance(of := scope.cte_sources.get(table.name), Scope) and _reads_rows(of)
    ]
    return [*tables, *ctes]


def _reads_rows(scope: Scope) -> bool:
    """Whether a scope reads rows of a table, also through a CTE or a subquery, and not only the values of one row."""
    inner = [source for _, source in scope.selected_sources.values() if isinstance(source, Scope)]
    inner += scope.set_operation_scopes or []
    return any(table.name != THIS for table in tables_in(scope)) or any(map(_reads_rows, inner))


def of_neighbors(
    itself: Relation, mentions: Mapping[Relation, int], reads: Collection[Relation], tables: Mapping[Relation, "Table"]
) -> Iterator[tuple[int, str]]:
    """Yield (line, problem) for each table that a growing table, or one of its checks, reads and may not.

    The SELECT reads `reads`; what only a check names, in `mentions`, may be built after the batch.
    """
    for relation, line in mentions.items():
        if relation in tables and not tables[relation].grows:
            yield (
                line,
                f"{itself} grows by batches, and {relation} has none: read a table that grows, or take %({BATCH})s out",
            )
        elif relation not in reads:
            yield (
                line,
                f"a check reads {relation}, and {itself} grows by the batches of "
                f"{', '.join(map(str, reads)) or 'its stream'}: check this in a table that does not grow",
            )
