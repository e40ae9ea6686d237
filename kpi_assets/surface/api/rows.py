"""The rows of a KPI: filtered by its dimensions, in order, in pages, as JSON, CSV, Parquet or Arrow.

A page is of one publish. The address of the next page names the publish: once its rows were replaced, the next page is
a problem that says to begin again, so that nobody puts rows of two publishes together.

Belongs here: the parameters of rows, and pages. Not here: reading rows (read/breakdown.py), and writing them as files
(files.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from psycopg import Connection

from kpi_assets.errors import UsageError, UserError
from kpi_assets.model.names import LOW_VOLUME
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.query import digest
from kpi_assets.model.sentences import shown
from kpi_assets.model.table import Table
from kpi_assets.read.breakdown import Breakdown, Direction, Filter, Operator, dimensions_of, read_parts
from kpi_assets.read.kpis import KpiState, Point
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.api import files
from kpi_assets.surface.api.answers import API, RowsAnswer, columns_of, finality_of, links_of, trust_of
from kpi_assets.surface.api.exact import objects, write
from kpi_assets.surface.api.finding import GONE, PROBLEMS, address_of, day_of, kpi_named
from kpi_assets.surface.api.parameters import (
    AsOf,
    LoadDate,
    PipelineName,
    TableName,
    declared,
    in_time,
    refuse_others,
    route_name,
)

Format = Literal["json", "csv", "parquet", "arrow"]
MOST = 100_000  # rows of a page
CHUNK = 5_000  # rows that are read at once: no more are objects of Python at a time
FEW = 1_000  # rows of a page of JSON, unless `limit` says more
LONGEST = 1_000  # characters of a value that is looked for
OPERATORS = get_args(Operator)
_BEGIN = "Leave cursor out to begin again."
_CURSOR = re.compile(r"([1-9][0-9]{0,17})-([1-9][0-9]{0,11})-([0-9a-f]{16})")
_FILTERS = {
    "name": "filters",
    "in": "query",
    "required": False,
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "Filters by dimension: `order_dow=1`, given again for another value; with an operator, "
    f"`order_dow.ge=3`, which is one of {', '.join(OPERATORS)}. A dimension with the name of a parameter is written "
    "`limit.eq=5`. `dimensions` of a KPI lists them.",
}

router = APIRouter(prefix=API, tags=["KPIs"], generate_unique_id_function=route_name)


@dataclass(frozen=True)
class Wanted:
    """Which rows of which load_date are wanted, and in what form; `offset` and `publish_id` are those of a cursor."""

    load_date: date | None
    as_of: datetime | None
    format: Format
    limit: int
    filters: Sequence[Filter]
    order: Sequence[tuple[str, Direction]]
    publish_id: int | None = None
    offset: int = 0

    @property
    def question(self) -> str:
        """16 hex digits that are the same for all pages of one question."""
        return digest(repr((self.load_date, self.as_of, self.filters, self.order)))

    def cursor(self, publish_id: int, offset: int) -> str:
        """Return the cursor of the page that begins at a row of a publish."""
        return f"{publish_id}-{offset}-{self.question}"

    def continued(self, cursor: str) -> "Wanted":
        """Return the page of a cursor. Raises Problem 422 if it is none of this question."""
        found = _CURSOR.fullmatch(cursor)
        if found is None or found[3] != self.question:
            raise Problem(
                422,
                "The parameter cursor is wrong.",
                "It is that of another question: take links.next as it is, or leave cursor out to begin.",
            )
        return replace(self, publish_id=int(found[1]), offset=int(found[2]))


@router.get(
    "/kpis/{pipeline}/{table}/rows",
    response_model=RowsAnswer,
    responses={
        200: {
            "description": "The rows, of the publish that `X-Publish-Id` names; `Link` leads to the next page.",
            "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in files.MEDIA.values()},
        },
        **PROBLEMS,
        **GONE,
    },
    openapi_extra={"parameters": [_FILTERS]},
    summary="The rows of one load_date, as readers see them",
)
async def rows(
    request: Request,
    pipeline: PipelineName,
    table: TableName,
    load_date: LoadDate = None,
    as_of: AsOf = None,
    format: Annotated[  # noqa: A002
        Format, Query(description="CSV is made for spreadsheets: a text that one would execute begins with a '.")
    ] = "json",
    limit: Annotated[
        int | None,
        Query(ge=1, le=MOST, description=f"The most rows of a page: by default {FEW:,}, of a file {MOST:,}."),
    ] = None,
    order: Annotated[
        str | None,
        Query(
            description="Columns, with a - for the highest first: `-total_orders,order_dow`. By default the grain.",
            max_length=LONGEST,
        ),
    ] = None,
    cursor: Annotated[str | None, Query(description="Where the next page begins: see links.", max_length=100)] = None,
) -> Response:
    """The rows behind the numbers. All rows of a page, and all pages of a cursor, are of one publish."""
    found, kpi_table = kpi_named(request, pipeline, table)
    names, dimensions = declared(request), dimensions_of(kpi_table)
    wanted = Wanted(
        load_date=load_date,
        as_of=as_of,
        format=format,
        limit=limit or (FEW if format == "json" else MOST),
        filters=filters_of(request, names, dimensions),
        order=order_of(order, kpi_table),
    )
    if cursor is not None:
        wanted = wanted.continued(cursor)
    files.check_there(format)
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]

    def make(reading: Reading) -> Body:
        in_time(as_of, reading.now)
        return _page(reading, found, kpi_table, wanted, address_of(request), query)

    return await answer(request, [found.name], make, reads=[kpi_table.relation])


def filters_of(request: Request, names: Sequence[str], dimensions: Sequence[str]) -> list[Filter]:
    """Return the filters of a request. Raises Problem 422 for what is neither a parameter nor a dimension."""
    words = {f"{column}.{operator}": (column, operator) for column in dimensions for operator in OPERATORS}
    words |= {column: (column, "eq") for column in dimensions if column not in names}
    refuse_others(request, [*names, *(column for column in dimensions if column not in names)], repeated=words)
    found: dict[tuple[str, Any], list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name in names:
            continue
        if len(value) > LONGEST or "\0" in value:
            raise Problem(422, f"The filter {name} is wrong.", f"Give at most {LONGEST:,} characters, and no NUL.")
        found.setdefault(words[name], []).append(value)
    for (column, operator), values in found.items():
        if operator not in ("eq", "ne") and len(values) > 1:
            raise Problem(422, f"The filter {column}.{operator} is given more than once.", "Give it once.")
    return [Filter(column, values, operator) for (column, operator), values in found.items()]


def order_of(text: str | None, table: Table) -> list[tuple[str, Direction]]:
    """Return the columns of the parameter `order`, and then the grain. Raises Problem 422 for another column."""
    columns = [name for name in table.columns if name != LOW_VOLUME]
    found: dict[str, Direction] = {}
    for word in text.split(",") if text is not None else ():
        name = word.removeprefix("-")
        if name not in columns:
            raise Problem(
                422, "The parameter order is wrong.", f"{shown(name)} is no column: it has {', '.join(columns)}."
            )
        if name in found:
            raise Problem(422, "The parameter order is wrong.", f"It names {name} twice.")
        found[name] = "desc" if word.startswith("-") else "asc"
    return [*found.items(), *((name, "asc") for name in table.header.grain if name not in found)] if found else []


def _page(
    reading: Reading,
    pipeline: Pipeline,
    table: Table,
    wanted: Wanted,
    itself: str,
    query: Sequence[tuple[str, str]],
) -> Body:
    day = wanted.load_date
    if wanted.publish_id is not None:
        if not reading.has(pipeline):
            raise _replaced(wanted.publish_id, _BEGIN)
        day = _still_shown(reading.of(pipeline), table, wanted.publish_id)
    kpi, point = day_of(reading, pipeline, table, day, wanted.as_of)
    connection = reading.of(pipeline)
    _check_rows_are_there(connection, kpi, point)
    chunks = _chunks(connection, kpi, point, wanted)
    first = next(chunks)
    ends = wanted.offset + wanted.limit
    links = links_of(kpi, itself, load_date=wanted.load_date)
    headers = {"X-Load-Date": str(point.load_date), "X-Publish-Id": str(point.publish_id), "X-Gate": kpi.gate}
    if point.waived:
        headers["X-Waived"] = str(len(point.waived))
    headers |= {f"X-{name.title().replace('_', '-')}": text for name, text in finality_of(kpi, point).items()}
    if ends < first.total:
        query = [*query, ("cursor", wanted.cursor(point.publish_id, ends))]
        links["next"] = f"{itself.partition('?')[0]}?{urlencode(query)}"
        headers["Link"] = f'<{links["next"]}>; rel="next"'
    if wanted.format == "json":
        return Body(_json(kpi, point, first, chunks, links), "application/json", headers)
    headers["Content-Disposition"] = f'attachment; filename="{files.name_of(kpi, point, wanted.format)}"'
    return Body(files.write(wanted.format, kpi, point, first, chunks), files.MEDIA[wanted.format], headers)


def _still_shown(connection: Connection[Any], table: Table, publish_id: int) -> date:
    """Return the load_date of a publish that readers are shown. Raises Problem 410 if it was replaced."""
    rows = connection.execute(
        "select load_date from ops.published where publish_id = %s and asset = %s", [publish_id, str(table.relation)]
    ).fetchall()
    for (load_date,) in rows:
        assert isinstance(load_date, date)
        return load_date
    raise _replaced(publish_id, _BEGIN)


def _replaced(publish_id: int, advice: str) -> Problem:
    return Problem(
        410, f"The rows of publish {publish_id} are there no more.", f"They were replaced or dropped since. {advice}"
    )


def _check_rows_are_there(connection: Connection[Any], kpi: KpiState, point: Point) -> None:
    """Raise Problem 410 if the rows of a load_date were dropped, or were replaced after the instant asked for.

    Raises Problem 404 if the schema of the KPI is none that readers may read: its measures are all that they see.
    """
    if kpi.table.relation.schema not in kpi.pipeline.config.readers:
        raise Problem(404, f"The rows of {kpi.table.relation} are not for readers.", "Its measures are: see …/series.")
    if point.dropped_at is not None:
        raise Problem(
            410,
            f"The rows of {kpi.table.relation} of {point.load_date} are there no more.",
            "Retention dropped them. The measures are kept: see …/series.",
        )
    if kpi.as_of is not None:
        found = connection.execute("select 1 from ops.published where publish_id = %s", [point.publish_id]).fetchall()
        if not found:
            raise _replaced(point.publish_id, "The measures are kept: see …/series with as_of.")


def _chunks(connection: Connection[Any], kpi: KpiState, point: Point, wanted: Wanted) -> Iterator[Breakdown]:
    """Yield the rows of a page, a part at a time; at least one part, and all of one snapshot."""
    try:
        yield from read_parts(
            connection,
            kpi.pipeline,
            kpi.table,
            point.load_date,
            size=CHUNK,
            publish_id=point.publish_id,
            filters=wanted.filters,
            order=wanted.order,
            limit=wanted.limit,
            offset=wanted.offset,
        )
    except UsageError as error:
        raise Problem(422, "A filter or the order is wrong.", str(error)) from None
    except UserError as error:
        raise Problem(
            410, f"The rows of {kpi.table.relation} of {point.load_date} are there no more.", str(error)
        ) from None


def _json(kpi: KpiState, point: Point, first: Breakdown, rest: Iterator[Breakdown], links: Mapping[str, str]) -> bytes:
    """Return a page as JSON, in the form of RowsAnswer; no more than one part of it are objects at a time."""
    columns = columns_of(kpi, first.columns, dict(zip(first.columns, first.types, strict=True)))
    parts = [f'{{"id":{write(kpi.id)},"columns":{write(columns)},"rows":[']
    parts += (",".join(_lines(first)),)
    for chunk in rest:
        if chunk.rows:
            parts += ",", ",".join(_lines(chunk))
    end = {"total": first.total, "left_out": first.left_out, "trust": trust_of(kpi, point), "links": links}
    parts += "],", write(end).removeprefix("{")
    return "".join(parts).encode()


def _lines(chunk: Breakdown) -> Iterator[str]:
    return objects(chunk.columns, chunk.types, chunk.rows)
