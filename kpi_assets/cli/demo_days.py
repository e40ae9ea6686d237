"""The demo of `storefront`: a customer moves, a bad delivery is held, and its correction lands after the next day.

Belongs here: the story. Not here: what each step does, which is the work of the commands that are named on the way.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.data import write_sample
from kpi_assets.cli.diff import diff
from kpi_assets.cli.land import land_dated
from kpi_assets.cli.plan import STYLES, load_date_statuses
from kpi_assets.cli.quality import quality
from kpi_assets.cli.run_view import ENDINGS
from kpi_assets.cli.runner import Result, open_runner
from kpi_assets.cli.selection import due_names, select_names
from kpi_assets.cli.show import RowFormat, show_table
from kpi_assets.cli.terminal import grid, headline, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace
from kpi_assets.errors import UserError
from kpi_assets.plan.status import LoadDateStatus
from kpi_assets.read.rows import read_rows
from kpi_assets.samples import GENERATORS
from kpi_assets.sources.dated_files import find_dated_files
from kpi_assets.warehouse.connection import connect

PIPELINE = "storefront"
MONDAY, TUESDAY, WEDNESDAY = DAYS = (date(2025, 1, 6), date(2025, 1, 7), date(2025, 1, 8))
ORDERS = 1_000
SEED = 3
FAULT = "swapped-columns"
HISTORY = "warehouse.dim_customers"
WANTED = [
    *("published", "held", "published", str(WEDNESDAY)),
    *("published", "published", "published", "stale"),  # Tuesday, and then the plan of the three days
    *("published", "published", "published", "published", str(TUESDAY)),  # Wednesday, the plan again
]
SHOWN = ("city", "state", "effective_date", "end_date", "customer_sk")


@dataclass(frozen=True)
class Shop:
    """The days of the shop: `folder` takes the files, and `materialize` runs a load_date."""

    work: Workspace
    folder: Path
    materialize: Callable[[date, Sequence[str]], Result]
    orders: int

    def deliver(self, day: date, faults: Sequence[str] = ()) -> str:
        """Write and land the files of a load_date, run it, print what came of it, and return that."""
        files = self.folder / str(day)
        write_sample(PIPELINE, day, files, self.orders, SEED, list(faults))
        land_dated(self.work, find_dated_files(self.work.pipeline, files), replace=True)
        return self.run(day)

    def run(self, day: date, names: Sequence[str] = ()) -> str:
        """Run a load_date, or some tables of it, print what came of it, and return that."""
        pipeline = self.work.pipeline
        result = self.materialize(day, names or due_names(pipeline, select_names(pipeline, ""), day))
        for name, (state, error) in result.states.items():
            if state in {"held", "failed", "missing"}:
                say(styled(state, ENDINGS[state]), f" {name}: {error or ''}")
        published = sum(state == "success" for state, _ in result.states.values())
        say(styled(result.outcome, ENDINGS[result.outcome]), f" {PIPELINE}, load_date {day}: {published} assets")
        return result.outcome

    def plan(self) -> Sequence[LoadDateStatus]:
        """Return the status of each load_date, and print it."""
        statuses = load_date_statuses(self.work, MONDAY, WEDNESDAY)
        for each in statuses:
            say(styled(each.state, STYLES[each.state]), f" {each.load_date}{f': {each.reason}' if each.reason else ''}")
        return statuses

    def catch_up(self) -> list[str]:
        """Run what is stale, the oldest load_date first; return the outcomes."""
        statuses = load_date_statuses(self.work, MONDAY, WEDNESDAY)
        return [self.run(each.load_date, each.tables_to_build) for each in statuses if each.state == "stale"]

    def as_of(self, customer: str) -> str:
        """Print what the history says of a customer as of each of the days; return since when the last of it holds."""
        rows: list[tuple[str | None, ...]] = []
        for day in DAYS:
            with connect(self.work.server, PIPELINE, "demo", read_only=True) as connection:
                table = self.work.pipeline.table(HISTORY)
                # Who they are is personal; the customers of the samples are made up.
                found = read_rows(
                    connection, self.work.pipeline, table, place=self.work.place, as_of=day, personal=True
                )
            [row] = [each for each in found.rows if each[found.columns.index("customer_id")] == customer]
            rows.append((str(day), *(row[found.columns.index(name)] for name in SHOWN)))
        out.print(grid(f"{HISTORY}: {customer}", ("as of", *SHOWN), rows, right=("customer_sk",)))
        return rows[-1][1 + SHOWN.index("effective_date")] or ""

    def who_moves(self) -> str:
        """Return the first customer who has another address on Tuesday than on Monday, and the same on Wednesday."""
        exported = self.folder / "exported"
        generator = GENERATORS[PIPELINE].sized(events=None, days=len(DAYS))
        generator.write(exported, load_date=MONDAY, orders=self.orders, seed=SEED)
        monday, tuesday, wednesday = (_addresses(exported, day) for day in DAYS)
        return next(each for each in tuesday if each in monday and monday[each] != tuesday[each] == wednesday.get(each))


def play(orders: int | None) -> None:
    """Play the three days. Raises UserError if they do not end as they should."""
    with open_workspace(PIPELINE) as work, TemporaryDirectory() as folder, open_runner(work.ready(), quiet=True) as run:
        shop = Shop(work, Path(folder), run, orders or ORDERS)
        customer = shop.who_moves()
        found = [*_deliver(shop, customer), *_correct(shop, customer)]
        deliver_due(work)
    if found != WANTED:
        raise UserError(f"The demo did not end as it should: {', '.join(found)} instead of {', '.join(WANTED)}.")
    out.print()
    say(
        *("Ask for any day with ", styled(f"kpi show {PIPELINE} {HISTORY} --as-of {TUESDAY}", "bold")),
        *(", look at it in the Dagster UI with ", styled("make up", "bold")),
        *("; while it runs, psql finds the tables by ", styled(f"kpi url {PIPELINE}", "bold"), "."),
    )


def _deliver(shop: Shop, customer: str) -> list[str]:
    """Deliver the three days, Tuesday with a fault; return the outcomes, and since when the customer has moved."""
    headline(f"1. Monday, {MONDAY}: whole tables of customers, products, transactions and their items")
    outcomes = [shop.deliver(MONDAY)]
    headline(f"2. Tuesday, {TUESDAY}: city and state have changed places, so nearly every customer seems to have moved")
    outcomes.append(shop.deliver(TUESDAY, [FAULT]))
    headline(f"3. Wednesday, {WEDNESDAY}: the history goes on without Tuesday")
    outcomes.append(shop.deliver(WEDNESDAY))
    headline(f"What the history says of {customer}, who moved on Tuesday: it was seen on Wednesday")
    outcomes.append(shop.as_of(customer))
    headline("How good Wednesday's files are, and what the checks counted")
    quality(PIPELINE, WEDNESDAY)
    return outcomes


def _correct(shop: Shop, customer: str) -> list[str]:
    """Land Tuesday again and build what that makes stale; return what came of it."""
    headline("4. Tuesday is landed again, as it should have been: it goes between Monday and Wednesday")
    found = [shop.deliver(TUESDAY)]
    headline("5. The plan knows who has read the history since: Wednesday, and not Monday")
    found += [status.state for status in shop.plan()]
    found += shop.catch_up()
    found += [status.state for status in shop.plan()]
    headline(f"What the history says of {customer} now")
    found.append(shop.as_of(customer))
    headline(f"What {HISTORY} says otherwise on Tuesday than on Monday")
    diff(PIPELINE, HISTORY, MONDAY, TUESDAY)
    headline("What was sold, as anyone may query it")
    show_table(shop.work, "warehouse.agg_product_sales", WEDNESDAY, RowFormat.table, 5)
    return found


def _addresses(folder: Path, day: date) -> dict[str, list[str]]:
    path = folder / f"staging/customers/load_date={day}/customers.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["customer_id"]: [row["city"], row["state"]] for row in csv.DictReader(file)}
