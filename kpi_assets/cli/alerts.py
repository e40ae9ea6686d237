"""`kpi alerts`, and the delivery of alerts at the end of other commands."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Annotated, Any

import typer
from rich.text import Text

from kpi_assets.alerts.channels import ChannelError, channels
from kpi_assets.alerts.delivery import deliver, send_within
from kpi_assets.alerts.message import Message, message_of
from kpi_assets.cli.arguments import complete_pipeline
from kpi_assets.cli.terminal import err, grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError, UserError
from kpi_assets.instance.services import pages_url, ui_url
from kpi_assets.ledger import deliveries, incidents
from kpi_assets.ledger.deliveries import Alert
from kpi_assets.read.addresses import pages_of
from kpi_assets.read.digest import read_digest
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import LEDGER_ALONE, WarehouseError, connect, one_snapshot

PAST = 50  # incidents
CHANNEL_SECONDS = 5.0  # how long a command waits for a channel
STYLES = {
    "held": "bold red",
    "failed": "red",
    "late": "yellow",
    "stalled": "bold red",
    "breached": "yellow",
    "drifted": "yellow",
    "waived": "yellow",
    "erased": "yellow",
    "restated": "yellow",
    "digest": "",
    "recovered": "green",
}


def alerts(
    pipeline: Annotated[
        str, typer.Argument(metavar="PIPELINE", help="Print its incidents.", autocompletion=complete_pipeline)
    ] = "",
    past: Annotated[bool, typer.Option("--past", help=f"Also print the last {PAST} incidents that are over.")] = False,
    test: Annotated[bool, typer.Option("--test", help="Send a test message through every channel.")] = False,
    digest: Annotated[
        bool,
        typer.Option("--digest", help="Print the digest of the pipeline as of now; with --test, send it too."),
    ] = False,
) -> None:
    """Print the open incidents and the undelivered messages, or the digest, or send a test message."""
    if digest:
        if not pipeline:
            raise UsageError("Name the pipeline whose digest is to be printed.")
        _digest(pipeline, send=test)
        return
    if test:
        send_test()
    elif not pipeline:
        raise UsageError("Name a pipeline, or give --test to send a test message.")
    if pipeline:
        pipeline_of(pipeline)
        with open_workspace(pipeline) as work:
            _print(work.readable(), past=past)


def _digest(pipeline: str, *, send: bool) -> None:
    """Print the digest of now, and send it if asked; that of the day is sent in any case."""
    pipeline_of(pipeline)
    now = datetime.now(timezone.utc)
    with open_workspace(pipeline) as work:
        work.readable()
        session = connect(work.server, work.pipeline.name, "digest", read_only=True)
        with session as connection, one_snapshot(connection, LEDGER_ALONE):
            found = read_digest(connection, work.pipeline, now)
        config, pages = work.settings, pages_of(work.pipeline, pages_url(work.settings))
    if found is None:
        raise UserError(f"No KPI of {pipeline} has measures: write them in its header first.")
    alert = Alert(0, pipeline, None, "digest", None, None, found.texts, now)
    message = message_of([alert], ui_url(config), pages=pages)
    out.print(Text(message.text()), soft_wrap=True)
    if send:
        _send(replace(message, key=f"{pipeline}.digest.{now:%Y%m%d%H%M%S}"), "digest")


def send_test() -> None:
    """Send a test message through every channel of the settings. Raises UserError if a channel fails."""
    config, now = settings(), datetime.now(timezone.utc)
    message = Message(
        key=f"test.{now:%Y%m%d%H%M%S}",
        kind="test",
        pipeline="test",
        load_date=None,
        title="A test of kpi_assets: alerts reach this channel",
        details=["nothing happened"],
        link=ui_url(config),
        run_id=None,
        at=now,
        count=0,
        load_dates=[],
    )
    _send(message, "test message")


def _send(message: Message, what: str) -> None:
    found, failed = channels(settings()), []
    if not found:
        raise UserError("No alert channel is set: set KPI_ALERT_SLACK_URL or another setting of docs/guides/alerts.md.")
    for channel in found:
        try:
            send_within(channel, message, CHANNEL_SECONDS)
            say(f"{channel.name}: ", styled("sent", "green"))
        except ChannelError as error:
            failed.append(channel.name)
            say(f"{channel.name}: ", styled("failed", "red"), f": {error}")
    if failed:
        raise UserError(f"The {what} was not delivered by {', '.join(failed)}: correct the settings for it.")


def _print(work: Workspace, *, past: bool) -> None:
    with connect(work.server, work.pipeline.name, "alerts", read_only=True) as connection:
        found, waiting = incidents.open_incidents(connection), deliveries.undelivered(connection)
        over = incidents.past_incidents(connection, PAST) if past else []
    if found:
        rows = [_cells(row) for row in found]
        out.print(grid(f"{work.pipeline.name}: open incidents", _NAMES, rows, right=("runs",)))
    else:
        say(f"No incident of {work.pipeline.name} is open.")
    if over:
        title, names = f"{work.pipeline.name}: past incidents", (*_NAMES[:3], "until (UTC)", *_NAMES[3:])
        ended = [
            (*cells[:3], f"{row['closed_at']:%Y-%m-%d %H:%M}", *cells[3:])
            for row, cells in zip(over, map(_cells, over), strict=True)
        ]
        out.print(grid(title, names, ended, right=("runs",)))
    elif past:
        say(f"No incident of {work.pipeline.name} is over.")
    if waiting:
        names = ("load_date", "message", "channel", "attempts", "next (UTC)", "last error")
        messages = [
            (
                row["load_date"],
                styled(row["kind"], STYLES[row["kind"]]),
                row["channel"],
                row["attempts"],
                f"{row['next_attempt_at']:%Y-%m-%d %H:%M:%S}" if row["next_attempt_at"] else "given up",
                row["last_error"],
            )
            for row in waiting
        ]
        out.print(grid("Not delivered", names, messages, right=("attempts",)))


_NAMES = ("load_date", "incident", "since (UTC)", "runs", "message of the latest run")


def _cells(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        row["load_date"],
        styled(row["kind"], STYLES[row["kind"]]),
        f"{row['opened_at']:%Y-%m-%d %H:%M}",
        row["occurrences"],
        Text("\n").join(styled(detail, "") for detail in row["details"]),
    )


def deliver_due(work: Workspace) -> None:
    """Deliver the alerts that are due. A problem is a warning on stderr and does not fail the command."""
    config = work.settings
    try:
        problems = deliver(
            *(work.server, work.pipeline.name, channels(config), ui_url(config), CHANNEL_SECONDS),
            run_history_days=config.run_history_days,
            pages=pages_of(work.pipeline, pages_url(config)),
        )
    except WarehouseError as error:
        say(f"warning: {error}", console=err)
        return
    for name, reason in problems.items():
        again = "the next command or the daemon tries again"
        say(f"warning: {name} did not accept an alert: {reason}; {again}.", console=err)
