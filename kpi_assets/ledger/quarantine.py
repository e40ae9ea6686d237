"""The quarantine, ops.quarantine: records that could not be read, each with its line and the reason."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.model.excerpt import RECORD, cut
from kpi_assets.model.records import BadRecord


def record(
    connection: Connection[Any],
    bad: Iterable[BadRecord],
    *,
    build_id: int,
    run_id: str,
    table: str,
    load_date: date,
) -> None:
    """Insert a row for each bad record, cut to an excerpt; the whole record is in the object on S3."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "copy ops.quarantine (build_id, run_id, table_name, load_date, object_key, line, byte_offset, record, "
            "column_name, value, reason) from stdin"
        ) as copy,
    ):
        for row in bad:
            text, value, reason = cut(row.record, RECORD), row.value and cut(row.value), cut(row.reason)
            place = row.object_key, row.line, row.byte_offset
            copy.write_row((build_id, run_id, table, load_date, *place, text, row.column, value, reason))
