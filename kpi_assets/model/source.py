"""The words of a source: where the object of a raw table lies, and how it is written.

Not here: the objects themselves (sources/).
"""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.calendar import EVERY_MEANING, EXCEPT_MEANING, Every, Except, described, parse_date
from kpi_assets.model.field_types import Strictness
from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.model.object_key import ObjectKey
from kpi_assets.model.sentences import Loc, listed, refuse, shown
from kpi_assets.model.strict_yaml import Strict

_ALL = Affects.ROWS | Affects.CHECKS | Affects.OBJECT


def _is_format(value: str) -> str:
    if value not in FORMAT_KINDS:
        raise ValueError(f"{shown(value)} is not known here: write {listed(FORMAT_KINDS)}")
    return value


def _is_key(value: str) -> str:
    ObjectKey.parse(value)
    return value


def _is_marker(value: str) -> str:
    key = ObjectKey.parse(value)
    if key.is_pattern or key.is_reference:
        raise ValueError(
            f"{shown(value)} is not the key of one object a load_date: write it with {{load_date}}, and without * and ?"
        )
    return value


class Complete(Strict):
    """When all objects of a load_date are there, for a source with several: by one of these words."""

    objects: Annotated[int | None, Affects.OBJECT] = Field(
        default=None, ge=1, le=10_000, description="When there are so many. If there are more, the load_date is held."
    )
    marker: Annotated[Annotated[str, AfterValidator(_is_marker)] | None, Affects.OBJECT] = Field(
        default=None,
        description="When an object of this key is there, which is written last. It is never read as data.",
    )
    settled_minutes: Annotated[int | None, Affects.OBJECT] = Field(
        default=None, ge=1, le=1440, description="When the newest of them has been there for so many minutes."
    )

    @model_validator(mode="after")
    def _has_one_word(self) -> "Complete":
        if len(self.model_fields_set) != 1:
            raise ValueError(
                "takes one word: write {objects: 4}, {marker: 'raw/x/{load_date}/_SUCCESS'} or {settled_minutes: 15}"
            )
        return self

    @property
    def marker_key(self) -> ObjectKey | None:
        """The key of the marker object."""
        return ObjectKey.parse(self.marker) if self.marker else None


class Source(Strict):
    """Where a raw table's rows come from."""

    object: Annotated[str, AfterValidator(_is_key), _ALL] = Field(
        description="The key of the S3 object, with `{load_date}` where the date stands as YYYY-MM-DD, or "
        "`{load_date:FORM}` where it stands in another form, such as `%Y/%m/%d`; as often as it stands there. `*` and "
        "`?` behind the last slash stand for any characters and any one character: then a load_date has several "
        "objects, which are read as one table. A key without a load_date is a reference object, which is overwritten "
        "from time to time.",
        examples=["object: raw/orders/load_date={load_date}/orders.csv"],
    )
    complete: Annotated[Complete | None, Affects.OBJECT] = Field(
        default=None,
        description="For a source with several objects a load_date: when all of them are there. Without this word one "
        "object is enough, so a load_date may be built before the others come.",
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

    @property
    def key(self) -> ObjectKey:
        """The word `object`, for filling in a load_date and reading it back."""
        return ObjectKey.parse(self.object)

    @model_validator(mode="after")
    def _makes_sense(self) -> "Source":
        refuse([*self._object_problems()])
        return self

    def _object_problems(self) -> Iterator[tuple[Loc, str]]:
        if self.complete and not self.key.is_pattern:
            yield (
                ("complete",),
                "is for several objects a load_date: write * or ? in the last part of object, or take it out",
            )
        if self.key.is_reference and "same_bytes" in self.model_fields_set:
            yield (
                ("same_bytes",),
                "is for objects of a load_date, and this one is there for all load_dates: take it out",
            )
