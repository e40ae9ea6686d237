"""Arguments and options that several commands take, and their shell completion.

Not here: finding the pipeline or the tables of a name (workspace.py, selection.py).
"""

from datetime import date
from enum import Enum
from typing import Annotated, Any

import typer

from kpi_assets.errors import UserError
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.tree import pipeline_names
from kpi_assets.settings import settings


class ReportFormat(str, Enum):
    """How a report is printed: as a table for people, or as JSON for programs."""

    table = "table"
    json = "json"


def _date(text: str) -> date:
    try:
        return parse_date(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def complete_pipeline(incomplete: str) -> list[str]:
    """Return the names of pipelines that begin with the text; none if the settings cannot be read."""
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
Personal = Annotated[
    bool,
    typer.Option("--pii", help="Print personal values too, for whoever may see them. Without it they are masked."),
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
        help="Only these, separated by commas: schema.table, s3.object, a schema; +x adds all upstream of x, x+ all "
        "downstream.",
    ),
]


def date_option(*names: str, help: str, envvar: str | None = None) -> Any:  # noqa: A002
    """Return an option that takes a date."""
    return typer.Option(*names, parser=_date, metavar="YYYY-MM-DD", help=help, envvar=envvar)


def date_argument(metavar: str, help: str) -> Any:  # noqa: A002
    """Return an argument that is a date."""
    return typer.Argument(parser=_date, metavar=metavar, help=help)
