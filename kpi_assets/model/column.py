"""The words of a column: its Postgres type, and what it means.

Not here: how the values of a type are written in a file (written.py).
"""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.field_types import Sentence
from kpi_assets.model.sentences import nearest, shown
from kpi_assets.model.source import Decimal, Texts, Thousands, TimeZone
from kpi_assets.model.strict_yaml import Strict

# An allow-list, since a type becomes part of the CREATE TABLE; spelled as Postgres' catalog does, to compare equal.
TYPE = re.compile(
    r"smallint|integer|bigint|numeric(\(\d+,\d+\))?|real|double precision|boolean|text|date"
    r"|timestamp without time zone|timestamp with time zone|uuid|jsonb"
)
# Other names of these types, in Postgres and in other systems.
_ALIASES = {
    **dict.fromkeys(("varchar", "char", "character varying", "string", "str"), "text"),
    **dict.fromkeys(("int", "int4", "serial"), "integer"),
    **dict.fromkeys(("int8", "long", "bigserial"), "bigint"),
    **dict.fromkeys(("decimal", "number"), "numeric"),
    **dict.fromkeys(("float", "float8", "double"), "double precision"),
    **dict.fromkeys(("timestamp", "datetime"), "timestamp without time zone"),
    "int2": "smallint",
    "tinyint": "smallint",
    "float4": "real",
    "bool": "boolean",
    "timestamptz": "timestamp with time zone",
    "json": "jsonb",
}


class Column(Strict):
    """One column: its Postgres type and what it means, NULL included."""

    type: Annotated[str, Affects.ROWS] = Field(description="The type of Postgres.", examples=["type: integer"])
    description: Annotated[Sentence, Affects.NOTHING] = Field(
        description="What the column holds, in at least 4 letters. Say what NULL means where it can occur.",
        examples=["description: Order."],
    )

    field: Annotated[str | None, Affects.ROWS | Affects.OBJECT] = Field(
        default=None,
        min_length=1,
        description="The name of the field in the file, if it is not that of the column.",
        examples=['field: "Order ID"'],
    )
    format: Annotated[str | None, Affects.ROWS] = Field(
        default=None,
        min_length=1,
        description="How dates and times are written, in the tokens YYYY YY MM M MON DD D HH H HH12 MI SS F AM Z and "
        "other characters as they are; or `epoch`, `epoch_ms`. [Values](values.md) says what each token takes.",
        examples=["format: M/D/YYYY"],
    )
    decimal: Annotated[Decimal | None, Affects.ROWS] = Field(
        default=None, description="As in `source`, for this column."
    )
    thousands: Annotated[Thousands | None, Affects.ROWS] = Field(
        default=None, description="As in `source`, for this column."
    )
    null: Annotated[Texts | None, Affects.ROWS] = Field(default=None, description="As in `source`, for this column.")
    true: Annotated[Texts | None, Affects.ROWS] = Field(default=None, description="As in `source`, for this column.")
    false: Annotated[Texts | None, Affects.ROWS] = Field(default=None, description="As in `source`, for this column.")
    time_zone: Annotated[TimeZone | None, Affects.ROWS] = Field(
        default=None, description="As in `source`, for this column."
    )
    allow: Annotated[list[Literal["nan", "infinity"]] | None, Affects.ROWS] = Field(
        default=None,
        min_length=1,
        description="Values of a number that is none: without this word they are set aside.",
        examples=["allow: [nan]"],
    )
    round: Annotated[Literal["half_even"] | None, Affects.ROWS] = Field(
        default=None,
        description="For numeric(p,s): numbers with more decimals are rounded, a half to the even digit. Without this "
        "word they are set aside.",
    )
    since: Annotated[date | None, Affects.ROWS | Affects.OBJECT] = Field(
        default=None,
        description="The first load_date whose file has the field; the column is NULL before.",
        examples=["since: 2025-07-01"],
    )
    optional: Annotated[bool, Affects.ROWS | Affects.OBJECT] = Field(
        default=False, strict=True, description="Whether a file may lack the field; then the column is NULL."
    )

    @field_validator("since", mode="before")
    @classmethod
    def _is_a_date(cls, value: object) -> date:
        return parse_date(str(value))

    @field_validator("type")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if not TYPE.fullmatch(value):
            if "(" in value and ")" not in value:
                raise ValueError(f'{shown(value)} ends at a comma: write the type in quotes, as in "numeric(10,2)"')
            known = TYPE.pattern.replace(r"(\(\d+,\d+\))?", ", numeric(p,s)").replace("|", ", ")
            instead = _ALIASES.get(value.lower().split("(")[0]) or nearest(value, known.split(", "))
            write = f"{instead}, or another of" if instead else "one of"
            raise ValueError(f"{shown(value)} is not a known column type: write {write} {known}")
        return value
