"""Rows in COPY's binary format, for tables whose columns all have a fixed size: Postgres then parses no text.

The format is that of PostgreSQL's documentation of COPY: a signature; for each row the number of its fields, and for
each field its length and its bytes, in network order; NULL is the length -1; a trailer.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

OPTIONS = "format binary"
START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"
_EPOCH = 10_957  # Postgres' first day, 2000-01-01, in days since 1970
# By the type of Postgres: the values that it gets in Arrow, the numbers that these are, and Postgres' zero among them.
_FIXED: dict[str, tuple[pa.DataType, str, int]] = {
    "smallint": (pa.int16(), ">i2", 0),
    "integer": (pa.int32(), ">i4", 0),
    "bigint": (pa.int64(), ">i8", 0),
    "real": (pa.float32(), ">f4", 0),
    "double precision": (pa.float64(), ">f8", 0),
    "boolean": (pa.uint8(), "u1", 0),
    "date": (pa.int32(), ">i4", _EPOCH),
    "timestamp without time zone": (pa.int64(), ">i8", _EPOCH * 86_400_000_000),
    "timestamp with time zone": (pa.int64(), ">i8", _EPOCH * 86_400_000_000),
}


def is_fixed(types: Sequence[str]) -> bool:
    """Return whether columns of these types of Postgres can be written."""
    return all(type_ in _FIXED for type_ in types)


def rows(columns: Sequence[pa.Array], types: Sequence[str]) -> bytes:
    """Return the rows of columns that were prepared for these types. Raises pa.ArrowInvalid if a value does not fit."""
    fields = [("count", ">i2")]
    for number, type_ in enumerate(types):
        fields += [(f"length{number}", ">i4"), (f"value{number}", _FIXED[type_][1])]
    table = np.empty(len(columns[0]), np.dtype(fields))
    table["count"] = len(columns)
    nulls: list[tuple[int, np.ndarray[tuple[int], np.dtype[np.bool_]]]] = []
    for number, (values, type_) in enumerate(zip(columns, types, strict=True)):
        arrow, numpy, zero = _FIXED[type_]
        numbers = values.cast(arrow)
        table[f"length{number}"] = np.dtype(numpy).itemsize
        if numbers.null_count:
            nulls.append((number, pc.is_null(numbers).to_numpy(zero_copy_only=False)))
            numbers = numbers.fill_null(zero)
        found = numbers.to_numpy(zero_copy_only=False)
        table[f"value{number}"] = found - zero if zero else found
    return _without(table, nulls) if nulls else table.tobytes()


def _without(
    table: "np.ndarray[tuple[int], np.dtype[np.void]]",
    nulls: "Sequence[tuple[int, np.ndarray[tuple[int], np.dtype[np.bool_]]]]",
) -> bytes:
    """Return the rows without the bytes of NULLs."""
    kept = np.ones((len(table), table.dtype.itemsize), np.bool_)
    assert table.dtype.fields is not None
    for number, is_null in nulls:
        table[f"length{number}"][is_null] = -1
        type_, offset = table.dtype.fields[f"value{number}"][:2]
        kept[is_null, offset : offset + type_.itemsize] = False
    found: bytes = table.view(np.uint8).reshape(kept.shape)[kept].tobytes()
    return found
