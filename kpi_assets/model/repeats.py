"""The word `repeats` of a header: what a table that grows does with a key that comes again.

A stream delivers some events twice. A row is a repeat if a row with its grain came before, in the same batch or in one
that is published, of this load_date or of the last few before it. Repeats are left out and counted.

Belongs here: the word, and what it needs. Not here: finding the repeats (warehouse/repeats.py).
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from kpi_assets.model.affects import Affects
from kpi_assets.model.column import Column
from kpi_assets.model.growing import PLACE, made_columns
from kpi_assets.model.sentences import Loc
from kpi_assets.model.strict_yaml import Strict


class Repeats(Strict):
    """Which of the rows with one grain is kept, and how far back the others are looked for."""

    keep: Annotated[Literal["first"], Affects.ROWS] = Field(
        description="`first` keeps the row whose event stands first in its partition of the stream, and of two batches "
        "the row of the earlier one.",
        examples=["keep: first"],
    )
    load_dates: Annotated[int, Affects.ROWS] = Field(
        default=2,
        ge=1,
        le=31,
        description="In how many load_dates a row may have come before, its own the last of them. With 1, a key that "
        "comes again after midnight is a row of the next load_date.",
        examples=["load_dates: 2"],
    )


def place_problems(columns: Mapping[str, Column]) -> Iterator[tuple[Loc, str]]:
    """Yield why nobody could tell which row is the first: the columns of its place in the stream are not there."""
    wanted = made_columns(of_stream=True)
    for name in PLACE:
        if name not in columns:
            yield (
                ("repeats",),
                f"the place in the stream tells which row is the first, and {name} is not one of the columns: add it "
                "to the SELECT and to the columns",
            )
        elif columns[name].type != wanted[name].type:
            yield ("columns", name), f"it tells which row is the first (repeats), so its type is {wanted[name].type}"
