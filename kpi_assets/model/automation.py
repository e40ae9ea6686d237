"""The word `automation` of a pipeline.yaml: what starts runs by itself, and when.

Belongs here: the words, their bounds and defaults. Not here: what they do (plan/ decides, automation/ asks for runs).
"""

from typing import Annotated, Literal

from pydantic import Field

from kpi_assets.model.strict_yaml import Strict


class Automation(Strict):
    """How a pipeline runs itself; a pipeline.yaml without the word has these defaults."""

    # What is on until `kpi enable`, `kpi disable` or the UI changes it; in a new pipeline nothing is on.
    start: Literal["sensor", "schedule", "none"] = "none"
    interval_seconds: Annotated[int, Field(ge=5, le=86_400)] = 30  # between two ticks of the sensor
    settle_seconds: Annotated[int, Field(ge=0, le=3_600)] = 5  # an object younger than this may have siblings coming
    look_back_days: Annotated[int, Field(ge=0, le=3_660)] = 7  # compared in each tick; earlier load_dates take turns
    late_after_hours: Annotated[float, Field(gt=0, le=8_784)] = 6  # since the first object of an incomplete load_date
    rebuild_on_sql_change: bool = False  # build what is published again when its SQL has changed
