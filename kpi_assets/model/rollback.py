"""The words of `rollback`: how much of what readers saw before is kept, so that it can be shown again.

Belongs here: the words of pipeline.yaml and of a header. Not here: keeping and dropping rows (materialize/keep.py), and
showing them again (materialize/rollback.py).
"""

from typing import Annotated

from pydantic import Field

from kpi_assets.model.affects import Affects
from kpi_assets.model.strict_yaml import Strict

DAYS = 14


class Kept(Strict):
    """What is kept of each load_date of a table besides what readers see."""

    keep: Annotated[int, Affects.NOTHING] = Field(
        ge=0,
        le=100,
        description="How many earlier contents of a load_date are kept. With 0, none.",
        examples=["keep: 2"],
    )
    days: Annotated[int, Affects.NOTHING] = Field(
        default=DAYS,
        ge=1,
        le=36_500,
        description=f"For how many days each of them is kept after it was superseded; {DAYS} without this word.",
        examples=["days: 30"],
    )


class KeptOfPipeline(Kept):
    """What is kept of each table of a pipeline whose header does not say otherwise."""

    keep: int = Field(
        default=0,
        ge=0,
        le=100,
        description="How many earlier contents of a load_date are kept of each table; 0 without this word.",
        examples=["keep: 2"],
    )
    most_bytes: int | None = Field(
        default=None,
        ge=0,
        description="How many bytes all of them may take together. The largest are dropped first. Without this word, "
        "there is no such limit.",
        examples=["most_bytes: 50000000000"],
    )
