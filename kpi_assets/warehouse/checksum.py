"""The checksum of a table's rows, by which the ledger compares publishes.

It must never change for the same rows: with another one, every replay looks as if it had given other rows.
"""

from collections.abc import Mapping

from kpi_assets.model.names import quoted

# What hashes a type's values from a seed, as Postgres' own hash joins do; every other type is hashed as text.
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


def checksum_of(columns: Mapping[str, str]) -> str:
    """The aggregate that sums up the rows of a table in whatever order: a hash of each row's hashed columns.

    The columns are hashed as their types here, also where a table has made room for wider values since.
    Each column is hashed from a seed of its own, and each row once more, or values could change places unnoticed.
    A NULL makes the whole of the quick expression NULL: only then each column is looked at for it.
    """
    hashes = []
    for seed, (name, type_) in enumerate(columns.items(), start=1):
        function = _HASHES.get(type_.split("(")[0])
        value = f"{quoted(name)}::{type_}" + ("" if function else "::text")
        hashes.append((f"{function or 'hashtextextended'}({value}, {seed})", seed))
    quick = " # ".join(hashed for hashed, _ in hashes)
    careful = " # ".join(f"coalesce({hashed}, {seed})" for hashed, seed in hashes)
    return f"coalesce(sum(hashint8extended(coalesce({quick}, {careful}), 0)), 0)::text"
