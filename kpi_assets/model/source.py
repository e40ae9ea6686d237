"""The words of a source: where the object of a raw table lies, and how it is written.

Not here: the objects themselves (sources/).
"""

import re
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.calendar import EVERY_MEANING, EXCEPT_MEANING, Every, Except, described, parse_date
from kpi_assets.model.field_types import Strictness
from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.sentences import listed, shown
from kpi_assets.model.strict_yaml import Strict

_ALL = Affects.ROWS | Affects.CHECKS | Affects.OBJECT


def _is_format(value: str) -> str:
    if value not in FORMAT_KINDS:
        raise ValueError(f"{shown(value)} is not known here: write {listed(FORMAT_KINDS)}")
    return value


class Source(Strict):
    """Where a raw table's rows come from."""

    object: Annotated[str, _ALL] = Field(
        description="The key of the S3 object, with {load_date} where the date stands.",
        examples=["object: raw/orders/load_date={load_date}/orders.csv"],
    )
    format: Annotated[str, AfterValidator(_is_format), _ALL] = Field(
        description="How the object is written.", examples=["format: csv"]
    )
    quarantine_budget: Annotated[int, Affects.CHECKS] = Field(
        default=0,
        ge=0,
        description="How many records of an object may be set aside before the load_date is held.",
    )
    ends_with_line_end: Annotated[Strictness, Affects.CHECKS | Affects.OBJECT] = Field(
        default="warn",
        description="What a missing line end at the end of the object does: the last record may be cut off. If the "
        "object also has fewer bytes than the one of the latest earlier load_date, `warn` holds too.",
    )
    same_bytes: Annotated[Strictness, Affects.CHECKS] = Field(
        default="warn",
        description="What an object does whose bytes are those of another object that was delivered before.",
    )
    every: Annotated[Every, Affects.NOTHING] = Field(
        default="day", description=f"On which load_dates an object comes. {EVERY_MEANING}", examples=["every: monday"]
    )
    except_: Annotated[Except, Affects.NOTHING] = Field(
        default=[], alias="except", description=EXCEPT_MEANING, examples=["except: [2025-12-25, 2026-01-01]"]
    )
    since: Annotated[date | None, Affects.NOTHING] = Field(
        default=None,
        description="The first load_date that has an object, for a source that came later than the pipeline.",
        examples=["since: 2025-07-01"],
    )
    optional: Annotated[bool, Affects.NOTHING] = Field(
        default=False,
        description="Whether the object may be absent on a load_date on which it is due. Then the table is published "
        "without rows, and `min_rows` does not hold it.",
    )

    @property
    def calendar_text(self) -> str:
        """When an object comes, as a part of a sentence."""
        return described(self.every, self.except_, self.since)

    @field_validator("since", mode="before")
    @classmethod
    def _is_a_date(cls, value: Any) -> date:
        return parse_date(str(value))

    @field_validator("object")
    @classmethod
    def _has_load_date(cls, value: str) -> str:
        if re.findall(r"{(.*?)}", value) != [LOAD_DATE] or value.startswith("/") or ".." in value.split("/"):
            raise ValueError("must be an object's key with {load_date} in it, once: raw/x/load_date={load_date}/x.csv")
        return value
