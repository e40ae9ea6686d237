"""Guesses which columns of a sample are personal, by their names and by values that are e-mail addresses.

A guess is written as the word `pii`, which a person takes out, or writes where it lacks. No value of such a column is
written into the file. Not here: what the word does (model/pii.py).
"""

import re
from collections.abc import Collection

from kpi_assets.model.pii import Kind

_PERSON = "customer|user|member|person|patient|employee|contact|buyer|client|guest|recipient|sender|holder|visitor"
_BY_NAME: tuple[tuple[Kind, str], ...] = (
    ("email", r"(.*_)?(e_?mail|mail)(_address|_addr)?"),
    ("phone", r"(.*_)?(phone|telephone|tel|mobile|cell|fax)(_number|_no|_nr)?"),
    ("id", r"(.*_)?(ssn|passport|tax_id|national_id|iban|ip|ip_address|credit_card|card_number)(_number|_no)?"),
    ("name", rf"(.*_)?(first|last|full|given|family|middle|maiden)_?name|(.*_)?(surname|forename|({_PERSON})s?_name)"),
    ("address", r"(.*_)?(address|street|street_name|address_line_?[0-9]*|addr)"),
    ("text", r"(.*_)?(birth_?date|birth_?day|date_of_birth|dob)"),
)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


def guess(name: str, values: Collection[str]) -> Kind | None:
    """Return the kind of a column with this name and these values if it seems personal.

    >>> guess("customer_email", []), guess("product_name", []), guess("contact", ["ana@example.org"])
    ('email', None, 'email')
    """
    by_name = next((kind for kind, pattern in _BY_NAME if re.fullmatch(pattern, name)), None)
    if by_name is None and values and all(map(_EMAIL.fullmatch, values)):
        return "email"
    return by_name
