"""A table that carries on, for TwoSourcePipeline: every thing that was ever labelled, and how often."""

from datetime import date, timedelta
from typing import Any

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.drop import drop_table
from kpi_assets.model.names import Relation
from kpi_assets_tests.lookback import labels
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.two_source_pipeline import RAW_LABELS, TwoSourcePipeline

SEEN = """\
/* @asset
description: Every thing that was ever labelled.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  first_on: {type: date, description: The first load_date on which it was labelled.}
  times: {type: bigint, description: On how many load_dates it was labelled.}
checks:
  min_rows: {of_previous: 1.0}
@end */
select
    thing_id,
    min(first_on) as first_on,
    sum(times)::bigint as times
from (
    select thing_id, first_on, times
    from marts.seen
    where load_date = %(previous_load_date)s
    union all
    select thing_id, %(load_date)s::date, 1
    from raw.labels
    where load_date = %(load_date)s
) as seen
group by thing_id
"""
FILE = "marts/seen.sql"
OF_SEEN = "select load_date, rows, checksum from ops.published where asset = 'marts.seen' order by 1"


class CarryingPipeline(TwoSourcePipeline):
    """A pipeline of raw.labels and marts.seen; a test has ten load_dates, on the first of which marts.seen begins."""

    def stock(self) -> "CarryingPipeline":
        self.day += timedelta(days=10)
        self.file("raw/labels.sql", RAW_LABELS)
        self.file(FILE, SEEN)
        (self.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=self.bucket))
        self.prepared()
        self.drop_seen()
        return self

    def drop_seen(self) -> None:
        """Drop marts.seen as `kpi drop` does."""
        if self.rows("select 1 from ops.publishes where asset = 'marts.seen' and removed_at is null"):
            drop_table(self.server, self.name, Relation("marts", "seen"), lambda _phase, _done, _total: None)

    def at(self, number: int) -> date:
        """Return the load_date with this number, from 1."""
        return self.day + timedelta(days=number - 1)

    def number(self, day: date | str) -> int:
        """Return the number of a load_date."""
        return (date.fromisoformat(str(day)) - self.day).days + 1

    def deliver(self, number: int, *things: int) -> None:
        """Land and publish the labels of some things."""
        self.put(self.key("labels", self.at(number)), labels(**{f"t{thing}": "heavy" for thing in things}))
        assert not self.build("raw.labels", self.at(number)).held

    def publish(self, number: int, *things: int) -> BuildOutcome:
        """Deliver the labels of some things, and publish marts.seen."""
        self.deliver(number, *things)
        return self.again(number)

    def again(self, number: int, **changes: Any) -> BuildOutcome:
        """Build marts.seen, which must not be held."""
        outcome = self.build("marts.seen", self.at(number), **changes)
        assert not outcome.held, outcome.results
        return outcome

    def seen(self, number: int) -> list[tuple[int, int, int]]:
        """Return the rows of marts.seen: the thing, the number of the load_date on which it was first seen, times."""
        of_day = f"select thing_id, first_on, times from marts.seen where load_date = '{self.at(number)}' order by 1"
        return [(thing, self.number(first), times) for thing, first, times in self.rows(of_day)]

    def carried_from(self, number: int) -> list[int]:
        """Return the numbers of the load_dates of itself that a load_date of marts.seen has read, by the ledger."""
        of_day = f"asset = 'marts.seen' and load_date = '{self.at(number)}'"
        [(inputs,)] = self.rows(f"select inputs from ops.published where {of_day}")
        assert inputs.pop("raw.labels")
        return [self.number(name.partition("marts.seen@")[2]) for name in inputs]

    def stale(self) -> dict[int, tuple[str, tuple[str, ...]]]:
        """Return the stale load_dates by number: the reason, and the tables to build."""
        return {
            self.number(each.load_date): (each.stale_reason, each.tables_to_build)
            for each in self.plan(self.at(1), self.at(10))
            if each.stale_reason
        }

    def heal(self) -> list[int]:
        """Build what the plan names until nothing is stale; return the numbers of the load_dates in their order."""
        built: list[int] = []
        while stale := self.stale():
            for number, (_, tables) in stale.items():
                for table in tables or ("raw.labels", "marts.seen"):
                    assert not self.build(table, self.at(number)).held
                built.append(number)
        return built
