"""`kpi quality`: prints the quality scores of a load_date. Nothing is checked and nothing changes."""

from collections.abc import Iterator
from typing import Annotated

import typer
from rich.text import Text

from kpi_assets.cli.arguments import LoadDate, PipelineName, ReportFormat
from kpi_assets.cli.show import STYLES
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import open_workspace
from kpi_assets.ledger.results import Scored
from kpi_assets.model.quality import DIMENSIONS, rounded, table_score
from kpi_assets.printable import strict_json
from kpi_assets.read.quality import QualityReport, read_quality, scores_of
from kpi_assets.warehouse.connection import connect

_STATES = {"published": STYLES["pass"], "rechecked": STYLES["pass"], "held": STYLES["fail"], "failed": STYLES["fail"]}
_LETTERS = 8  # of a run_id, as in the names of sessions


def quality(
    pipeline: PipelineName,
    load_date: LoadDate = None,
    format: Annotated[ReportFormat, typer.Option(help="How to print the report.")] = ReportFormat.table,  # noqa: A002
) -> None:
    """Print the quality scores of a load_date, by table and dimension; the one that was scored last by default."""
    with (
        open_workspace(pipeline) as work,
        connect(work.readable().server, work.pipeline.name, "quality", read_only=True) as connection,
    ):
        report = read_quality(connection, work.pipeline, load_date, place=work.place)
    if format is ReportFormat.json:
        typer.echo(strict_json(report.as_json(), indent=2))
    else:
        _print_tables(report)


def _print_tables(report: QualityReport) -> None:
    title = f"{report.pipeline}, load_date {report.load_date}"
    dimensions = [dimension.replace("_", " ") for dimension in DIMENSIONS]
    figures = ("score", "at least", *dimensions, "rows")
    of_run = "run" if len(report.run_ids) > 1 else None
    rows = [(*_table_row(table), *([table.run_id[:_LETTERS]] if of_run else [])) for table in report.tables]
    in_all = (_number(report.score), None, *map(_number, report.dimensions.values()), f"{report.rows:,}", None)
    rows.append((styled("in all", "bold"), *in_all, *([None] if of_run else [])))
    columns = ("table", *figures, "state", *([of_run] if of_run else []))
    out.print(grid(f"{title}: quality", columns, rows, right=figures))
    checks = [row for table in report.tables for row in _check_rows(table)]
    columns = ("table", "dimension", "check", "bad", "of rows")
    out.print(grid(f"{title}: what the checks counted", columns, checks, right=("bad", "of rows")))
    if report.left_out:
        say(
            f"These are the scores of run {report.run_ids[0][:_LETTERS]}, which did not publish everything. Left out "
            f"are those of earlier runs: {', '.join(report.left_out)}."
        )


def _table_row(table: Scored) -> tuple[str | Text | None, ...]:
    scores = scores_of(table)
    score = _number(rounded(table_score(scores)))
    limit = None if table.at_least is None else f"{table.at_least:g}"
    of_dimensions = (_number(rounded(scores[each])) if each in scores else None for each in DIMENSIONS)
    return (
        table.table_name,
        styled(score, STYLES[table.status]),
        limit,
        *of_dimensions,
        f"{table.rows:,}",
        styled(table.state, _STATES.get(table.state, STYLES["warn"])),
    )


def _check_rows(table: Scored) -> Iterator[tuple[str | Text, ...]]:
    for count in table.counts:
        style = STYLES["warn" if count.bad else "pass"]
        yield table.table_name, count.dimension, count.name, styled(f"{count.bad:,}", style), f"{count.rows:,}"


def _number(score: float | None) -> str | None:
    return None if score is None else f"{score:.2f}"
