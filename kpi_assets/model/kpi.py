"""The words that make a table a KPI: its title, chart and measures, the least volume of its rows, and its freshness.

Not here: the words of one measure (measure.py), the view of its latest load_date (warehouse/views.py), and when it is
late (monitoring/freshness.py).
"""

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, time, timedelta, timezone
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.column_types import INTEGERS, TEXTS, base_of
from kpi_assets.model.field_types import Title
from kpi_assets.model.measure import Measure
from kpi_assets.model.names import Identifier
from kpi_assets.model.sentences import MisplacedError, refuse, shown
from kpi_assets.model.strict_yaml import Strict


def _is_labels(value: Any) -> Any:
    """Return labels by the text of each value; a list names the values 0, 1, 2 and so on."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        raise ValueError(
            f"{shown(value)} names no values: write a list, or a name for each value such as {{1: Monday, 2: Tuesday}}"
        )
    if not value:
        raise ValueError("it has no labels: write them, or take the word out")
    refuse(
        ((key,), f"{shown(label)} is not text: write a name, in quotes if it looks like something else")
        for key, label in value.items()
        if not isinstance(label, str) or not label.strip()
    )
    return {_text(key): label.strip() for key, label in value.items()}


def _text(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


Labels = Annotated[
    Mapping[str, str],
    BeforeValidator(_is_labels),
    WithJsonSchema(
        {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "object", "additionalProperties": {}}]}
    ),
]


class Chart(Strict):
    """The chart of a KPI: a bar for each value of `x`, as high as `y`; at most the `top` highest bars."""

    x: Annotated[str, Affects.NOTHING] = Field(description="The column that names the bars.")
    y: Annotated[str, Affects.NOTHING] = Field(description="The column that gives their height.")
    top: Annotated[int, Affects.NOTHING] = Field(
        default=15,
        ge=1,
        le=40,
        description="The most bars. If there are more rows, the highest bars are shown, and the title says so.",
    )
    labels: Annotated[Labels, Affects.NOTHING] = Field(
        default={},
        description="What the bars are called, if `x` is a whole number, a text or true and false: a list of names for "
        "the values 0, 1, 2 and so on, or a name for each value. A value without a name is shown as it is.",
        examples=["labels: [Sunday, Monday, Tuesday]", "labels: {1: Monday, 2: Tuesday}"],
    )

    def label(self, value: object) -> str:
        """Return what a bar is called."""
        text = _text(value)
        return self.labels.get(text, text)

    def label_problem(self, type_: str) -> str:
        """Return why the labels are none of a column of this type; empty if they are."""
        base = base_of(type_)
        forms = {**dict.fromkeys(INTEGERS, r"-?(0|[1-9][0-9]*)"), **dict.fromkeys(TEXTS, r"(?s).*")}
        forms["boolean"] = "true|false"
        if base not in forms:
            return f"{self.x!r} is {type_}, whose values speak for themselves: take the labels out"
        odd = next((value for value in self.labels if not re.fullmatch(forms[base], value)), None)
        return "" if odd is None else f"{odd!r} is no value of {self.x!r}, which is {type_}"


class Final(Strict):
    """When the numbers of a load_date are final, and what happens to a build that would change them afterwards."""

    after_days: Annotated[int, Affects.CHECKS] = Field(
        ge=0, le=3660, description="Days after the end of the load_date, until which its numbers are provisional."
    )
    on_change: Annotated[Literal["alert", "hold"], Affects.CHECKS] = Field(
        default="alert",
        description="`alert`: a build with other rows is published with a warning of the check `final`. `hold`: it is "
        "held, unless somebody waives that check.",
    )

    by: Annotated[str | None, Affects.CHECKS] = Field(
        default=None,
        description="The column of the day that a row is of, for a KPI whose rows are of several days: a row is final "
        "`after_days` days after that day, and the next load_date has the same. It is of the type date, and in the "
        "grain.",
    )

    def at(self, load_date: date) -> datetime:
        """Return when the numbers of a load_date become final, if its rows are not told apart by their day."""
        return datetime.combine(load_date, time(), timezone.utc) + timedelta(days=1 + self.after_days)

    def is_final(self, load_date: date, lacks: Collection[object], now: datetime) -> bool:
        """Return whether the numbers of a load_date are final, which were made without the inputs that they lack."""
        return not lacks and self.at(load_date) <= now

    def through(self, load_date: date) -> date:
        """Return the last day whose rows are final in a load_date."""
        return load_date - timedelta(days=self.after_days)


class Kpi(Strict):
    """Makes the table a KPI: readers get a view `<table>_latest`, the UI a chart, and the pages a tile a measure."""

    title: Annotated[Title | None, Affects.NOTHING] = Field(
        default=None,
        description="What readers call it; by default the name of the table.",
        examples=["title: Orders by day of the week"],
    )
    chart: Annotated[Chart, Affects.NOTHING] = Field(
        description="What the chart shows.", examples=["chart: {x: country, y: revenue}"]
    )
    measures: Annotated[dict[Identifier, Measure], Affects.NOTHING] = Field(
        default={},
        description="The numbers that readers are shown for each load_date, in this order; the first is the headline.",
        examples=["measures: {orders: {title: Orders, value: sum(total_orders), unit: orders, better: up}}"],
    )
    dimensions: Annotated[list[str] | None, Affects.NOTHING] = Field(
        default=None,
        description="The columns by which readers may filter its rows; by default those of the grain.",
        examples=["dimensions: [order_dow]"],
    )
    final: Annotated[Final | None, Affects.CHECKS] = Field(
        default=None,
        description="Adds the check `final`: the numbers of a load_date do not change any more once they are final.",
        examples=[
            "final: {after_days: 3}",
            "final: {after_days: 31, on_change: hold}",
            "final: {after_days: 3, by: order_date}",
        ],
    )

    @field_validator("measures")
    @classmethod
    def _has_own_titles(cls, measures: dict[str, Measure]) -> dict[str, Measure]:
        titles: dict[str, str] = {}
        for name, measure in measures.items():
            other = titles.setdefault(measure.title.casefold(), name)
            if other != name:
                problem = f"{measure.title!r} is the title of {other} too: readers could not tell them apart"
                raise MisplacedError([((name, "title"), problem)])
        return measures


class MinVolume(Strict):
    """The least volume of a KPI's row to be shown: other rows are kept and marked by is_low_volume, but not shown."""

    column: Annotated[str, Affects.ROWS] = Field(description="The column that counts what a row rests on.")
    at_least: Annotated[int, Affects.ROWS] = Field(ge=1, description="The lowest count of a row that is shown.")


class Freshness(Strict):
    """How old a KPI may be before it is late: by the end of its latest published load_date, or by the minute."""

    # Dagster looks no closer than at a minute.
    within_hours: Annotated[float | None, Affects.NOTHING] = Field(
        default=None, ge=0.02, le=87_840, description="Hours since the end of the latest published load_date."
    )
    within_minutes: Annotated[float | None, Affects.NOTHING] = Field(
        default=None,
        ge=0.5,
        le=10_080,
        description="For a KPI that reads tables that grow: minutes since the instant through which it has been built. "
        "That is the latest one at which all events that the broker had were landed and are in the KPI. A stream "
        "without events keeps it fresh.",
        examples=["within_minutes: 3"],
    )

    @model_validator(mode="after")
    def _has_one_word(self) -> "Freshness":
        if (self.within_hours is None) == (self.within_minutes is None):
            raise ValueError("it is counted in one way: write either within_hours or within_minutes")
        return self


class Refresh(Strict):
    """How often a live run builds a table again that does not grow itself."""

    minutes: Annotated[float, Affects.NOTHING] = Field(
        ge=0.1, le=1440, description="The least time between two builds of one load_date."
    )
