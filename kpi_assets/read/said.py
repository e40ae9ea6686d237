"""Sentences for readers: what stopped a load_date, what a check found, and which load_date is shown.

A sentence is made of names and counts, never of the messages of checks and builds, which may quote rows that failed.
What is not recorded is not said.

Belongs here: the words of states. Not here: what is true (kpis.py), what each check found (said_of_checks.py), numbers
(model/number_format.py), and times as they are read from a clock, such as `29 min ago` (surface/).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from decimal import Decimal

from kpi_assets.model.measure import Measure
from kpi_assets.model.names import is_object
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.titles import asset_title, day
from kpi_assets.read.kpis import FailedCheck, KpiGate, KpiState, Point, Stop, Waived
from kpi_assets.read.said_of_checks import found_by

# Of banners; the other states need none.
_ORDER: Sequence[KpiGate] = ("held", "failed", "late", "waived", "waiting", "running")


@dataclass(frozen=True)
class Banner:
    """What readers are told of several KPIs at once: a headline, and a few facts as short clauses.

    `since` is when it stopped; None of KPIs that are late, which have been so since `due_by` of each, and of those that
    are published on a person's word.
    """

    state: KpiGate  # held, failed, late, waived, waiting or running
    load_date: date  # that is not shown, or not as it should be
    headline: str  # `Wed 25 Nov is held: its data did not pass.`
    shown: str  # `All KPIs show Tue 24 Nov, the last good day.`
    reasons: Sequence[str]  # `1 row of order products prior stands twice`
    told: Sequence[str]  # channels
    kpis: Sequence[KpiState]  # that it is about
    since: datetime | None = None
    is_correction: bool = False


def reason(pipeline: Pipeline, check: FailedCheck) -> str:
    """Return what a check found, as a clause: `1 row of order products prior stands twice`."""
    return found_by(pipeline, check)


def reasons(pipeline: Pipeline, stop: Stop) -> list[str]:
    """Return why a load_date did not reach readers, as clauses; there is at least one."""
    if stop.checks:
        return list(dict.fromkeys(reason(pipeline, check) for check in stop.checks))
    title = asset_title(pipeline, stop.asset)
    if stop.state == "held":
        return [f"{_of(stop.asset, title)} did not pass"]
    if stop.state == "failed":
        return [f"{_of(stop.asset, title)} could not be {'verified' if is_object(stop.asset) else 'built'}"]
    if stop.state == "waiting":
        return [f"{title} is not published yet, and all KPIs are shown together"]
    return [f"{_of(stop.asset, title)} is being {'verified' if is_object(stop.asset) else 'built'}"]


def _of(asset: str, title: str) -> str:
    return f"the object of {title}" if is_object(asset) else title


def waived(pipeline: Pipeline, ruling: Waived) -> str:
    """Return by whose word something is published, as a clause: `published on ana's word until Fri 27 Nov: 1 row …`."""
    found = ", ".join(reason(pipeline, check) for check in ruling.checks)
    said = f"published on {ruling.by}'s word until {day(ruling.until.date())}: {found}; {ruling.reason}"
    return f"{said}; {ruling.revoked_by} revoked that: {ruling.revoke_reason}" if ruling.revoked_by else said


def whose_word(point: Point) -> str:
    """Return by whose word a load_date is published, in a few words: `published on ana's word`."""
    whose = " and ".join(dict.fromkeys(f"{each.by}'s" for each in point.waived))
    return f"published on {whose} word"


def waived_headline(point: Point) -> str:
    """Return by whose word a load_date is published, as a sentence: `Tue 24 Nov is published on ana's word.`."""
    return f"{day(point.load_date)} is {whose_word(point)}."


def finality(kpi: KpiState, point: Point) -> str:
    """Return whether the numbers of a load_date are final, as a clause: `provisional until Fri 27 Nov`.

    Empty if the header of the KPI does not say when they are.
    """
    at, through, is_final = kpi.final_at(point.load_date), kpi.final_through(point), kpi.is_final(point)
    if through:
        return f"the days up to {day(through)} are final"
    if is_final is None:
        return ""
    if at and not point.lacks:
        return f"{'final since' if is_final else 'provisional until'} {day(at.date())}"
    first, more = point.lacks[0], len({each.load_date for each in point.lacks}) - 1
    assert first.load_date
    others = f" and of {more} more day{'s' * (more > 1)}" if more else ""
    return f"provisional without {asset_title(kpi.pipeline, str(first.relation))} of {day(first.load_date)}{others}"


def headline(stop: Stop) -> str:
    """Return what became of a load_date, as a sentence: `Wed 25 Nov is held: its data did not pass.`."""
    of_day = day(stop.load_date)
    if stop.is_kept_out:
        return f"{'Newer rows of ' * stop.is_correction}{of_day} {'are' if stop.is_correction else 'is'} kept out."
    if stop.state == "held":
        what = f"A correction of {of_day}" if stop.is_correction else of_day
        return f"{what} is held: its data did not pass."
    if stop.state == "failed":
        return f"{of_day} could not be built{' again' * stop.is_correction}."
    if stop.state == "waiting":
        return f"{of_day} waits for the other KPIs."
    return f"{of_day} is being built{' again' * stop.is_correction}."


def late_headline(kpi: KpiState) -> str:
    """Return which load_date is late, as a sentence; empty if none is."""
    if kpi.late and kpi.through and kpi.latest:
        return f"{day(kpi.latest.load_date)} is late: it has the events until {kpi.through:%H:%M} UTC."
    return f"{day(kpi.next_due)} is late: it is not published yet." if kpi.late and kpi.next_due else ""


def built_through(kpi: KpiState) -> str:
    """Return how old the numbers of a KPI are: `built through 14:03:27 UTC`; empty if that is not asked for."""
    if kpi.through is None:
        return ""
    at = kpi.through.astimezone(timezone.utc)
    of_day = "" if kpi.now is None or at.date() == kpi.now.astimezone(timezone.utc).date() else f"{day(at.date())}, "
    return f"built through {of_day}{at:%H:%M:%S} UTC"


def limits(measure: Measure) -> str:
    """Return when people are told of a measure: `below 5,000 or a change of more than 30 %`; empty if never."""
    alert = measure.alert
    if alert is None:
        return ""
    found = [
        *([f"below {write(alert.below, measure.format)}"] if alert.below is not None else []),
        *([f"above {write(alert.above, measure.format)}"] if alert.above is not None else []),
        *([f"a change of more than {_share(alert.change.more_than)}"] if alert.change else []),
    ]
    return " or ".join(found) + (f", for {alert.for_} load_dates" if alert.for_ > 1 else "")


def _share(share: Decimal) -> str:
    """Return a share of 1 in percent, with no more digits than it has."""
    return f"{(share * 100).normalize():f} %"


def lacking(kpi: KpiState) -> list[str]:
    """Return which objects the next load_date of a KPI lacks, as clauses: `the object of labels has not landed`."""
    return [f"the object of {asset_title(kpi.pipeline, asset)} has not landed" for asset in kpi.lacking]


def shown(kpi: KpiState) -> str:
    """Return which load_date a KPI shows, as a sentence: `It shows Tue 24 Nov, the last good day.`."""
    return _shown("It shows", [kpi])


def gate(kpi: KpiState) -> str:
    """Return the state of a KPI in a few words, beside its number: `Tue 24 Nov, the last good day`."""
    if kpi.latest is None:
        return "nothing is published yet" if kpi.stop is None else headline(kpi.stop).rstrip(".")
    of_day, stop = day(kpi.latest.load_date), kpi.stop
    word = f", {whose_word(kpi.latest)}" if kpi.latest.waived else ""
    if stop and stop.is_correction:
        held = "newer rows are kept out" if stop.is_kept_out else "a correction is held"
        words = {"held": held, "failed": "a correction failed", "running": "it is being built again"}
        return f"{of_day}{word}, {words[stop.state]}"
    if stop and stop.state == "held":
        return f"{of_day}{word or ', the last good day'}"
    if stop:
        became = {"failed": "failed", "waiting": "waits for the other KPIs"}.get(stop.state, "is being built")
        return f"{of_day}{word}; {day(stop.load_date)} {became}"
    if kpi.late and kpi.through:
        more = f"{word}, with the events until {kpi.through:%H:%M} UTC"
    elif kpi.late and kpi.next_due:
        more = f"{word}; {day(kpi.next_due)} is late"
    else:
        warnings = kpi.latest.warnings
        more = word or (f", with {warnings} warning{'s' * (warnings > 1)}" if warnings else "")
    return f"{of_day}{more}"


def banners(kpis: Sequence[KpiState]) -> list[Banner]:
    """Return what readers are told of the KPIs of one pipeline: one banner for each load_date and state."""
    groups: dict[tuple[KpiGate, date, bool], list[KpiState]] = {}
    for kpi in kpis:
        if kpi.stop:
            groups.setdefault((kpi.stop.state, kpi.stop.load_date, kpi.stop.is_correction), []).append(kpi)
        elif kpi.late and kpi.through and kpi.latest:
            groups.setdefault(("late", kpi.latest.load_date, False), []).append(kpi)
        elif kpi.late and kpi.next_due:
            groups.setdefault(("late", kpi.next_due, False), []).append(kpi)
        if kpi.latest and kpi.latest.waived:
            groups.setdefault(("waived", kpi.latest.load_date, False), []).append(kpi)
    found = []
    for (state, load_date, is_correction), of_group in groups.items():
        stops = [] if state == "waived" else [kpi.stop for kpi in of_group if kpi.stop]
        clauses = [clause for stop in stops for clause in reasons(of_group[0].pipeline, stop)]
        title, who = headline(stops[0]) if stops else late_headline(of_group[0]), _who(of_group, kpis)
        shown_of = _shown(who, of_group)
        if state == "late":
            clauses = [clause for kpi in of_group for clause in lacking(kpi)]
        if state == "waived":
            points = [kpi.latest for kpi in of_group if kpi.latest]
            title = waived_headline(replace(points[0], waived=[each for point in points for each in point.waived]))
            clauses = [waived(kpi.pipeline, each) for kpi in of_group if kpi.latest for each in kpi.latest.waived]
            shown_of = f"{who} it."
        found.append(
            Banner(
                state,
                load_date,
                title,
                shown_of,
                list(dict.fromkeys(clauses)),
                list(dict.fromkeys(channel for stop in stops for channel in stop.told)),
                of_group,
                min((stop.since for stop in stops), default=None),
                is_correction,
            )
        )
    return sorted(found, key=lambda each: (_ORDER.index(each.state), each.load_date))


def _who(some: Sequence[KpiState], every: Sequence[KpiState]) -> str:
    """Return which KPIs show something, as the beginning of a sentence."""
    if len(every) == 1:
        return "It shows"
    if len(some) == len(every):
        return "All KPIs show"
    return f"{some[0].title} shows" if len(some) == 1 else f"{len(some)} of {len(every)} KPIs show"


def _shown(who: str, kpis: Sequence[KpiState]) -> str:
    """Return which load_date some KPIs show, as a sentence."""
    latest = [kpi.latest.load_date for kpi in kpis if kpi.latest]
    if not latest:
        return f"{who} nothing yet."
    of_days = _days(latest)
    stops = [kpi.stop for kpi in kpis if kpi.stop]
    if stops and all(stop.is_correction for stop in stops):
        return f"{who} {of_days} as it was before."
    if stops and all(stop.state in ("running", "waiting") for stop in stops):
        return f"{who} {of_days} until then."
    if stops and not any(kpi.latest.waived for kpi in kpis if kpi.latest):
        return f"{who} {of_days}, the last good day{'s' * (' to ' in of_days)}."
    return f"{who} {of_days}."


def _days(load_dates: Iterable[date]) -> str:
    """Return one day, or the first and the last of several."""
    found = sorted(set(load_dates))
    return day(found[0]) if len(found) == 1 else f"{day(found[0])} to {day(found[-1])}"
