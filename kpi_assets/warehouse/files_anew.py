"""Files of tables written anew, so that no bytes of deleted rows are left in them, nor in the WAL.

A plain `vacuum` does not wipe what it frees.
Belongs here: the statements, and what this user may not do. Not here: which tables (materialize/erase.py).
"""

from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import Relation
from kpi_assets.warehouse.ddl import identifier

_SEGMENT = "^[0-9A-F]{24}$"
# Returns the segment into which the WAL goes on: the message is its first record.
_GO_ON = "select pg_walfile_name(pg_logical_emit_message(false, 'kpi', 'a new segment'))"


def write_anew(connection: Connection[Any], relation: Relation, *, full: bool = True, analyze: bool = True) -> bool:
    """Write the files of a table anew, if there is one; return whether this user may do that.

    With `analyze`, the statistics of the planner come from the rows that are there now.
    """
    found = connection.execute(
        "select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass(%s)",
        [identifier(relation).as_string(connection)],
    ).fetchone()
    if found is None:
        return True
    if not found[0]:
        return False
    words = ", ".join(["full"] * full + ["analyze"] * analyze)
    connection.execute(sql.SQL(f"vacuum ({words}) {{}}").format(identifier(relation)))
    return True


def statistics_anew(connection: Connection[Any]) -> bool:
    """Write the statistics of the planner anew, which hold values of rows; return whether this user may do that."""
    return write_anew(connection, Relation("pg_catalog", "pg_statistic"), analyze=False)


def end_wal(connection: Connection[Any]) -> bool:
    """Have the server delete the WAL that was written so far; return whether no byte of it is left.

    It is left where the server recycles segments, which is the default: it renames them, and writes over them later. It
    is also left where a replica, a slot or a setting keeps it, and where this user may not ask.
    """
    try:
        [(recycles,)] = connection.execute("select current_setting('wal_recycle')::boolean").fetchall()
        first = _switch(connection)
        connection.execute("checkpoint")
        if not recycles:  # segments that were recycled before are written over
            for _ in range(_segments(connection, "count(*) filter (where name > %(first)s)", first)):
                _switch(connection)
        oldest = _segments(connection, "min(name)", first)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
        return False
    return not recycles and oldest is not None and oldest >= first


def _switch(connection: Connection[Any]) -> str:
    """Fill the segment of the WAL with zeros, and return the name of the next."""
    connection.execute("select pg_switch_wal()")
    [(name,)] = connection.execute(_GO_ON).fetchall()
    return str(name)


def _segments(connection: Connection[Any], what: str, first: str) -> Any:
    query = f"select {what} from pg_ls_waldir() where name ~ %(segment)s"  # noqa: S608
    [(found,)] = connection.execute(query, {"first": first, "segment": _SEGMENT}).fetchall()
    return found
