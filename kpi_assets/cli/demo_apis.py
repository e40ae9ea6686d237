"""The demo of `retail`: an API is down and comes back, and another retailer corrects a sale that was published.

Belongs here: the story. Not here: what each step does, which is the work of the commands that are named on the way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.data import fill_sample
from kpi_assets.cli.fetch import fetch
from kpi_assets.cli.plan import STYLES, load_date_statuses
from kpi_assets.cli.run import explain
from kpi_assets.cli.runner import Result, open_runner
from kpi_assets.cli.selection import due_names, select_names
from kpi_assets.cli.show import RowFormat, show_table
from kpi_assets.cli.terminal import headline, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace
from kpi_assets.errors import UserError
from kpi_assets.simulators.api import RETAILER_1
from kpi_assets.simulators.databases import connect

PIPELINE = "retail"
FIRST, SECOND = date(2025, 7, 1), date(2025, 7, 2)
ORDERS = 300
SEED = 1
FAULT = "retailer_2_html"
DAILY, TO_DATE = "warehouse.kpi_sales_day", "warehouse.kpi_sales_month"
# A retailer finds out that of its first sale of the day ten pieces more were sold.
CORRECTION = """\
update sales set
    quantity = quantity + 10,
    total = round((quantity + 10) * price * (100 - discount_percentage) / 100, 2)
where line_id = (select min(line_id) from sales where booked_on = {day})
"""
WANTED = [
    *("published", "failed", "published"),
    *("stale", "published"),  # the plan after the correction
    *("published", "published"),
    *("published", "published"),  # the plan at the end
]


@dataclass(frozen=True)
class Retailers:
    """The retailers and their days: `materialize` runs a load_date."""

    work: Workspace
    materialize: Callable[[date, Sequence[str]], Result]
    orders: int

    def book(self, day: date, faults: Sequence[str] = ()) -> None:
        """Let the simulated retailers have sales of a day, and their APIs these faults."""
        fill_sample(self.work, day, self.orders, SEED, faults)

    def run(self, day: date, names: Sequence[str] = ()) -> str:
        """Run a load_date, or some tables of it, print what came of it, and return that."""
        pipeline = self.work.pipeline
        result = self.materialize(day, names or due_names(pipeline, select_names(pipeline, ""), day))
        explain(self.work, result)
        if result.outcome != "published":
            done = [
                name for name, (state, _) in result.states.items() if state == "success" and name.startswith("raw.")
            ]
            say(styled("published", "green"), f" {', '.join(done)}")
            behind = [name for name in result.not_started if not name.startswith("raw.")]
            say(styled("waiting", "yellow"), f" {len(behind)} tables, which need the sales of all retailers")
        return result.outcome

    def correct(self, day: date) -> None:
        """Correct a sale in the database of retailer_1, as the retailer does."""
        with connect(self.work.server, RETAILER_1.database) as connection:
            connection.execute(sql.SQL(CORRECTION).format(day=sql.Literal(day)))

    def plan(self) -> list[str]:
        """Print the status of each load_date, and return it."""
        statuses = load_date_statuses(self.work, FIRST, SECOND)
        for each in statuses:
            say(styled(each.state, STYLES[each.state]), f" {each.load_date}{f': {each.reason}' if each.reason else ''}")
        return [each.state for each in statuses]

    def catch_up(self) -> list[str]:
        """Run what is stale, the oldest load_date first, and return the outcomes."""
        outcomes = []
        for day in (FIRST, SECOND):
            [status] = load_date_statuses(self.work, day, day)
            if status.state == "stale":
                say(styled("stale", "yellow"), f" {day}: {status.reason}")
                outcomes.append(self.run(day, status.tables_to_build))
        return outcomes


def play(orders: int | None) -> None:
    """Play the days. Raises UserError if they do not end as they should."""
    with open_workspace(PIPELINE) as work, open_runner(work.ready(), quiet=True) as run:
        retailers = Retailers(work, run, orders or ORDERS)
        found = [*_fetch(retailers), *_correct(retailers)]
        deliver_due(work)
    if found != WANTED:
        raise UserError(f"The demo did not end as it should: {', '.join(found)} instead of {', '.join(WANTED)}.")
    out.print()
    say(
        *("Plant faults with ", styled(f"kpi sample {PIPELINE} --fault list", "bold")),
        *(", look at it in the Dagster UI with ", styled("make up", "bold")),
        *("; while it runs, psql finds the tables by ", styled(f"kpi url {PIPELINE}", "bold"), "."),
    )


def _fetch(retailers: Retailers) -> list[str]:
    """Run two load_dates, the second while a retailer is down and again afterwards; return the outcomes."""
    headline(f"1. {FIRST}: three retailers have sold, and their APIs are asked for it")
    retailers.book(FIRST)
    outcomes = [retailers.run(FIRST)]
    show_table(retailers.work, DAILY, FIRST, RowFormat.table)
    headline(f"2. {SECOND}: retailer_2 is down for maintenance, and answers with a web page")
    retailers.book(SECOND, [FAULT])
    outcomes.append(retailers.run(SECOND))
    headline(f"What a reader sees now: still {FIRST}")
    show_table(retailers.work, DAILY, None, RowFormat.table)
    headline("3. retailer_2 is back: the next run asks for what lacks, and for nothing else")
    retailers.book(SECOND)
    outcomes.append(retailers.run(SECOND))
    return outcomes


def _correct(retailers: Retailers) -> list[str]:
    """Fetch a load_date that a retailer has corrected, and build what that makes stale; return what came of it."""
    headline(f"4. retailer_1 corrects a sale of {FIRST}, which is published, so it is fetched again")
    retailers.correct(FIRST)
    fetch(PIPELINE, FIRST, "raw.retailer_1_sales", replace=True)
    found = retailers.plan()
    headline("5. The plan knows what the correction changes, and it is built again")
    found += [*retailers.catch_up(), *retailers.plan()]
    headline(f"What a reader sees of {FIRST} now")
    show_table(retailers.work, DAILY, FIRST, RowFormat.table)
    headline("The month to date")
    show_table(retailers.work, TO_DATE, SECOND, RowFormat.table)
    return found
