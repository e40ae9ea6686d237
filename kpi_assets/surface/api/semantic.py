"""The tables and measures of readers as a semantic model for other tools, in the form of Apache Ossie: experimental.

Ossie is a draft, so its version is pinned here, and what it has no words for is an extension of our own. It has no
dialect of PostgreSQL; what a measure may say is standard SQL.

Belongs here: the export. Not here: reading such a model, or another tool's protocol.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import sqlglot
import yaml
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlglot import exp

from kpi_assets.model.checks.keys import ForeignKey
from kpi_assets.model.column_types import FLOATS, INTEGERS, TEXTS, base_of
from kpi_assets.model.measure import Measure
from kpi_assets.model.names import LOAD_DATE, LOW_VOLUME
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.sentences import shown
from kpi_assets.model.table import Table
from kpi_assets.surface.answer import Body, Problem, Reading, answer
from kpi_assets.surface.api.answers import API
from kpi_assets.surface.api.finding import PROBLEMS, pipelines_of
from kpi_assets.surface.api.parameters import only_declared, route_name

VERSION = "0.2.0.dev0"
VENDOR = "KPI_ASSETS"
MEDIA = "application/yaml"
_TYPES = {
    **dict.fromkeys(INTEGERS, "Integer"),
    **dict.fromkeys(FLOATS, "Float"),
    **dict.fromkeys(TEXTS, "String"),
    "numeric": "Decimal",
    "boolean": "Boolean",
    "time without time zone": "Time",
    "date": "Date",
    "timestamp without time zone": "DateTime",
    "timestamp with time zone": "DateTimeTz",
}

router = APIRouter(
    prefix=API, tags=["Other tools"], dependencies=[Depends(only_declared)], generate_unique_id_function=route_name
)


@router.get(
    "/semantic.yaml",
    response_class=Response,
    responses={
        200: {
            "description": f"A semantic model of Apache Ossie {VERSION}. Experimental: it follows their draft.",
            "content": {MEDIA: {"schema": {"type": "string"}}},
        },
        422: PROBLEMS[422],
    },
    summary="Tables and measures as a semantic model",
)
async def semantic(
    request: Request,
    pipeline: Annotated[str | None, Query(description="Only this pipeline.", max_length=200)] = None,
) -> Response:
    """Every table that readers may read, with its measures, and its columns and keys but the personal ones."""
    found = pipelines_of(request)
    if pipeline is not None and pipeline not in found:
        raise Problem(422, "The parameter pipeline is wrong.", f"There is no pipeline {shown(pipeline)}.")
    wanted = {name: each for name, each in found.items() if pipeline in (None, name)}

    def make(_: Reading) -> Body:
        text = yaml.safe_dump(semantic_model(wanted), sort_keys=False, allow_unicode=True, width=120)
        return Body(text.encode(), MEDIA)

    return await answer(request, [], make)


def semantic_model(pipelines: Mapping[str, Pipeline]) -> dict[str, Any]:
    """Return the model of pipelines: one semantic model a pipeline."""
    return {"version": VERSION, "semantic_model": [_model(pipeline) for pipeline in pipelines.values()]}


def _model(pipeline: Pipeline) -> dict[str, Any]:
    tables = [table for table in pipeline.tables.values() if table.relation.schema in pipeline.config.readers]
    names = _names(tables)
    model: dict[str, Any] = {
        "name": pipeline.name,
        "description": pipeline.config.description,
        "datasets": [_dataset(pipeline, table, names[str(table.relation)]) for table in tables],
    }
    relationships = [
        {
            "name": f"{names[str(table.relation)]}_{check.column}",
            "from": names[str(table.relation)],
            "to": names[str(check.refers)],
            "from_columns": [LOAD_DATE, check.column],
            "to_columns": [LOAD_DATE, check.to],
        }
        for table in tables
        for check in table.checks
        if isinstance(check, ForeignKey) and str(check.refers) in names and not table.pii.hides(check.column)
    ]
    if relationships:
        model["relationships"] = relationships
    metrics = [
        _metric(names[str(table.relation)], name, measure)
        for table in tables
        for name, measure in (table.header.kpi.measures if table.header.kpi else {}).items()
    ]
    return {**model, "metrics": metrics} if metrics else model


def _names(tables: list[Table]) -> dict[str, str]:
    """Return what each table is called: without its schema, unless another one has the same name."""
    all_names = [table.relation.table for table in tables]
    return {
        str(table.relation): table.relation.table
        if all_names.count(table.relation.table) == 1
        else "_".join(table.relation)
        for table in tables
    }


def _dataset(pipeline: Pipeline, table: Table, name: str) -> dict[str, Any]:
    grain = table.header.grain
    about = {"load_date_is": "partition", "owner": table.header.owner, "code_version": table.code_version}
    if table.header.min_volume:
        about["readers_see"] = f"{LOW_VOLUME} is not true"
    load_date = {
        "name": LOAD_DATE,
        "expression": _expression(LOAD_DATE),
        "datatype": "Date",
        "dimension": {"is_time": True},
        "description": "The day of the delivery that a row is from.",
    }
    return {
        "name": name,
        "source": f"{pipeline.name}.{table.relation}",
        # Who may not read a column of the key cannot find a row by the others.
        **({} if any(map(table.pii.hides, grain)) else {"primary_key": [LOAD_DATE, *grain]}),
        "description": table.header.description,
        "fields": [
            load_date,
            *(_field(table, column, column in grain) for column in table.columns if not table.pii.hides(column)),
        ],
        "custom_extensions": [_extension(about)],
    }


def _field(table: Table, name: str, is_dimension: bool) -> dict[str, Any]:
    column = table.header.columns[name]
    found: dict[str, Any] = {
        "name": name,
        "expression": _expression(name),
        "datatype": _TYPES.get(base_of(column.type), "Opaque"),
        "description": column.description,
    }
    if is_dimension:
        found["dimension"] = {"is_time": column.type == "date"}
    if found["datatype"] == "Opaque":
        found["custom_extensions"] = [_extension({"type": column.type})]
    return found


def _metric(dataset: str, name: str, measure: Measure) -> dict[str, Any]:
    about = {"title": measure.title, "format": measure.format, "unit": measure.unit, "better": measure.better}
    if measure.target:
        about["target"] = measure.target.model_dump(mode="json", exclude_none=True)  # type: ignore[assignment]
    return {
        "name": f"{dataset}_{name}",
        "expression": _expression(_qualified(measure.value, dataset)),
        "description": measure.description or measure.title,
        "datatype": "Integer" if measure.format == "integer" else "Decimal",
        "custom_extensions": [_extension({key: value for key, value in about.items() if value})],
    }


def _qualified(value: str, dataset: str) -> str:
    """Return an aggregate whose columns name their dataset."""

    def qualify(node: exp.Expression) -> exp.Expression:
        return exp.column(node.name, table=dataset) if isinstance(node, exp.Column) else node

    return sqlglot.parse_one(value, read="postgres").transform(qualify).sql()


def _expression(text: str) -> dict[str, Any]:
    return {"dialects": [{"dialect": "ANSI_SQL", "expression": text}]}


def _extension(about: Mapping[str, Any]) -> dict[str, str]:
    return {"vendor_name": VENDOR, "data": json.dumps(about, ensure_ascii=False)}
