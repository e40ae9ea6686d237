"""`kpi retention`: prints or drops what is older than the files keep: load_dates, and earlier contents of them."""

import uuid
from datetime import datetime, timezone
from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.ledger import kept
from kpi_assets.materialize import keep
from kpi_assets.materialize import retention as build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.provision import role_of


def retention(
    pipeline: PipelineName,
    drop: Annotated[bool, typer.Option("--drop", help="Drop them; `kpi run` builds them again from S3.")] = False,
) -> None:
    """Print the load_dates that are older than pipeline.yaml keeps, and what is kept for a rollback.

    --drop drops these load_dates, and what is kept longer than `rollback` says.
    """
    found = pipeline_of(pipeline)
    with open_workspace(pipeline) as opened:
        work = opened.ready() if drop else opened.readable()
        with connect(work.server, pipeline, "retention", read_only=True) as connection:
            is_keeping = bool(kept.every(connection))
        if not (found.has_retention or is_keeping):
            raise UsageError(
                f"{pipeline} keeps everything: write retention, such as {{raw: 400}} days, into "
                f"{found.path / 'pipeline.yaml'} to change that."
            )
        left = _retain(work, drop=drop) if found.config.retention else []
        if found.lake_tables:
            _settle(work, drop=drop)
        if is_keeping:
            _print_kept(work, drop=drop)
    raise typer.Exit(1 if left else 0)


def _settle(work: Workspace, *, drop: bool) -> None:
    """Clear up what builds have left on the lake, and print what was done."""
    if not drop:
        say("--drop also clears up what builds have left on the lake.")
        return
    store = open_store(work.pipeline, work.settings)
    for sentence in build.settle_lake(BuildContext(work.pipeline, work.server, store, str(uuid.uuid4()))):
        say(sentence)


def _print_kept(work: Workspace, *, drop: bool) -> None:
    """Print what is kept for a rollback, and drop what is kept longer than `rollback` says."""
    pipeline = work.pipeline
    if drop:
        store = open_store(pipeline, work.settings)
        context = BuildContext(pipeline, work.server, store, str(uuid.uuid4()))
        for table in {role_of(pipeline.layer(each.relation)): each for each in pipeline.tables.values()}.values():
            with context.session(table, "retention") as connection:
                dropped = keep.drop_due(context, connection, table)
            for each in dropped:
                say(styled("dropped", "green"), f" {each.rows:,} kept rows of {each.asset} of {each.load_date}")
    with connect(work.server, pipeline.name, "retention", read_only=True) as connection:
        found = kept.every(connection)
    rows = [
        (asset, number, f"{size / 1e6:,.1f}") for asset, (number, size) in sorted(keep.bytes_by_table(found).items())
    ]
    if rows:
        out.print(
            grid(f"{pipeline.name}: kept for a rollback", ("table", "contents", "MB"), rows, right=("contents", "MB"))
        )


def _retain(work: Workspace, *, drop: bool) -> list[str]:
    """Print what is due, or drop it and print what was dropped; return what was left for the next time."""
    pipeline = work.pipeline
    with connect(work.server, pipeline.name, "retention", read_only=True) as connection:
        found = build.find_due(connection, pipeline, datetime.now(timezone.utc).date())
    left = []
    if drop:
        store = open_store(pipeline, work.settings)
        context = BuildContext(pipeline, work.server, store, str(uuid.uuid4()))
        outcomes = list(build.drop_due(context, found))
        left = [
            f"{publish.asset} of {publish.load_date}: {kept_reason}" for publish, kept_reason in outcomes if kept_reason
        ]
        found = [publish for publish, kept_reason in outcomes if not kept_reason]
    if found:
        rows = [
            (t.asset, t.load_dates, t.first, t.last, f"{t.rows:,}", f"{t.size_bytes / 1e6:,.1f}")
            for t in build.totals_by_table(found)
        ]
        columns = ("table", "load_dates", "first", "last", "rows", "MB")
        title = f"{pipeline.name}: {'dropped' if drop else 'older than its retention'}"
        out.print(grid(title, columns, rows, right=("load_dates", "rows", "MB")))
    for sentence in left:
        say(styled("left", "yellow"), " ", sentence)
    if not found and not left:
        say(f"Nothing of {pipeline.name} is older than its retention.")
    elif not drop:
        say("Nothing was dropped: --drop drops it.")
    return left
