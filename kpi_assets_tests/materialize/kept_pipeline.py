"""A pipeline that keeps what readers saw before, with a table of each storage, for tests of versions and rollback."""

from datetime import date
from typing import Any

from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.rollback import RolledBack, roll_back
from kpi_assets.materialize.rolled_back import Moment, Planned, at_instant, plan
from kpi_assets.model.names import Relation
from kpi_assets_tests.pipeline_harness import RAW_THINGS
from kpi_assets_tests.two_source_pipeline import HEAVY, RAW_LABELS, WEIGHED, TwoSourcePipeline

REASON = "the scale was wrong that day"
ROLLBACK = "rollback: {keep: 2, days: 14}\n"
PARTITIONED = WEIGHED.replace("grain: [thing_id]", "grain: [thing_id]\nstorage: partitions")
SHOWN = """\
/* @asset
description: Things as people call them.
owner: team:tests
grain: [thing_id]
storage: view
columns:
  thing_id: {type: integer, description: Thing.}
  kilograms: {type: "numeric(6,2)", description: Kilograms.}
kpi:
  chart: {x: thing_id, y: kilograms}
  measures: {kilograms: {title: Kilograms, value: sum(kilograms), unit: kg}}
@end */
select thing_id, weight as kilograms from marts.weighed where load_date = %(load_date)s
"""
MEASURED = HEAVY.replace(
    "chart: {x: label, y: weight}",
    "chart: {x: label, y: weight}\n"
    "  measures: {heaviest: {title: Heaviest, value: max(weight), unit: kg, format: decimal2}}",
)
OTHER_COLUMNS = MEASURED.replace("type: numeric,", 'type: "numeric(12,2)",').replace(
    "sum(w.weight) as weight", "sum(w.weight)::numeric(12,2) as weight"
)
PEOPLE = """\
/* @asset
description: Things and their history.
owner: team:tests
grain: [thing_id]
storage: history
history: {surrogate_key: thing_sk, max_changed: 1}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: "Name, any text."}
@end */
select thing_id, name from raw.things where load_date = %(load_date)s
"""
RECENT = """\
/* @asset
description: Kilograms of the last two days.
owner: team:tests
grain: [what]
lookback: {days: 2, rows: all}
columns:
  what: {type: text, description: What is added up.}
  kilograms: {type: numeric, description: Kilograms.}
@end */
select 'all' as what, sum(weight) as kilograms
from marts.weighed
where load_date between %(window_start)s and %(load_date)s
"""
TABLES = ("raw.things", "raw.labels", "marts.weighed", "marts.shown", "marts.heavy", "marts.named", "marts.recent")
STORED = tuple(name for name in TABLES if name != "marts.shown")


def things(*weights: float) -> bytes:
    """Return the object of things with these weights, whose names say them."""
    lines = [f"{n},thing of {weight},{weight:.2f}\n" for n, weight in enumerate(weights, 1)]
    return "".join(["thing_id,name,weight\n", *lines]).encode()


class KeptPipeline(TwoSourcePipeline):
    """Two raw tables, a partitioned mart, a view that is a KPI, a KPI, a history, and one that looks back."""

    def stock(self) -> "KeptPipeline":
        """Write the files, and advance to load_dates that no test has used."""
        super().stock()
        self.file("raw/things.sql", RAW_THINGS)
        self.file("raw/labels.sql", RAW_LABELS)
        self.file("marts/weighed.sql", PARTITIONED)
        self.file("marts/heavy.sql", MEASURED)
        self.file("marts/shown.sql", SHOWN)
        self.file("marts/named.sql", PEOPLE)
        self.file("marts/recent.sql", RECENT)
        self.configure(ROLLBACK)
        self.prepared()
        return self

    def configure(self, words: str) -> None:
        """Write other words of `rollback` into pipeline.yaml."""
        yaml = self.folder / "pipeline.yaml"
        lines = [line for line in yaml.read_text().splitlines() if not line.startswith("rollback:")]
        yaml.write_text("\n".join([*lines, words]))

    def publish(self, *weights: float, day: date | None = None) -> Moment:
        """Deliver things with these weights, publish all that is made of them, and return the moment after that."""
        self.land(day, things=things(*weights))
        found = self.run(day)
        assert set(found.values()) == {"published"}, found
        return self.now()

    def now(self) -> Moment:
        """Return the present state."""
        [[now]] = self.rows("select clock_timestamp()")
        return at_instant(now)

    def current(self, day: date | None = None) -> dict[str, Publish]:
        """Return what is published of a load_date."""
        with self.session() as session:
            return {
                str(relation): publish
                for relation, publish in publishes.current(
                    session, map(Relation.parse, TABLES), day or self.day
                ).items()
            }

    def content(self, day: date | None = None) -> dict[str, tuple[int, str]]:
        """Return the rows and checksum of what is published of a load_date."""
        return {name: (each.rows, each.checksum) for name, each in self.current(day).items()}

    def weights(self, day: date | None = None) -> list[float]:
        """Return what readers see of marts.weighed."""
        which = f"where load_date = '{day or self.day}' order by thing_id"
        return [float(weight) for (weight,) in self.rows(f"select weight from marts.weighed {which}")]

    def planned(self, moment: Moment, *only: str, day: date | None = None) -> Planned:
        """Return what a rollback changes."""
        names = {Relation.parse(name) for name in only} or None
        with self.session() as session:
            return plan(session, self.pipeline(), day or self.day, moment, names)

    def roll_back(self, moment: Moment, *only: str, day: date | None = None, **changes: Any) -> RolledBack:
        """Roll a load_date back."""
        context = self.context(**{"run_id": f"rollback of {moment.said}", **changes})
        return roll_back(context, self.planned(moment, *only, day=day), REASON, "ana")

    def kept(self, day: date | None = None) -> dict[str, int]:
        """Return of how many contents of a load_date the rows are kept, by table; the ledger and Postgres agree."""
        there = {name for (name,) in self.rows(KEPT_TABLES)}
        known = {name for (name,) in self.rows("select relation from ops.versions where relation is not null")}
        assert {f"builds.{name}" for name in there} == known
        which = f"where relation is not null and load_date = '{day or self.day}'"
        return dict(self.rows(f"select asset, count(*)::int from ops.versions {which} group by asset"))


KEPT_TABLES = (
    "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind in ('r', 'p') "
    "and relname ~ '__v[0-9]+$' and not relispartition"
)
