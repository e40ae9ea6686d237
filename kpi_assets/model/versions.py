"""The versions of a table: they show that a published load_date is stale, or that the reason of a hold is outdated.

- `code_version` changes when the same input would give another table. It contains the SELECT without its comments, and
  every field of the header that affects rows.
- `checks_version` changes when the same rows may be judged in another way. It contains every field that affects checks,
  what checks add themselves (minimums of pipeline.yaml and of the environment), and which rows of a window they read.
- `object_version` changes when the same S3 object may be judged in another way. It contains every field that affects
  the object.

Each field declares what it affects (affects.py); this module makes a text of the fields and hashes it. A field adds
`path value`, and only if its value is not its default: so a new word does not change the version of a file that does
not contain the word. The fields of the first release add what they added then, some of them also at their default;
`_FIRST_ROWS`, `_FIRST_CHECKS` and `_FIRST_OBJECT` list them. Never extend these lists: another text gives other
versions than those in every ledger, and everything published looks stale.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from kpi_assets.model.affects import Affects, affected_by
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.custom import CustomCheck
from kpi_assets.model.checks.declared import Checks
from kpi_assets.model.checks.options import WordOptions
from kpi_assets.model.checks.reconcile import ReconcileSpec
from kpi_assets.model.checks.row_counts import MinRowsSpec
from kpi_assets.model.column import Column
from kpi_assets.model.header import Header, Lookback
from kpi_assets.model.kpi import MinVolume
from kpi_assets.model.query import Query, digest
from kpi_assets.model.source import Source

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
# Words whose fields affect different versions: each field adds a text of its own, so none moves another's version.
_FIELD_BY_FIELD: _First = {Header: ("quarantine", "kpi")}
_BUDGET = "quarantine_budget"  # the word of the first release that is `rows` of `quarantine` of a raw table now
_FIRST_OBJECT: _First = {
    Header: ("columns", "source"),
    Source: ("object", "format", "ends_with_line_end"),
}


def code_version(header: Header, query: Query | None, rules: Collection[TableCheck] = (), engine: str = "") -> str:
    """Return the code_version of a table with this header and SELECT: 16 hex digits, like the other versions.

    `rules` are those of the header, which set rows aside; `engine` is the version of what an engine executes instead.
    """
    source, lookback, volume = header.source, header.lookback, header.min_volume
    return digest(
        query.fingerprint if query else f"{source.object} {source.format}" if source else "",
        ",".join(f"{name} {column.type}" for name, column in header.columns.items()),
        *([f"lookback {lookback.days}"] if lookback else []),
        *([f"{volume.column} {volume.at_least}"] if volume else []),
        *_later(header, Affects.ROWS, _FIRST_ROWS),
        *_reads(rules),
        *([f"engine {engine}"] if engine else []),
    )


def checks_version(header: Header, checks: Collection[TableCheck]) -> str:
    """Return the checks_version of a table with this header, which was expanded into these checks."""
    judged = {name: _first_value(getattr(header, name)) for name in ("grain", "checks", "source")}
    later = [*_later(header, Affects.CHECKS, _FIRST_CHECKS)]
    if header.source and header.quarantine and header.quarantine.rows:
        judged["source"][_BUDGET] = header.quarantine.rows
        later.remove(f"quarantine.rows {header.quarantine.rows}")
    return digest(
        to_json(judged, **_JSON).decode(),
        *(check.version for check in checks if check.version),
        *_reads(checks),
        *later,
    )


def object_version(header: Header) -> str:
    """Return the object_version of a raw table with this header."""
    source = header.source
    assert source is not None
    strictness = [] if source.ends_with_line_end == "warn" else [f"ends_with_line_end {source.ends_with_line_end}"]
    later = _later(header, Affects.OBJECT, _FIRST_OBJECT)
    return digest(source.object, source.format, *header.columns, *strictness, *later)


def _reads(checks: Collection[TableCheck]) -> list[str]:
    """Return which rows of a window, or of a history, the queries of checks or rules read, sorted."""
    return sorted({part for check in checks for query in check.queries for part in query.read_versions})


NO_OPTIONS = "no options"  # in place of options that affect nothing
_JSON: Mapping[str, Any] = {"inf_nan_mode": "strings"}  # infinity must not look like null


def _first_value(value: Any) -> Any:
    """Return a value of the header for JSON, with only the fields of the first release."""
    if isinstance(value, BaseModel):
        names = _FIRST_CHECKS[type(value)]
        return {name: _first_value(getattr(value, name, 0 if name == _BUDGET else None)) for name in names}
    if isinstance(value, dict):
        return {name: _first_value(each) for name, each in value.items()}
    return value


def _later(value: Any, what: Affects, first: _First, path: str = "") -> Iterator[str]:
    """Yield `path value` for each field below `value` that affects `what`, came after the first release, and is set."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _later(each, what, first, f"{path}.{name}")
    elif isinstance(value, BaseModel):
        for name, each, is_default in _affecting(value, what):
            place = f"{path}.{name}".removeprefix(".")
            if name in first.get(type(value), ()) or name in _FIELD_BY_FIELD.get(type(value), ()):
                yield from _later(each, what, first, place)
            elif not is_default and (said := _affecting_value(each, what)) != NO_OPTIONS:
                yield f"{place} {to_json(said, **_JSON).decode()}"


def _affecting(model: BaseModel, what: Affects) -> Iterator[tuple[str, Any, bool]]:
    """Yield (name, value, whether it is the default) for each field of a model that affects `what`."""
    for name, field in type(model).model_fields.items():
        if what & (affected_by(field) or Affects.NOTHING):
            value = getattr(model, name)
            yield name, value, value == field.get_default(call_default_factory=True)


def _affecting_value(value: Any, what: Affects) -> Any:
    """Return a value for JSON, with only the fields that affect `what` and are set."""
    if isinstance(value, BaseModel):
        return {
            name: _affecting_value(each, what) for name, each, is_default in _affecting(value, what) if not is_default
        }
    if isinstance(value, dict):
        found = {name: _affecting_value(each, what) for name, each in value.items()}
        if value and all(isinstance(each, WordOptions) for each in value.values()):  # of words, some affect nothing
            return {name: each for name, each in found.items() if each} or NO_OPTIONS
        return found
    if isinstance(value, (list, tuple)):
        return [_affecting_value(each, what) for each in value]
    return value
