"""The keys of a source's objects: what `source.object` says, for a load_date and back.

    raw/orders/{load_date}.csv                      one object of each load_date
    raw/{load_date:%Y/%m/%d}/orders.csv             the same, with the date in another form
    raw/{load_date}/part-*.csv                      several objects of each load_date: a pattern
    raw/countries.csv                               one object for all load_dates: a reference object

Belongs here: filling in a date, reading it back, and what must be listed to find the objects of some load_dates.
Not here: the parts of a date (key_date.py), whether two sources can have the same object (key_overlap.py), and listing
S3 (sources/listing.py).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Literal, NamedTuple

from kpi_assets.model.key_date import DIRECTIVES, ISO, SORTED, date_of, group, tells_day, written
from kpi_assets.model.names import LOAD_DATE
from kpi_assets.model.sentences import nearest, shown

_UNPADDED = ("-m", "-d")
_HOLE = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile("[a-z_]+")  # in braces, it is meant to be filled in; other braces are part of the key
_EXAMPLE = "raw/x/load_date={load_date}/x.csv"
_KNOWN = ", ".join(f"%{name}" for name in DIRECTIVES)


class Token(NamedTuple):
    """A part of a key: a text, a directive of the date, or a wildcard."""

    kind: Literal["text", "date", "wildcard"]
    text: str


class Listing(NamedTuple):
    """What must be listed to see the objects of a range of load_dates: the keys below a prefix, between two others."""

    prefix: str
    start_after: str  # empty: from the first key of the prefix on
    last: str  # keys after it that do not begin with it belong to later load_dates

    def is_over(self, key: str) -> bool:
        """Return whether this key and all keys after it belong to later load_dates.

        Some stores have the order of their folders instead of that of the keys, and list what is in a/ before a-b: it
        is over if it is in both orders.
        """
        is_later = key > self.last and key.split("/") > self.last.split("/")
        return is_later and not key.startswith(self.last)


@dataclass(frozen=True)
class ObjectKey:
    """The key of a source's objects, with holes for the load_date and, in its last segment, wildcards."""

    text: str  # as it is written in the file
    tokens: tuple[Token, ...]
    every: str = ""  # the only word of source.every, with which a month, a year or a week tells a day

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str, every: str = "") -> "ObjectKey":
        """Read the word `object` of a source. Raises ValueError with a sentence for the user."""
        if not text or text.startswith("/") or text.endswith("/") or ".." in text.split("/"):
            raise ValueError(f"{shown(text)} is not the key of an object: write it like {_EXAMPLE}")
        found = ObjectKey(text, tuple(_tokens(text)), every)
        found._check()
        return found

    @cached_property
    def is_reference(self) -> bool:
        """Whether the key has no load_date: one object that is replaced from time to time, for all load_dates."""
        return all(token.kind != "date" for token in self.tokens)

    @cached_property
    def is_pattern(self) -> bool:
        """Whether a load_date may have several objects."""
        return any(token.kind == "wildcard" for token in self.tokens)

    def key(self, load_date: date) -> str:
        """Return the key of a load_date's object; of a pattern, with its wildcards."""
        return _filled(self.tokens, load_date)

    def filled(self, load_date: date) -> list[Token]:
        """Return the tokens with the load_date as a text."""
        return [Token("text", written(each.text, load_date)) if each.kind == "date" else each for each in self.tokens]

    def matches(self, key: str, load_date: date) -> bool:
        """Return whether a key is that of an object of the load_date."""
        return (
            load_date in self.load_dates(key) if self.is_pattern else self.key(load_date) == key and self.has(load_date)
        )

    def has(self, load_date: date) -> bool:
        """Return whether the key has this load_date at all: that of a month has only the first or the last day."""
        return self.is_reference or tells_day(self._directives) or self.load_dates(self.key(load_date)) == (load_date,)

    def match(self, key: str) -> date | None:
        """Return the load_date that a key belongs to; None if it belongs to none, or a pattern leaves it open."""
        found = self.load_dates(key)
        return found[0] if len(found) == 1 else None

    def load_dates(self, key: str) -> tuple[date, ...]:
        """Return the load_dates that a key can belong to: at most one, unless the date stands between two `*`."""
        if self.is_reference or key.endswith("/") or not (found := self._regex.fullmatch(key)):
            return ()  # what ends in a slash is a folder that some programs make, and no data
        if not self._has_date_between_stars:
            parts = found.groupdict()
            day = self._date_of(parts)
            agree = day and all(written(name, day) == parts[group(name)] for name in self._directives)
            return (day,) if day and agree else ()
        if self._is_anchored:
            days = {self._date_of(found.groupdict())}
        else:
            days = {self._date_of(each.groupdict()) for hole in self._whole_dates for each in hole.finditer(key)}
        return tuple(sorted(day for day in days if day and self._of_day(day).fullmatch(key)))

    def tail(self, count: int) -> "ObjectKey":
        """Return the last `count` segments of the key, as a key of its own that need not tell the day."""
        segments: list[list[Token]] = [[]]
        for token in self.tokens:
            parts = token.text.split("/") if token.kind == "text" else [token.text]
            segments[-1].append(Token(token.kind, parts[0]))
            segments += [[Token(token.kind, part)] for part in parts[1:]]
        kept = [[*segment, Token("text", "/")] for segment in segments[-count:]]
        tokens = [token for segment in kept for token in segment if token.text][:-1]
        return ObjectKey("", tuple(tokens), self.every)

    def has_form_of(self, text: str) -> bool:
        """Return whether a text is written as the key is, whatever date it has."""
        return self._regex.fullmatch(text) is not None

    def listing(self, first: date, last: date) -> Listing:
        """Return what must be listed to see every object of the load_dates from `first` to `last`."""
        head = self.sorted_head
        if first == last and not self._tells_day([token.text for token in head if token.kind == "date"]):
            head = tuple(takewhile(lambda token: token.kind != "wildcard", self.tokens))
        start, end = _filled(head, first), _filled(head, last)
        if start > end:  # two-digit years of two centuries
            head = tuple(takewhile(lambda token: token.kind != "date", head))
            start = end = _filled(head, first)
        is_dated = any(token.kind == "date" for token in head)
        # Keys are in order of their letters: all keys of `first` come after the day before, whatever follows the date.
        after = _filled(head, first - timedelta(days=1)) if is_dated and first > date.min else ""
        same = takewhile(lambda letters: letters[0] == letters[1], zip(start, end, strict=False))
        prefix = "".join(letter for letter, _ in same)
        return Listing(prefix, after if prefix < after < start else "", end)

    @cached_property
    def sorted_head(self) -> tuple[Token, ...]:
        """The tokens up to which keys are in the order of their load_dates, or up to the first whole date."""
        names: list[str] = []
        found: list[Token] = []
        for token in self.tokens:
            if token.kind == "date" and token.text not in names:
                names.append(token.text)
                if not any(tuple(names) == order[: len(names)] for order in SORTED):
                    break
            if token.kind == "wildcard":
                break
            found.append(token)
            if token.kind == "date" and self._tells_day(names):
                break
        return tuple(found)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        """All keys of all load_dates; a directive that stands twice has the same text both times."""
        seen: set[str] = set()
        parts = []
        for token in self.tokens:
            is_first = token.text not in seen
            if token.kind == "date":
                seen.add(token.text)
            parts.append(_as_regex(token, is_first=is_first))
        return re.compile("".join(parts))

    def _of_day(self, load_date: date) -> re.Pattern[str]:
        """All keys of one load_date; slow, and needed only where a date stands between two `*`."""
        return re.compile("".join(_as_regex(token, is_first=True) for token in self.filled(load_date)))

    def _tells_day(self, directives: Sequence[str]) -> bool:
        return tells_day(directives, self.every)

    def _date_of(self, parts: Mapping[str, str | None]) -> date | None:
        return date_of(parts, self.every)

    @cached_property
    def _directives(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(token.text for token in self.tokens if token.kind == "date"))

    @cached_property
    def _parts(self) -> tuple[Sequence[Token], Sequence[Token]]:
        """The tokens before the first `*` or behind the last one, so at one place of each key; and the others."""
        stars = [number for number, token in enumerate(self.tokens) if token == _STAR]
        if not stars:
            return self.tokens, ()
        return (*self.tokens[: stars[0]], *self.tokens[stars[-1] :]), self.tokens[stars[0] : stars[-1]]

    @cached_property
    def _has_date_between_stars(self) -> bool:
        return any(token.kind == "date" for token in self._parts[1])

    @cached_property
    def _is_anchored(self) -> bool:
        """Whether the day is told at one place of each key."""
        return self._tells_day([token.text for token in self._parts[0] if token.kind == "date"])

    @cached_property
    def _whole_dates(self) -> list[re.Pattern[str]]:
        """Patterns that find, anywhere in a key, the parts between two wildcards that tell a day."""
        found, run = [], list[Token]()
        for token in (*self.tokens, _STAR):
            if token.kind == "wildcard":
                if self._tells_day([each.text for each in run if each.kind == "date"]):
                    found.append(ObjectKey("", tuple(run), self.every)._regex)
                run = []
            else:
                run.append(token)
        return [re.compile(f"(?={pattern.pattern})") for pattern in found]

    def _check(self) -> None:
        """Raise ValueError if a load_date cannot be read back from a key, or if a wildcard stands too early."""
        for number, token in enumerate(self.tokens):
            if token.kind == "wildcard" and any("/" in each.text for each in self.tokens[number:]):
                raise ValueError(
                    f"{shown(self.text)} has {token.text} before its last segment, which a listing cannot find: write "
                    "* and ? only behind the last /"
                )
            if token.text in _UNPADDED and token.kind == "date" and not self._stands_alone(number):
                raise ValueError(
                    f"%{token.text} has one digit or two, so it must stand between other characters than digits: write "
                    f"%{token.text[1:]} where it always has two"
                )
        names = [token.text for token in self.tokens if token.kind == "date"]
        if names and not self._tells_day(names):
            raise ValueError(
                f"{shown(self.text)} does not tell the day: add what lacks, so that each load_date has a key of its "
                "own, as in {load_date:%Y/%m/%d} or {load_date:%Y-%j}; for one object a month, a year or a week say "
                "every as well, as in `every: month-end`"
            )
        if names and not self._is_anchored and not self._whole_dates:
            raise ValueError(
                f"{shown(self.text)} has its date in pieces between two *, where it cannot be found: write it in one "
                "piece, or take out a *"
            )
        if not names and self.is_pattern:
            raise ValueError(
                f"{shown(self.text)} has no {{load_date}}, so it is one object for all load_dates, without * and ?: "
                "write {load_date} where the date stands, or the whole key"
            )

    def _stands_alone(self, number: int) -> bool:
        """Return whether a directive has no digit, and nothing that may be one, beside it."""
        before, behind = self.tokens[:number][-1:], self.tokens[number + 1 :][:1]
        letters = [*(each.text[-1:] for each in before), *(each.text[:1] for each in behind)]
        others = all(each.kind == "text" for each in (*before, *behind))
        return others and not any(letter.isdigit() for letter in letters)


