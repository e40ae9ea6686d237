"""The checksum of a table's rows, which the ledger uses to compare publishes.

It must never change for the same rows. Otherwise every replay would look as if it had produced other rows.
"""

from collections.abc import Mapping

from kpi_assets.model.bitwise import is_plain
from kpi_assets.model.column_types import base_of
from kpi_assets.model.names import quoted

# The function that hashes values of a type with a seed, as Postgres' hash joins do; other types are hashed as text.
_HASHES = {
    "smallint": "hashint2extended",
    "integer": "hashint4extended",
    "bigint": "hashint8extended",
    "numeric": "hash_numeric_extended",
    "real": "hashfloat4extended",
    "double precision": "hashfloat8extended",
    "text": "hashtextextended",
    "uuid": "uuid_hash_extended",
    "jsonb": "jsonb_hash_extended",
    "timestamp without time zone": "timestamp_hash_extended",
}


def checksum_of(columns: Mapping[str, str], *, bitwise: bool = False) -> str:
    """Return the aggregate that sums a hash of each row, so that the order of the rows does not matter.

    The columns are cast to the given types first, because the table may have been widened since.
    Each column is hashed with a seed of its own, and the combined value of a row is hashed again. Otherwise two values
    could be swapped without changing the checksum. A NULL in any column makes the quick expression NULL; only then is
    the careful expression evaluated, which handles each column.
    With `bitwise`, values of which every bit counts for a history, such as 1.0 and 1.00, have different hashes.
    """
    hashes = []
    for seed, (name, type_) in enumerate(columns.items(), start=1):
        function = _HASHES.get(base_of(type_)) if is_plain(type_) or not bitwise else None
        value = f"{quoted(name)}::{type_}" + ("" if function else "::text")
        hashes.append((f"{function or 'hashtextextended'}({value}, {seed})", seed))
    quick = " # ".join(hashed for hashed, _ in hashes)
    careful = " # ".join(f"coalesce({hashed}, {seed})" for hashed, seed in hashes)
    return f"coalesce(sum(hashint8extended(coalesce({quick}, {careful}), 0)), 0)::text"
