"""The word `automation` of a pipeline.yaml: what starts runs by itself, and when.

Belongs here: the words, their bounds and defaults. Not here: what they do (plan/ decides, automation/ requests runs).
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kpi_assets.model.sentences import shown
from kpi_assets.model.strict_yaml import Strict


def _is_time(value: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError(f"{shown(value)} is no time of the day: write hours and minutes in UTC, such as 08:00")
    return value


Time = Annotated[str, AfterValidator(_is_time)]


class Automation(Strict):
    """What starts runs of a pipeline by itself. A pipeline.yaml without the word has these defaults."""

    start: Literal["sensor", "schedule", "none"] = Field(
        default="none",
        description="What is switched on at first: the sensor, the daily schedule at 02:00 UTC, or nothing. "
        "`kpi enable`, `kpi disable` and the UI switch them later.",
    )
    interval_seconds: int = Field(
        default=30, ge=5, le=86_400, description="The time between two evaluations of the sensor."
    )
    settle_seconds: int = Field(
        default=5,
        ge=0,
        le=3_600,
        description="The age that an object must have before its load_date is run: other objects may be on their way.",
    )
    look_back_days: int = Field(
        default=7,
        ge=0,
        le=3_660,
        description="How many days of load_dates each evaluation compares. Earlier load_dates are compared in turns, "
        "for at most a twentieth of the time.",
    )
    late_after_hours: float = Field(
        default=6,
        gt=0,
        le=8_784,
        description="The time after the first object of a load_date landed, after which the load_date is late if other "
        "objects are missing.",
    )
    fetch_after_hours: float = Field(
        default=2,
        ge=0,
        le=8_784,
        description="The time after the end of a load_date, at 24:00 UTC, before its APIs are asked.",
    )
    digest: Time | None = Field(
        default=None,
        description="The time of the day in UTC at which the numbers of the boards go to every channel of alerts, once "
        "a day: each number with its change and whether it can be trusted. Without this word nothing is sent.",
        examples=["digest: 08:00"],
    )
    rebuild_on_sql_change: bool = Field(
        default=False, description="Whether published load_dates are built again by themselves when their SQL changes."
    )
