"""Channels: Slack, a webhook, mail and the log. Each sends a message, or raises a short reason why it could not.

An error repeats the code of a server's answer and never its text, because the text could quote a secret that was sent.
"""

import json
import logging
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from kpi_assets.alerts.message import HEADING, IN_DAGSTER, Message
from kpi_assets.settings import Settings

LOGGER = logging.getLogger("kpi_assets.alerts")


class ChannelError(Exception):
    """A channel could not send a message; the reason in a few words, without a secret."""


class Channel(Protocol):
    """A way to send messages to people. `name` is its name in the outbox."""

    @property
    def name(self) -> str:
        """One of slack, webhook, email and log."""
        ...

    def send(self, message: Message, seconds: float) -> None:
        """Send a message; no call of the network waits longer than `seconds`. Raises ChannelError."""
        ...


def channels(settings: Settings) -> list[Channel]:
    """Return the channels that the settings name."""
    found: list[Channel] = []
    if settings.alert_log:
        found.append(Log())
    if settings.alert_slack_url:
        found.append(Slack(settings.alert_slack_url))
    if settings.alert_webhook_url:
        found.append(Webhook(settings.alert_webhook_url))
    if settings.alert_smtp_url:
        assert settings.alert_email_from
        assert settings.alert_email_to
        to = tuple(address.strip() for address in settings.alert_email_to.split(",") if address.strip())
        found.append(Email(settings.alert_smtp_url, settings.alert_email_from, to))
    return found


@dataclass(frozen=True)
class Log:
    """A line in the log of the process that delivers."""

    name: str = "log"

    def send(self, message: Message, seconds: float) -> None:  # noqa: ARG002  nothing is waited for
        """Log it, on one line."""
        LOGGER.warning("alert: %s", " ".join([f"{message.title}:", "; ".join(message.details), message.link]))


@dataclass(frozen=True)
class Slack:
    """An incoming webhook of Slack, or of a service with the same interface. Its URL is a secret."""

    url: SecretStr
    name: str = "slack"

    def send(self, message: Message, seconds: float) -> None:
        """Post it as one text."""
        lines = [f"*{_slack(message.title)}*", *map(_slack_line, message.details)]
        if any(detail.startswith(IN_DAGSTER) for detail in message.details):
            where = "Open the numbers"
        else:  # the link of a digest leads to pages for readers, or to the UI where there are none
            where = "Open" if message.kind in ("breached", "digest") else "Open in Dagster"
        _post(self.url, {"text": "\n".join([*lines, f"<{message.link}|{where}>"])}, seconds)


@dataclass(frozen=True)
class Webhook:
    """Any receiver of JSON. Its URL is a secret."""

    url: SecretStr
    name: str = "webhook"

    def send(self, message: Message, seconds: float) -> None:
        """Post the fields of the message; a repeat has the same `key`."""
        _post(self.url, {**vars(message), "at": message.at.isoformat()}, seconds)


@dataclass(frozen=True)
class Email:
    """A mail server: smtps:// uses TLS from the start, smtp:// as soon as the server offers it."""

    url: SecretStr
    sender: str
    recipients: tuple[str, ...]
    name: str = "email"

    def send(self, message: Message, seconds: float) -> None:
        """Send it as a mail in plain text; the others get it even if the server refuses one recipient."""
        with _as_channel_error():
            server = self._connected(seconds)
            try:
                refused = server.send_message(self._mail(message))
                with suppress(smtplib.SMTPException, OSError):
                    server.quit()  # the server has accepted the mail already
            finally:
                server.close()
        if refused:
            LOGGER.warning("the mail server refused %d of the %d recipients", len(refused), len(self.recipients))

    def _connected(self, seconds: float) -> smtplib.SMTP:
        parts = urlsplit(self.url.get_secret_value())
        assert parts.hostname
        if parts.scheme == "smtps":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(parts.hostname, parts.port or 465, timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(parts.hostname, parts.port or 587, timeout=seconds)
        try:
            server.ehlo_or_helo_if_needed()
            secure = parts.scheme == "smtps"
            if not secure and server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
                secure = True
            if parts.username and parts.password is not None:
                if not secure:
                    raise ChannelError("the mail server offers no TLS, so it was not given the password")
                server.login(unquote(parts.username), unquote(parts.password))
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.title
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail["Date"] = format_datetime(message.at)
        mail["Message-ID"] = f"<{message.key}@kpi-assets>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text())
        if html := message.html():
            mail.add_alternative(html, subtype="html")
        return mail


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET, whose answer says nothing about the message."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Return nothing, so that the redirect becomes an error."""


_OPENER = urllib.request.build_opener(_NoRedirect())


def _post(url: SecretStr, body: dict[str, Any], seconds: float) -> None:
    request = urllib.request.Request(  # noqa: S310  the settings allow http and https only
        url.get_secret_value(),
        json.dumps(body, ensure_ascii=False).encode(),
        {"Content-Type": "application/json; charset=utf-8", "User-Agent": "kpi_assets"},
    )
    with _as_channel_error(), _OPENER.open(request, timeout=seconds):
        pass


@contextmanager
def _as_channel_error() -> Iterator[None]:
    """Turn every error of the network into a ChannelError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        with suppress(ValueError):
            raise ChannelError(f"it answered {error.code} {HTTPStatus(error.code).phrase}") from None
        raise ChannelError(f"it answered {error.code}") from None
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(str(code) for code in sorted({code for code, _ in error.recipients.values()}))
        raise ChannelError(f"it refused every recipient with code {codes}") from None
    except smtplib.SMTPResponseException as error:
        raise ChannelError(f"it refused with code {error.smtp_code} ({type(error).__name__})") from None
    except (OSError, HTTPException, UnicodeError) as error:  # SMTPException and URLError are OSErrors
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
        raise ChannelError(f"it cannot be reached ({text})") from None


def _slack_line(detail: str) -> str:
    if detail.startswith(HEADING):
        return f"*{_slack(detail.removeprefix(HEADING))}*"
    return f"• {_slack(detail)}"


def _slack(text: str) -> str:
    """Escape the characters from which Slack makes mentions and links."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
