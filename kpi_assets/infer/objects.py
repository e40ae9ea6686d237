"""The key of a source's objects, from the paths of the samples: their dates become the load_date."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import PurePath
from typing import NamedTuple

_FORMS = (
    (re.compile(r"(?<![0-9])([0-9]{4})-([0-9]{2})-([0-9]{2})(?![0-9])"), "{load_date}"),
    (re.compile(r"(?<![0-9])([0-9]{4})/([0-9]{2})/([0-9]{2})(?![0-9])"), "{load_date:%Y/%m/%d}"),
    (re.compile(r"(?<![0-9])([0-9]{4})_([0-9]{2})_([0-9]{2})(?![0-9])"), "{load_date:%Y_%m_%d}"),
    (re.compile(r"(?<![0-9])([0-9]{4})([0-9]{2})([0-9]{2})(?![0-9])"), "{load_date:%Y%m%d}"),
    (
        re.compile(r"(?<![^/])year=([0-9]{4})/month=([0-9]{2})/day=([0-9]{2})(?![0-9])"),
        "year={load_date:%Y}/month={load_date:%m}/day={load_date:%d}",
    ),
)


class Objects(NamedTuple):
    """The key of the objects, and the load_date of each file; `several` is the number of objects of a load_date."""

    key: str
    dates: Sequence[date | None]
    several: int | None = None  # None: one; 0: not always as many
    note: str = ""


def find_objects(paths: Sequence[PurePath], table: str) -> Objects:
    """Find the key of the objects of a table; files in other places are brought together under their names."""
    found = [_dated(path) for path in paths]
    days, keys = [day for _, day in found], [key for key, _ in found]
    if any(day is None for day in days):
        note = "the paths name no date: this one is a proposal; without {load_date} it is a reference object"
        suffix = "".join(paths[0].suffixes[-2:]) or ".csv"
        key = f"raw/{table}/load_date={{load_date}}/{table}{suffix.lower()}"
        return Objects(key, [None] * len(paths), note=note if not any(days) else "not all paths name a date")
    if len(set(keys)) == 1 and len(set(days)) == len(days):
        return Objects(f"raw/{table}/{keys[0]}", days)
    masked = {_masked(key) for key in keys}
    if len(masked) == 1:
        counts = set(Counter(days).values())
        return Objects(f"raw/{table}/{masked.pop()}", days, counts.pop() if len(counts) == 1 else 0)
    note = "the paths differ in more than their dates: this is the form of the first one"
    return Objects(f"raw/{table}/{keys[0]}", days, note=note)


def _dated(path: PurePath) -> tuple[str, date | None]:
    """Return (the path from the first folder with a date on, with the form of the date, and the date)."""
    text, day = path.as_posix(), None
    for pattern, form in _FORMS:
        for match in pattern.finditer(text):
            try:
                here = date(*map(int, match.groups()))
            except ValueError:
                continue
            if day in (None, here):
                day = here
                text = text.replace(match[0], form)
    if day is None:
        return path.name, None
    return text[text.rfind("/", 0, text.index("{load_date")) + 1 :].replace("load_date}/", "load_date}/"), day


def _masked(key: str) -> str:
    """Return a key with a * for each number of its last part that is no date."""
    folder, slash, name = key.rpartition("/")
    parts = re.split(r"(\{[^}]*\})", name)
    return folder + slash + "".join(each if each.startswith("{") else re.sub(r"[0-9]+", "*", each) for each in parts)
