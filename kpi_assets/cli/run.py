"""Running: `kpi run`, `kpi backfill`, `kpi recheck`, `kpi demo`, in this process, with Dagster's history kept."""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from kpi_assets.alerts.message import verdict_path
from kpi_assets.cli.alerts import tell
from kpi_assets.cli.common import (
    HELD,
    LoadDateOrRunDate,
    PipelineName,
    Select,
    Session,
    date_option,
    grid,
    out,
    pipeline_of,
    say,
    selected,
    session,
    styled,
)
from kpi_assets.cli.data import land_files, write_sample
from kpi_assets.cli.plan import standings_of, told
from kpi_assets.cli.run_view import ENDINGS
from kpi_assets.cli.runner import EXIT_CODES, Result, open_runner, worst
from kpi_assets.cli.show import Format, show_checks, show_table
from kpi_assets.errors import UsageError, UserError
from kpi_assets.model.names import is_object
from kpi_assets.plan.status import STATES

if TYPE_CHECKING:
    from kpi_assets.plan.status import LoadDateStatus

DEMO_PIPELINE = "instacart"
DEMO_DAYS = (date(2025, 6, 1), date(2025, 6, 2))
DEMO_ORDERS = 20_000
DEMO_FAULTS = ["duplicate_line", "orphan_product", "reordered_7"]


def run(pipeline: PipelineName, load_date: LoadDateOrRunDate, select: Select = "") -> None:
    """Materialise a pipeline for one load_date: exit 0 published, 3 held by a gate, 1 failed or not landed."""
    found = pipeline_of(pipeline)
    found.check_load_date(load_date)
    names = selected(found, select)
    with session(pipeline) as work, open_runner(work.ready()) as materialise:
        result = materialise(load_date, names)
        explain(work, result)
        tell(work)
    raise typer.Exit(result.exit_code)


def explain(work: Session, result: Result) -> None:
    """Say what held or failed, with counts and samples, or that all is published."""
    from kpi_assets.instance.services import known_ui_url  # noqa: PLC0415

    if result.word == "published":
        show_checks(work, result.load_date, only_bad=True, run_id=result.run_id)  # what only warns is published too
        count = f"{len(result.states)} assets"
        say(styled("published", "green"), f" {work.pipeline.name}, load_date {result.load_date}: {count}")
        return
    if any(state == "held" for state, _ in result.states.values()):
        show_checks(work, result.load_date, only_bad=True, run_id=result.run_id)
    for name, (state, error) in result.states.items():
        if state in {"held", "failed", "missing"}:
            say(styled(state, ENDINGS[state]), f" {name}: {error or ''}")
        if state == "held" and (ui_url := known_ui_url(work.settings)):
            say(f"  {ui_url}{verdict_path(work.pipeline.name, name, result.run_id)}")
    if any(is_object(name) and state in {"held", "missing"} for name, (state, _) in result.states.items()):
        say(f"The objects were looked for in {work.place}.")
    if result.word == "missing":
        again = "land what is missing (`kpi land`), then run the load_date again"
        say(f"Nothing is wrong with {work.pipeline.name}, load_date {result.load_date}: {again}.")
    for name, error in result.after.items():
        done = "verified" if is_object(name) else "published"
        say(styled("failed", ENDINGS["failed"]), f" {name}: it is {done}; the run failed after that: {error}")
    if result.not_begun and not any(state != "success" for state, _ in result.states.values()):
        names = ", ".join(result.not_begun)
        say(styled("failed", ENDINGS["failed"]), f" {names}: the run ended before it came to that")


def backfill(
    pipeline: PipelineName,
    first: Annotated[date, date_option("--from", help="The first load_date.")],
    last: Annotated[date, date_option("--to", help="The last load_date.")],
    select: Select = "",
    only: Annotated[
        str,
        typer.Option(
            metavar="STATES", help="Only these, by commas, as `kpi plan` has them; `missing` means new ones too."
        ),
    ] = "",
) -> None:
    """Materialise each landed load_date of a range, the oldest first; one that is held does not stop the others."""
    found = pipeline_of(pipeline)
    found.load_dates(first, last)
    names = selected(found, select)
    states = _states(only)
    with session(pipeline) as work, open_runner(work.ready()) as materialise:
        results: list[Result] = []
        standings: list[LoadDateStatus] = []
        for standing in _in_turn(work, first, last, results):
            standings.append(standing)
            # What has not landed cannot be built; of what lacks some of its objects the others are.
            if standing.landed and standing.state in states:
                suffice = [name for name in names if name in standing.tables_to_build] if only else []
                result = materialise(standing.load_date, suffice or names)
                explain(work, result)
                results.append(result)
        rows = [_summary(result) for result in results]
        out.print(grid(f"{pipeline}: {first} to {last}", ("load_date", "state", "published", "not published"), rows))
        if only:
            ran = {result.load_date for result in results}
            left = [standing.state for standing in standings if standing.load_date not in ran]
            say(f"{len(rows)} run" + (f"; left as they were: {told(left)}" if left else "."))
        else:
            days, missing = len(standings), sum(not standing.landed for standing in standings)
            say(f"{len(rows)} landed, {missing} of the {days} load_dates not landed")
        tell(work)
    raise typer.Exit(EXIT_CODES[worst({result.word for result in results})])


