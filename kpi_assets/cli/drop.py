"""`kpi drop`: drops a table with all its load_dates, or one of them, after it has said what will be dropped."""

import uuid
from datetime import date
from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName, date_option
from kpi_assets.cli.terminal import say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.ledger import mirrors
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.drop import (
    drop_load_date,
    drop_table,
    find_objects,
    published_load_date,
    published_tables,
)
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.thresholds import report_breached
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.views import latest_of


def drop(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    load_date: Annotated[
        date | None, date_option("--load-date", help="Take only this load_date out, as if it had never been published.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Drop it without asking.")] = False,
) -> None:
    """Drop a table because its file was renamed or removed or its storage changes; or take one load_date out of it."""
    found = pipeline_of(pipeline)
    try:
        relation = Relation.parse(table)
    except ValueError as error:
        raise UsageError(f"{error}: name the table as `kpi plan {pipeline}` does.") from None
    with open_workspace(pipeline) as work:
        with connect(work.readable().server, pipeline, "drop") as connection:
            published = {each.asset: each for each in published_tables(connection)}
            is_left = table not in published and load_date is None and mirrors.is_on_lake(connection, relation)
        if table not in published and not is_left and relation in found.live:
            raise UsageError(
                f"{table} is a live view, which stores nothing: remove {found.live[relation].path}, and the next run "
                "drops it."
            )
        if table not in published and not is_left:
            known = ", ".join(published) or "nothing"
            raise UsageError(f"Nothing of {table} is published in {pipeline} of {work.place}: there is {known}.")
        if load_date is not None:
            dropped = _drop_load_date(work, found, relation, load_date, yes=yes)
        else:
            again = "no file describes it"
            if relation in found.tables:
                again = "its file is there, so `kpi backfill` builds it again"
            elif relation in found.live:
                again = "its file is there, so the next run makes the live view"
            with connect(work.server, pipeline, "drop") as connection:
                view = latest_of(connection, relation)
            and_view = f" and its view {view} will be dropped" if view else " will be dropped"
            dropped = f"what the lake still has of {table}" if is_left else str(published[table])
            say(f"{dropped}{and_view}; {again}.")
            _confirm(yes=yes)
            drop_table(work.server, pipeline, relation, lambda _phase, _done, _total: None)
        with connect(work.server, pipeline, "drop") as connection:  # the latest load_date of a KPI may be another one
            record_declared(connection, found)
            report_breached(connection, found)
    say(styled("dropped", "green"), f" {dropped}; the ledger keeps what was published.")


def _drop_load_date(work: Workspace, pipeline: Pipeline, relation: Relation, load_date: date, *, yes: bool) -> str:
    """Take one load_date out of a table, after saying what that means; return what was taken out."""
    if relation not in pipeline.tables:
        raise UsageError(f"No file describes {relation}, so it can only be dropped whole: leave --load-date out.")
    table = pipeline.tables[relation]
    if not table.storage.stores_rows:
        raise UsageError(f"{relation} stores no rows: drop the load_date of {table.origin.relation}, which it shows.")
    with connect(work.server, pipeline.name, "drop") as connection:
        found = published_load_date(connection, pipeline, table, load_date, place=work.place)
    shown = f" and of {', '.join(map(str, found.views))}, which shows it," * bool(found.views)
    say(f"{found}{shown} will be dropped.")
    for reader in found.readers:
        say(f"It was read by {reader}, which stays as it is until it is built again.")
    store = open_store(pipeline, work.settings)
    try:
        objects = find_objects(store, pipeline, table, load_date)
    except LakeError as error:
        objects = []
        say(styled("warning:", "yellow"), f" It is not known whether its objects lie on S3: {error}")
    if objects:
        who = "the sensor or the next run" if table.has_object else "the next run"
        say(
            styled("warning:", "yellow"),
            f" {', '.join(objects)} of {load_date} still lies on S3, so {who} of {load_date} builds it again: remove "
            "what should not have landed first.",
        )
    _confirm(yes=yes)
    drop_load_date(BuildContext(pipeline, work.server, store, str(uuid.uuid4())), found)
    return str(found)


def _confirm(*, yes: bool) -> None:
    """Ask unless `yes` is given. Raises typer.Exit if the answer is no, and UsageError if there is none."""
    try:
        if yes or typer.confirm("Drop it?"):
            return
    except typer.Abort:
        raise UsageError("Nobody answered, so nothing was dropped: give --yes to drop it.") from None
    say("Nothing was dropped.")
    raise typer.Exit(1)
