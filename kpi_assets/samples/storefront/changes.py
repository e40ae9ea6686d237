"""When things change: each at its own pace, so that what holds on a day is known without the days before it.

Belongs here: the arithmetic of changes and absences. Not here: what changes (people.py, catalog.py, sales.py).
"""

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws
from kpi_assets.samples.storefront.size import Days, Numbers

Flags = npt.NDArray[np.bool_]

DAYS_AWAY, LEAST_BETWEEN, MOST_BETWEEN = 10, 60, 120  # of those who go and come back
ONE_AWAY_IN, ONE_GONE_IN = 25, 50
MOST_DAYS_THERE = 1_000  # of those who go for good


def draw(count: int, *stream: int) -> Numbers:
    """A draw of 32 bits for each of `count` things; a thing's draw does not depend on the count."""
    return Draws(*stream).uint32(count).astype(np.int64)


def times_changed(day: Days | int, pace: Numbers, shortest: int, longest: int) -> Numbers:
    """How often each thing has changed by its day: once in `shortest` to `longest` days, from a random day on."""
    period = shortest + pace % (longest - shortest + 1)
    times: Numbers = (day + (pace >> 16) % period) // period
    return times


def is_there(day: int, came: Days, fate: Numbers) -> Flags:
    """Whether each thing is there on a day. A few go for some days and come back, and some go for good."""
    period = LEAST_BETWEEN + (fate >> 8) % (MOST_BETWEEN - LEAST_BETWEEN + 1)
    is_away = (fate % ONE_AWAY_IN == 0) & ((day + (fate >> 16)) % period >= period - DAYS_AWAY)
    is_gone = (fate % ONE_GONE_IN == 1) & (day > came + (fate >> 8) % MOST_DAYS_THERE)
    there: Flags = (came <= day) & ~is_away & ~is_gone
    return there
