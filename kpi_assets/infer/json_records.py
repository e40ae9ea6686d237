"""The records of JSON samples as rows of fields, and the list within documents that has them.

A number, true and false are values without quotes, and null is an empty one; a list or an object keeps its letters.
Not here: the types of columns (values.py), and finding the records of an object (sources/formats/json).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from kpi_assets.errors import UsageError
from kpi_assets.infer.dialect import Field
from kpi_assets.infer.numbers import Notation
from kpi_assets.infer.sample import Sample
from kpi_assets.infer.values import Column, Reading, read_column
from kpi_assets.model.column_types import NUMBERS, base_of
from kpi_assets.sources.formats.base import UnreadableError
from kpi_assets.sources.formats.json.reader import BYTE_ORDER_MARK, JsonReader, JsonRecord
from kpi_assets.sources.formats.json.value import Number, spans
from kpi_assets.sources.signatures import identify

NULL = Field("")
_NESTED = ("{", "[")
_LONG = 20  # items of a list that is not one of a record


class Records(NamedTuple):
    """The records of one sample: the names of their fields in the order in which they came, and their rows."""

    names: Sequence[str]
    rows: Sequence[tuple[Field, ...]]
    notes: Sequence[str] = ()


def is_json(sample: Sample) -> bool:
    """Return whether a sample is JSON."""
    found = identify(sample.start.removeprefix(BYTE_ORDER_MARK.encode()))
    return found is not None and found[0] == "JSON"


def list_within(sample: Sample) -> str:
    """Return the field of the list of records, if the documents of a sample are objects around one; else empty."""
    if sample.start.removeprefix(BYTE_ORDER_MARK.encode()).lstrip().startswith(b"["):
        return ""
    documents = [record.fields or {} for record in _read(sample, "")]
    lists = [{name: len(value) for name, value in each.items() if _is_list_of_objects(value)} for each in documents]
    names = {name for each in lists for name in each}
    if len(names) != 1:
        return ""
    [name] = names
    # A record may have a list of its own, which is short, and there are many records.
    items = sum(each.get(name, 0) for each in lists)
    return name if len(documents) == 1 or items >= _LONG * len(documents) else ""


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def records_of(sample: Sample, within: str) -> Records:
    """Return the records of a sample. Raises UsageError if it has none."""
    found = _read(sample, within)
    good = [record for record in found if record.fields is not None]
    if not good:
        raise UsageError(f"{sample.path} has no record that can be read: name a CSV, JSON or Parquet file.")
    names = list(dict.fromkeys(name for record in good for name in record.fields or {}))
    rows = [_row(record, names) for record in good]
    bad = next((record for record in found if record.fields is None), None)
    count = len(found) - len(good)
    notes = []
    if bad is not None:
        what = f"{count} record{'s' * (count > 1)} of {sample.path.name}"
        notes.append(f"{what} cannot be read, the first is record {bad.number}: {bad.problem}")
    return Records(names, rows, notes)


def _read(sample: Sample, within: str) -> list[JsonRecord]:
    """Return the records of the start of a sample; its last one may have been cut off, and is left out then."""
    found: list[JsonRecord] = []
    try:
        found.extend(JsonReader([sample.start], within or None, Number))
    except UnreadableError:
        if sample.is_whole and not found:
            raise UsageError(
                f"{sample.path} has no record that can be read: name a CSV, JSON or Parquet file."
            ) from None
    if not sample.is_whole and found and found[-1].fields is None:
        del found[-1]
    return found


def _row(record: JsonRecord, names: Sequence[str]) -> tuple[Field, ...]:
    fields = record.fields or {}
    letters: Mapping[str, str] = {}
    if any(isinstance(value, (dict, list)) for value in fields.values()):
        letters = {name: record.text[start:end] for name, start, end in spans(record.text)}
    return tuple(_field(fields.get(name), letters.get(name, "")) for name in names)


def _field(value: Any, letters: str) -> Field:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return Field("true" if value else "false")
    if isinstance(value, str):
        return Field(str(value), is_quoted=not isinstance(value, Number))
    return Field(letters)


def read_json_column(name: str, counts: Counter[Field]) -> Column:
    """Find the type of a column by its values, and by what JSON says of them."""
    known = [value for value in counts if value != NULL]
    if any(not value.is_quoted and value.text.startswith(_NESTED) for value in known):
        return Column(name, counts, (Reading("jsonb"),), (), ("a list or an object in the file",))
    found = read_column(name, counts)
    if known and all(value.is_quoted for value in known) and base_of(found.reading.type) in NUMBERS:
        return replace(found, readings=(Reading("text"),), notes=("its numbers are texts in the file",))
    if len(found.readings) > 1 and not any(value.is_quoted for value in known):
        # A number of JSON has a decimal point, and nothing groups its digits.
        return replace(found, readings=tuple(each for each in found.readings if each.notation == Notation()))
    return found
