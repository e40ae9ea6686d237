"""The message about one or several alerts: a title, details, and a link. Every channel sends the same.

The link of an alert that concerns a KPI leads to the page of the KPI, if there are pages, and any other into the UI.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from html import escape
from typing import NamedTuple
from urllib.parse import quote

from kpi_assets.ledger.deliveries import Alert
from kpi_assets.ledger.incidents import Kind
from kpi_assets.model.names import Relation, is_asset
from kpi_assets.model.query import digest

SHOWN = 5  # details in a message; the link leads to the others
LETTERS = 500  # of a detail
IN_DAGSTER = "In Dagster: "  # begins the detail of a message whose link leads to a page for readers
LINES = 100  # of a digest
HEADING = "▪ "  # begins a detail of a digest that is the name of a board
SUMMARY = "summary"  # the kind of a message about alerts of several kinds

# For one load_date, and for several.
_TITLES = {
    "held": ("is held by its gates", "are held by their gates"),
    "failed": ("failed", "failed"),
    "late": ("is late", "are late"),
    "breached": ("is beyond its threshold", "are beyond their thresholds"),
    "drifted": ("is a field that the header does not name", "are fields that the header does not name"),
    "waived": ("is published on a person's word", "are published on a person's word"),
    "erased": ("was delivered with erased persons", "were delivered with erased persons"),
    "restated": ("was restated, and had been final", "were restated, and had been final"),
    "stalled": ("is stalled: it fails again and again", "are stalled: they fail again and again"),
    "recovered": ("has recovered", "have recovered"),
    "digest": ("has a digest", "have digests"),  # among others: alone it has a title of its own
}
_MORE = {"held": "; readers keep what was published before"}


@dataclass(frozen=True)
class Message:
    """A message about `count` alerts, with all their load_dates.

    `key` is the same each time the message is sent, so that a receiver can recognize a repeat. `load_date` and `run_id`
    are set where all alerts have the same.
    """

    key: str
    kind: str
    pipeline: str
    load_date: str | None
    title: str
    details: list[str]
    link: str
    run_id: str | None
    at: datetime
    count: int
    load_dates: list[str]

    def text(self) -> str:
        """Return the whole message, with a line for each part."""
        return "\n".join([self.title, *map(_line, self.details), self.link])

    def html(self) -> str | None:
        """Return a digest for mails as HTML, with its boards as tables; None for any other message."""
        return _html(self) if self.kind == "digest" else None


class Pages(NamedTuple):
    """The addresses of pages for readers: that of the pipeline, and those of its KPIs by `schema.table`."""

    pipeline: str | None
    kpis: Mapping[str, str]


NO_PAGES = Pages(None, {})


def message_of(alerts: Sequence[Alert], ui_url: str, run_history_days: int = 0, pages: Pages = NO_PAGES) -> Message:
    """Return the message about alerts of one pipeline, sorted oldest first, with a link below `ui_url`.

    Runs that ended `run_history_days` ago may be deleted by now, so the link does not lead to them; 0 deletes none.
    A message about one KPI leads to its page, and a digest to that of the pipeline, if there are pages.
    """
    first = alerts[0]
    days = sorted({str(alert.load_date) for alert in alerts if alert.load_date})
    kinds, runs = Counter(alert.kind for alert in alerts), {alert.run_id for alert in alerts}
    key = f"{first.pipeline_name}.{first.id}"
    oldest = datetime.now(timezone.utc) - timedelta(days=run_history_days) if run_history_days else None
    link = ui_url + (_path(first, oldest) if len(alerts) == 1 else _common_path(alerts, kinds, runs, oldest))
    page, details = _page(alerts, pages), _details(alerts, kinds)
    if page and not first.measure and not is_digest(alerts):
        details.append(f"{IN_DAGSTER}{link}")
    return Message(
        key=key if len(alerts) == 1 else f"{key}.{digest(*(str(alert.id) for alert in alerts))}",
        kind=first.kind if len(kinds) == 1 else SUMMARY,
        pipeline=first.pipeline_name,
        load_date=days[0] if len(days) == 1 else None,
        title=_title(alerts, kinds),
        details=details,
        link=page or link,
        run_id=first.run_id if len(runs) == 1 else None,
        at=first.opened_at,
        count=len(alerts),
        load_dates=days,
    )


def _line(detail: str) -> str:
    return f"\n{detail.removeprefix(HEADING)}" if detail.startswith(HEADING) else f"- {detail}"


def _html(message: Message) -> str:
    parts, cells = [f"<h1 style='font-size:18px'>{escape(message.title)}</h1>"], "padding:4px 12px 4px 0"
    for detail in message.details:
        if detail.startswith(HEADING):
            parts.append(f"<h2 style='font-size:15px;margin:20px 0 4px'>{escape(detail.removeprefix(HEADING))}</h2>")
            continue
        name, colon, rest = detail.partition(": ")
        is_tile = colon and any(part.startswith("<h2") for part in parts)
        number, _, trust = rest.partition("; ")
        parts.append(
            f"<table role='presentation'><tr><td style='{cells};width:220px'>{escape(name)}</td>"
            f"<td style='{cells}'><b>{escape(number)}</b><br><small>{escape(trust)}</small></td></tr></table>"
            if is_tile
            else f"<p>{escape(detail)}</p>"
        )
    link = escape(message.link, quote=True)
    parts.append(f"<p><a href='{link}'>{link}</a></p>")
    return f"<html><body style='font-family:sans-serif;font-size:14px'>{''.join(parts)}</body></html>"


def _page(alerts: Sequence[Alert], pages: Pages) -> str | None:
    """Return the page of the one KPI that all alerts concern; of a measure, of its load_date; None if there is none.

    Of a digest it is that of the pipeline.
    """
    if is_digest(alerts):
        return pages.pipeline
    [job, *others], first = list({alert.job for alert in alerts}), alerts[0]
    page = pages.kpis.get(job or "")
    if others or page is None:
        return None
    measures = {alert.measure for alert in alerts}
    if None in measures:
        return page
    of_measure = f"measure={_quoted(first.measure or '')}&" if len(measures) == 1 else ""
    return f"{page}?{of_measure}load_date={max(str(alert.load_date) for alert in alerts)}"


def _title(alerts: Sequence[Alert], kinds: Counter[Kind]) -> str:
    if is_digest(alerts):
        return alerts[0].details[0]
    if len(kinds) > 1:
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        return f"{alerts[0].pipeline_name}: {len(alerts)} alerts at once ({counts})"
    return _sentence(alerts)


def is_digest(alerts: Sequence[Alert]) -> bool:
    """Whether a message is a digest alone."""
    return len(alerts) == 1 and alerts[0].kind == "digest"


def _sentence(alerts: Sequence[Alert]) -> str:
    """Return a sentence on what happened, for alerts of one kind."""
    kind, one, several = alerts[0].kind, *_TITLES[alerts[0].kind]
    if len(alerts) > 1:
        return f"{_all(alerts)} {several}{_MORE.get(kind, '')}"
    return f"{_what(alerts[0])} {one}{': it is published' if _is_recovery(alerts[0]) else _MORE.get(kind, '')}"


def _is_recovery(alert: Alert) -> bool:
    return alert.kind == "recovered" and alert.load_date is not None and alert.part is None


def _what(alert: Alert) -> str:
    if alert.part is not None:
        part = "" if alert.ruling else f".{_cut(alert.part)}"
        return f"{alert.pipeline_name}, load_date {alert.load_date}: {alert.job}{part}"
    if alert.load_date is not None:
        return f"{alert.pipeline_name}, load_date {alert.load_date}"
    # The job of a whole pipeline has the name of the pipeline, which is written only once.
    return ", ".join(dict.fromkeys((alert.pipeline_name, alert.job or alert.pipeline_name)))


def _all(alerts: Sequence[Alert]) -> str:
    days = sorted({alert.load_date for alert in alerts if alert.load_date})
    name, jobs = alerts[0].pipeline_name, sorted({alert.job for alert in alerts if alert.job})
    if all(alert.part and not alert.ruling for alert in alerts):
        parts = sorted({f"{alert.job}.{_cut(alert.part or '')}" for alert in alerts})
        more = [f"{len(parts) - SHOWN} more"] if len(parts) > SHOWN else []
        return f"{name}: {', '.join([*parts[:SHOWN], *more])}"
    if not days:
        return f"{name}, {', '.join(jobs[:SHOWN]) or f'{len(alerts)} runs'}"
    if len(days) == 1:
        return f"{name}, load_date {days[0]} and others"
    return f"{name}, {len(days):,} load_dates from {days[0]} to {days[-1]}"


def _details(alerts: Sequence[Alert], kinds: Counter[Kind]) -> list[str]:
    if is_digest(alerts):
        return list(map(_cut, alerts[0].details[1 : LINES + 1]))
    if len(alerts) == 1:
        return _first(alerts[0].details)
    listed = f"`kpi alerts {alerts[0].pipeline_name}` lists those that are open, and ops.alerts all"
    if len(kinds) > 1:
        said = [_sentence([alert for alert in alerts if alert.kind == kind]) for kind in kinds]
    else:
        said = _first(
            [f"{alert.load_date or alert.job or alert.run_id}: {'; '.join(alert.details)}" for alert in alerts]
        )
    return [*said, listed]


def _first(texts: Sequence[str]) -> list[str]:
    more = [f"and {len(texts) - SHOWN:,} more"] if len(texts) > SHOWN else []
    return [*map(_cut, texts[:SHOWN]), *more]


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def verdict_path(pipeline: str, name: str, run_id: str) -> str:
    """Return the UI's page with the check results of `schema.table` or `s3.table` in one run.

    A later run changes the page of the asset, but not this page.
    """
    return _step_path(pipeline, name, run_id, "|type:ASSET_CHECK_EVALUATION")


def _common_path(alerts: Sequence[Alert], kinds: Counter[Kind], runs: set[str | None], oldest: datetime | None) -> str:
    """Return the UI's page for several alerts: the first build of a held table, else their run or the list of runs."""
    first = alerts[0]
    if len(kinds) == 1 and first.kind == "held" and len({alert.job for alert in alerts}) == 1:
        return _path(first, oldest)
    return f"/runs/{_quoted(first.run_id)}" if first.run_id and len(runs) == 1 else "/runs"


