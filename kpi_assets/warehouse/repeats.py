"""Leaves the rows out of a candidate whose key came before: in the candidate itself, or in published load_dates.

A batch of 50,000 rows may meet a load_date of 72 million. So each row of the batch is looked up in the index of the
key, however the planner would join the two. A candidate with a whole load_date is joined as the planner likes.

Belongs here: finding the repeats. Not here: which load_dates they are looked for in (materialize/transform.py).
"""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import STREAM_PARTITION, STREAM_POSITION
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.kinds.partitions import partitions_of

# Postgres does not know how many rows a partition has got since its statistics: it would read all of them for a join.
_BY_INDEX = {"enable_hashjoin": "off", "enable_mergejoin": "off", "enable_nestloop": "on", "enable_seqscan": "off"}
_AS_PLANNED = {"enable_hashjoin": "on", "enable_mergejoin": "on", "enable_nestloop": "on", "enable_seqscan": "on"}


def leave_out(connection: Connection[Any], candidate: Candidate, load_dates: Collection[date]) -> int:
    """Delete the rows of a candidate whose key came before, and return how many there were.

    Of several rows of the candidate the one that stands first in the stream stays. `load_dates` are those of whose
    published rows none may come again.
    """
    repeated = _in_itself(connection, candidate)
    relation = candidate.table.relation
    if not types_of(connection, relation):
        return repeated  # nothing of the table was ever published
    partitions = [each for day in load_dates for each in partitions_of(connection, relation, day)]
    if not partitions:
        return repeated
    keys = sql.SQL(", ").join(map(sql.Identifier, candidate.table.header.grain))
    connection.execute(sql.SQL("analyze {} ({})").format(candidate.name, keys))
    with connection.transaction():
        before = _settings(connection, list(_BY_INDEX))
        _set(connection, _BY_INDEX if candidate.is_added else _AS_PLANNED)
        for partition in partitions:
            same = sql.SQL(" and ").join(
                sql.SQL("p.{0} = c.{0}").format(sql.Identifier(name)) for name in candidate.table.header.grain
            )
            repeated += connection.execute(
                sql.SQL("delete from {} as c using {} as p where {}").format(
                    candidate.name, identifier(partition), same
                )
            ).rowcount
        _set(connection, before)
    return repeated


def _in_itself(connection: Connection[Any], candidate: Candidate) -> int:
    """Delete all rows of a key but the first one. Rows with a NULL in the key stay, for the audit to find."""
    keys = sql.SQL(", ").join(map(sql.Identifier, candidate.table.header.grain))
    return connection.execute(
        sql.SQL(
            "delete from {candidate} where ctid = any (array("
            "select place from (select ctid as place, row_number() over ("
            "partition by {keys} order by {partition}, {position}) as number from {candidate} where ({keys}) in ("
            "select {keys} from {candidate} group by {keys} having count(*) > 1)) as repeated where number > 1))"
        ).format(
            candidate=candidate.name,
            keys=keys,
            partition=sql.Identifier(STREAM_PARTITION),
            position=sql.Identifier(STREAM_POSITION),
        )
    ).rowcount


def _settings(connection: Connection[Any], names: Sequence[str]) -> dict[str, str]:
    called = sql.SQL(", ").join(sql.SQL("current_setting({})").format(sql.Literal(name)) for name in names)
    [values] = connection.execute(sql.SQL("select {}").format(called)).fetchall()
    return dict(zip(names, values, strict=True))


def _set(connection: Connection[Any], settings: dict[str, str]) -> None:
    called = sql.SQL(", ").join(
        sql.SQL("set_config({}, {}, true)").format(sql.Literal(name), sql.Literal(value))
        for name, value in settings.items()
    )
    connection.execute(sql.SQL("select {}").format(called))
