"""A pipeline of two objects and four tables, for tests of automation."""

from datetime import date, datetime, timedelta

from kpi_assets.ledger import runs
from kpi_assets.materialize.build import build
from kpi_assets.materialize.verify_object import verify
from kpi_assets.plan.collect import collect
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets_tests.pipeline_harness import DAY, GOOD, PIPELINE_YAML, RAW_THINGS, PipelineHarness

THINGS = GOOD
LABELS = b"thing_id,label\n1,heavy\n"

RAW_LABELS = """\
/* @asset
description: Labels of things.
owner: team:tests
grain: [thing_id]
versions: latest
source: {object: "raw/labels/load_date={load_date}/labels.csv", format: csv}
columns:
  thing_id: {type: integer, description: Thing.}
  label: {type: text, description: Its label.}
@end */
"""
WEIGHED = """\
/* @asset
description: Things that were weighed.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
@end */
select thing_id, weight
from raw.things
where load_date = %(load_date)s and weight is not null
"""
HEAVY = """\
/* @asset
description: Weight by label.
owner: team:tests
grain: [label]
kpi:
  chart: {x: label, y: weight}
columns:
  label: {type: text, description: Label.}
  weight: {type: numeric, description: Kilograms.}
@end */
select l.label, sum(w.weight) as weight
from marts.weighed as w
inner join raw.labels as l on l.load_date = w.load_date and l.thing_id = w.thing_id
where w.load_date = %(load_date)s
group by l.label
"""


class TwoSourcePipeline(PipelineHarness):
    """A pipeline with these files; a load_date has two objects, those of raw.things and raw.labels.

    Creating a database takes longer than most tests, so several tests share one. Each has its own load_dates, the
    first of which is `day`.
    """

    day = DAY

    def stock(self) -> "TwoSourcePipeline":
        """Write the files of the pipeline as in this module, and advance to load_dates that no test has used."""
        self.file("raw/things.sql", RAW_THINGS)
        self.file("raw/labels.sql", RAW_LABELS)
        self.file("marts/weighed.sql", WEIGHED)
        self.file("marts/heavy.sql", HEAVY)
        (self.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=self.bucket))
        self.day += timedelta(days=4)
        return self

    @property
    def next(self) -> date:
        """The load_date after `day`."""
        return self.day + timedelta(days=1)

    def automate(self, words: str) -> None:
        """Set the word `automation` of pipeline.yaml."""
        path = self.folder / "pipeline.yaml"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("automation:")]
        path.write_text("\n".join([*lines, f"automation: {{{words}}}", ""]))

    def land(self, day: date | None = None, things: bytes | None = THINGS, labels: bytes | None = LABELS) -> None:
        """Upload the objects of a load_date; those that are None are left unchanged."""
        if things is not None:
            self.put(self.key("things", day), things)
        if labels is not None:
            self.put(self.key("labels", day), labels)

    def key(self, name: str, day: date | None = None) -> str:
        """Return the key of the object of raw.`name`."""
        return f"raw/{name}/load_date={day or self.day}/{name}.csv"

    def run(self, day: date | None = None) -> dict[str, str]:
        """Build all tables of a load_date as a run does, nothing downstream of a held one; return each status."""
        context, build_statuses, day = self.context(), {}, day or self.day
        due = {table.relation: table for table in context.pipeline.due_tables(day)}
        for relation, table in due.items():
            if table.has_object and verify(context, table, day).held:
                build_statuses[f"s3.{relation.table}"] = "held"
            elif all(build_statuses[str(read)] == "published" for read in table.reads if read in due):
                build_statuses[str(relation)] = "held" if build(context, table, day).held else "published"
            build_statuses.setdefault(str(relation), "not built")
        return build_statuses

    def plan(self, first: date, last: date, now: datetime | None = None) -> list[LoadDateStatus]:
        """Return the statuses of a range, as `kpi plan` gets them."""
        with self.session() as session:
            runs.close_dead_rows(session)
            years = collect(self.pipeline(), self.store, session, first, last, now)
            return [status for year in years for status in year]

    def status(self, now: datetime | None = None) -> LoadDateStatus:
        """Return the status of `day`."""
        [found] = self.plan(self.day, self.day, now)
        return found
