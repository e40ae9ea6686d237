"""One pass over the outbox of a pipeline. Several processes may do it at the same time, and no alert is sent twice."""

import time
from collections.abc import Sequence
from threading import Thread

import psycopg
from pydantic import SecretStr

from kpi_assets.alerts.channels import Channel, ChannelError
from kpi_assets.alerts.message import NO_PAGES, Message, Pages, message_of
from kpi_assets.ledger import deliveries
from kpi_assets.warehouse.connection import WarehouseError, connect

# Messages of a pipeline on a channel within a minute. After that each message holds all alerts that are due, and after
# twice as many the rest waits for the next minute.
MOST_MESSAGES = 10


def deliver(
    server: SecretStr,
    pipeline: str,
    channels: Sequence[Channel],
    ui_url: str,
    seconds: float,
    *,
    run_history_days: int = 0,
    pages: Pages = NO_PAGES,
) -> dict[str, str]:
    """Send the alerts that are due, in about `seconds` per channel; return the reason for each channel that failed.

    Alerts of one cause are one message. MOST_MESSAGES limits the messages within a minute. A channel that fails gets
    nothing more in this pass, and its alerts are due again later. An error of a channel is not raised. Raises
    WarehouseError if the outbox cannot be used.
    """
    problems: dict[str, str] = {}
    try:
        with connect(server, pipeline, "alerts") as connection:
            deliveries.enter(connection, [channel.name for channel in channels])
            for channel in channels:
                ends = time.monotonic() + seconds
                # A slow message is not begun near the end, where its timeout would count as a failure.
                while (left := ends - time.monotonic()) > seconds / 2:
                    sent = deliveries.delivered_in_last_minute(connection, channel.name)
                    if sent >= 2 * MOST_MESSAGES:
                        break
                    alerts = deliveries.claim(connection, channel.name, all_due=sent >= MOST_MESSAGES)
                    if not alerts:
                        break
                    message = message_of(alerts, ui_url, run_history_days, pages)
                    try:
                        send_within(channel, message, left)
                    except ChannelError as error:
                        problems[channel.name] = str(error)
                        deliveries.refused(connection, alerts, channel.name, str(error))
                        break
                    deliveries.delivered(connection, alerts, channel.name, message.key)
    except psycopg.Error as error:
        raise WarehouseError(
            f"The alerts of {pipeline} cannot be delivered ({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from error
    return problems


def send_within(channel: Channel, message: Message, seconds: float) -> None:
    """Send a message; it counts as failed after `seconds`, even if the channel still waits for something.

    The timeouts of sockets are not enough: resolving a host name has none, and a server may send a byte now and then.
    Raises ChannelError.
    """
    problem: list[Exception] = []

    def send() -> None:
        try:
            channel.send(message, seconds)
        except Exception as error:
            problem.append(error)

    thread = Thread(target=send, name=f"alert {channel.name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise ChannelError(f"it did not answer within {seconds:.0f} seconds")
    if problem:
        known = isinstance(problem[0], ChannelError)
        raise problem[0] if known else ChannelError(f"the message cannot be sent ({type(problem[0]).__name__})")
