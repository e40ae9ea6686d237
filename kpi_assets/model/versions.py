"""The versions of a table: what the ledger compares to tell what is stale, and what was held for reasons of before.

- `code_version`: the same input gives another table when it changes. The SELECT without its comments, and every field
  of the header that affects rows.
- `checks_version`: the same rows may be judged otherwise when it changes. Every field that affects checks, what checks
  add to it themselves (minimums of pipeline.yaml and of the environment), and which rows of a window they read.
- `object_version`: the same S3 object may be judged otherwise when it changes. Every field that affects the object.

Which field affects what stands beside the field (affects.py); here it becomes text and is hashed. A field contributes
`path value`, and only where its value is not its default: so a version of a file does not move when a word is added
that the file does not hold. The fields of the first release contribute as they did then, some also at their default;
`_FIRST_ROWS`, `_FIRST_CHECKS` and `_FIRST_OBJECT` list them. These lists are never extended: another text moves the
versions in every ledger, and all that is published looks stale.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from kpi_assets.model.affects import Affects, affected_by
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.custom import CustomCheck
from kpi_assets.model.checks.reconcile import ReconcileSpec
from kpi_assets.model.checks.row_counts import MinRowsSpec
from kpi_assets.model.header import Checks, Column, Header, Lookback, MinVolume, Source
from kpi_assets.model.query import Query, digest

_First = Mapping[type[BaseModel], Collection[str]]

_FIRST_ROWS: _First = {
    Header: ("columns", "source", "lookback", "min_volume"),
    Column: ("type",),
    Source: ("object", "format"),
    Lookback: ("days", "rows"),  # `rows` is in the SELECT's fingerprint
    MinVolume: ("column", "at_least"),
}
_FIRST_CHECKS: _First = {
    Header: ("grain", "checks", "source", "lookback"),
    Checks: (
        *("min_rows", "not_null", "accepted_values", "range", "unique", "foreign_key", "reconcile"),
        "custom",
    ),
    MinRowsSpec: ("at_least", "of_previous", "of_usual"),
    ReconcileSpec: ("source", "sum", "here", "counted", "dropped"),
    CustomCheck: ("bad_rows", "reconcile", "severity", "description"),
    Source: ("object", "format", "quarantine_budget", "ends_with_line_end", "same_bytes"),
    Lookback: ("rows",),  # in the versions of the checks' windows
}
_FIRST_OBJECT: _First = {
    Header: ("columns", "source"),
    Source: ("object", "format", "ends_with_line_end"),
}


def code_version(header: Header, query: Query | None) -> str:
    """Of a table with this header and SELECT; 16 hex digits, like the others."""
    source, lookback, volume = header.source, header.lookback, header.min_volume
    return digest(
        query.fingerprint if query else f"{source.object} {source.format}" if source else "",
        ",".join(f"{name} {column.type}" for name, column in header.columns.items()),
        *([f"lookback {lookback.days}"] if lookback else []),
        *([f"{volume.column} {volume.at_least}"] if volume else []),
        *_later(header, Affects.ROWS, _FIRST_ROWS),
    )


def checks_version(header: Header, checks: Collection[TableCheck]) -> str:
    """Of a table with this header, which was expanded into these checks."""
    windows = {part for check in checks for query in check.queries for part in query.window_versions}
    judged = {name: _first_value(getattr(header, name)) for name in ("grain", "checks", "source")}
    return digest(
        to_json(judged, **_JSON).decode(),
        *(check.version for check in checks if check.version),
        *sorted(windows),
        *_later(header, Affects.CHECKS, _FIRST_CHECKS),
    )


def object_version(header: Header) -> str:
    """Of the object of a raw table with this header."""
    source = header.source
    assert source is not None
    strictness = [] if source.ends_with_line_end == "warn" else [f"ends_with_line_end {source.ends_with_line_end}"]
    later = _later(header, Affects.OBJECT, _FIRST_OBJECT)
    return digest(source.object, source.format, *header.columns, *strictness, *later)


_JSON: Mapping[str, Any] = {"inf_nan_mode": "strings"}  # infinity is a value, which must not look like null


def _first_value(value: Any) -> Any:
    """A value of the header as JSON may hold it, with the fields of the first release alone."""
    if isinstance(value, BaseModel):
        return {name: _first_value(getattr(value, name)) for name in _FIRST_CHECKS[type(value)]}
    if isinstance(value, dict):
        return {name: _first_value(each) for name, each in value.items()}
    return value


def _later(value: Any, what: Affects, first: _First, path: str = "") -> Iterator[str]:
    """`path value` of each field below `value` that affects `what`, came after the first release, and has been set."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _later(each, what, first, f"{path}.{name}")
    elif isinstance(value, BaseModel):
        for name, each, is_default in _affecting(value, what):
            place = f"{path}.{name}".removeprefix(".")
            if name in first.get(type(value), ()):
                yield from _later(each, what, first, place)
            elif not is_default:
                yield f"{place} {to_json(_affecting_value(each, what), **_JSON).decode()}"


def _affecting(model: BaseModel, what: Affects) -> Iterator[tuple[str, Any, bool]]:
    """(name, value, whether that is its default) of each field of a model that affects `what`."""
    for name, field in type(model).model_fields.items():
        if what & (affected_by(field) or Affects.NOTHING):
            value = getattr(model, name)
            yield name, value, value == field.get_default(call_default_factory=True)


def _affecting_value(value: Any, what: Affects) -> Any:
    """A value as JSON may hold it, with those fields alone that affect `what`, and of these the ones that were set."""
    if isinstance(value, BaseModel):
        return {
            name: _affecting_value(each, what) for name, each, is_default in _affecting(value, what) if not is_default
        }
    if isinstance(value, dict):
        return {name: _affecting_value(each, what) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_affecting_value(each, what) for each in value]
    return value
