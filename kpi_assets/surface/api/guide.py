"""The page about the API for people, at /api: its addresses with their parameters, from the OpenAPI document itself.

Belongs here: what the page shows. Not here: the addresses (the other modules), and the document (/api/v1/openapi.json).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpis import kpi_id, kpi_tables
from kpi_assets.surface.answer import Body, Reading, answer
from kpi_assets.surface.api.finding import pipelines_of
from kpi_assets.surface.render import page

_GROUPS = ("KPIs", "Questions", "Trust", "Other tools")  # in this order

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Parameter:
    """A parameter of an address; `type` is such as `day` or `json, csv`."""

    name: str
    type: str
    description: str
    required: bool


@dataclass(frozen=True)
class Operation:
    """One address; `example` can be followed."""

    path: str
    summary: str
    description: str
    parameters: Sequence[Parameter]
    example: str | None
    group: str


@router.get("/api")
async def guide(request: Request) -> Response:
    """The addresses of the API, for people."""
    settings, pipelines = request.app.state.surface.settings, pipelines_of(request)
    address = settings.serve_url or f"http://127.0.0.1:{settings.serve_port}"

    def make(reading: Reading) -> Body:
        example = example_of([each for each in pipelines.values() if reading.has(each)])
        operations = list(operations_of(request.app.openapi(), example))
        names = sorted({each.group for each in operations}, key=_place_of)
        groups = {name: [each for each in operations if each.group == name] for name in names}
        return Body(page("api", groups=groups, address=address, watch=False))

    return await answer(request, list(pipelines), make)


def _place_of(group: str) -> int:
    return _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)


def example_of(pipelines: Sequence[Pipeline]) -> tuple[str, str] | None:
    """Return pipeline and table of a KPI, if there is one with measures; otherwise of any KPI."""
    found = [(pipeline, table) for pipeline in pipelines for table in kpi_tables(pipeline)]
    found.sort(key=lambda each: not (each[1].header.kpi and each[1].header.kpi.measures))
    for pipeline, table in found:
        name, _, kpi = kpi_id(pipeline, table).partition("/")
        return name, kpi
    return None


def operations_of(document: Mapping[str, Any], example: tuple[str, str] | None) -> Iterator[Operation]:
    """Yield the addresses of an OpenAPI document, in its order."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield Operation(
                path,
                operation.get("summary", ""),
                operation.get("description", ""),
                [_parameter(each) for each in operation.get("parameters", []) if each["in"] == "query"],
                _example(path, example),
                next(iter(operation.get("tags", [])), "Others"),
            )


def _example(path: str, example: tuple[str, str] | None) -> str | None:
    if example is not None:
        path = path.replace("{pipeline}/{table}", "/".join(example))
    return None if "{" in path else path


def _parameter(parameter: Mapping[str, Any]) -> Parameter:
    schema = parameter["schema"]
    return Parameter(
        parameter["name"], type_of(schema), parameter.get("description", ""), required=bool(parameter.get("required"))
    )


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the type of a parameter in a few words."""
    for each in schema.get("anyOf", []):
        if each.get("type") != "null":
            return type_of(each)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    words = {"date": "day", "date-time": "instant"}
    if schema.get("format") in words:
        return words[schema["format"]]
    if "maximum" in schema:
        return f"{schema.get('minimum', 0):,} to {schema['maximum']:,}"
    return {"string": "text", "object": "filters"}.get(schema.get("type", ""), str(schema.get("type", "text")))