def _path(alert: Alert, oldest: datetime | None) -> str:
    """Return the UI's page for one alert: that of its run if it is newer than `oldest`, else that of its asset."""
    if alert.kind == "digest":
        return ""
    if alert.job and alert.kind != "failed" and not alert.run_id and not alert.load_date:
        return "/automation"
    if not alert.run_id or (oldest and alert.opened_at <= oldest):
        return _asset_path(alert)
    if not _is_asset(alert):
        return f"/runs/{_quoted(alert.run_id)}"
    assert alert.job
    path = verdict_path if alert.kind == "held" else _step_path
    return path(alert.pipeline_name, alert.job, alert.run_id)


def _step_path(pipeline: str, name: str, run_id: str, more: str = "") -> str:
    """Return the page with the log of a run, filtered for the step that builds an asset."""
    step = "__".join((pipeline, *Relation.parse(name)))
    return f"/runs/{_quoted(run_id)}?logs={_quoted(f'step:{step}{more}')}"


def _asset_path(alert: Alert) -> str:
    """Return the page of the asset of an alert, at its load_date; without an asset, the list of the objects."""
    if not _is_asset(alert):
        return f"/assets/{_quoted(alert.pipeline_name)}/s3"
    assert alert.job
    key = "/".join(_quoted(part) for part in (alert.pipeline_name, *Relation.parse(alert.job)))
    return f"/assets/{key}?view=partitions" + (f"&partition={alert.load_date}" if alert.load_date else "")


def _is_asset(alert: Alert) -> bool:
    """Whether the alert is about a table or an object, and not about the job of a run."""
    return is_asset(alert.job or "")


def _quoted(part: str) -> str:
    return quote(part, safe="")
