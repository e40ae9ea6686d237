"""The arithmetic of chaos: what is killed when, and the accounts, which find what is lost, there twice, or changed."""

import base64
import gzip
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from kpi_assets.stream import door
from kpi_assets.stream.frame import Frame, encode
from kpi_assets.stream.reader import Event
from kpi_assets_tests.e2e.chaos import accounts
from kpi_assets_tests.e2e.chaos.schedule import LEAST_PAUSE, LONGEST_DOWN, MOST_PAUSE, SHARES, schedule
from kpi_assets_tests.e2e.chaos.sending import digest

pytestmark = pytest.mark.fast
KEY = "raw/clicks/load_date=2026-03-01/hour=00/p0002-0000000000000007.ndjson.gz"


def test_a_seed_decides_what_is_killed_when_and_every_part_comes_first_once() -> None:
    kills = schedule(5, 1200)
    assert kills == schedule(5, 1200) != schedule(6, 1200)
    assert sorted(kill.part for kill in kills[: len(SHARES)]) == sorted(SHARES)
    pauses = [after.at - before.at for before, after in pairwise(kills)]
    assert LEAST_PAUSE <= min(pauses) <= max(pauses) <= MOST_PAUSE
    assert kills[-1].at < 1200 <= kills[-1].at + MOST_PAUSE
    assert all(0 <= kill.down <= LONGEST_DOWN for kill in kills)
    assert {kill.its_children for kill in kills} == {True, False}


def test_parts_are_killed_as_often_as_their_shares_say() -> None:
    counted = Counter(kill.part for kill in schedule(1, 1_000_000))
    shares = {part: counted[part] / counted.total() * sum(SHARES.values()) for part in SHARES}
    assert shares == {part: pytest.approx(share, rel=0.05) for part, share in SHARES.items()}


VALUES = [
    b'{"event_id": "a"}',
    b'{"event_id": "b, \\",\\"v\\":"}',
    b"no JSON",
    b"",
    b"\xff\xfe\x00",
    b'{"event_id": "\\u0000", "v": 1}',
    b'["bad64", "v"]',
    '{"event_id": "é"}'.encode(),
]


def test_the_objects_of_the_landing_are_read_without_its_code(tmp_path: Path) -> None:
    events = [Event(2, 7 + 2 * number, 1_772_323_200_000, b"k\xc3", value) for number, value in enumerate(VALUES)]
    path = tmp_path / KEY
    path.parent.mkdir(parents=True)
    path.write_bytes(encode(Frame("clicks", 2, 7, 30, len(events), "c"), events))
    assert list(accounts.landed_lines(tmp_path, KEY)) == [
        f"clicks,2,{7 + 2 * number},{digest(value)},{KEY},{number + 1}" for number, value in enumerate(VALUES)
    ]
    lines = gzip.decompress(path.read_bytes()).splitlines()[1:]
    kept = [json.loads(line) for line in lines]
    assert ["v" in each for each in kept] == [True, True, False, False, False, False, False, True]
    assert base64.b64decode(kept[4]["bad64"]) == VALUES[4]
    assert door.line(events[0]) == lines[0] + b"\n"


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    """Positions 0 to 9 of a partition: all are landed, 9 was not acknowledged, and 3 is set aside."""
    made = duckdb.connect()
    accounts.create(made)
    made.execute("insert into acknowledged select 'clicks', 0, i, 'd' || i from range(9) as r (i)")
    made.execute("insert into landed select 'clicks', 0, i, 'd' || i, 'k', i + 1 from range(10) as r (i)")
    made.execute("insert into in_raw select 'clicks', 0, i from range(10) as r (i) where i <> 3")
    made.execute("insert into set_aside values ('clicks', 'k', 4)")
    return made


def test_what_is_as_it_should_be_has_nothing_wrong(database: duckdb.DuckDBPyConnection) -> None:
    assert accounts.wrong(database) == dict.fromkeys(accounts.WRONG, 0)
    assert accounts.counts(database) == {
        "acknowledged": 9,
        "landed": 10,
        "in_raw": 9,
        "set_aside": 1,
        "landed, not acknowledged": 1,
    }


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("delete from landed where pos = 2", {"acknowledged, not landed": 1, "in raw, not landed": 1}),
        ("update landed set digest = 'x' where pos in (4, 5)", {"landed with other bytes than were sent": 2}),
        ("update landed set digest = 'x' where pos = 9", {}),  # nobody was told that the broker has it
        ("insert into acknowledged values ('clicks', 0, 4, 'd4')", {"acknowledged twice at one position": 1}),
        ("insert into acknowledged values ('clicks', 1, 4, 'd4')", {"acknowledged, not landed": 1}),
        (
            "insert into landed values ('clicks', 0, 4, 'd4', 'k', 11)",
            {"landed twice": 1},
        ),
        ("insert into in_raw values ('clicks', 0, 4)", {"in raw twice": 1}),
        ("insert into in_raw values ('clicks', 0, 3)", {"both in raw and set aside": 1}),
        ("delete from in_raw where pos = 9", {"landed, neither in raw nor set aside": 1}),
        ("delete from set_aside", {"landed, neither in raw nor set aside": 1}),
        ("insert into set_aside values ('clicks', 'k', 4)", {"set aside twice": 1, "both in raw and set aside": 0}),
        ("insert into set_aside values ('clicks', 'l', 4)", {"set aside, not landed": 1}),
        ("insert into in_raw values ('orders', 0, 4)", {"in raw, not landed": 1}),
    ],
)
def test_each_fault_is_found(database: duckdb.DuckDBPyConnection, fault: str, wrong: dict[str, int]) -> None:
    database.execute(fault)
    assert accounts.wrong(database) == {**dict.fromkeys(accounts.WRONG, 0), **wrong}
