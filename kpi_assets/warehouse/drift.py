"""Finds the fields that no column takes in the rows of a build of a stream's raw table: the keys of `unexpected`.

Not here: recording them (ledger/drift.py).
"""

from dataclasses import replace
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.names import RECEIVED_AT, STREAM_PARTITION, STREAM_POSITION, UNEXPECTED
from kpi_assets.model.pii import MASKED
from kpi_assets.model.records import Drifted
from kpi_assets.warehouse.candidates import Candidate

MOST = 50  # fields and types of one build
NAME, SAMPLE = 200, 200  # letters
_FIELDS = """
with fields as (
    select
        left(e.key, {name}) as field, jsonb_typeof(e.value) as json_type, e.value,
        r.{received_at} as received_at, r.{partition} as partition, r.{position} as position
    from {candidate} as r cross join lateral jsonb_each(r.{unexpected}) as e
    where jsonb_typeof(r.{unexpected}) = 'object'
)
select
    field, json_type, count(*), min(received_at), max(received_at),
    left((array_agg(value order by partition, position))[1]::text, {sample})
from fields
group by field, json_type
order by count(*) desc, field, json_type
limit {most}
"""


def of_candidate(connection: Connection[Any], candidate: Candidate) -> list[Drifted]:
    """Return the fields and types in the rows of a candidate, those in most events first."""
    query = sql.SQL(_FIELDS).format(
        candidate=candidate.name,
        unexpected=sql.Identifier(UNEXPECTED),
        received_at=sql.Identifier(RECEIVED_AT),
        partition=sql.Identifier(STREAM_PARTITION),
        position=sql.Identifier(STREAM_POSITION),
        name=sql.Literal(NAME),
        sample=sql.Literal(SAMPLE),
        most=sql.Literal(MOST),
    )
    found = [Drifted(*row) for row in connection.execute(query).fetchall()]
    # A field that nobody has declared may be about the persons that other columns are about.
    return [replace(each, sample=MASKED) for each in found] if candidate.table.pii.personal else found
