"""What each check found, as a clause for readers: `1 row of order products prior stands twice`.

A clause has counts and names of tables and columns, and no value of a row that failed. A check with a name of the
user's choice is called by this name.

Not here: the checks themselves (model/checks/), and their messages, which are for those who repair something.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from kpi_assets.model.checks.reconcile import Reconcile
from kpi_assets.model.names import AS_PUBLISHED, Relation, is_object
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.quality import CHECK as QUALITY
from kpi_assets.model.ruling import NOT_RULED_OUT
from kpi_assets.model.table import Table
from kpi_assets.model.titles import asset_title
from kpi_assets.read.kpi_state import FailedCheck


@dataclass(frozen=True)
class _Found:
    """A check that did not pass, and how its table is called."""

    check: FailedCheck
    title: str
    table: Table | None  # None if the pipeline has no such table any more

    @property
    def count(self) -> int | None:
        """What it counted; None if it measured no whole number."""
        metric = self.check.metric
        if metric is None or not metric.is_finite() or metric != metric.to_integral_value():
            return None
        return int(abs(metric))

    def some(self, one: str, several: str = "") -> str:
        """Return the count with its noun: `1 row`, `2,048 rows`, and `rows` if the count is not known."""
        many = several or f"{one}s"
        if self.count is None:
            return many
        return f"{self.count:,} {one if self.count == 1 else many}"

    def verb(self, one: str, many: str) -> str:
        """Return the form of a verb for the count."""
        return one if self.count == 1 else many


def found_by(pipeline: Pipeline, check: FailedCheck) -> str:
    """Return what a check found, as a clause for readers."""
    table = _table_of(pipeline, check.asset)
    found = _Found(check, asset_title(pipeline, check.asset), table)
    word, _, argument = check.name.partition("__")
    if check.errored:
        return f"the check {_words(check.name)} of {found.title} could not be made"
    if is_object(check.asset):
        return _OF_OBJECTS.get(check.name, "the object of {} did not pass").format(found.title)
    if _is_of_user(table, check.name):
        return _by_user(found)
    if argument and word in _OF_COLUMNS:
        return _OF_COLUMNS[word](found, argument)
    if check.name in _OF_TABLES:
        return _OF_TABLES[check.name](found)
    return _by_user(found)


def _table_of(pipeline: Pipeline, asset: str) -> Table | None:
    if is_object(asset):
        return next((table for table in pipeline.object_tables if table.object_name == asset), None)
    return pipeline.tables.get(Relation.parse(asset))


def _is_of_user(table: Table | None, name: str) -> bool:
    return table is not None and name in table.header.checks.custom


def _words(name: str) -> str:
    return name.replace("__", " of ").replace("_", " ")


def _by_user(found: _Found) -> str:
    """Return what a check of the user's own found: a query for bad rows, or a reconciliation."""
    name = _words(found.check.name)
    if found.check.bad is None or found.count is None:
        return f"{found.title} did not pass the check {name}"
    return f"{found.some('row')} of {found.title} {found.verb('does', 'do')} not pass the check {name}"


def _grain(found: _Found) -> str:
    """The metric counts keys, and `bad` their rows: a key with one row is empty, the others stand several times."""
    keys, rows = found.count, found.check.bad
    if keys is not None and rows == keys:
        return f"{found.some('row')} of {found.title} {found.verb('has', 'have')} no key"
    times = "twice" if keys is not None and rows == 2 * keys else "more than once"
    return f"{found.some('row')} of {found.title} {found.verb('stands', 'stand')} {times}"


def _min_rows(found: _Found) -> str:
    if not found.count:
        return f"no row of {found.title} came"
    return f"only {found.some('row')} of {found.title} came, fewer than are plausible"


def _rows_accounted(found: _Found) -> str:
    if found.count is None:
        return f"the object of {found.title} could not be read to its end"
    return f"{found.some('record')} of {found.title} {found.verb('is', 'are')} not accounted for"


def _quarantine(found: _Found) -> str:
    allowed = "more than are allowed"
    if found.table is not None and found.table.has_object:
        return f"{found.some('record')} of {found.title} cannot be read, {allowed}"
    return f"{found.some('row')} of {found.title} {found.verb('breaks', 'break')} a rule, {allowed}"


def _max_changed(found: _Found) -> str:
    share = write(found.check.metric, "percent1")
    return f"{share} of {found.title} changed since the load_date before, more than is plausible"


def _quality(found: _Found) -> str:
    score, least = (_plainly(number) for number in (found.check.metric, found.check.threshold))
    return f"the quality score of {found.title} is {score} of 100, below {least}"


def _plainly(number: Decimal | None) -> str:
    """Return a number without zeros at its end."""
    return write(number, "decimal1").removesuffix(".0")


def _reconcile(found: _Found) -> str:
    checks = found.table.checks if found.table else ()
    source = next((check.source.table for check in checks if isinstance(check, Reconcile)), "its source")
    return f"{found.title} does not agree with {_words(source)}"


def _have_in(found: _Found, column: str) -> str:
    return f"{found.some('row')} of {found.title} {found.verb('has', 'have')} a value in {_words(column)}"


def _kept_out(found: _Found) -> str:
    by, reason = found.check.decided or ("a person", "")
    return f"{by} keeps {found.title} out as it was built{reason and f': {reason}'}"


_OF_TABLES: Mapping[str, Callable[[_Found], str]] = {
    "grain": _grain,
    "min_rows": _min_rows,
    "not_null": lambda found: (
        f"{found.some('row')} of {found.title} {found.verb('lacks', 'lack')} a value that must be there"
    ),
    "reconcile": _reconcile,
    "rows_accounted": _rows_accounted,
    "quarantine": _quarantine,
    "not_seen_before": lambda found: f"the object of {found.title} was delivered before",
    "fields_there": lambda found: f"{found.some('field')} of {found.title} {found.verb('is', 'are')} in no record",
    "fields_known": lambda found: (
        f"{found.title} came with {found.some('field')} that {found.verb('is', 'are')} not known"
    ),
    "max_changed": _max_changed,
    QUALITY: _quality,
    NOT_RULED_OUT: _kept_out,
    AS_PUBLISHED: lambda found: f"the rows of {found.title} are not those that were published",
}
_OF_COLUMNS: Mapping[str, Callable[[_Found, str], str]] = {
    "accepted_values": lambda found, column: f"{_have_in(found, column)} that is not accepted",
    "range": lambda found, column: f"{_have_in(found, column)} that is out of range",
    "unique": lambda found, name: (
        f"{found.some('value')} of {_words(name)} {found.verb('stands', 'stand')} in several rows of {found.title}"
    ),
    "foreign_key": lambda found, column: f"{_have_in(found, column)} that refers to nothing",
}
_OF_OBJECTS = {
    "exists": "the object of {} is not there",
    "objects": "the objects of {} are not those that are expected",
    "not_empty": "the object of {} is empty",
    "header": "the object of {} does not begin as it should",
    "ends_with_line_end": "the object of {} may be cut off",
}
