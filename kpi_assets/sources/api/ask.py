"""Asks until an API answers: what passes by itself is waited for, and everything else ends in one sentence.

A 429, and a 503 that says how long to wait, are waited for until the deadline. Other failures that may pass are tried
ATTEMPTS times: 408, 425, 5xx, a connection that breaks or is not there, an answer that is late or cut off.
Not here: one request (client.py), the token (login.py), and what an answer holds (page.py).
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TypeVar

from kpi_assets.sources.api.client import Answer, Client
from kpi_assets.sources.api.clock import Deadline
from kpi_assets.sources.api.hidden import Hidden
from kpi_assets.sources.api.problems import ApiError, FailedError, RefusedError
from kpi_assets.sources.api.request import Request
from kpi_assets.sources.api.server import Server
from kpi_assets.sources.api.spool import Spool

logger = logging.getLogger(__name__)

ATTEMPTS = 5  # with pauses of 1, 2, 4 and 8 seconds
LONGEST = 60.0  # seconds of a pause that no server asked for
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_SHOWN_FROM = 10.0  # seconds of a pause that is logged
_LATER = "try again later, or ask those who run it"

Read = TypeVar("Read")


@dataclass(frozen=True)
class Subject:
    """What is asked for, as errors name it."""

    name: str
    words: str  # to be corrected where the server does not accept the request
    takes_turn: bool = True


class Asking:
    """The questions to one server within a deadline."""

    def __init__(
        self,
        server: Server,
        client: Client,
        deadline: Deadline,
        take_turn: Callable[[], None],
        on_retry_after: Callable[[float], None],
        *,
        is_personal: bool = False,
    ) -> None:
        self.server, self._client, self.deadline = server, client, deadline
        self._take_turn, self.on_retry_after = take_turn, on_retry_after
        self.hidden = Hidden(server.open_secrets.values(), is_personal=is_personal)

    def ask(
        self,
        make: Callable[[], Request],
        spool: Spool,
        read: Callable[[Answer], Read],
        subject: Subject,
        renew: Callable[[], None] | None = None,
    ) -> Read:
        """Return what `read` makes of an answer with status 200, whose body is the last page of the spool.

        `make` makes the request, again for each attempt; `renew` asks for a new token after a 401. Raises ApiError;
        `read` may raise FailedError and RefusedError.
        """
        asked = _Question(self, subject)
        while True:
            asked.check_time()
            request = make()
            if request.unwritable:
                raise ApiError(
                    f"{subject.name}: its header {request.unwritable} would have a line end, or another character that "
                    f"no header can have: look at the secrets ({self.server.secret_settings})."
                )
            if subject.takes_turn:
                self._take_turn()
                asked.check_time()
            spool.forget_page()
            problem: FailedError | RefusedError
            try:
                answer = self._client.send(request, spool.write)
                if answer.status == 200:
                    return read(answer)
            except (FailedError, RefusedError) as error:
                problem = error
            else:
                if answer.status == 401 and renew is not None:
                    renew()
                    renew = None
                else:
                    asked.judge(answer)
                continue
            if isinstance(problem, RefusedError):
                raise ApiError(f"{subject.name}: {problem}.")
            asked.fail(str(problem))


class _Question:
    """What became of one question so far."""

    def __init__(self, asking: Asking, subject: Subject) -> None:
        self._asking, self._subject, self._where = asking, subject, subject.name
        self._failed, self._waited = 0, 0
        self._last = "no answer came"

    def check_time(self) -> None:
        """Raise ApiError if no time is left."""
        if self._asking.deadline.left() <= 0:
            raise self._too_late(self._last)

    def judge(self, answer: Answer) -> None:
        """Wait after an answer that is no success and may pass. Raises ApiError for every other one."""
        status = answer.status
        after = self._retry_after(answer)
        if status == 429 or (status == 503 and after is not None):
            self._last = f"status {status}"
            pause = max(after or 0.0, min(2.0**self._waited, LONGEST))
            self._waited += 1
            if after:  # a server that asks for a year stops others no longer than this fetch
                self._asking.on_retry_after(min(after, self._asking.deadline.seconds))
            self._pause(pause, f"it answered status {status}, to come back in {pause:,.0f} s")
        elif status in (408, 425) or status >= 500:
            self.fail(f"it answered status {status}")
        else:
            raise ApiError(f"{self._where}: {self._refusal(answer)}.")

    def fail(self, problem: str) -> None:
        """Wait after a failure. Raises ApiError after too many."""
        self._failed += 1
        self._last = problem
        if self._failed == ATTEMPTS:
            raise ApiError(f"{self._where}: {problem}, {ATTEMPTS} times: {_LATER}.", transient=True)
        self._pause(2.0 ** (self._failed - 1), problem)

    def _pause(self, seconds: float, problem: str) -> None:
        if seconds >= self._asking.deadline.left():
            raise self._too_late(problem)
        if seconds >= _SHOWN_FROM:
            logger.warning("%s: %s", self._where, problem)
        self._asking.deadline.clock.wait(seconds)

    def _too_late(self, problem: str) -> ApiError:
        minutes = self._asking.deadline.seconds / 60
        return ApiError(
            f"{self._where}: not all came within {minutes:g} minutes (deadline_minutes; {problem}): {_LATER}, or set "
            "more minutes.",
            transient=True,
        )

    def _refusal(self, answer: Answer) -> str:
        """Return what a status means that does not pass by itself, and what to do."""
        status, server = answer.status, self._asking.server
        if status in (401, 403):
            return f"it refuses us (status {status}): look at the secrets ({server.secret_settings}), and at our rights"
        if 300 <= status < 400:
            return (
                f"it sends us to another address (status {status}), which is not asked, since our secrets would go "
                "there: write the right one as url"
            )
        said = self._said(answer)
        if status < 300:
            return f"it answered status {status}{said}, and only 200 has records: ask for something else in call"
        return f"it does not accept the request (status {status}{said}): correct {self._subject.words}"

    def _said(self, answer: Answer) -> str:
        """Return the first letters of an answer, without a secret."""
        text = self._asking.hidden.excerpt(answer.start, is_whole=answer.is_whole)
        return f": {text}" if text else ""

    def _retry_after(self, answer: Answer) -> float | None:
        """Return the seconds of the header Retry-After, which is a number or a date; None without a useful one."""
        said = answer.headers.get("Retry-After", "").strip()
        if _SECONDS.fullmatch(said):
            return float(said)
        try:
            until = parsedate_to_datetime(said)
        except (ValueError, OverflowError):
            return None
        clock = self._asking.deadline.clock
        try:  # by the server's clock, where it says its time
            now = parsedate_to_datetime(answer.headers.get("Date", ""))
        except (ValueError, OverflowError):
            now = clock.date()
        until, now = (each if each.tzinfo else each.replace(tzinfo=timezone.utc) for each in (until, now))
        return max(0.0, (until - now).total_seconds())
