"""An alert in words: a title, what was said of it, and where to look. The same for every channel."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
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


def message_of(alert: Alert, ui_url: str, run_history_days: int = 0) -> Message:
    """The message of an alert, with a link below `ui_url`; runs that ended `run_history_days` ago may be deleted."""
    what = alert.pipeline_name if alert.load_date is None else f"{alert.pipeline_name}, load_date {alert.load_date}"
    details = [_cut(detail) for detail in alert.details[:SHOWN]]
    if len(alert.details) > SHOWN:
        details.append(f"and {len(alert.details) - SHOWN} more")
    deletable = run_history_days and datetime.now(timezone.utc) - alert.opened_at >= timedelta(days=run_history_days)
    return Message(
        key=f"{alert.pipeline_name}.{alert.id}",
        kind=alert.kind,
        pipeline=alert.pipeline_name,
        load_date=str(alert.load_date) if alert.load_date else None,
        title=_TITLES[alert.kind].format(what=what),
        details=details,
        link=ui_url + (_asset_path(alert) if deletable else _path(alert)),
        run_id=alert.run_id,
        at=alert.opened_at,
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def verdict_path(pipeline: str, name: str, run_id: str) -> str:
    """The UI's page with what a run found in `schema.table` or `s3.object`.

    A later run that passes does not change it, as it does the asset's own page.
    """
    return _step_path(pipeline, name, run_id, "|type:ASSET_CHECK_EVALUATION")


def _path(alert: Alert) -> str:
    """The UI's page about it: of a run what it found or did, else the asset that is late."""
    if not alert.run_id:
        return _asset_path(alert)
    if not _is_asset(alert):
        return f"/runs/{_quoted(alert.run_id)}"
    assert alert.job
    path = verdict_path if alert.kind == "held" else _step_path
    return path(alert.pipeline_name, alert.job, alert.run_id)


def _step_path(pipeline: str, name: str, run_id: str, more: str = "") -> str:
    """The log of a run, of the step that builds an asset only."""
    step = "__".join((pipeline, *name.split(".")))
    return f"/runs/{_quoted(run_id)}?logs={_quoted(f'step:{step}{more}')}"


def _asset_path(alert: Alert) -> str:
    """The page of an asset, at the load_date that it is about; where none is named, the list of the objects."""
    if not _is_asset(alert):
        return f"/assets/{_quoted(alert.pipeline_name)}/s3"
    assert alert.job
    key = "/".join(_quoted(part) for part in (alert.pipeline_name, *alert.job.split(".")))
    return f"/assets/{key}?view=partitions" + (f"&partition={alert.load_date}" if alert.load_date else "")


def _is_asset(alert: Alert) -> bool:
    """Whether it names a table or an object; the name of a run's job has no dot."""
    return "." in (alert.job or "")


def _quoted(part: str) -> str:
    return quote(part, safe="")
