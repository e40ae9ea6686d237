"""`kpi trace`: from a row of any table down to the raw rows that it comes from, and to their records on S3."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from kpi_assets.cli.arguments import LoadDate, Personal, PipelineName
from kpi_assets.cli.terminal import err, out, progress_bar, styled
from kpi_assets.cli.workspace import open_workspace, pipeline_of
from kpi_assets.model.excerpt import cut
from kpi_assets.printable import strict_json
from kpi_assets.read.trace import Row, Step, add_origins, mask, parse_key, trace_rows
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import NOTHING, UNLOGGED, connect

_VALUE = 80  # characters of a value in the tree


class TreeFormat(str, Enum):
    """How a trace is printed: as a tree for people, or as JSON for programs."""

    tree = "tree"
    json = "json"


def trace(
    pipeline: PipelineName,
    table: Annotated[str, typer.Argument(metavar="SCHEMA.TABLE")],
    key: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY...", help="column=value, or values of the grain in its order; some of them are enough."
        ),
    ],
    load_date: LoadDate = None,
    format: Annotated[TreeFormat, typer.Option(help="How to print the rows.")] = TreeFormat.tree,  # noqa: A002
    pii: Personal = False,
) -> None:
    """Print the rows that a row comes from, down to object and line on S3; of the latest load_date by default."""
    found = pipeline_of(pipeline).table(table)
    values = parse_key(found, key)
    with open_workspace(pipeline) as work:
        work.readable()
        more = UNLOGGED if work.pipeline.has_pii else NOTHING
        with connect(work.server, work.pipeline.name, "trace", more=more, read_only=True) as connection:
            with err.status("") as status:  # shown on a terminal only
                step = trace_rows(
                    connection,
                    work.pipeline,
                    found,
                    values,
                    load_date,
                    place=work.place,
                    on_table=lambda relation: status.update(f"reading {relation}"),
                )
            add_origins(connection, open_store(work.pipeline, work.settings), step, _watch)
    if not pii:
        mask(step)
    if format is TreeFormat.json:
        typer.echo(strict_json(_as_json(step), indent=2))
    else:
        out.print(_as_tree(step), soft_wrap=True)


def _watch(title: str, size: int) -> AbstractContextManager[Callable[[int], None]]:
    return progress_bar(title, size, in_bytes=True)


def _as_tree(step: Step, above: Tree | None = None) -> Tree:
    """Return the rows of a step and of all steps below it as a tree."""
    days = f" of {_days(step)}" if step.counts else ""
    by = f", by {', '.join(step.by)}" if step.by and above else ""
    what = f"{step.count:,} row{'s' * (step.count != 1)}"
    title = Text().join([styled(step.table.relation, "bold"), styled(f"{days}: {what}{by}", "")])
    tree = Tree(title) if above is None else above.add(title)
    for row in step.rows:
        tree.add(styled(_row_text(step, row), ""))
    if step.count > len(step.rows):
        tree.add(styled(f"... and {step.count - len(step.rows):,} more", "dim"))
    for note in step.notes:
        tree.add(styled(f"note: {note}", "yellow"))
    for column, expression in step.computed.items():
        tree.add(styled(f"{column} is computed: {expression}", "dim"))
    for source in step.sources:
        _as_tree(source, tree)
    return tree


def _days(step: Step) -> str:
    days = sorted(step.counts)
    return str(days[0]) if len(days) == 1 else f"{len(days)} load_dates from {days[0]} to {days[-1]}"


def _row_text(step: Step, row: Row) -> str:
    """Return a row as one line: for a raw row where its record is, and else its values."""
    day = [f"load_date={row.load_date}"] if len(step.counts) > 1 else []
    if row.origin is None:
        return ", ".join([*day, *(f"{name}={_shown(value)}" for name, value in row.values.items())])
    grain = ", ".join([*day, *(f"{name}={_shown(row.values[name])}" for name in step.table.header.grain)])
    place = f"{row.origin.place} {row.origin.line}"
    return f"{grain}: {row.origin.object} {place}: {cut(row.origin.record, 4 * _VALUE)}"


def _shown(value: str | None) -> str:
    return "NULL" if value is None else cut(value, _VALUE)


def _as_json(step: Step) -> dict[str, Any]:
    return {
        "table": str(step.table.relation),
        "by": list(step.by),
        "count": step.count,
        "load_dates": {str(day): count for day, count in step.counts.items()},
        "rows": [
            {
                "load_date": str(row.load_date),
                "values": dict(row.values),
                "origin": None
                if row.origin is None
                else {"object": row.origin.object, "line": row.origin.line, "record": row.origin.record},
            }
            for row in step.rows
        ],
        "computed": dict(step.computed),
        "notes": list(step.notes),
        "sources": [_as_json(source) for source in step.sources],
    }
