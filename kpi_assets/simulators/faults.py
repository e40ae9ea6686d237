"""The faults that a simulated API can show, by name: `down`, `slow`, `torn` and others.

A fault is a row in the API's database, and holds until `kpi sample` fills the database without it. Not here: how the
API behaves with one (misbehavior.py), and faults of single records (samples/).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kpi_assets.errors import UsageError

# name -> (what the API does, the number that may be written behind `=`, if any)
_FAULTS: Mapping[str, tuple[str, float | None]] = {
    "down": ("answers 503 to everything, its /health too", None),
    "slow": ("waits a second before each answer; slow=5 waits five", 1),
    "hang": ("takes requests and does not answer", None),
    "drip": ("sends its answer 16 bytes at a time, every half a second; drip=2 every two seconds", 0.5),
    "429": ("refuses each page once with 429 and Retry-After: 1; 429=0 says Retry-After: 0", 1),
    "429_half": ("refuses every second request with 429 and Retry-After: 1; 429_half=0 says Retry-After: 0", 1),
    "429_always": ("refuses every request with 429 and Retry-After: 1", 1),
    "400": ("answers 400 to every request", None),
    "500": ("answers 500 to every request", None),
    "500_once": ("answers 500 to the first request", None),
    "503_thrice": ("answers 503 to the first three requests", None),
    "503_wait": ("answers 503 with Retry-After: 1 to the first request", 1),
    "token": ("refuses the right secret with 401", None),
    "token_midway": ("refuses the right secret with 401 from the second page on", None),
    "redirect": ("sends every request to another address with 307", None),
    "html": ("answers with a page in HTML and the status 200", None),
    "error_200": ("answers with an error in JSON and the status 200", None),
    "null_records": ("answers with null in the place of the records", None),
    "truncated": ("ends the connection in the middle of each answer", None),
    "truncated_once": ("ends the connection in the middle of the first answer", None),
    "wrong_total": ("says that there is one record more than there is", None),
    "no_total": ("does not say how many records there are", None),
    "empty_page": ("has no records on the second page, although there are more", None),
    "missing_page": ("leaves out the second page", None),
    "shrinking": ("leaves out the last record of each page but the first", None),
    "loop": ("gives the first page again and again", None),
    "torn": ("books a record between the first and the second page, once", None),
    "torn_always": ("books a record between the first and the second page, each time", None),
    "renamed_field": ("calls the quantity of each record, or the price of a product, `renamed`", None),
    "missing_field": ("leaves out the quantity or price of each record", None),
    "field_gone": ("leaves out the quantity or price of each record from the second page on", None),
    "extra_field": ("adds the field coupon to each record", None),
    "wrong_type": ('has the text "two" as the quantity or price of the first record of each page', None),
}


@dataclass(frozen=True)
class ApiFault:
    """A fault of an API, and the number that belongs to it, such as the seconds of `slow`."""

    name: str
    number: float | None = None


def api_faults(apis: Iterable[str]) -> dict[str, str]:
    """Return the faults of these APIs as `kpi sample` names them, each with a line on what it does."""
    return {f"{api}_{name}": f"{api} {what}" for api in apis for name, (what, _) in _FAULTS.items()}


def split_api_faults(names: Iterable[str], apis: Iterable[str]) -> tuple[dict[str, list[ApiFault]], list[str]]:
    """Return the faults of each API, and the names that are of no API's fault.

    Raises UsageError for a number that a fault does not take.
    """
    of_apis: dict[str, list[ApiFault]] = {api: [] for api in apis}
    others = []
    for written in names:
        name, equals, number = written.partition("=")
        found = next(
            ((api, rest) for api in of_apis if (rest := name.removeprefix(f"{api}_")) != name and rest in _FAULTS), None
        )
        if found is None:
            others.append(written)
            continue
        api, fault = found
        default = _FAULTS[fault][1]
        if equals and (default is None or not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", number)):
            raise UsageError(
                f"The fault {written!r} cannot be planted: only slow, drip, 429 and 503_wait take a number, the "
                "seconds, such as retailer_1_slow=5."
            )
        of_apis[api].append(ApiFault(fault, float(number) if equals else default))
    return of_apis, others
