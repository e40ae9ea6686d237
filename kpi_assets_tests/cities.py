"""A history of customers and two tables behind it, for tests of who reads a history and when that is stale."""

from datetime import date, timedelta
from typing import Any

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.drop import drop_table
from kpi_assets.model.names import Relation
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

RAW_CUSTOMERS = """\
/* @asset
description: Customers as delivered.
owner: team:tests
grain: [customer_id]
source: {object: "raw/customers/load_date={load_date}/customers.csv", format: csv}
columns:
  customer_id: {type: text, description: Customer.}
  city: {type: text, description: City.}
@end */
"""
CUSTOMERS = """\
/* @asset
description: Customers and their history.
owner: team:tests
grain: [customer_id]
storage: history
history: {surrogate_key: customer_sk, max_changed: 1}
columns:
  customer_id: {type: text, description: Customer.}
  city: {type: text, description: City.}
checks: {min_rows: {at_least: 0}}
@end */
select customer_id, city from raw.customers where load_date = %(load_date)s
"""
CITIES = """\
/* @asset
description: Versions of customers by city.
owner: team:tests
grain: [city]
columns:
  city: {type: text, description: City.}
  versions: {type: bigint, description: How many versions there were so far.}
  customers: {type: bigint, description: How many of them hold on the load_date.}
checks: {min_rows: {at_least: 0}}
@end */
select city, count(*) as versions, count(*) filter (where is_current) as customers
from marts.customers
group by city
"""
TOTAL = """\
/* @asset
description: Cities that customers ever had.
owner: team:tests
grain: [what]
columns:
  what: {type: text, description: What is counted.}
  cities: {type: bigint, description: How many.}
@end */
select 'cities' as what, count(*) as cities from marts.cities where load_date = %(load_date)s
"""
MADE = ("marts.customers", "marts.cities", "marts.total")
Stale = dict[int, tuple[str, tuple[str, ...]]]


class CitiesPipeline(TwoSourcePipeline):
    """A pipeline whose load_dates have one object each, the customers; a test has ten load_dates of its own."""

    def stock(self) -> "CitiesPipeline":
        """Write the files without marts.total, drop what a test before has built, and advance to new load_dates."""
        self.day += timedelta(days=10)
        self.file("raw/customers.sql", RAW_CUSTOMERS)
        self.file("marts/customers.sql", CUSTOMERS)
        self.file("marts/cities.sql", CITIES)
        (self.folder / "marts/total.sql").unlink(missing_ok=True)
        (self.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=self.bucket))
        self.prepared()
        for name in MADE:
            self.drop(name)
        return self

    def drop(self, name: str) -> None:
        """Drop a table as `kpi drop` does, if it is there."""
        if self.rows(f"select 1 from ops.publishes where asset = '{name}' and removed_at is null"):
            drop_table(self.server, self.name, Relation.parse(name), lambda _phase, _done, _total: None)

    def at(self, number: int) -> date:
        """Return the load_date with this number, from 1."""
        return self.day + timedelta(days=number - 1)

    def number(self, day: date) -> int:
        """Return the number of a load_date."""
        return (day - self.day).days + 1

    def deliver(self, number: int, **cities: str) -> BuildOutcome:
        """Land and publish customers, each with its city, and publish the history of the load_date."""
        lines = ["customer_id,city", *(f"{name},{city}" for name, city in cities.items()), ""]
        self.put(self.key("customers", self.at(number)), "\n".join(lines).encode())
        assert not self.build("raw.customers", self.at(number)).held
        return self.again(number, "marts.customers")

    def publish(self, number: int, **cities: str) -> None:
        """Deliver customers, and publish their cities."""
        self.deliver(number, **cities)
        self.again(number, "marts.cities")

    def again(self, number: int, name: str, **changes: Any) -> BuildOutcome:
        """Build a table of a load_date, which must not be held."""
        outcome = self.build(name, self.at(number), **changes)
        assert not outcome.held, outcome.results
        return outcome

    def cities(self, number: int) -> list[tuple[str, int, int]]:
        """Return the rows of marts.cities of a load_date."""
        of_day = f"from marts.cities where load_date = '{self.at(number)}' order by 1"
        return [tuple(row) for row in self.rows(f"select city, versions, customers {of_day}")]  # type: ignore[misc]

    def stale(self) -> Stale:
        """Return the stale load_dates by number: the reason, and the tables to build."""
        return {
            self.number(each.load_date): (each.stale_reason, each.tables_to_build)
            for each in self.plan(self.at(1), self.at(10))
            if each.stale_reason
        }
