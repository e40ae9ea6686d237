"""Rulings: a person's word about one build, as it lies on S3.

A ruling names exactly one candidate, so that no other build is published or kept out by it: any change of what the
build is made from, of its SQL, its checks or its rows makes it another candidate.
Belongs here: one ruling, its words and its line of JSON, what it covers, and what nobody may waive. Not here: the
objects that hold rulings (sources/decisions.py), and what a build does with them (materialize/rulings.py).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Literal, get_args

from kpi_assets.model.checks.base import Check
from kpi_assets.model.decision import DecisionError, json_text, kind_of_value, parse_json, shown_value, unstorable
from kpi_assets.model.results import CheckResult

RulingKind = Literal["waive", "hold"]
KINDS: tuple[RulingKind, ...] = get_args(RulingKind)
REVOKE = "revoke"
NOT_RULED_OUT = "not_ruled_out"  # the check that fails for a candidate which somebody keeps out
SHORTEST = 10  # characters of a reason
# The checks that nobody may waive, each with the reason.
NEVER_WAIVED: Mapping[str, str] = {
    "grain": "rows that break their key cannot be stored under it",
    "rows_accounted": "records were lost on the way, which no word of a person brings back",
    NOT_RULED_OUT: "somebody keeps this build out: `kpi revoke` takes that back",
}
_CANDIDATE = ("manifest", "code", "checks", "rows", "checksum")


@dataclass(frozen=True)
class CandidateKey:
    """What names one candidate of a table and load_date: what it was made from, how it was judged, and its rows."""

    manifest_hash: str
    code_version: str
    checks_version: str
    rows: int
    checksum: str


@dataclass(frozen=True)
class Revocation:
    """A ruling was taken back; `number` is that of its object."""

    number: int
    reason: str
    by: str
    at: datetime  # in UTC

    def line(self) -> str:
        """Return the revocation as its line of JSON, with the line's end."""
        said = {"kind": REVOKE, "ruling": self.number, "reason": self.reason, "by": self.by}
        return json_text({**said, "at": self.at.isoformat()}) + "\n"  # who asks for an instant before is told so


@dataclass(frozen=True)
class Ruling:
    """A ruling on one candidate: publish it although `checks` fail, or keep it out although all pass.

    `checks` has for each check that may fail the metric that was seen. A waiver may be used for the first time before
    `until`; once it was used, the same candidate is published again at any time.
    """

    kind: RulingKind
    candidate: CandidateKey
    checks: Mapping[str, float | None]
    reason: str
    by: str
    at: datetime  # in UTC
    until: datetime | None = None  # in UTC; None for hold
    key: str = ""  # of its object on S3
    was_used: bool = False
    without: frozenset[str] = frozenset()  # of hold: manifests of the same delivery, less persons who were erased since
    revoked: Revocation | None = None

    def line(self) -> str:
        """Return the ruling as its line of JSON, with the line's end."""
        names = self.candidate
        said: dict[str, Any] = {
            "kind": self.kind,
            "candidate": {
                "manifest": names.manifest_hash,
                "code": names.code_version,
                "checks": names.checks_version,
                "rows": names.rows,
                "checksum": names.checksum,
            },
        }
        if self.kind == "waive":
            said["checks"] = dict(self.checks)
        said |= {"reason": self.reason, "by": self.by, "at": _text(self.at)}
        if self.until:
            said["until"] = _text(self.until)
        return json_text(said) + "\n"

    def is_open(self, now: datetime) -> bool:
        """Whether it counts: it was not revoked, and a waiver was used before or has not expired."""
        return self.revoked is None and (self.until is None or self.was_used or now < self.until)

    def lets_through(self, candidate: CandidateKey, failed: Collection[str], now: datetime) -> bool:
        """Whether a candidate may be published by it although these checks failed."""
        is_on_it = self.kind == "waive" and self.candidate == candidate
        return is_on_it and self.is_open(now) and {*failed} <= {*self.checks}

    def keeps_out(self, candidate: CandidateKey) -> bool:
        """Whether a candidate must not be published because of it.

        Other checks do not make it another one here: they change nothing of the rows that somebody keeps out. Of a
        delivery without erased persons nobody knows the rows before it is built, so any are kept out.
        """
        same = replace(self.candidate, checks_version=candidate.checks_version)
        if candidate.manifest_hash in self.without:
            same = replace(
                same, manifest_hash=candidate.manifest_hash, rows=candidate.rows, checksum=candidate.checksum
            )
        return self.kind == "hold" and same == candidate and self.revoked is None


def why_unwaivable(result: CheckResult, checks: Iterable[Check]) -> str:
    """Return why nobody may waive a result that holds a build, as the end of a sentence; empty if somebody may."""
    if result.errored:
        return "the check itself failed, so that nobody knows what is wrong: mend the check"
    if result.name in NEVER_WAIVED:
        return NEVER_WAIVED[result.name]
    declared = next((check for check in checks if check.name == result.name), None)
    if declared is None:
        return "its file does not declare this check"
    return "" if declared.waivable else "its file says `waivable: false`"


