"""Ticks: Dagster's records of the evaluations of sensors and schedules, which show whether they work.

Belongs here: finding those that fail every time, and those that are no longer evaluated. Not here: reporting them
(automation/stalled.py, doctor/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import dagster as dg

from kpi_assets.dagster_internals import InstigatorTick, InstigatorType, TickStatus
from kpi_assets.instance.starters import Starter

# How often each may fail in a row before people are alerted: a sensor ticks many times an hour, a schedule once a day.
MOST_FAILED = {InstigatorType.SENSOR: 10, InstigatorType.SCHEDULE: 2}
ENDED = [TickStatus.SKIPPED, TickStatus.SUCCESS, TickStatus.FAILURE]
SILENCE = 600.0  # seconds without a tick until a sensor that is on counts as silent, at least ten of its intervals


@dataclass(frozen=True)
class Stalled:
    """A sensor or schedule whose latest ticks all failed, more of them than MOST_FAILED allows."""

    starter: Starter
    times: int
    last: datetime
    error: str

    @property
    def sentence(self) -> str:
        """The problem, as a sentence without its period."""
        at = f"{self.last:%Y-%m-%d %H:%M} UTC"
        return f"it failed each of the last {self.times} times, so nothing that it does is done; at {at}: {self.error}"


def find_stalled(instance: dg.DagsterInstance, starters: Sequence[Starter]) -> list[Stalled]:
    """Return the starters that are on and stalled."""
    found = []
    for starter in starters:
        most = MOST_FAILED[starter.type]
        ticks = _latest(instance, starter, most + 1)
        if len(ticks) > most and all(tick.status == TickStatus.FAILURE for tick in ticks):
            last = datetime.fromtimestamp(ticks[0].timestamp, timezone.utc)
            found.append(Stalled(starter, len(ticks), last, _reason(ticks[0])))
    return found


def is_working(instance: dg.DagsterInstance, starter: Starter) -> bool:
    """Return whether the starter is on and its latest tick did not fail."""
    ticks = _latest(instance, starter, 1)
    return bool(ticks) and ticks[0].status != TickStatus.FAILURE


def silent_since(instance: dg.DagsterInstance, starter: Starter, now: float) -> datetime | None:
    """Return the time of a sensor's latest tick if it is on and has been silent for too long, else None."""
    state = starter.state(instance) if starter.is_on(instance) else None
    data = state.sensor_instigator_data if state else None
    if data is None:
        return None
    times = (data.last_tick_timestamp, data.last_tick_start_timestamp, data.last_sensor_start_timestamp)
    last = max(time or 0.0 for time in times)
    if not last or now - last <= max(SILENCE, 10 * (data.min_interval or 0)):
        return None
    return datetime.fromtimestamp(last, timezone.utc)


def _latest(instance: dg.DagsterInstance, starter: Starter, limit: int) -> Sequence[InstigatorTick]:
    """Return its latest finished ticks, newest first, or none if it is off."""
    state = starter.state(instance) if starter.is_on(instance) else None
    if state is None:
        return []
    return instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=limit, statuses=ENDED)


def _reason(tick: InstigatorTick) -> str:
    """Return the first line of the root cause of a failed tick."""
    error = tick.error
    while error and error.cause:
        error = error.cause
    lines = error.message.strip().splitlines() if error else []
    return lines[0] if lines else "Dagster does not say why"
