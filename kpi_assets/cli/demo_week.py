"""The demo of `ecommerce`: a week in which rows are set aside, a load_date is held, and a correction releases it.

Belongs here: the story. Not here: what each step does, which is the work of the commands that are named on the way.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from kpi_assets.cli import quarantine
from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.data import fill_sample, write_sample
from kpi_assets.cli.land import land_dated
from kpi_assets.cli.plan import load_date_statuses
from kpi_assets.cli.run import explain
from kpi_assets.cli.runner import Result, open_runner
from kpi_assets.cli.selection import due_names, select_names
from kpi_assets.cli.show import RowFormat, show_table
from kpi_assets.cli.terminal import headline, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace
from kpi_assets.errors import UserError
from kpi_assets.sources.dated_files import find_dated_files

PIPELINE = "ecommerce"
MONDAY = date(2025, 6, 2)
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = (MONDAY + timedelta(days=number) for number in range(1, 7))
ORDERS = 1_000
EVENTS_FOR_AN_ORDER = 4
SEED = 1
FEW_FAULTS = ["negative-price=2", "unknown-status", "null-user", "conflicting-id"]
LET_THROUGH = 100  # one order in so many may be set aside; on the day that is held it is one more
TABLE = "staging.orders_clean"
WHO = "demo"


@dataclass(frozen=True)
class Week:
    """The week, day by day: `folder` takes the files, and `materialize` runs a load_date."""

    work: Workspace
    folder: Path
    materialize: Callable[[date, Sequence[str]], Result]
    orders: int

    def deliver(self, day: date, faults: Sequence[str] = ()) -> Result:
        """Write and land orders and events of a load_date, run it, and print what came of it.

        The products are not landed: the run of Monday fetches them from their API.
        """
        files = self.folder / str(day)
        events = EVENTS_FOR_AN_ORDER * self.orders
        write_sample(PIPELINE, day, files, self.orders, SEED, list(faults), events=events)
        shutil.rmtree(files / "products")
        land_dated(self.work, find_dated_files(self.work.pipeline, files), replace=True)
        return self.run(day)

    def run(self, day: date, names: Sequence[str] = ()) -> Result:
        """Run a load_date, or some tables of it, and print what came of it."""
        pipeline = self.work.pipeline
        result = self.materialize(day, names or due_names(pipeline, select_names(pipeline, ""), day))
        explain(self.work, result)
        return result

    def correct(self, day: date) -> None:
        """Give back the sign of the prices that wait for a decision, as a person does with `kpi quarantine`."""
        path = self.folder / "rows.jsonl"
        quarantine.export(PIPELINE, path, day, TABLE)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            values = row["row"]
            row["set"] = {"unit_price": abs(values["unit_price"]), "revenue": abs(values["revenue"])}
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        quarantine.correct(PIPELINE, path, reason="the till lost the sign of the price", by=WHO)

    def catch_up(self) -> dict[date, str]:
        """Run what the plan calls stale, the oldest load_date first; return the outcomes."""
        outcomes = {}
        for day in (MONDAY + timedelta(days=number) for number in range(7)):
            [status] = load_date_statuses(self.work, day, day)
            if status.state == "stale":
                say(styled("stale", "yellow"), f" {day}: {status.reason}")
                outcomes[day] = self.run(day, status.tables_to_build).outcome
        return outcomes


def play(orders: int | None) -> None:
    """Play the week. Raises UserError if it does not end as it should."""
    with open_workspace(PIPELINE) as work, TemporaryDirectory() as folder, open_runner(work.ready(), quiet=True) as run:
        week = Week(work, Path(folder), run, orders or ORDERS)
        found = [*_deliver(week), *_decide(week)]
        deliver_due(work)
    wanted = ["published", "published", "published", "held", "published", "published", "published", "published"]
    if found != wanted:
        raise UserError(f"The demo did not end as it should: the runs are {', '.join(found)}.")
    out.print()
    say(
        *("Decide for yourself with ", styled(f"kpi quarantine list {PIPELINE}", "bold")),
        *(", look at it in the Dagster UI with ", styled("make up", "bold")),
        *("; while it runs, psql finds the tables by ", styled(f"kpi url {PIPELINE}", "bold"), "."),
    )


def _deliver(week: Week) -> list[str]:
    """Deliver the seven days; return their outcomes."""
    headline(f"1. Monday, {MONDAY}: orders and events land, and the week's list of products is fetched from its API")
    fill_sample(week.work, MONDAY, week.orders, SEED, [])
    outcomes = [week.deliver(MONDAY).outcome]
    headline(f"2. Tuesday, {TUESDAY}: four bad orders are set aside, and the others are published")
    outcomes.append(week.deliver(TUESDAY, FEW_FAULTS).outcome)
    quarantine.list_(PIPELINE, TUESDAY)
    headline(f"3. Wednesday, {WEDNESDAY}")
    outcomes.append(week.deliver(WEDNESDAY).outcome)
    faults = week.orders // LET_THROUGH + 1
    headline(
        f"4. Thursday, {THURSDAY}: {faults} prices have lost their sign, which is more than may be set aside: held"
    )
    outcomes.append(week.deliver(THURSDAY, [f"negative-price={faults}"]).outcome)
    headline("What a reader sees now: still Wednesday")
    show_table(week.work, "warehouse.kpi_conversion_funnel", None, RowFormat.table)
    headline(f"5. Friday to Sunday, {FRIDAY} to {SUNDAY}: a held load_date does not stop the next ones")
    outcomes += [week.deliver(day).outcome for day in (FRIDAY, SATURDAY, SUNDAY)]
    return outcomes


def _decide(week: Week) -> list[str]:
    """Correct Thursday's orders, and build what that makes stale; return the outcome of Thursday."""
    headline(f"6. A person gives Thursday's prices their sign back: {THURSDAY} is released")
    week.correct(THURSDAY)
    headline("7. The plan knows what has changed: Thursday, and the users of the days after it")
    outcomes = week.catch_up()
    headline("The week, as anyone may query it")
    show_table(week.work, "warehouse.daily_metrics", None, RowFormat.table)
    return [outcomes.get(THURSDAY, "not run")]