def read_ruling(body: bytes, key: str) -> Ruling | Revocation | None:
    """Return the ruling or revocation that the object at `key` holds; None if it holds decisions on rows, or nothing.

    Raises DecisionError if its first line is one of a ruling, and the object is no ruling.
    """
    lines = [line for line in body.split(b"\n") if line.strip()]
    try:
        words = parse_json(lines[0].decode()) if lines else None
    except ValueError:
        return None  # read as a decision, it is refused
    if not isinstance(words, dict) or words.get("kind") not in {*KINDS, REVOKE}:
        return None
    try:
        if len(lines) > 1:
            raise _BrokenError(f"it has {len(lines)} lines, and a ruling is alone in its object: write one object each")
        return _Line(words, key).said()
    except _BrokenError as error:
        raise DecisionError(f"{key} is no ruling: {error}.") from None


def standing(
    said: Sequence[tuple[int, Ruling | Revocation]],
    used: Collection[str],
    without: Collection[tuple[str, str]] = (),
) -> tuple[Ruling, ...]:
    """Return the rulings with what became of them, from what the objects of these numbers say.

    `used` are keys, and `without` keys with manifests.

    Raises DecisionError if a revocation names no ruling that was made before.
    """
    found: dict[int, Ruling] = {}
    for number, each in said:
        if isinstance(each, Ruling):
            follow = frozenset(manifest for key, manifest in without if key == each.key)
            found[number] = replace(each, was_used=each.key in used, without=follow)
        elif each.number not in found:
            raise DecisionError(
                f"Object {number:04} of the decisions revokes ruling {each.number:04}, and there is none of that "
                "number before it: move it elsewhere, or write the number of the ruling's object."
            )
        elif found[each.number].revoked is None:
            found[each.number] = replace(found[each.number], revoked=each)
    return tuple(found.values())


class _BrokenError(Exception):
    """An object is no ruling; the text is the end of a sentence."""


class _Line:
    """The words of one line, which are read as a ruling or revocation."""

    def __init__(self, words: dict[str, Any], key: str) -> None:
        self._words, self._key = words, key
        if bad := unstorable(words):
            raise _BrokenError(f"it holds the character {bad}, which PostgreSQL cannot store: take it out")

    def said(self) -> Ruling | Revocation:
        """Return the ruling or revocation. Raises _BrokenError."""
        kind = self._words["kind"]
        if kind == REVOKE:
            self._check_words("kind", "ruling", "reason", "by", "at")
            return Revocation(self._count("ruling", self._words), self._reason(), self._text("by"), self._instant("at"))
        if kind == "hold":
            self._check_words("kind", "candidate", "reason", "by", "at")
            checks, until = dict[str, float | None](), None
        else:
            self._check_words("kind", "candidate", "checks", "reason", "by", "at", "until")
            checks, until = self._checks(), self._instant("until")
        made: RulingKind = "hold" if kind == "hold" else "waive"
        return Ruling(
            made,
            self._candidate(),
            checks,
            self._reason(),
            self._text("by"),
            self._instant("at"),
            until,
            key=self._key,
        )

    def _check_words(self, *words: str) -> None:
        for word in self._words:
            if word not in words:
                raise _BrokenError(f"it has the unknown word {shown_value(word)}: the words are {', '.join(words)}")
        for word in words:
            if word not in self._words:
                raise _BrokenError(f"it lacks the word {word}: write {', '.join(words)}")

    def _candidate(self) -> CandidateKey:
        value = self._words["candidate"]
        if not isinstance(value, dict) or {*value} != {*_CANDIDATE}:
            raise _BrokenError(f"its candidate is {shown_value(value)}: write an object with {', '.join(_CANDIDATE)}")
        texts = [value[word] for word in _CANDIDATE if word != "rows"]
        if not all(isinstance(text, str) and text for text in texts):
            raise _BrokenError(f"its candidate is {shown_value(value)}: all but rows are texts, as ops.holds has them")
        manifest, code, checks, checksum = texts
        return CandidateKey(manifest, code, checks, self._count("rows", value), checksum)

    def _count(self, word: str, within: Mapping[str, Any]) -> int:
        value = within[word]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise _BrokenError(f"its {word} is {shown_value(value)}: write a whole number")
        return value

    def _checks(self) -> dict[str, float | None]:
        value = self._words["checks"]
        if not isinstance(value, dict) or not value:
            raise _BrokenError(f"its checks is {kind_of_value(value)}: write an object with at least one check")
        found: dict[str, float | None] = {}
        for name, metric in value.items():
            is_number = isinstance(metric, int | float | Decimal) and not isinstance(metric, bool)
            if metric is not None and not (is_number and math.isfinite(metric)):
                raise _BrokenError(f"its check {shown_value(name)} is {shown_value(metric)}: write a number, or null")
            found[name] = None if metric is None else float(metric)
        return found

    def _reason(self) -> str:
        reason = self._text("reason")
        if len(reason.strip()) < SHORTEST:
            raise _BrokenError(f"its reason is {shown_value(reason)}: write at least {SHORTEST} characters")
        return reason

    def _text(self, word: str) -> str:
        value = self._words[word]
        if not isinstance(value, str) or not value.strip():
            is_now = "blank" if isinstance(value, str) else kind_of_value(value)
            raise _BrokenError(f"its {word} is {is_now}: write one")
        return value

    def _instant(self, word: str) -> datetime:
        text = self._text(word)
        try:
            found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
            if found.tzinfo is None:
                raise ValueError
            return found.astimezone(timezone.utc)
        except (ValueError, OverflowError):
            example = "2025-03-01T09:30:00+00:00"
            raise _BrokenError(f"its {word} is {shown_value(text)}: write an instant, as in {example}") from None


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
