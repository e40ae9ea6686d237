"""`kpi demo`: runs two synthetic days, one held and one restated, or plays the days of another demo_*.py."""

from collections import Counter
from datetime import date
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from kpi_assets.cli import demo_apis, demo_days, demo_stream, demo_week
from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.data import write_sample
from kpi_assets.cli.land import land_files
from kpi_assets.cli.run import explain
from kpi_assets.cli.runner import Result, open_runner
from kpi_assets.cli.selection import select_names
from kpi_assets.cli.show import RowFormat, show_table
from kpi_assets.cli.terminal import grid, headline, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace
from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import publishes, results
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import connect

NAME = "instacart"
DEMO_DAYS = (date(2025, 6, 1), date(2025, 6, 2))
DEMO_ORDERS = 20_000
LEFT_OUT = 120  # orders that the first delivery of the first day lacks
DEMO_FAULTS = ["duplicate_line", "orphan_product", "reordered_7"]


class DemoName(str, Enum):
    """The pipelines that have a demo."""

    instacart = NAME
    ecommerce = demo_week.PIPELINE
    storefront = demo_days.PIPELINE
    retail = demo_apis.PIPELINE
    realtime = demo_stream.PIPELINE


def demo(
    pipeline: Annotated[
        DemoName, typer.Argument(metavar="[PIPELINE]", help="instacart, ecommerce, storefront, retail or realtime.")
    ] = (DemoName.instacart),
    orders: Annotated[
        int | None,
        typer.Option(
            min=1000,
            help="How many orders a day; 20000 by default, 1000 for ecommerce, 1000 in all for storefront, and 300 of "
            "each retailer; not for realtime.",
        ),
    ] = None,
) -> None:
    """Run synthetic days: of instacart two, one held and one restated; of ecommerce a week, in which people decide.

    Of storefront it runs three, of which one is held and lands again late. Of retail it runs two, and on one of them
    the API of a retailer is down. Readers see the first day of instacart, and all days of the others, because what was
    held is corrected, and what lacked is fetched. Of realtime it plays some minutes of a stream, today: a tile moves, a
    field appears, and a broken release is held until it is taken back.
    """
    if pipeline is DemoName.realtime and orders is not None:
        raise UsageError("The demo of realtime has as many orders as its visitors place: leave --orders out.")
    if pipeline is DemoName.ecommerce:
        demo_week.play(orders)
    elif pipeline is DemoName.storefront:
        demo_days.play(orders)
    elif pipeline is DemoName.retail:
        demo_apis.play(orders)
    elif pipeline is DemoName.realtime:
        demo_stream.play()
    else:
        _two_days(orders or DEMO_ORDERS)


def _two_days(orders: int) -> None:
    """Run a load_date that is published, one that is held, and the first again with more orders.

    Raises UserError if they do not end so.
    """
    good, bad = DEMO_DAYS
    with open_workspace(NAME) as work, TemporaryDirectory() as folder, open_runner(work.ready()) as materialize:
        names = select_names(work.pipeline, "")

        def day(load_date: date, faults: list[str], *, left_out: int = 0) -> Result:
            files = Path(folder) / load_date.isoformat()
            write_sample(NAME, load_date, files, orders, 1, faults)
            if left_out:
                _leave_out(files, left_out)
            land_files(work, load_date, files, replace=True)
            result = materialize(load_date, names)
            explain(work, result)
            return result

        headline(f"1. A load_date without faults: {good}")
        first = day(good, [], left_out=LEFT_OUT)
        _demo_show(work, first)
        headline(f"2. A load_date with three faults planted: {bad}")
        second = day(bad, DEMO_FAULTS)
        headline("What a reader sees now: still the first load_date")
        show_table(work, "marts.kpi_orders_by_dow", None, RowFormat.table)
        headline(f"3. {good} is delivered again, with the {LEFT_OUT} orders that it lacked: its numbers are restated")
        again = day(good, [])
        show_table(work, "marts.kpi_orders_by_dow", good, RowFormat.table)
        deliver_due(work)
        if (first.outcome, second.outcome, again.outcome) != ("published", "held", "published"):
            raise UserError(
                f"The demo did not end as it should: {good} is {first.outcome} and then {again.outcome}, {bad} is "
                f"{second.outcome}."
            )
    out.print()
    say(
        *("Look at it with ", styled("make up", "bold"), ": the KPIs are at "),
        *(styled(f"http://127.0.0.1:{settings().serve_port}", "bold"), ", and Dagster's UI is beside them;"),
        *(" while it runs, psql finds the tables by ", styled("kpi url instacart", "bold"), "."),
    )


def _leave_out(files: Path, count: int) -> None:
    """Take the last orders out of a delivery, with their lines: each line of both files begins with the order's id."""
    orders, lines = files / "orders.csv", files / "order_products__prior.csv"
    kept = orders.read_text().splitlines(keepends=True)
    gone = {line.split(",", 1)[0] for line in kept[-count:]}
    orders.write_text("".join(kept[:-count]))
    lines.write_text("".join(each for each in lines.read_text().splitlines(True) if each.split(",", 1)[0] not in gone))


def _demo_show(work: Workspace, result: Result) -> None:
    for table, limit in (("marts.kpi_orders_by_dow", None), ("marts.kpi_products_reorder", 10)):
        show_table(work, table, result.load_date, RowFormat.table, limit)
    with connect(work.server, work.pipeline.name, "demo", read_only=True) as connection:
        published = publishes.current(connection, work.pipeline.tables, result.load_date)
        verdicts = Counter(row["table_name"] for row in results.latest(connection, result.load_date))
    rows = [
        (work.pipeline.layer(relation), relation, f"{published[relation].rows:,}", verdicts[str(relation)])
        for relation in work.pipeline.tables
        if relation in published
    ]
    command = f"kpi checks {work.pipeline.name} --load-date {result.load_date}"
    title = f"Published: rows by layer, and gates passed (each of them: {command})"
    out.print(grid(title, ("layer", "table", "rows", "gates"), rows, right=("rows", "gates")))
