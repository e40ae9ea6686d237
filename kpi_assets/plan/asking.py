"""What a build of a load_date would ask APIs for, and from when, as far as the plan says so.

Belongs here: the facts and sentences about objects that APIs give. Not here: the state that follows from them
(classify.py), and when an API is asked (model/asking.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

from kpi_assets.ledger.recorded import ObjectState
from kpi_assets.model.asking import day_to_ask, minute, next_asking, why_not_asked
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.sources.deliveries import Delivery


@dataclass(frozen=True)
class Asking:
    """The raw tables of one load_date, what landed and what was read of them, all by the name of the raw table."""

    pipeline: Pipeline
    load_date: date
    now: datetime
    sources: Mapping[str, Table]  # those that are due
    landed: Mapping[str, Delivery]
    read: Mapping[str, ObjectState]  # what was published from it

    @cached_property
    def keys(self) -> dict[str, str]:
        """The key of each object that a build would ask an API for, by the name of the raw table.

        What has landed or was read is not asked for again: the store may have let it expire.
        """
        found = {}
        for name, table in self.sources.items():
            known = {each[name].key for each in (self.landed, self.read) if name in each}
            if day := day_to_ask(self.pipeline, table, self.load_date, self.now, known):
                found[name] = table.object_key(day)
        return found

    @property
    def begins(self) -> bool:
        """Whether an object of the load_date itself can be had."""
        return any(key == self.sources[name].object_key(self.load_date) for name, key in self.keys.items())

    def made_of(self, name: str, state: ObjectState) -> str:
        """Describe an object that is there or asked for, in the same words before an API gave it and once it was read.

        Otherwise a run that gets the objects of some APIs, and not of the one that is down, would change what it was
        made of, and the next one would start without a pause.
        """
        is_settled = name in self.keys or self.read.get(name) == state
        return f"asked for {state.key}" if self.sources[name].source.api and is_settled else str(state)

    def is_awaited(self, table: Table) -> bool:
        """Whether an object that lacks should have landed by now."""
        is_due = table.delivery_calendar.is_due(self.load_date)
        return is_due and next_asking(self.pipeline, table, self.load_date, self.now) is None

    def begins_at(self, lacking: Sequence[Table]) -> datetime | None:
        """Return when APIs are asked for objects that lack and cannot be had yet; None if that is true of none."""
        times = (next_asking(self.pipeline, table, self.load_date, self.now) for table in lacking)
        return min((each for each in times if each), default=None)

    def why_lacking(self, table: Table) -> str:
        """Return why an object lacks that an API gives."""
        why = why_not_asked(self.pipeline, table, self.load_date, self.now)
        return why or "it was read before, and is gone"

    def when(self, lacking: Sequence[Table]) -> str:
        """Return when the APIs of a load_date of which nothing is there are asked, as the end of a sentence."""
        asked = [table for table in lacking if table.source.api]
        if not asked:
            return ""
        begins_at = self.begins_at(asked)
        if begins_at is None:
            return f"; {self.why_lacking(asked[0])}"
        whose = "their APIs are" if len(asked) > 1 else "its API is"
        if len(asked) < len(lacking):
            names = ", ".join(str(table.relation) for table in asked)
            whose = f"the APIs of {names} are" if len(asked) > 1 else f"the API of {names} is"
        return f"; {whose} asked from {minute(begins_at)}"
