"""The words of a column: its Postgres type, and what it means.

Not here: the types (column_types.py), and how their values are written in a file (written.py).
"""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.column_types import catalog_name
from kpi_assets.model.field_types import Sentence
from kpi_assets.model.source import Decimal, Texts, Thousands, TimeZone
from kpi_assets.model.strict_yaml import Strict


class Column(Strict):
    """One column: its Postgres type and what it means, NULL included."""

    type: Annotated[str, AfterValidator(catalog_name), Affects.ROWS] = Field(
        description="The type of Postgres, by any of its names there.", examples=["type: integer"]
    )
    description: Annotated[Sentence, Affects.NOTHING] = Field(
        description="What the column holds, in at least 4 letters. Say what NULL means where it can occur.",
        examples=["description: Order."],
    )

    pii: Annotated[Literal["email", "name", "phone", "address", "id", "text", "none"] | None, Affects.NOTHING] = Field(
        default=None,
        description="The column holds values about a person, of this kind; `text` is for any other. Such a value is "
        "masked in previews, samples, messages and the output of commands. A column that a SELECT makes of it has the "
        "word too without saying it, unless it only counts or sums; `none` says that it has not.",
        examples=["pii: email"],
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

    @model_validator(mode="before")
    @classmethod
    def _type_with_a_comma(cls, value: Any) -> Any:
        """Put `{type: numeric(10,2)}` together again: YAML ends a value without quotes at the comma."""
        if not isinstance(value, dict) or not re.search(r"\(\s*[0-9]+\Z", str(value.get("type"))):
            return value
        rest = [word for word in value if re.fullmatch(r"[0-9]+\s*\)\s*(\[\])?", str(word)) and value[word] is None]
        whole = {word: each for word, each in value.items() if word not in rest}
        return {**whole, "type": f"{value['type']},{rest[0]}"} if len(rest) == 1 else value
