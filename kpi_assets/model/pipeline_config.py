"""The words of pipeline.yaml: settings for all tables of a pipeline.

Not here: the tables, and what follows from the settings for one of them (pipeline.py).
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from kpi_assets.model.api import Api
from kpi_assets.model.automation import Automation
from kpi_assets.model.calendar import CalendarWords, parse_date
from kpi_assets.model.checks.row_counts import MinRowsSpec
from kpi_assets.model.field_types import Sentence
from kpi_assets.model.lake import Lake
from kpi_assets.model.live_run import LiveRun
from kpi_assets.model.names import DECISIONS, IDENTIFIER, OBJECTS, Identifier, name_problem
from kpi_assets.model.rollback import KeptOfPipeline
from kpi_assets.model.sentences import Loc, refuse, shown
from kpi_assets.model.strict_yaml import Strict

Layer = Literal["raw", "staging", "marts"]
PIPELINE_FILE = "pipeline.yaml"
# Databases of the server itself, of managed servers, and of the Dagster instance.
TAKEN_DATABASES = (
    *("postgres", "template0", "template1", "dagster"),
    *("rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys"),
)
# Schemas that no pipeline may have: the ledger has objects and decisions under names that begin like those of tables,
# and the folder of questions lies beside those of schemas.
RESERVED = ("ops", "builds", "public", "information_schema", "questions", OBJECTS, DECISIONS)


def _is_bucket(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise ValueError(f"{shown(value)} is not a bucket name: write 3 to 63 lower case letters, digits, - and .")
    return value


Bucket = Annotated[str, AfterValidator(_is_bucket)]


def _is_schema_or_table(value: str) -> str:
    for name in value.split(".", maxsplit=1):
        if problem := name_problem(name):
            raise ValueError(problem)
    return value


def _is_board(value: str) -> str:
    if not re.fullmatch(r"\w[\w &+,.'-]{0,59}", value) or value != value.strip():
        raise ValueError(
            f"{shown(value)} is no name of a board: write up to 60 letters, digits and blanks, a letter or digit first"
        )
    return value


def _is_tile(value: str) -> str:
    if not re.fullmatch(rf"({IDENTIFIER}\.){{1,2}}{IDENTIFIER}", value):
        raise ValueError(f"{shown(value)} is no measure of a KPI: write kpi.measure or schema.kpi.measure")
    return value


Board = Annotated[str, AfterValidator(_is_board)]
TileName = Annotated[str, AfterValidator(_is_tile)]
SchemaOrTable = Annotated[str, AfterValidator(_is_schema_or_table)]


class Defaults(Strict):
    """Words of `checks` for the files of a pipeline that do not contain them."""

    min_rows: MinRowsSpec | None = Field(
        default=None, description="The fewest rows of a build.", examples=["min_rows: {of_usual: 0.4}"]
    )


def _is_one(value: object) -> int:
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not possible: one person rules, so write 1, or take the word out")
    return 1


class Waivers(Strict):
    """What somebody may rule with `kpi waive`: that one build is published although checks fail."""

    most_hours: int = Field(
        default=168,
        ge=1,
        le=8_784,
        description="For how many hours at most a waiver may be used for the first time.",
        examples=["most_hours: 24"],
    )
    approvals: Annotated[Literal[1], BeforeValidator(_is_one)] = Field(
        default=1, description="How many people must rule. It is one.", examples=["approvals: 1"]
    )


class PipelineConfig(Strict):
    """pipeline.yaml: settings for all tables of a pipeline."""

    description: Sentence = Field(
        description="What the pipeline delivers.", examples=["description: Visits of the web site."]
    )
    bucket: Bucket = Field(
        description="The bucket of the objects, unless `KPI_S3_BUCKET` or `KPI_S3_BUCKETS__PIPELINE` names another.",
        examples=["bucket: kpi-visits"],
    )
    start_date: date = Field(description="The first load_date.", examples=["start_date: 2025-01-01"])
    layers: dict[Identifier, Layer] = Field(
        min_length=1,
        description="The schemas of the pipeline, each with its layer. The folders of the pipeline are its schemas.",
        examples=["layers: {raw: raw, stg: staging, marts: marts}"],
    )
    readers: list[Identifier] = Field(
        default=[],
        description="The schemas that the role `kpi_reader` reads, besides `ops`.",
        examples=["readers: [marts]"],
    )
    calendar: CalendarWords = Field(
        default=CalendarWords(),
        description="Which days are load_dates, from `start_date` on. On the other days nothing is due: they are "
        "neither missing nor late, and Dagster has no partition for them. Without this word, every day is a load_date.",
        examples=["calendar: {every: weekday, except: calendars/holidays.txt}"],
    )
    automation: Automation = Field(
        default=Automation(),
        description="What starts runs by itself, and when.",
        examples=["automation: {start: sensor}"],
    )
    apis: dict[Identifier, Api] = Field(
        default={},
        description="The HTTP APIs that raw tables are fetched from, by the names that `source.api` uses.",
        examples=['apis: {shop: {url: "https://api.example.com", headers: {Authorization: "Bearer {secret:shop}"}}}'],
    )
    live: LiveRun = Field(
        default=LiveRun(),
        description="For a pipeline with streams: how events are landed, and how the tables that grow follow them.",
        examples=["live: {tick_seconds: 2, flush_seconds: 5}"],
    )
    lake: Lake | None = Field(
        default=None,
        description="The engine and the catalog of the tables with `storage: lake`. No table is moved by this word: "
        "those of other storages, and what is read from them, stay in Postgres.",
        examples=["lake: {engine: spark, catalog: kpi}"],
    )
    defaults: Defaults = Field(
        default=Defaults(),
        description="Words of `checks` for the files of the pipeline that do not contain them.",
        examples=["defaults: {min_rows: {of_usual: 0.4}}"],
    )
    retention: dict[SchemaOrTable, Annotated[int, Field(ge=1, le=36_500)]] = Field(
        default={},
        description="Schemas of raw and staging, and tables of any layer that carry on, as `schema.table`: each with "
        "the number of days for which its load_dates are kept. Of a table that carries on, the latest published "
        "load_date is kept in any case. Without this word everything is kept. S3 keeps every object, so a replay gives "
        "the rows again.",
        examples=["retention: {raw: 400, stg: 400}", "retention: {raw: 400, stg: 400, marts.dim_user: 90}"],
    )

    waivers: Waivers = Field(
        default=Waivers(),
        description="How builds may be published although checks of them fail.",
        examples=["waivers: {most_hours: 24}"],
    )
    release: Literal["together"] | None = Field(
        default=None,
        description="`together`: readers are shown a load_date once all of its KPIs are published, and all of them at "
        "once. If one is held, all show the load_date before. Without this word, each KPI is shown as soon as it is "
        "published. A pipeline whose KPIs read streams cannot have it.",
        examples=["release: together"],
    )
    rollback: KeptOfPipeline = Field(
        default=KeptOfPipeline(),
        description="How much is kept of what readers saw before, so that `kpi rollback` can show it again. A header "
        "may say otherwise of its table. Without this word nothing is kept.",
        examples=["rollback: {keep: 2, days: 14}"],
    )
    boards: dict[Board, Annotated[list[TileName], Field(min_length=1)]] = Field(
        default={},
        description="Groups of tiles, for readers who watch numbers of several KPIs together: each board has a name "
        "and, in the order in which they are shown, measures as `kpi.measure`. Without this word, readers see the "
        "measures of each KPI in the order of its header.",
        examples=["boards: {Growth: [kpi_orders_by_dow.orders, kpi_orders_by_dow.items_per_order]}"],
    )

    @field_validator("start_date", mode="before")
    @classmethod
    def _is_a_date(cls, value: object) -> date:
        return parse_date(str(value))

    @model_validator(mode="after")
    def _schemas_are_its_own(self) -> "PipelineConfig":
        refuse([*self._taken_schemas(), *self._unknown_schemas()])
        return self

    def _taken_schemas(self) -> Iterator[tuple[Loc, str]]:
        for schema in self.layers:
            if schema in RESERVED or schema.startswith("pg_"):
                yield ("layers", schema), "this schema is taken: give it another name"

    def _unknown_schemas(self) -> Iterator[tuple[Loc, str]]:
        for number, schema in enumerate(self.readers):
            if schema not in self.layers:
                yield ("readers", number), f"{schema!r} is none of the layers ({', '.join(self.layers)})"
        for schema in (name for name in self.retention if "." not in name):  # neighbors.py checks the tables
            if self.layers.get(schema, "marts") == "marts":
                others = ", ".join(name for name, layer in self.layers.items() if layer != "marts")
                yield ("retention", schema), f"only raw and staging are dropped ({others}): marts stay"
