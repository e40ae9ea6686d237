"""Why a load_date was published again with other rows, as a clause for readers and alerts.

Belongs here: the words for what differs. Not here: what differs, which the ledger says (ledger/causes.py), which
publishes readers are told of (read/points.py), and which alerts there are (restated.py).
"""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from kpi_assets.ledger.causes import Difference
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.titles import asset_title, day

Gap = Literal["removed", "dropped"] | None  # why readers saw nothing of a load_date between two publishes of it
_NAMED = 3  # reasons
_TEXTS = {
    "rollback": "{} was rolled back to what it was before",
    "object": "the source object of {} was replaced",
    "came": "the source object of {} came",
    "gone": "the source object of {} was taken away",
    "erased": "persons were erased from {}",
    "decision": "it was decided on rows of {} that were set aside",
    "own_sql": "its SQL was changed",
    "sql": "the SQL of {} was changed",
    "columns": "the columns of {} were declared otherwise",
    "history": "the history {} was corrected",
    "added": "{} was published later",
    "taken": "{} was taken out",
    "again": "{} was built again as a whole",
}
_OBJECTS = "the source objects of {} were replaced or added"


def reason(pipeline: Pipeline, load_date: date, differences: Sequence[Difference], gap: Gap = None) -> str:
    """Return why a load_date has other rows than before as a clause: the first causes, and how many more there are."""
    order = {str(relation): number for number, relation in enumerate(pipeline.tables)}
    found = [
        _text(pipeline, each).format(_of_day(asset_title(pipeline, each.asset), each.load_date, load_date))
        for each in sorted(
            differences,
            key=lambda each: (
                *(each.rank, each.load_date != load_date, order.get(each.asset, len(order))),
                *(each.asset, each.load_date),
            ),
        )
    ]
    found = list(dict.fromkeys(found))
    if gap == "removed":
        found.insert(0, "it was taken out and published again")
    elif gap == "dropped" and not found:
        found = ["its rows were dropped and built again"]
    if not found:
        return "it was built again with other rows"
    more = len(found) - _NAMED
    texts = found[:_NAMED] + ([f"{more} more cause{'s' * (more > 1)}"] if more > 0 else [])
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def _text(pipeline: Pipeline, difference: Difference) -> str:
    table = pipeline.tables.get(Relation.parse(difference.asset))
    has_several = table is not None and table.has_object and table.source.key.is_pattern
    return _OBJECTS if difference.difference == "object" and has_several else _TEXTS[difference.difference]


def _of_day(title: str, load_date: date, own: date) -> str:
    return title if load_date == own else f"{title} of {day(load_date)}"