_STAR = Token("wildcard", "*")


def _filled(tokens: Sequence[Token], day: date) -> str:
    return "".join(written(token.text, day) if token.kind == "date" else token.text for token in tokens)


def _tokens(text: str) -> Iterator[Token]:
    """Cut the word `object` into its tokens. Raises ValueError for a hole that is none."""
    end = 0
    for hole in _HOLE.finditer(text):
        name, colon, form = hole[1].partition(":")
        if name == LOAD_DATE:
            yield from _plain(text[end : hole.start()])
            yield from _directives(form if colon else ISO)
            end = hole.end()
        elif nearest(name.lower(), [LOAD_DATE]) or "%" in hole[1] or _NAME.fullmatch(hole[1]):
            raise ValueError(
                f"{shown(hole[0])} is not known here: write {{load_date}} or, with the form of the date, "
                "{load_date:%Y/%m/%d}"
            )
    yield from _plain(text[end:])


def _plain(text: str) -> Iterator[Token]:
    for part in re.split(r"([*?])", text):
        if part:
            yield Token("wildcard" if part in {"*", "?"} else "text", part)


def _directives(form: str) -> Iterator[Token]:
    """Cut the form of a date into its directives and the text between them."""
    for part in re.split(r"(%-?.?)", form):
        if part.startswith("%") and part != "%%":
            if part[1:] not in DIRECTIVES:
                raise ValueError(
                    f"{shown(part)} is not a part of a date from which the day can be read back: write {{load_date}} "
                    f"with {_KNOWN}"
                )
            yield Token("date", part[1:])
        elif "*" in part or "?" in part:
            raise ValueError(f"{shown(form)} has a wildcard in the form of the date: write it behind the }}")
        elif part:
            yield Token("text", part.replace("%%", "%"))
    if "%" not in form.replace("%%", ""):
        raise ValueError(f"{shown(form)} names no part of the date: write a form like {ISO} behind the colon")


def _as_regex(token: Token, *, is_first: bool) -> str:
    if token.kind == "text":
        return re.escape(token.text)
    if token.kind == "wildcard":
        return "[^/]*" if token == _STAR else "[^/]"
    name = group(token.text)
    return f"(?P<{name}>{DIRECTIVES[token.text]})" if is_first else f"(?P={name})"
