"""Sentences for readers: what stopped a load_date, what a check found, and which load_date is shown.

A sentence is made of names and counts, never of the messages of checks and builds, which may quote rows that failed.
What is not recorded is not said.

Belongs here: the words of states and checks. Not here: what is true (kpis.py), numbers (model/number_format.py), and
times as they are read from a clock, such as `29 min ago` (surface/).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.kpis import FailedCheck, KpiState, Stop


@dataclass(frozen=True)
class Banner:
    """What a reader is told of several KPIs at once: a headline, and a few facts as short clauses."""

    state: str  # held, failed, running or late
    headline: str  # `Wed 25 Nov is held: its data did not pass.`
    shown: str  # `All KPIs show Tue 24 Nov, the last good day.`
    reasons: Sequence[str]  # `1 row of order products prior stands twice`
    told: Sequence[str]  # channels
    kpis: Sequence[KpiState]  # that it is about


def reason(pipeline: Pipeline, check: FailedCheck) -> str:
    """Return what a check found, as a clause: `1 row of order products prior stands twice`."""
    raise NotImplementedError


def reasons(pipeline: Pipeline, stop: Stop) -> list[str]:
    """Return why a load_date did not reach readers, as clauses; there is at least one."""
    raise NotImplementedError


def headline(stop: Stop) -> str:
    """Return what became of a load_date, as a sentence: `Wed 25 Nov is held: its data did not pass.`."""
    raise NotImplementedError


def shown(kpi: KpiState) -> str:
    """Return which load_date a KPI shows, as a sentence: `It shows Tue 24 Nov, the last good day.`."""
    raise NotImplementedError


def gate(kpi: KpiState) -> str:
    """Return the state of a KPI in a few words, beside its number: `24 Nov, the last good day`."""
    raise NotImplementedError


def banners(kpis: Sequence[KpiState]) -> list[Banner]:
    """Return what readers are told of the KPIs of one pipeline, one banner for each load_date and state."""
    raise NotImplementedError
