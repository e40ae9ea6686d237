"""The word `for` of an alert: how long something must be so before people are told.

Not here: judging it (monitoring/thresholds.py for measures, monitoring/alerting_checks.py for checks).
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from kpi_assets.model.sentences import shown

MOST_LOAD_DATES = 400
_MOST_MINUTES = 7 * 24 * 60
_MINUTES = {"minute": 1, "hour": 60}


@dataclass(frozen=True)
class Wait:
    """How long: for so many load_dates in a row, or for a time by the clock."""

    load_dates: int = 1
    time: timedelta = timedelta(0)

    def __str__(self) -> str:
        if self.time:
            minutes = int(self.time.total_seconds() // 60)
            return f"{minutes} minute{'s' * (minutes != 1)}"
        return f"{self.load_dates} load_date{'s' * (self.load_dates != 1)}"


def _wait(value: Any) -> Any:
    if isinstance(value, Wait):
        return value
    found = re.fullmatch(r"([0-9]{1,5}) (load_date|minute|hour)s?", value) if isinstance(value, str) else None
    count = int(found[1]) if found else 0
    if found and found[2] == "load_date" and 1 <= count <= MOST_LOAD_DATES:
        return Wait(load_dates=count)
    if found and found[2] != "load_date" and 1 <= count * _MINUTES[found[2]] <= _MOST_MINUTES:
        return Wait(time=timedelta(minutes=count * _MINUTES[found[2]]))
    raise ValueError(
        f"{shown(value)} is no time that an alert waits: write `10 minutes`, up to a week, or `3 load_dates`, up to "
        f"{MOST_LOAD_DATES}"
    )


For = Annotated[Wait, BeforeValidator(_wait), WithJsonSchema({"type": "string"})]
