"""What becomes of an event: a line that jsonb takes, with every byte that was sent."""

import base64
import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpi_assets.stream import door
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.pipeline_harness import PipelineHarness


@dataclass(frozen=True)
class Sent:
    value: bytes | None
    key: bytes | None = None
    partition: int = 0
    position: int = 7
    time_ms: int = 1_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{"a": 1.10, "b": 12345678901234567890, "a": 2}', b'{"a": 1.10, "b": 12345678901234567890, "a": 2}'),
        (b'{\n  "a":\r\n 1e999\n}', b'{   "a":   1e999 }'),
        ('{"a": "Größe 😀 \\n"}'.encode(), '{"a": "Größe 😀 \\n"}'.encode()),
        (b'{"a": "\\ud83d\\ude00 1e9999 ' + b"9" * 2000 + b'"}', None),
        (b'{"a": ' + b"[" * 98 + b"1, {}, {}" + b"]" * 98 + b"}", None),
        (b'{"a": ' + b"9" * 1000 + b"}", None),
        (b'{"a": -1.5E+999, "b": "\\\\u0000"}', None),
    ],
)
def test_an_event_is_kept_as_it_was_sent(value: bytes, text: bytes | None) -> None:
    assert door.line(Sent(value, b"k1")) == b'{"o":7,"t":1000,"k":"k1","v":' + (text or value) + b"}\n"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "it is not JSON: character 1"),
        (b'{"a": 1', "it is not JSON: character 8"),
        (b'{"a": "\n"}', "it is not JSON: character 8"),
        ("\ufeff{}".encode(), "it is not JSON: character 1"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"[1]", "it is JSON, but not an object"),
        (b'"text"', "it is JSON, but not an object"),
        (b'{"a": "\xff"}', "it is not UTF-8: byte 8"),
        (b'{"a": {"\\u0000": 1}}', "it has a text with the character U+0000, which PostgreSQL cannot store"),
        (b'{"a": ["b\\u0000"]}', "it has a text with the character U+0000, which PostgreSQL cannot store"),
        (b'{"a": "\\ud83d"}', "it has a text with one half of a surrogate pair, which is no character"),
        (b'{"a": "\\uDE00\\uD83D"}', "it has a text with one half of a surrogate pair, which is no character"),
        (b'{"a": 1e1000}', "it has a number with more digits than can be stored"),
        (b'{"a": 1.5E-00001000}', "it has a number with more digits than can be stored"),
        (b'{"a": ' + b"9" * 1001 + b"}", "it has a number with more digits than can be stored"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "it is nested more than 100 deep"),
        (b'{"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", "it is nested more than 100 deep"),
    ],
)
def test_what_is_no_object_that_can_be_stored_is_kept_with_the_reason(value: bytes, why: str) -> None:
    said = json.loads(door.line(Sent(value)))
    kept = said["bad"].encode() if "bad" in said else base64.b64decode(said["bad64"])
    assert (said["o"], said["t"], said["why"], kept, "v" in said) == (7, 1000, why, value, False)


def test_a_tombstone_is_kept_with_its_key() -> None:
    assert door.line(Sent(None, b"k")) == b'{"o":7,"t":1000,"k":"k","why":"it has no value (a tombstone)"}\n'


def test_a_key_or_a_value_that_is_no_text_is_in_base64() -> None:
    assert json.loads(door.line(Sent(b"\0\xfe", b"a\0")))["bad64"] == "AP4="
    assert json.loads(door.line(Sent(b"{}", b"a\0")))["k64"] == "YQA="
    assert json.loads(door.line(Sent(b"{}", b"\xff")))["k64"] == "/w=="


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
_SENT = (
    st.binary()
    | _JSON.map(json.dumps).map(str.encode)
    | st.dictionaries(st.text(), _JSON).map(json.dumps).map(str.encode)
)


def test_postgres_takes_every_line_and_gives_back_what_was_sent(lab: PipelineHarness) -> None:
    with connect(lab.server, "postgres", "lab") as connection:

        @settings(max_examples=300, deadline=None)
        @given(_SENT, st.none() | st.binary())
        def is_taken(value: bytes, key: bytes | None) -> None:
            text = door.line(Sent(value, key)).decode()
            row = connection.execute(
                """
                select (j->>'o')::numeric, coalesce(convert_to(j->>'k', 'UTF8'), decode(j->>'k64', 'base64')),
                    coalesce(convert_to(j->>'bad', 'UTF8'), decode(j->>'bad64', 'base64')), (j->'v')::text
                from (select %s::jsonb as j)
                """,
                [text],
            ).fetchone()
            assert row is not None
            assert row[:3] == (7, key, value if '"why":' in text and row[3] is None else None)
            if row[3] is not None:
                assert json.loads(row[3], parse_int=float) == json.loads(value, parse_int=float)

        is_taken()