def _in_turn(work: Session, first: date, last: date, ran: Sequence[Result]) -> "Iterator[LoadDateStatus]":
    """The standing of each load_date of a range when its turn comes: a run may make later ones stale."""
    for standing in standings_of(work, first, last):
        yield standing if not ran else standings_of(work, standing.load_date, standing.load_date)[0]


def _states(only: str) -> set[str]:
    """The states that --only means. Raises UsageError."""
    words = [word.strip() for word in only.split(",")] if only else list(STATES)
    for word in words:
        if word not in STATES:
            raise UsageError(f"There is no state {word!r}: --only takes {', '.join(STATES)}, by commas.")
    return {*words, *(["new"] if "missing" in words else [])}


def _summary(result: Result) -> tuple[object, ...]:
    done = sum(state == "success" for state, _ in result.states.values())
    rest = [f"{name} ({state})" for name, (state, _) in result.states.items() if state != "success"]
    rest += [f"{name} (failed after it)" for name in result.after]
    return result.load_date, styled(result.word, ENDINGS[result.word]), done, ", ".join(rest)


def recheck(pipeline: PipelineName, load_date: LoadDateOrRunDate, select: Select = "") -> None:
    """Make the checks again, alone, on what is published of a load_date; record them; build nothing."""
    found = pipeline_of(pipeline)
    found.check_load_date(load_date)
    names = [name for name in selected(found, select) if not is_object(name)]
    with session(pipeline) as work:
        run_id = str(uuid.uuid4())
        held = recheck_tables(work.ready(), load_date, names, run_id, chosen=bool(select))
        show_checks(work, load_date, run_id=run_id)
    raise typer.Exit(HELD if held else 0)


def recheck_tables(work: Session, load_date: date, names: Sequence[str], run_id: str, *, chosen: bool) -> bool:
    """Recheck the named tables; returns whether any result holds. Raises UserError where nothing is published."""
    from kpi_assets.materialize.context import BuildContext, UpstreamError  # noqa: PLC0415
    from kpi_assets.materialize.recheck import recheck as recheck_table  # noqa: PLC0415
    from kpi_assets.sources.store import open_store  # noqa: PLC0415

    store = open_store(work.pipeline, work.settings)
    context = BuildContext(work.pipeline, work.server, store, run_id)
    checked, held = 0, False
    for name in names:
        try:
            results = recheck_table(context, work.pipeline.table(name), load_date)
        except UpstreamError:
            if chosen:
                raise
            continue
        checked += 1
        held = held or any(result.blocks_publish for result in results)
    if not checked:
        raise UserError(
            f"Nothing of {work.pipeline.name} is published for {load_date} in {work.place}: run that load_date first."
        )
    return held


def demo(
    orders: Annotated[int, typer.Option(min=1000, help="How many orders a day.")] = DEMO_ORDERS,
) -> None:
    """Two synthetic days: one is published; the other has faults planted, is held, and readers see the first."""
    good, bad = DEMO_DAYS
    with session(DEMO_PIPELINE) as work, TemporaryDirectory() as folder, open_runner(work.ready()) as materialise:
        names = selected(work.pipeline, "")

        def day(load_date: date, faults: list[str]) -> Result:
            files = Path(folder) / load_date.isoformat()
            write_sample(DEMO_PIPELINE, load_date, files, orders, 1, faults)
            land_files(work, load_date, files, replace=True)
            result = materialise(load_date, names)
            explain(work, result)
            return result

        _headline(f"1. A load_date without faults: {good}")
        first = day(good, [])
        _demo_show(work, first)
        _headline(f"2. A load_date with three faults planted: {bad}")
        second = day(bad, DEMO_FAULTS)
        _headline("What a reader sees now: still the first load_date")
        show_table(work, "marts.kpi_orders_by_dow", None, Format.table)
        tell(work)
        if (first.word, second.word) != ("published", "held"):
            raise UserError(f"The demo did not end as it should: {good} is {first.word}, {bad} is {second.word}.")
    out.print()
    say(
        *("Look at it in the Dagster UI with ", styled("make up", "bold")),
        *("; while it runs, psql finds the tables by ", styled("kpi url instacart", "bold"), "."),
    )


def _headline(text: str) -> None:
    out.print()
    out.rule(styled(text, "bold"), align="left")


def _demo_show(work: Session, result: Result) -> None:
    from kpi_assets.ledger import publishes, results  # noqa: PLC0415
    from kpi_assets.warehouse.connection import connect  # noqa: PLC0415

    for table, limit in (("marts.kpi_orders_by_dow", None), ("marts.kpi_products_reorder", 10)):
        show_table(work, table, result.load_date, Format.table, limit)
    with connect(work.server, work.pipeline.name, "demo", reads=True) as connection:
        published = publishes.current(connection, work.pipeline.tables, result.load_date)
        verdicts = Counter(row["table_name"] for row in results.latest(connection, result.load_date))
    rows = [
        (work.pipeline.layer(relation), relation, f"{published[relation].rows:,}", verdicts[str(relation)])
        for relation in work.pipeline.tables
        if relation in published
    ]
    title = f"Published: rows by layer, and gates passed (each of them: kpi checks {work.pipeline.name})"
    out.print(grid(title, ("layer", "table", "rows", "gates"), rows, right=("rows", "gates")))
