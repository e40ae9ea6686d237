"""`kpi recheck`: runs the checks again on published rows."""

import uuid
from collections.abc import Sequence
from datetime import date

import typer

from kpi_assets.cli import HELD
from kpi_assets.cli.arguments import LoadDateOrRunDate, PipelineName, Select
from kpi_assets.cli.selection import select_names
from kpi_assets.cli.show import show_checks
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UserError
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.recheck import recheck as recheck_table
from kpi_assets.sources.store import open_store


def recheck(pipeline: PipelineName, load_date: LoadDateOrRunDate, select: Select = "") -> None:
    """Run the checks again on the published rows of a load_date and record the results; nothing is built."""
    found = pipeline_of(pipeline)
    found.check_load_date(load_date)
    names = [name for name in select_names(found, select) if not name.startswith("s3.")]
    with open_workspace(pipeline) as work:
        run_id = str(uuid.uuid4())
        held = recheck_tables(work.ready(), load_date, names, run_id, was_selected=bool(select))
        show_checks(work, load_date, run_id=run_id)
    raise typer.Exit(HELD if held else 0)


def recheck_tables(work: Workspace, load_date: date, names: Sequence[str], run_id: str, *, was_selected: bool) -> bool:
    """Recheck the named tables and return whether any result would hold them. Raises UserError if none is published."""
    store = open_store(work.pipeline, work.settings)
    context = BuildContext(work.pipeline, work.server, store, run_id)
    checked, held = 0, False
    for name in names:
        try:
            results = recheck_table(context, work.pipeline.table(name), load_date)
        except UpstreamError:
            if was_selected:
                raise
            continue
        checked += 1
        held = held or any(result.blocks_publish for result in results)
    if not checked:
        raise UserError(
            f"Nothing of {work.pipeline.name} is published for {load_date} in {work.place}: run that load_date first."
        )
    return held
