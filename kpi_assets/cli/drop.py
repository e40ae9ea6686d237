"""`kpi drop`: drops a table with all its load_dates, after it has said what will be dropped."""

from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName
from kpi_assets.cli.terminal import say, styled
from kpi_assets.cli.workspace import open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.materialize.drop import drop_table, published_tables
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.views import latest_of


def drop(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    yes: Annotated[bool, typer.Option("--yes", help="Drop it without asking.")] = False,
) -> None:
    """Drop a table and all its load_dates, because its file was renamed or removed, or its storage changes."""
    found = pipeline_of(pipeline)
    try:
        relation = Relation.parse(table)
    except ValueError as error:
        raise UsageError(f"{error}: name the table as `kpi plan {pipeline}` does.") from None
    with open_workspace(pipeline) as work:
        with connect(work.readable().server, pipeline, "drop") as connection:
            published = {each.asset: each for each in published_tables(connection)}
        if table not in published and relation in found.live:
            raise UsageError(
                f"{table} is a live view, which stores nothing: remove {found.live[relation].path}, and the next run "
                "drops it."
            )
        if table not in published:
            known = ", ".join(published) or "nothing"
            raise UsageError(f"Nothing of {table} is published in {pipeline} of {work.place}: there is {known}.")
        again = "no file describes it"
        if relation in found.tables:
            again = "its file is there, so `kpi backfill` builds it again"
        elif relation in found.live:
            again = "its file is there, so the next run makes the live view"
        with connect(work.server, pipeline, "drop") as connection:
            view = latest_of(connection, relation)
        dropped = f" and its view {view} will be dropped" if view else " will be dropped"
        say(f"{published[table]}{dropped}; {again}.")
        if not yes and not _confirmed():
            say("Nothing was dropped.")
            raise typer.Exit(1)
        drop_table(work.server, pipeline, relation, lambda _phase, _done, _total: None)
    say(styled("dropped", "green"), f" {published[table]}; the ledger keeps what was published.")


def _confirmed() -> bool:
    try:
        return typer.confirm("Drop it?")
    except typer.Abort:
        raise UsageError("Nobody answered, so nothing was dropped: give --yes to drop it.") from None
