"""`kpi status`: which processes run, and what is published."""

from datetime import date, datetime, timedelta, timezone
from typing import Annotated

import typer
from rich.text import Text

from kpi_assets.cli.plan import say_waived
from kpi_assets.cli.selection import due_names
from kpi_assets.cli.switch import say_switch
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.waiting_rows import find_waiting, say_waiting
from kpi_assets.cli.workspace import Workspace, sound_pipelines
from kpi_assets.embedded import stack as local
from kpi_assets.instance import services
from kpi_assets.ledger import growth, rulings, run_states
from kpi_assets.model.asking import minute, next_asking
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.growing import Growing, find_growing
from kpi_assets.settings import settings
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect

STYLES = {
    "published": "green",
    "held": "bold red",
    "failed": "red",
    "running": "cyan",
    "partly": "yellow",
    "dropped": "dim",
}
WAIVED = 3  # rulings with a line of their own
SHOWN = 30  # load_dates of a pipeline that are printed without --all


def status(
    everything: Annotated[bool, typer.Option("--all", help="Print every load_date, not only the last 30.")] = False,
) -> None:
    """Print the processes that run, and what is published of each pipeline by load_date and layer."""
    home = settings().home
    embedded = [(s.name, s.running, s.port, s.pid) for s in local.status(home)]
    rows = [
        (name, styled("running", "green") if runs else styled("down", "dim"), port, pid if runs else None)
        for name, runs, port, pid in [*embedded, *services.status(home)]
    ]
    say("Processes of the home ", styled(home, "bold"))  # not the title of the table, which would wrap
    out.print(grid("", ("process", "state", "port", "pid"), rows))
    with local.embedded_servers(settings()) as servers:
        for pipeline in sound_pipelines():
            work = Workspace(pipeline, servers).readable()
            _print_load_dates(work, everything)
            _say_waived(work)
            _say_growing(work, datetime.now(timezone.utc))
            _say_asking(pipeline, datetime.now(timezone.utc))
            say_waiting(pipeline.name, find_waiting(work))
            say_switch(work)


def _print_load_dates(work: Workspace, everything: bool) -> None:
    pipeline = work.pipeline
    with connect(work.server, pipeline.name, "status", read_only=True) as connection:
        states = run_states.by_load_date(connection)
    objects = [table.object_name for table in pipeline.object_tables]
    layers = {"s3": objects} if objects else {}
    for relation in pipeline.tables:
        layers.setdefault(relation.schema, []).append(str(relation))
    days = sorted(states)
    shown = days if everything else days[-SHOWN:]
    rows = [(day, *(_cell(states[day], due_names(pipeline, names, day)) for names in layers.values())) for day in shown]
    out.print(grid(f"{pipeline.name}: load_dates by layer", ("load_date", *layers), rows))
    if len(shown) < len(days):
        say(f"{len(days) - len(shown)} earlier load_dates: --all shows them.")
    if not days:
        name = pipeline.name
        say(f"{name}: nothing has been run yet in {work.place}; `kpi plan {name}` says what has landed there.")


def _say_waived(work: Workspace) -> None:
    """Say what is published on a person's word: the latest load_dates, and how many more there are."""
    name = work.pipeline.name
    with connect(work.server, name, "status", read_only=True) as connection:
        found = rulings.shown(connection, date.min, date.max)
    say_waived(found[-WAIVED:])
    if (more := len(found) - WAIVED) > 0:
        say(styled("waived", "yellow"), f" {more} more before that: `kpi plan {name}`.")


def _say_growing(work: Workspace, now: datetime) -> None:
    """Say how far each load_date that grows is built. A store that cannot be read hides nothing else."""
    pipeline = work.pipeline
    if not pipeline.stream_tables:
        return
    found: dict[date, Growing] = {}
    with connect(work.server, pipeline.name, "status", read_only=True) as connection:
        lacking = growth.with_problems(connection)
        try:
            store = open_store(pipeline, work.settings)
            found = find_growing(pipeline, connection, store, pipeline.config.start_date, now.date(), now)
        except LakeError as error:
            say(f"{pipeline.name}: which load_dates grow is ", styled("not known", "red"), f": {error}")
    for day, each in found.items():
        say(f"{pipeline.name}: load_date {day} ", styled("grows", "green"), f" ({each.facts}).")
    for day, problems in lacking.items():
        for problem in problems:
            say(f"{pipeline.name}: load_date {day} was closed and is ", styled("not whole", "red"), f": {problem}")


def _say_asking(pipeline: Pipeline, now: datetime) -> None:
    """Say from when APIs are asked for the latest load_dates."""
    for day in (now.date() - timedelta(days=1), now.date()):
        tables = [table for table in pipeline.object_tables if pipeline.is_table_due(table, day)]
        times = [at for table in tables if (at := next_asking(pipeline, table, day, now))]
        if times:
            say(f"{pipeline.name}: APIs are asked for load_date {day} from {minute(min(times))} on.")


def _cell(states: dict[str, str], names: list[str]) -> Text:
    """Return the state of a layer of a load_date: the worst of its tables that are due, or published."""
    if not names:
        return styled("not due", "dim")
    found = [states.get(name, "missing") for name in names]
    for word in ("running", "held", "failed"):
        if word in found:
            which = ", ".join(name.partition(".")[2] for name, state in zip(names, found, strict=True) if state == word)
            return styled(f"{word}: {which}", STYLES[word])
    done, gone = found.count("published"), found.count("dropped")
    if done == len(names):
        return styled("published", STYLES["published"])
    if gone and done + gone == len(names):
        return styled("dropped" if gone == len(names) else f"published, {gone} dropped", STYLES["dropped"])
    return styled(f"{done} of {len(names)} published", STYLES["partly"]) if done else styled("missing", "dim")
