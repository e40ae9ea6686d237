"""Arguments and options that several commands take, and what a shell completes them with.

Not here: what is found under a name (workspace.py, selection.py).
"""

from datetime import date
from typing import Annotated, Any

import typer

from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import parse_date
from kpi_assets.model.tree import pipeline_names
from kpi_assets.settings import settings


def _date(text: str) -> date:
    try:
        return parse_date(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def complete_pipeline(incomplete: str) -> list[str]:
    """The pipelines that a name may become; none where the settings cannot be read."""
    try:
        return [name for name in pipeline_names(settings().sql_dir) if name.startswith(incomplete)]
    except UserError:
        return []


PipelineName = Annotated[
    str,
    typer.Argument(
        metavar="PIPELINE", help="A folder below sql/, such as instacart.", autocompletion=complete_pipeline
    ),
]
LoadDate = Annotated[date | None, typer.Option(parser=_date, metavar="YYYY-MM-DD", help="The load_date.")]
LoadDateOrRunDate = Annotated[
    date,
    typer.Option(
        "--load-date", parser=_date, metavar="YYYY-MM-DD", envvar="RUN_DATE", help="The load_date; RUN_DATE by default."
    ),
]
Select = Annotated[
    str,
    typer.Option(
        metavar="KEYS",
        help="Only these, by commas: schema.table, s3.object, a schema; +x takes all before it, x+ all after.",
    ),
]


def date_option(*names: str, help: str, envvar: str | None = None) -> Any:  # noqa: A002
    """An option that takes a date."""
    return typer.Option(*names, parser=_date, metavar="YYYY-MM-DD", help=help, envvar=envvar)
