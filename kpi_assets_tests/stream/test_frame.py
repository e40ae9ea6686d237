"""The objects of a stream: the same events give the same bytes, and a damaged object is never read as a whole one."""

import gzip
from datetime import date, datetime, timezone

import pytest

from kpi_assets.stream import frame
from kpi_assets.stream.frame import Frame, FrameError, Link
from kpi_assets_tests.stream.test_door import Sent

PREFIX = "raw/clicks/load_date=2026-03-01/"
KEY = f"{PREFIX}hour=09/p0003-0000000000001200.ndjson.gz"
FRAME = Frame("clicks", 3, 1200, 1205, 2, "c1")
EVENTS = [
    Sent(b'{"event_id": "a"}', b"u1", 3, 1201, 1_772_355_600_123),
    Sent(b"\xff", None, 3, 1204, 1_772_355_600_456),
]
TEXT = (
    b'{"stream":"clicks","partition":3,"from":1200,"next":1205,"records":2,"contract":"c1"}\n'
    b'{"o":1201,"t":1772355600123,"k":"u1","v":{"event_id": "a"}}\n'
    b'{"o":1204,"t":1772355600456,"bad64":"/w==","why":"it is not UTF-8: byte 1"}\n'
)


def test_a_key_names_its_link() -> None:
    assert frame.key_of(PREFIX, 9, 3, 1200, 16) == KEY
    assert frame.link_of(KEY) == Link(3, 1200, date(2026, 3, 1), 9, KEY)
    kinesis = frame.key_of(PREFIX, 23, 0, 49590338271490256608559692538361571095921575989136588898, 56)
    assert kinesis == f"{PREFIX}hour=23/p0000-49590338271490256608559692538361571095921575989136588898.ndjson.gz"
    assert frame.link_of(kinesis) == Link(
        0, 49590338271490256608559692538361571095921575989136588898, date(2026, 3, 1), 23, kinesis
    )


@pytest.mark.parametrize(
    "key",
    [
        f"{PREFIX}_manifest.json.gz",
        f"{PREFIX}hour=24/p0003-0000000000001200.ndjson.gz",
        f"{PREFIX}hour=09/p3-0000000000001200.ndjson.gz",
        f"{PREFIX}hour=09/p0003-0000000000001200.ndjson",
        "raw/clicks/load_date=2026-02-30/hour=09/p0003-0000000000001200.ndjson.gz",
        "raw/clicks/p0003-0000000000001200.ndjson.gz",
    ],
)
def test_other_keys_are_no_links(key: str) -> None:
    assert frame.link_of(key) is None


def test_the_same_events_give_the_same_bytes() -> None:
    body = frame.encode(FRAME, EVENTS)
    assert gzip.decompress(body) == TEXT
    assert body == frame.encode(FRAME, EVENTS)
    assert body[4:8] == b"\0\0\0\0"  # gzip's time


def test_an_object_is_read_back() -> None:
    found, lines = frame.decode(frame.encode(FRAME, EVENTS), KEY)
    first, second = lines
    assert found == FRAME
    assert (first.position, first.time_ms, first.why) == (1201, 1772355600123, None)
    assert first.said == {"o": 1201, "t": 1772355600123, "k": "u1", "v": {"event_id": "a"}}
    assert first.time == datetime(2026, 3, 1, 9, 0, 0, 123_000, timezone.utc)
    assert (second.position, second.why) == (1204, "it is not UTF-8: byte 1")
    assert [first.text, second.text] == TEXT.splitlines()[1:]


def test_a_link_of_lost_events_has_no_lines() -> None:
    lost = Frame("clicks", 0, 5, 9, 0, "c1", "given up by alice")
    found, lines = frame.decode(frame.encode(lost, []))
    assert (found, list(lines)) == (lost, [])


def test_an_object_of_16_mb_events_is_read_back() -> None:
    events = [Sent(b'{"a": "' + b"x" * (16 << 20) + b'"}', None, 3, 1200 + i) for i in range(2)]
    _, lines = frame.decode(frame.encode(FRAME, events))
    assert [len(each.said["v"]["a"]) for each in lines] == [16 << 20] * 2


def _packed(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (frame.encode(FRAME, EVENTS)[:-9], "is cut off: it ends before its gzip does"),
        (frame.encode(FRAME, EVENTS)[:50] + b"\0\0\0\0" + frame.encode(FRAME, EVENTS)[54:], "is damaged"),
        (b"", "is cut off"),
        (TEXT, "cannot be unpacked as gzip"),
        (frame.encode(FRAME, EVENTS) + b"rest", "is damaged"),
        (_packed(TEXT[:-1]), "its last line has no end"),
        (_packed(TEXT[: TEXT.rindex(b'{"o"')]), "holds 1 events, and its first line counts 2"),
        (_packed(TEXT + TEXT.splitlines(keepends=True)[2]), "holds 3 events, and its first line counts 2"),
        (_packed(TEXT.replace(b'"o":1204', b'"o":1201')), "line 3, is no event at position 1202 or later"),
        (_packed(TEXT.replace(b'"o":1204', b'"o":1205')), "line 3, is no event at position 1202 or later"),
        (_packed(TEXT.replace(b'"o":1201', b'"o":1199')), "line 2, is no event at position 1200 or later"),
        (_packed(TEXT.replace(b'{"o":1201', b'["o":1201')), "line 2, is no event"),
        (_packed(TEXT.replace(b'"from":1200', b'"from":1201')), "is another link than its key says"),
        (_packed(TEXT.replace(b'"partition":3', b'"partition":4')), "holds partition 4 from 1200"),
        (_packed(TEXT.replace(b'"next":1205', b'"next":1201')), "does not begin with the frame"),
        (_packed(TEXT.replace(b'"from":1200', b'"from":"1200"')), "does not begin with the frame"),
        (_packed(TEXT.replace(b'"records":2,', b"")), "does not begin with the frame"),
        (_packed(b'{"event_id": "a"}\n'), "does not begin with the frame"),
        (_packed(b"[]\n"), "does not begin with the frame"),
    ],
)
def test_a_wrong_object_is_refused_in_a_sentence_that_names_it(body: bytes, sentence: str) -> None:
    with pytest.raises(FrameError) as refused:
        frame.decode(body, KEY)
    assert str(refused.value).startswith(KEY)
    assert sentence in str(refused.value)
