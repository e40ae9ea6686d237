"""Checks of the fields of an object whose records may differ in them, as those of JSON may.

Not here: a format that names its fields once, before its records: then the object is held before it is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from kpi_assets.model.checks.base import AuditFacts, Measured
from kpi_assets.model.checks.source_object import SourceObjectCheck
from kpi_assets.model.excerpt import cut
from kpi_assets.model.results import SAMPLES, CheckResult

_NAMED = 5  # fields that a message names


class DueField(NamedTuple):
    """A field that fills a column from a day on."""

    column: str
    name: str
    since: date | None
    optional: bool

    def is_due(self, load_date: date) -> bool:
        """Whether a file of this load_date has it."""
        return self.since is None or self.since <= load_date


@dataclass(frozen=True)
class FieldsThere(SourceObjectCheck):
    """Each field of a column is in at least one record; the metric is the number of those that are in none."""

    fields: tuple[DueField, ...] = ()

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Fail if a field that is not optional is in no record; there must be a record."""
        counts = facts.field_counts or {}
        missing = [
            each
            for each in self.fields
            if _has_records(facts) and each.is_due(facts.load_date) and not each.optional and each.name not in counts
        ]
        return self.judged(passed=not missing, metric=len(missing), message=self._message(missing, counts))

    def _message(self, missing: list[DueField], counts: Mapping[str, int]) -> str:
        if not missing:
            return ""
        known = {each.name for each in self.fields}
        plain = {_plainly(name): name for name in counts if name not in known}
        renamed = [(each, plain[_plainly(each.name)]) for each in missing if _plainly(each.name) in plain]
        fields = f"the field{'s' * (len(missing) > 1)} {_listed([repr(each.name) for each in missing])}"
        if renamed:
            field, found = renamed[0]
            return f"no record has {fields}, but {found!r}: write field: {found} at the column {field.column!r}"
        return f"no record has {fields}: correct the file, or write optional: true at a column that it may lack"


@dataclass(frozen=True)
class FieldsKnown(SourceObjectCheck):
    """Each field of a record is a column; the metric is the number of fields that are none."""

    fields: tuple[DueField, ...] = ()

    @property
    def version(self) -> str:
        """Whether it holds: the word `extra` does not say so where it is left out."""
        return f"fields_known {self.blocking}"

    def result(self, measured: Measured, facts: AuditFacts) -> CheckResult:  # noqa: ARG002
        """Fail if there are such fields; the message names them, each with the number of its records."""
        known = {each.name for each in self.fields if each.is_due(facts.load_date)}
        unknown = {name: count for name, count in (facts.field_counts or {}).items() if name not in known}
        message = _listed([f"{_visibly(name)} in {count} record{'s' * (count > 1)}" for name, count in unknown.items()])
        if early := next((each for each in self.fields if each.name in unknown), None):
            message += f": {early.name!r} should come from {early.since} on: correct since"
        elif unknown and self.blocking:
            message += ": declare a column, or write extra: ignore, or extra: keep"
        samples = [{"field": name, "records": count} for name, count in unknown.items()]
        return self.judged(passed=not unknown, metric=len(unknown), message=message, samples=samples[:SAMPLES])


def _has_records(facts: AuditFacts) -> bool:
    """Whether a record could be read, of which the fields were counted."""
    if facts.field_counts is None:
        return False
    return bool(facts.field_counts) or (facts.records or 0) > facts.quarantined


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + more


def _visibly(name: str) -> str:
    """Return a name for a sentence, in quotes where its blanks could not be seen."""
    return cut(name) if name and name == name.strip() else repr(cut(name))


def _plainly(name: str) -> str:
    """Normalize a name so that `Order ID`, `orderId` and `order_id` are equal."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())
