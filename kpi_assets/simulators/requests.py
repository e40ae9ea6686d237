"""What is wrong with a request, and reading its parameters: a date, a whole number, a text.

Not here: which parameters an API has (retailers.py, products.py).
"""

import hmac
import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from starlette.requests import Request

MOST_RECORDS = 1000  # on a page
MOST_BYTES = 1 << 16  # of a request's body


class BadRequestError(Exception):
    """A request that is answered with an error: `status`, and a sentence."""

    def __init__(self, sentence: str, status: int = 400):
        super().__init__(sentence)
        self.status = status


async def read_body(request: Request) -> bytes:
    """Return the body of a request."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadRequestError(f"The body has more than {MOST_BYTES} bytes.", 413)
    return bytes(body)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadRequestError("The body is no JSON object.")
    return found


def date_of(parameters: Mapping[str, Any], name: str) -> date:
    """Return the date of a parameter that must be there."""
    text = parameters.get(name)
    try:
        if isinstance(text, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadRequestError(f"{name} must be a date as YYYY-MM-DD.")


def days_of(parameters: Mapping[str, Any], first: str, last: str) -> tuple[date, date]:
    """Return the days that two parameters name, the last included."""
    days = date_of(parameters, first), date_of(parameters, last)
    if days[0] > days[1]:
        raise BadRequestError(f"{first} is after {last}.")
    return days


def number_of(parameters: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """Return the whole number of a parameter, or its default."""
    found = parameters.get(name, default)
    if isinstance(found, str) and re.fullmatch("[0-9]{1,12}", found):
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise BadRequestError(f"{name} must be a whole number from {least} to {most}.")
    return found


def is_secret(given: object, secret: str) -> bool:
    """Whether a text is the secret; it takes as long if it is not."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(), secret.encode())
