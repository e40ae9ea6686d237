"""The columns of a Parquet file, by its own schema."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kpi_assets.errors import UsageError


def columns_of(path: Path) -> list[tuple[str, str, str]]:
    """Return (name, type, note) of each column. Raises UsageError if the library is missing or cannot read it."""
    try:
        # Imported when it is needed: it takes 90 MB of memory, and CSV does not need it.
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UsageError(
            f"{path} is Parquet, and the package pyarrow is not installed: install kpi_assets with its extra, as in "
            "pip install 'kpi_assets[parquet]'."
        ) from None
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n", 1)[0].rstrip(".")
        raise UsageError(f"{path} cannot be read as Parquet ({reason}): fetch it again.") from None
    return [(field.name, *_type_of(pa.types, field.type)) for field in schema]


def _type_of(types: Any, type_: Any) -> tuple[str, str]:
    simple: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (types.is_boolean, "boolean"),
        (types.is_uint64, "numeric"),
        (
            types.is_integer,
            "bigint" if not types.is_boolean(type_) and getattr(type_, "bit_width", 64) > 32 else "integer",
        ),
        (types.is_floating, "double precision"),
        (types.is_date, "date"),
        (types.is_time, "time without time zone"),
        (types.is_string, "text"),
        (types.is_large_string, "text"),
    )
    for is_type, name in simple:
        if is_type(type_):
            return name, ""
    if types.is_decimal(type_):
        return f"numeric({max(type_.precision, type_.scale, 1)},{max(type_.scale, 0)})", ""
    if types.is_timestamp(type_):
        note = "its nanoseconds must be whole microseconds" if type_.unit == "ns" else ""
        return f"timestamp {'with' if type_.tz else 'without'} time zone", note
    if types.is_dictionary(type_):
        return _type_of(types, type_.value_type)
    if types.is_list(type_) or types.is_large_list(type_):
        inner, note = _type_of(types, type_.value_type)
        return f"{inner}[]", note
    return "text", f"is {type_} in the file"
