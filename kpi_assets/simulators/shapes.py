"""The shape of each API: its path, its login, its parameters, and the document that it answers with.

Belongs here: what differs between the APIs. Not here: what they share (app.py), and reading records (pages.py).
"""

import base64
import binascii
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, ClassVar

from starlette.requests import Request

from kpi_assets.simulators.api import PRODUCTS, RETAILER_1, RETAILER_2, RETAILER_3, SimulatedApi
from kpi_assets.simulators.misbehavior import Ask, Misbehavior
from kpi_assets.simulators.pages import Page, Place, Reader
from kpi_assets.simulators.requests import MOST_RECORDS, BadRequestError, date_of, days_of, is_secret, number_of

MOST_SKIPPED = 10**9
WEEK = timedelta(days=7)


class Shape(ABC):
    """One API as its callers see it. `parameters` are those of the address, or the JSON object of a POST."""

    api: ClassVar[SimulatedApi]
    path: ClassVar[str]
    method: ClassVar[str] = "GET"
    login: ClassVar[str]  # what is missing without the secret

    def __init__(self, secret: str):
        self._secret = secret

    @abstractmethod
    def given_secret(self, request: Request, parameters: Mapping[str, Any]) -> object:
        """Return what a request has in the place of the secret."""

    @abstractmethod
    async def ask(self, parameters: Mapping[str, Any], reader: Reader) -> Ask:
        """Return the page that is asked for. Raises BadRequestError."""

    @abstractmethod
    def document(self, ask: Ask, page: Page, trouble: Misbehavior) -> str:
        """Return the answer, as JSON."""

    def check_secret(self, request: Request, parameters: Mapping[str, Any]) -> None:
        """Raise BadRequestError if the secret is missing or wrong."""
        if not is_secret(self.given_secret(request, parameters), self._secret):
            raise BadRequestError(f"{self.login} is missing or wrong.", 401)


class Retailer1(Shape):
    """GET /sales?start_date&end_date&page&limit with a Bearer token: {"data": [...], "total": n}."""

    api, path, login = RETAILER_1, "/sales", "The header Authorization: Bearer TOKEN"

    def given_secret(self, request: Request, parameters: Mapping[str, Any]) -> object:
        """Return the token."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None

    async def ask(self, parameters: Mapping[str, Any], reader: Reader) -> Ask:
        """Read dates, page and limit."""
        size = number_of(parameters, "limit", 100, 1, MOST_RECORDS)
        page = number_of(parameters, "page", 1, 1, MOST_SKIPPED // MOST_RECORDS)
        return Ask(days_of(parameters, "start_date", "end_date"), size, page, skip=(page - 1) * size)

    def document(self, ask: Ask, page: Page, trouble: Misbehavior) -> str:
        """Return records and total."""
        return f'{{"data":{_list(page, trouble)}{_total(page, trouble)}}}'


class Retailer2(Shape):
    """GET /transactions?from&to&limit&cursor with X-API-Key: {"transactions": [...], "meta": {"total", "next"}}."""

    api, path, login = RETAILER_2, "/transactions", "The header X-API-Key"

    def given_secret(self, request: Request, parameters: Mapping[str, Any]) -> object:
        """Return the key."""
        return request.headers.get("x-api-key")

    async def ask(self, parameters: Mapping[str, Any], reader: Reader) -> Ask:
        """Read dates and limit, and the place in the cursor."""
        days = days_of(parameters, "from", "to")
        size = number_of(parameters, "limit", 100, 1, MOST_RECORDS)
        cursor = parameters.get("cursor")
        if not cursor:
            return Ask(days, size)
        place, number = self._opened(str(cursor), days)
        return Ask(days, size, number, after=place)

    def document(self, ask: Ask, page: Page, trouble: Misbehavior) -> str:
        """Return records, total, and the cursor of the page after this one, if it is not the last."""
        following = f'"{self._closed(page.last, ask)}"' if page.last else "null"
        total = _total(page, trouble)[1:]
        return f'{{"transactions":{_list(page, trouble)},"meta":{{{total}{"," * bool(total)}"next":{following}}}}}'

    def _closed(self, place: Place, ask: Ask) -> str:
        content = f"{ask.days[0]}|{ask.days[1]}|{place[0]}|{place[1]}|{ask.page_number + 1}".encode()
        return base64.urlsafe_b64encode(self._seal(content) + content).decode().rstrip("=")

    def _opened(self, cursor: str, days: tuple[date, date]) -> tuple[Place, int]:
        """Return the place after which a page begins, and its number."""
        try:
            found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            found = b""
        content = found[8:]
        if not hmac.compare_digest(found[:8], self._seal(content)):
            raise BadRequestError("cursor is none that this API has given.")
        first, last, day, key, number = content.decode().split("|")
        if (first, last) != (str(days[0]), str(days[1])):
            raise BadRequestError("cursor belongs to other days.")
        return (date.fromisoformat(day), int(key)), int(number)

    def _seal(self, content: bytes) -> bytes:
        """Return 8 bytes that only this API can make, so that a cursor cannot be invented."""
        return hmac.digest(self._secret.encode(), content, hashlib.sha256)[:8]


class Retailer3(Shape):
    """POST /sales/query {dateFrom, dateTo, apikey, offset, limit}: {"results": [...], "total": n}."""

    api, path, method, login = RETAILER_3, "/sales/query", "POST", "The field apikey"

    def given_secret(self, request: Request, parameters: Mapping[str, Any]) -> object:
        """Return the key."""
        return parameters.get("apikey")

    async def ask(self, parameters: Mapping[str, Any], reader: Reader) -> Ask:
        """Read dates, offset and limit."""
        size = number_of(parameters, "limit", 100, 1, MOST_RECORDS)
        offset = number_of(parameters, "offset", 0, 0, MOST_SKIPPED)
        number = -(-offset // size) + 1
        return Ask(days_of(parameters, "dateFrom", "dateTo"), size, number, skip=offset)

    def document(self, ask: Ask, page: Page, trouble: Misbehavior) -> str:
        """Return records and total."""
        return f'{{"results":{_list(page, trouble)}{_total(page, trouble)}}}'


class Products(Shape):
    """GET /products?date with X-API-Key: {"products": [...], "total": n}, the list that is good on that date."""

    api, path, login = PRODUCTS, "/products", "The header X-API-Key"

    def given_secret(self, request: Request, parameters: Mapping[str, Any]) -> object:
        """Return the key."""
        return request.headers.get("x-api-key")

    async def ask(self, parameters: Mapping[str, Any], reader: Reader) -> Ask:
        """Read the date, and find the latest list of the seven days up to it."""
        day = date_of(parameters, "date")
        found = await reader.latest(max(date.min + WEEK, day) - WEEK + timedelta(days=1), day)
        if found is None:
            raise BadRequestError(f"There is no list of products of {day} or the six days before it.", 404)
        return Ask((found, found), MOST_SKIPPED)

    def document(self, ask: Ask, page: Page, trouble: Misbehavior) -> str:
        """Return records and total."""
        return f'{{"products":{_list(page, trouble)}{_total(page, trouble)}}}'


SHAPES: tuple[type[Shape], ...] = (Retailer1, Retailer2, Retailer3, Products)


def _list(page: Page, trouble: Misbehavior) -> str:
    return "null" if trouble.has("null_records") else f"[{page.records}]"


def _total(page: Page, trouble: Misbehavior) -> str:
    return "" if trouble.has("no_total") else f',"total":{page.total}'
