"""The word `live` of a pipeline.yaml: how events are landed and how the tables that grow follow them.

Belongs here: the words, their bounds and defaults. Not here: what they do (stream/ lands, materialize/tick.py builds,
automation/ starts the run), and the views with `storage: live` (live.py).
"""

from pydantic import Field

from kpi_assets.model.strict_yaml import Strict


class LiveRun(Strict):
    """How a pipeline with streams runs. A pipeline.yaml without the word has these defaults."""

    tick_seconds: float = Field(
        default=2,
        ge=0.1,
        le=3_600,
        description="The least time from the beginning of one tick to that of the next. A tick adds a batch to each "
        "table that grows and builds the KPIs that read them.",
    )
    flush_seconds: float = Field(
        default=5,
        ge=0.1,
        le=3_600,
        description="The longest time for which events wait before they are written to an object.",
    )
    most_records: int = Field(
        default=200_000,
        ge=1,
        le=10_000_000,
        description="The most records of one batch, except that an object is never cut: a longer one is a batch of its "
        "own.",
    )
    stay_minutes: float = Field(
        default=60,
        ge=1,
        le=300,
        description="The time after which a live run ends, so that the next one takes its place.",
    )
    close_after_minutes: float = Field(
        default=10,
        ge=0,
        le=1_440,
        description="The time after the end of a load_date, at 24:00 UTC, before it is closed. It is closed only when "
        "every partition of its streams has been read beyond its end. No batch is added to a closed load_date.",
    )
