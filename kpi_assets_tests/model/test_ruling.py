"""Rulings as lines of JSON: what is read back, what is refused, and what one covers."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from kpi_assets.model.checks.base import Check
from kpi_assets.model.decision import DecisionError
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import (
    NEVER_WAIVED,
    CandidateKey,
    Revocation,
    Ruling,
    read_ruling,
    standing,
    why_unwaivable,
)

AT = datetime(2025, 3, 2, 9, 30, tzinfo=timezone.utc)
UNTIL = AT + timedelta(hours=72)
CANDIDATE = CandidateKey("aaaa", "bbbb", "cccc", 3, "-42")
REASON = "the scale was replaced"
WAIVER = Ruling("waive", CANDIDATE, {"range__weight": 1.0, "broken": None}, REASON, "ana", AT, UNTIL)
HOLD = Ruling("hold", CANDIDATE, {}, REASON, "ana", AT)
REVOCATION = Revocation(1, REASON, "ben", AT)
KEY = "decisions/marts.weighed/load_date=2025-03-01/0001.jsonl"
LINE = (
    '{"kind": "waive", "candidate": {"manifest": "aaaa", "code": "bbbb", "checks": "cccc", "rows": 3, '
    '"checksum": "-42"}, "checks": {"range__weight": 1.0, "broken": null}, "reason": "the scale was replaced", '
    '"by": "ana", "at": "2025-03-02T09:30:00+00:00", "until": "2025-03-05T09:30:00+00:00"}\n'
)


def test_a_ruling_is_written_as_a_line_and_read_back() -> None:
    assert WAIVER.line() == LINE
    for each in (WAIVER, HOLD):
        assert read_ruling(each.line().encode(), KEY) == replace(each, key=KEY)
    assert read_ruling(b"\n" + REVOCATION.line().encode() + b"\n", KEY) == REVOCATION
    other_zone = LINE.replace("09:30:00+00:00", "11:30:00+02:00")
    assert read_ruling(other_zone.encode(), KEY) == replace(WAIVER, key=KEY)
    assert read_ruling(LINE.replace("+00:00", "Z").encode(), KEY) == replace(WAIVER, key=KEY)


@pytest.mark.parametrize("body", [b"", b"\n", b"{", b"\xff", b"[]", b'{"kind": "discard"}', b'{"kind": "approve"}'])
def test_what_is_no_ruling_is_left_to_the_decisions_on_rows(body: bytes) -> None:
    assert read_ruling(body, KEY) is None


def said(**changes: Any) -> bytes:
    words = {**json.loads(LINE), **changes}
    return json.dumps({word: value for word, value in words.items() if value is not None}).encode()


NAMES = json.loads(LINE)["candidate"]
WRITE_CANDIDATE = "write an object with manifest, code, checks, rows, checksum"
BROKEN = {
    said(set={}): "it has the unknown word 'set': the words are kind, candidate, checks, reason, by, at, until",
    said(until=None): "it lacks the word until: write kind, candidate, checks, reason, by, at, until",
    said(kind="hold", until=None): "it has the unknown word 'checks': the words are kind, candidate, reason, by, at",
    said(kind="revoke"): "it has the unknown word 'candidate': the words are kind, ruling, reason, by, at",
    said(candidate="aaaa"): f"its candidate is 'aaaa': {WRITE_CANDIDATE}",
    said(candidate={"rows": 1}): f'its candidate is {{"rows": 1}}: {WRITE_CANDIDATE}',
    said(candidate={**NAMES, "rows": -1}): "its rows is -1: write a whole number",
    said(candidate={**NAMES, "rows": True}): "its rows is true: write a whole number",
    said(candidate={**NAMES, "rows": 2**63}): "its rows is 9223372036854775808: write a whole number",
    said(checks={}): "its checks is an object: write an object with at least one check",
    said(checks=["a"]): "its checks is a list: write an object with at least one check",
    said(checks={"a": "1"}): "its check 'a' is '1': write a number, or null",
    said(checks={"a": True}): "its check 'a' is true: write a number, or null",
    said(reason="because    "): "its reason is 'because    ': write at least 10 characters",
    said(reason="\x00" * 12): "it holds the character \\u0000, which PostgreSQL cannot store: take it out",
    said(by=" "): "its by is blank: write one",
    said(by=3): "its by is a number: write one",
    said(at="2025-03-02T09:30:00"): (
        "its at is '2025-03-02T09:30:00': write an instant, as in 2025-03-01T09:30:00+00:00"
    ),
    said(until="soon"): "its until is 'soon': write an instant, as in 2025-03-01T09:30:00+00:00",
    LINE.encode() * 2: "it has 2 lines, and a ruling is alone in its object: write one object each",
}


@pytest.mark.parametrize("body", BROKEN)
def test_an_object_that_is_a_broken_ruling_is_refused(body: bytes) -> None:
    with pytest.raises(DecisionError) as error:
        read_ruling(body, KEY)
    assert str(error.value) == f"{KEY} is no ruling: {BROKEN[body]}."


FAILED = ["range__weight"]


def test_a_waiver_lets_one_candidate_through_that_fails_only_its_checks() -> None:
    assert WAIVER.lets_through(CANDIDATE, FAILED, AT)
    assert WAIVER.lets_through(CANDIDATE, [*FAILED, "broken"], AT)
    assert not WAIVER.lets_through(CANDIDATE, [*FAILED, "unique"], AT)
    assert not HOLD.lets_through(CANDIDATE, [], AT)
    others: dict[str, Any] = {
        "manifest_hash": "x",
        "code_version": "x",
        "checks_version": "x",
        "rows": 4,
        "checksum": "42",
    }
    for field, value in others.items():
        assert not WAIVER.lets_through(replace(CANDIDATE, **{field: value}), FAILED, AT), field


def test_a_waiver_expires_unless_it_was_used_and_is_revoked_in_any_case() -> None:
    assert WAIVER.lets_through(CANDIDATE, FAILED, UNTIL - timedelta(seconds=1))
    assert not WAIVER.lets_through(CANDIDATE, FAILED, UNTIL)
    used = replace(WAIVER, was_used=True)
    assert used.lets_through(CANDIDATE, FAILED, UNTIL + timedelta(days=999))
    assert not replace(used, revoked=REVOCATION).lets_through(CANDIDATE, FAILED, AT)


def test_a_hold_keeps_one_candidate_out_whatever_its_checks_are() -> None:
    assert HOLD.keeps_out(CANDIDATE)
    assert HOLD.keeps_out(replace(CANDIDATE, checks_version="x"))
    assert not HOLD.keeps_out(replace(CANDIDATE, checksum="x"))
    assert not HOLD.keeps_out(replace(CANDIDATE, code_version="x"))
    assert not replace(HOLD, revoked=REVOCATION).keeps_out(CANDIDATE)
    assert not WAIVER.keeps_out(CANDIDATE)


def test_a_hold_keeps_any_rows_of_its_delivery_out_once_persons_were_erased_from_it() -> None:
    follows = replace(HOLD, without=frozenset({"new", "newer"}))
    for manifest in ("new", "newer"):
        assert follows.keeps_out(replace(CANDIDATE, manifest_hash=manifest, rows=1, checksum="x", checks_version="x"))
    assert not follows.keeps_out(replace(CANDIDATE, manifest_hash="new", code_version="x"))
    assert not follows.keeps_out(replace(CANDIDATE, manifest_hash="other"))
    assert not follows.keeps_out(replace(CANDIDATE, rows=1)), "its own manifest is not among them"
    assert follows.keeps_out(CANDIDATE)
    assert not replace(follows, revoked=REVOCATION).keeps_out(replace(CANDIDATE, manifest_hash="new"))
    assert not replace(WAIVER, without=follows.without).keeps_out(replace(CANDIDATE, manifest_hash="new"))


def test_what_stands_of_rulings_and_revocations() -> None:
    first, second = replace(WAIVER, key="a/0001.jsonl"), replace(HOLD, key="a/0002.jsonl")
    revoked = replace(first, revoked=REVOCATION)
    assert standing([], []) == ()
    assert standing([(1, first), (2, second)], ["a/0002.jsonl"]) == (first, replace(second, was_used=True))
    marks = {("a/0002.jsonl", "new"), ("a/0002.jsonl", "newer"), ("a/0003.jsonl", "x")}
    follows = replace(second, without=frozenset({"new", "newer"}))
    assert standing([(1, first), (2, second)], [], marks) == (first, follows)
    again = replace(REVOCATION, by="eva")
    assert standing([(1, first), (2, second), (3, REVOCATION), (4, again)], []) == (revoked, second)
    with pytest.raises(DecisionError) as error:
        standing([(1, REVOCATION), (2, first)], [])
    assert str(error.value) == (
        "Object 0001 of the decisions revokes ruling 0001, and there is none of that number before it: move it "
        "elsewhere, or write the number of the ruling's object."
    )


def result(name: str, *, errored: bool = False) -> CheckResult:
    return CheckResult(name, passed=False, blocking=True, metric=1, threshold=0, errored=errored)


def test_what_nobody_may_waive() -> None:
    checks = [Check("range__weight", "x"), Check("strict", "x", waivable=False), Check("grain", "x")]
    assert why_unwaivable(result("range__weight"), checks) == ""
    assert why_unwaivable(result("strict"), checks) == "its file says `waivable: false`"
    assert why_unwaivable(result("unknown"), checks) == "its file does not declare this check"
    assert why_unwaivable(result("range__weight", errored=True), checks).startswith("the check itself failed")
    assert [*NEVER_WAIVED] == ["grain", "rows_accounted", "not_ruled_out"]
    for name, why in NEVER_WAIVED.items():
        assert why_unwaivable(result(name), checks) == why
