"""An alert in words: a title, what was said of it, and where to look. The same for every channel."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from kpi_assets.ops.deliveries import Alert

SHOWN = 5  # details of a message; the link leads to the rest
LETTERS = 500  # of a detail

_TITLES = {
    "held": "{what} is held by its gates; readers keep what was published before",
    "failed": "{what} failed",
    "late": "{what} is late",
    "recovered": "{what} has recovered: it is published",
}


@dataclass(frozen=True)
class Message:
    """What a person is told. `key` is the same each time it is sent, so that a repeat can be told as one."""

    key: str
    kind: str
    pipeline: str
    load_date: str | None
    title: str
    details: list[str]
    link: str
    run_id: str | None
    at: datetime

    def text(self) -> str:
        """The whole message, a line for each part."""
        return "\n".join([self.title, *(f"- {detail}" for detail in self.details), self.link])


def message_of(alert: Alert, ui_url: str) -> Message:
    """The message of an alert, with a link below `ui_url`."""
    what = alert.pipeline_name if alert.load_date is None else f"{alert.pipeline_name}, load_date {alert.load_date}"
    details = [_cut(detail) for detail in alert.details[:SHOWN]]
    if len(alert.details) > SHOWN:
        details.append(f"and {len(alert.details) - SHOWN} more")
    return Message(
        key=f"{alert.pipeline_name}.{alert.id}",
        kind=alert.kind,
        pipeline=alert.pipeline_name,
        load_date=str(alert.load_date) if alert.load_date else None,
        title=_TITLES[alert.kind].format(what=what),
        details=details,
        link=ui_url + _path(alert),
        run_id=alert.run_id,
        at=alert.opened_at,
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _path(alert: Alert) -> str:
    """The UI's page about it: the check that holds a table, or the late KPI, else the run, else the objects."""
    key = "/".join(_quoted(part) for part in (alert.pipeline_name, *(alert.job or "").split(".")))
    if alert.kind == "late" and alert.job:
        return f"/assets/{key}"
    if alert.kind == "held" and alert.job:
        return f"/assets/{key}?view=checks" + (f"&checkDetail={_quoted(alert.check_name)}" if alert.check_name else "")
    return f"/runs/{_quoted(alert.run_id)}" if alert.run_id else f"/assets/{_quoted(alert.pipeline_name)}/s3"


def _quoted(part: str) -> str:
    return quote(part, safe="")
