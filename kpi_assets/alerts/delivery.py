"""One pass over the outbox of a pipeline: whoever is there makes it, and several at once do not send twice."""

import time
from collections.abc import Sequence
from threading import Thread

import psycopg
from pydantic import SecretStr

from kpi_assets.alerts.channels import Channel, ChannelError
from kpi_assets.alerts.message import Message, message_of
from kpi_assets.ledger import deliveries
from kpi_assets.warehouse.connection import WarehouseError, connect

# Of a pipeline on a channel within a minute. Each one after that tells of all that is due, and there are never twice as
# many: what is left then is told in the next minute.
MOST_MESSAGES = 10


def deliver(
    server: SecretStr,
    pipeline: str,
    channels: Sequence[Channel],
    ui_url: str,
    seconds: float,
    *,
    run_history_days: int = 0,
) -> dict[str, str]:
    """Tell what is due, spending at most about `seconds` on each channel; returns why, for each that failed.

    Alerts of one cause are one message; see MOST_MESSAGES for how many there are within a minute.
    A channel that fails is left alone for the rest of the pass; what it did not take is due again later. Never raises
    because of a channel; raises WarehouseError where the outbox cannot be used.
    """
    problems: dict[str, str] = {}
    try:
        with connect(server, pipeline, "alerts") as connection:
            deliveries.enter(connection, [channel.name for channel in channels])
            for channel in channels:
                ends = time.monotonic() + seconds
                # What takes long is not begun near the end: it would be counted as a failure.
                while (left := ends - time.monotonic()) > seconds / 2:
                    told = deliveries.told_lately(connection, channel.name)
                    if told >= 2 * MOST_MESSAGES:
                        break
                    alerts = deliveries.claim(connection, channel.name, all_due=told >= MOST_MESSAGES)
                    if not alerts:
                        break
                    message = message_of(alerts, ui_url, run_history_days)
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
    """Send a message; after `seconds` it counts as failed, whatever the channel is still waiting for.

    The limits of sockets are not enough: looking up a name has none, and a server may send a byte now and then.
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
