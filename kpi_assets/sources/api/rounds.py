"""Rounds over the pages of a load_date: which page follows, and the proof that they belong together and are all.

Each page says the same total, and so many records came; no page came twice, and none was empty before the total was
reached. Without a total, an empty page or the end of the cursors ends the pages; a short page does not.
Not here: how long is waited for an answer (ask.py), and what a page holds (page.py).
"""

import hashlib
import re
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

from kpi_assets.model.api import Call, NextPage
from kpi_assets.sources.api.ask import Asking, Subject
from kpi_assets.sources.api.login import Tokens
from kpi_assets.sources.api.page import Page, read_page
from kpi_assets.sources.api.problems import ApiError, TornError
from kpi_assets.sources.api.request import page_request
from kpi_assets.sources.api.server import Server
from kpi_assets.sources.api.spool import Spool
from kpi_assets.sources.formats.json.value import Number

ROUNDS = 3
MOST_PAGES = 10_000  # of a round
_WHOLE = re.compile("-?[0-9]{1,18}")

OnPage = Callable[[int, int | None], None]


class Whole(NamedTuple):
    """What a round found that is whole."""

    pages: int
    records: int
    total: int | None
    digest: bytes  # of the records of all pages


class Pages:
    """The pages of one load_date."""

    def __init__(
        self, server: Server, call: Call, records: str | None, load_date: date, asking: Asking, spool: Spool, name: str
    ) -> None:
        """`name` is the subject of errors."""
        self._server, self._call, self._records, self._load_date = server, call, records, load_date
        self._asking, self._spool, self._name = asking, spool, name
        self._tokens = Tokens(server, asking)

    def fetch(self, begin: Callable[[], None], on_page: OnPage) -> Whole:
        """Ask for all pages, until a round is whole; `begin` is called before each round. Raises ApiError.

        By the word `twice`, two rounds in a row must be whole and alike.
        """
        problem, times, before = "", 0, b""
        is_once = self._call.pages is None or not self._call.pages.twice
        for _ in range(ROUNDS if is_once else ROUNDS + 1):
            begin()
            self._spool.clear()
            try:
                found = self._round(on_page)
            except TornError as error:
                problem, times, before = str(error), times + 1, b""
                continue
            if is_once or found.digest == before:
                return found
            if before:
                problem, times = "its records are others when they are asked for again", times + 1
            before = found.digest
        raise ApiError(
            f"{self._name}: {problem}, {times} times from the first page on, so its records are not whole: try again "
            "later, or ask those who run it.",
            transient=True,
        )

    def _round(self, on_page: OnPage) -> Whole:
        pages = self._call.pages
        proof = _Proof()
        page: NextPage | None = pages.beginning if pages else {}
        while page is not None:
            if proof.pages == MOST_PAGES:
                raise ApiError(
                    f"{self._name}: there are more than {MOST_PAGES:,} pages: ask for larger ones with the word size "
                    "of pages."
                )
            self._spool.begin_page()
            found = self._ask(page, proof.pages + 1)
            proof.add(found)
            on_page(proof.records, proof.total)
            page = self._after(page, found, proof)
        proof.end(has_pages=pages is not None)
        return Whole(proof.pages, proof.records, proof.total, proof.digest)

    def _ask(self, page: NextPage, number: int) -> Page:
        subject = Subject(
            f"{self._name}, page {number:,}" if self._call.pages else self._name,
            f"call, or apis.{self._server.name} of pipeline.yaml",
        )
        return self._asking.ask(
            lambda: page_request(self._server, self._call, self._load_date, page, self._tokens.current()),
            self._spool,
            lambda answer: read_page(answer, self._spool, self._call, self._records, self._asking.hidden),
            subject,
            None if self._server.api.login is None else self._tokens.renew,
        )

    def _after(self, page: NextPage, found: Page, proof: "_Proof") -> NextPage | None:
        """Return the parameters of the page after one, or None after the last one."""
        pages = self._call.pages
        is_all = proof.total == proof.records
        if pages is None or (pages.by != "cursor" and (is_all or not found.records)):
            return None
        following = pages.after(page, found.document, proof.records)
        if following is None or pages.by != "cursor":
            return following
        cursor = self._cursor(following[pages.parameter], proof)
        # Some servers give a cursor on their last page too, and then an empty page.
        if not found.records and (is_all or cursor == page.get(pages.parameter)):
            return None
        proof.add_cursor(cursor)
        return {**following, pages.parameter: cursor}

    def _cursor(self, value: object, proof: "_Proof") -> str | int:
        if not isinstance(value, str):
            raise ApiError(
                f"{self._name}, page {proof.pages:,}: what asks for the next page is neither a text nor a number: "
                "correct following of pages."
            )
        return int(value) if isinstance(value, Number) and _WHOLE.fullmatch(value) else str(value)


class _Proof:
    """What the pages of a round say together."""

    def __init__(self) -> None:
        self.pages, self.records = 0, 0
        self.total: int | None = None
        self._is_empty = False  # the last page
        self._digests, self._cursors = set[bytes](), set[str | int]()
        self._all = hashlib.sha256()

    @property
    def digest(self) -> bytes:
        """A digest of the records of all pages so far, in order."""
        return self._all.digest()

    def add(self, page: Page) -> None:
        """Add a page. Raises TornError if it does not belong to those before it."""
        if self.pages and page.total != self.total:
            raise TornError(f"page {self.pages + 1:,} says {page.total:,} records, and those before it {self.total:,}")
        self.pages, self.records, self.total = self.pages + 1, self.records + page.records, page.total
        self._is_empty = not page.records
        if page.records and page.digest in self._digests:
            raise TornError(f"page {self.pages:,} has the same records as one before it")
        self._digests.add(page.digest)
        self._all.update(page.digest if page.records else b"")
        if self.total is not None and self.records > self.total:
            raise TornError(f"{self.records:,} records came until page {self.pages:,}, and it says {self.total:,}")

    def add_cursor(self, cursor: str | int) -> None:
        """Add what asks for the next page. Raises TornError if it asked for one before."""
        if cursor in self._cursors:
            raise TornError(f"after page {self.pages:,} it names a page that came before")
        self._cursors.add(cursor)

    def end(self, *, has_pages: bool) -> None:
        """Raise TornError if the total was not reached."""
        if self.total is not None and self.records != self.total:
            if self._is_empty and has_pages:
                raise TornError(f"page {self.pages:,} has no records, and {self.records:,} of {self.total:,} came")
            remedy = "" if has_pages else " (further pages are asked for with the word pages)"
            raise TornError(f"{self.records:,} records came, and it says {self.total:,}{remedy}")
