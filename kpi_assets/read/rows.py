"""The published rows of one table and load_date, as readers are shown them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.errors import UserError
from kpi_assets.ledger import publishes
from kpi_assets.materialize.retention import explain_replay
from kpi_assets.model.excerpt import sql_cut
from kpi_assets.model.names import LOW_VOLUME
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.warehouse.content import lost, published_rows
from kpi_assets.warehouse.views import for_readers


@dataclass(frozen=True)
class Rows:
    """Rows of a load_date, in the order of the grain.

    `rows` holds one value a column as PostgreSQL writes it, None for NULL; `types` the columns' types. `shown` counts
    the rows that readers are shown, of which a limit may have left out some, and `published` all rows.
    """

    load_date: date
    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[str | None]]
    shown: int
    published: int


def read_rows(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    load_date: date | None = None,
    *,
    place: str,
    limit: int | None = None,
    cut: bool = False,
    everything: bool = False,
) -> Rows:
    """The rows of a load_date, the latest by default; long values cut short where `cut` is set.

    Rows of low volume are left out, unless `everything` is asked for. Raises UserError, which names the `place` of the
    data, where the load_date is not published, was dropped by retention, or has lost its rows.
    """
    day = load_date or publishes.latest_load_date(connection, table.relation)
    current = publishes.current(connection, [table.relation], day) if day else {}
    if day is None or table.relation not in current:
        if day and (gone := publishes.dropped(connection, [table.relation], day)):
            raise UserError(f"It cannot be shown: {explain_replay(pipeline, gone, day)}.")
        which = f" of {load_date}" if load_date else ""
        raise UserError(f"{table.relation}{which} is not published in {place}: land and run the load_date first.")
    publish = current[table.relation]
    if publish.rows and lost(connection, table, [day]):
        raise UserError(
            f"The rows of {table.relation} of {day} are gone from the database, which the ledger calls published: "
            f"`kpi run {pipeline.name} --load-date {day}` makes them again."
        )
    # As it was published: the file may have other columns by now.
    types = publish.types or table.types
    columns = [name for name in types if everything or name != LOW_VOLUME]
    order = [name for name in table.header.grain if name in types] or columns
    source = sql.SQL("from {} as t where {}").format(
        published_rows(connection, table, day), sql.SQL("true") if everything else for_readers(types)
    )
    texts = [f't."{column}"::{types[column]}::text' for column in columns]
    # As the server writes them: a date such as infinity has no other form here. A name alone in ORDER BY would be
    # that of the text, which has another order.
    query = sql.SQL("select {} {} order by {} limit {}").format(
        sql.SQL(", ").join(map(sql.SQL, map(sql_cut, texts) if cut else texts)),
        source,
        sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(column)) for column in order),
        sql.Literal(limit),
    )
    found = connection.execute(query).fetchall()
    shown = publish.rows
    if table.header.min_volume and not everything:
        [(shown,)] = connection.execute(sql.SQL("select count(*) {}").format(source)).fetchall()
    return Rows(day, columns, [types[column] for column in columns], found, shown, publish.rows)
