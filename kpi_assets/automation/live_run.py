"""The live run of a pipeline with streams: a job whose one op builds a load_date for as long as it grows.

A run of Dagster for each batch would write a gigabyte of events a day. So one run stays for `stay_minutes` and makes a
tick every few seconds (materialize/tick.py). The sensor requests the next run when none is unfinished, so one that was
killed is replaced within an interval of the sensor. The gates need no Dagster: what fails them is not published.

A live run has the turn of its load_date only during a tick. A backfill, or a run of a person, waits for the end of the
tick, and then the live run waits until that run has ended.

Belongs here: the loop, the job and the sensor. Not here: what is told to Dagster (assets/live_events.py), and which
load_dates grow (plan/growing.py).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from functools import partial
from typing import Any

import dagster as dg

from kpi_assets.assets.live_events import LiveEvents
from kpi_assets.assets.partitions import load_dates
from kpi_assets.assets.resources import Run
from kpi_assets.assets.run_tags import requested_load_dates
from kpi_assets.assets.steps import user_errors_as_failures
from kpi_assets.automation.unfinished_runs import live_load_dates
from kpi_assets.dagster_internals import MAX_RETRIES_TAG
from kpi_assets.embedded.stack import servers_for_life
from kpi_assets.errors import UsageError
from kpi_assets.instance.processes import close_dead_runs
from kpi_assets.instance.starters import live_sensor_name
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import check_not_behind
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.tick import Seen, Tick, finish, tick
from kpi_assets.materialize.upkeep import Upkeep
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.plan.growing import find_growing
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect

LEAST_PAUSE = 0.6  # seconds between two ticks: who waits for the turn of the load_date looks every half second
NOTHING_GROWS = "No load_date grows that could be built."
SAID_AGAIN = 60.0  # seconds after which the run's log repeats that another run has the turn, or that a table fails


def _never() -> bool:
    return False


@dataclass
class Loop:
    """The ticks of one live run. `turn` gives the turn of the load_date if no other run has it.

    `is_closed` says whether nothing lands in the load_date any more. The loop ends after `stay` seconds, when `is_over`
    says so, or with the first tick that began after the closing and found nothing to do. `is_finished` says then that
    everything is built: a table whose batch is held has more to come, once its SQL or its checks have changed.
    """

    make_tick: Callable[[bool], Tick]
    turn: Callable[[], AbstractContextManager[bool]]
    is_closed: Callable[[], bool]
    stay: float
    every: float
    log: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    is_over: Callable[[], bool] = _never
    is_finished: bool = False  # closed, and all of it is built
    _said: dict[str, float] = field(default_factory=dict)

    def ticks(self) -> Iterator[Tick]:
        """Make ticks until the load_date is finished or it is time for another run."""
        ends_at = self.clock() + self.stay
        while self.clock() < ends_at and not self.is_over():
            began, is_closed = self.clock(), self.is_closed()
            with self.turn() as has_turn:
                done = self.make_tick(is_closed) if has_turn else None
            if done is None:
                self._say("Another run builds the load_date: this one goes on after it.")
            else:
                for relation, error in done.failed.items():
                    self._say(f"{relation} failed: {error}")
                yield done
                if is_closed and done.is_idle:
                    self.is_finished = not done.held
                    return
            pause = max(self.every - (self.clock() - began), LEAST_PAUSE)
            self.sleep(max(0.0, min(pause, ends_at - self.clock())))

    def _say(self, sentence: str) -> None:
        """Log a sentence, unless it was logged just now."""
        now = self.clock()
        if now - self._said.get(sentence, -SAID_AGAIN) >= SAID_AGAIN:
            self._said[sentence] = now
            self.log(sentence)


def live_job(pipeline: Pipeline, is_over: Callable[[], bool] = _never) -> dg.JobDefinition:
    """Return the job that builds a load_date for as long as it grows, a tick every few seconds.

    A run ends before that with the tick after which `is_over`: for one in this process that somebody waits for.
    """

    @dg.op(name=f"{pipeline.name}__grow", required_resource_keys={"run_log"})
    def grow_load_date(context: dg.OpExecutionContext) -> Iterator[Any]:
        with user_errors_as_failures(context):
            load_date = _the_load_date(pipeline, context.run.tags)
            run: Run = context.resources.run_log
            work = run.context(pipeline, None, lambda _phase, _done, _total: None)
            if run.is_alone(pipeline, load_date):
                yield from _events(context, work, run, load_date, is_over)
            else:
                context.log.info(f"Another live run builds {load_date}: there is nothing left to do for this one.")
        yield dg.Output(None)

    @dg.job(
        name=pipeline.live_job,
        partitions_def=load_dates(pipeline),
        description="One load_date for as long as events land in it: a batch every few seconds.",
    )
    def live() -> None:
        grow_load_date()

    return live


def _the_load_date(pipeline: Pipeline, tags: Mapping[str, str]) -> date:
    days = requested_load_dates(pipeline, tags)
    if len(days) != 1:
        raise UsageError(f"A live run takes one load_date, and the run names {len(days)}: give it one partition.")
    return days[0]


def _events(
    context: dg.OpExecutionContext, work: BuildContext, run: Run, load_date: date, is_over: Callable[[], bool]
) -> Iterator[Any]:
    """Make the ticks of a run, and yield what Dagster is told of them."""
    pipeline = work.pipeline
    events = LiveEvents(
        context.instance, pipeline, load_date, lambda relation: run.published(pipeline, relation, load_date)
    )
    with work.sharing_sessions() as sharing:
        loop = _loop(context, sharing, run, load_date, is_over)
        for done in loop.ticks():
            yield from events.after(done.outcomes)
    if loop.is_finished:
        problems = finish(work, load_date)
        for problem in problems:
            context.log.warning(problem)
        if not problems:
            context.log.info(f"{load_date} is closed, and all of it is built.")
    yield from events.at_end()


def _loop(
    context: dg.OpExecutionContext, work: BuildContext, run: Run, load_date: date, is_over: Callable[[], bool]
) -> Loop:
    """Return the loop of a run: its ticks, with the upkeep of the ledger, while it has the turn of the load_date."""
    pipeline, live = work.pipeline, work.pipeline.config.live
    seen, upkeep = Seen(), Upkeep(work, load_date)

    def make_tick(is_last: bool) -> Tick:
        done = tick(work, load_date, is_last=is_last, seen=seen)
        upkeep.after_tick()
        return done

    return Loop(
        make_tick=make_tick,
        turn=partial(run.turn, pipeline, load_date),
        is_closed=partial(run.is_closed, pipeline, load_date),
        stay=live.stay_minutes * 60,
        every=live.tick_seconds,
        log=context.log.warning,
        is_over=is_over,
    )


class _Watch:
    """Finds the load_dates of one pipeline that grow, and the live runs that build them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._is_prepared = pipeline, False

    def look(self, instance: dg.DagsterInstance) -> tuple[list[date], list[date]]:
        """Return the load_dates that lack a live run, and those that have one. Raises UserError."""
        pipeline, servers, now = self._pipeline, servers_for_life(), datetime.now(timezone.utc)
        if not self._is_prepared:
            prepare(pipeline, servers.postgres)
            self._is_prepared = True
        store = open_store(pipeline, servers.settings)
        check_not_behind(BuildContext(pipeline, servers.postgres, store, "sensor", settings=servers.settings))
        close_dead_runs(instance)  # those of this machine; Dagster finds the others, which takes longer
        covered = set(live_load_dates(instance, pipeline))
        with connect(servers.postgres, pipeline.name, "live sensor") as connection:
            found = find_growing(pipeline, connection, store, pipeline.config.start_date, now.date(), now)
        return sorted(day for day, each in found.items() if not each.is_stuck and day not in covered), sorted(covered)


def live_sensor(pipeline: Pipeline) -> dg.SensorDefinition:
    """Return the sensor that requests a live run of each load_date that grows and has none."""
    automation, status = pipeline.config.automation, dg.DefaultSensorStatus
    watch = _Watch(pipeline)

    @dg.sensor(
        name=live_sensor_name(pipeline),
        job_name=pipeline.live_job,
        minimum_interval_seconds=automation.interval_seconds,
        default_status=status.RUNNING if automation.start == "sensor" else status.STOPPED,
        description="Keeps a live run of each load_date in which events land, until the load_date is closed.",
    )
    def growing(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        lacking, covered = watch.look(context.instance)
        if not lacking:
            days = ", ".join(map(str, covered))
            return dg.SkipReason(f"A live run builds each load_date that grows: {days}." if days else NOTHING_GROWS)
        tags = {MAX_RETRIES_TAG: "0", "dagster/priority": "10"}  # the sensor is the retry; new events go first
        return dg.SensorResult([dg.RunRequest(partition_key=day.isoformat(), tags=tags) for day in lacking])

    return growing
