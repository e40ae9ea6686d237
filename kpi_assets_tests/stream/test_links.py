"""The next links are asked for by name, a sweep finds what nobody could name, and nothing is passed over."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import pytest

from kpi_assets.sources.lake import MissingError
from kpi_assets.sources.objects import Entry
from kpi_assets.stream import links
from kpi_assets.stream.frame import Frame, encode, key_of
from kpi_assets.stream.links import NOTHING, ChainError, Chains, End, Followed, added_hash, whole
from kpi_assets.stream.reader import Event

PREFIX = "raw/clicks/load_date=2025-03-01/"
LONG_AGO = datetime.now(timezone.utc) - timedelta(hours=1)


@dataclass
class CountingLake:
    """A store in memory, which counts what it is asked."""

    objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def land(
        self, partition: int, start: int, count: int, *, hour: int = 0, following: int = 0, at: datetime | None = None
    ) -> str:
        """Land a link of so many events; return its key."""
        events = [Event(partition, start + n, 1_740_787_200_000 + n, None, b'{"id": 1}') for n in range(count)]
        frame = Frame("clicks", partition, start, following or start + count, count, "c")
        key = key_of(PREFIX, hour, partition, start, 16)
        self.objects[key] = encode(frame, events), at or datetime.now(timezone.utc)
        return key

    def get(self, key: str, etag: str | None = None) -> bytes:
        self.asked["get"] += 1
        if key not in self.objects:
            raise MissingError(f"{key} is not there.")
        assert etag in {None, self._entry(key).etag}
        return self.objects[key][0]

    def head(self, key: str) -> Entry | None:
        self.asked["head"] += 1
        return self._entry(key) if key in self.objects else None

    def entries(self, prefix: str, after: str | None = None) -> Iterator[Entry]:
        self.asked["list"] += 1
        for key in sorted(self.objects):
            if key.startswith(prefix) and key > (after or ""):
                self.asked["listed"] += 1
                yield self._entry(key)

    def _entry(self, key: str) -> Entry:
        body, at = self.objects[key]
        return Entry(key, len(body), hashlib.sha256(body).hexdigest(), at)


@pytest.fixture
def lake() -> CountingLake:
    return CountingLake()


def follow(
    chains: Chains, ends: dict[int, End], starts: dict[int, int] | None = None, most: int = 1000, hour: int = 0
) -> Followed:
    """Follow the chains, and go on from what was found."""
    found = chains.follow(ends, starts or {}, most, hour)
    for each in found.found:
        ends[each.link.partition] = End(each.frame.next, each.link)
    return found


def places(followed: Followed) -> list[tuple[int, int]]:
    return [(each.link.partition, each.link.start) for each in followed.found]


def test_links_are_found_by_name_however_many_there_are(lake: CountingLake) -> None:
    chains, ends = Chains(lake, PREFIX), dict[int, End]()
    for start in range(0, 1000, 10):
        lake.land(0, start, 10)
    assert len(follow(chains, ends, most=10_000).found) == 100
    lake.asked.clear()
    lake.land(0, 1000, 5)
    lake.land(0, 1005, 5, following=1012)
    assert places(follow(chains, ends)) == [(0, 1000), (0, 1005)]
    assert lake.asked == {"head": 3, "get": 2}
    lake.land(0, 1012, 1, hour=1)
    assert places(follow(chains, ends, hour=1)) == [(0, 1012)]
    assert lake.asked["list"] == 0


def test_a_sweep_finds_a_new_partition_and_what_lies_hours_later(
    lake: CountingLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    chains, ends = Chains(lake, PREFIX), dict[int, End]()
    lake.land(0, 0, 10)
    follow(chains, ends)
    lake.land(1, 77, 3)
    lake.land(0, 10, 1, hour=5)
    assert places(follow(chains, ends, hour=9)) == []
    monkeypatch.setattr(links, "SWEEP_SECONDS", 0.0)
    assert places(follow(chains, ends, hour=9)) == [(0, 10), (1, 77)]


def test_a_sweep_lists_the_last_two_hours_only(lake: CountingLake, monkeypatch: pytest.MonkeyPatch) -> None:
    chains, ends = Chains(lake, PREFIX), dict[int, End]()
    for hour in range(6):
        lake.land(0, hour, 1, hour=hour)
    follow(chains, ends, hour=5)
    lake.asked.clear()
    monkeypatch.setattr(links, "SWEEP_SECONDS", 0.0)
    assert places(follow(chains, ends, hour=5)) == []
    assert lake.asked["listed"] == 2


def test_links_are_taken_in_turn_and_none_is_cut(lake: CountingLake) -> None:
    chains, ends = Chains(lake, PREFIX), dict[int, End]()
    for partition in (0, 1):
        for start in (0, 10, 20):
            lake.land(partition, start, 10)
    lake.land(2, 0, 500)
    assert places(follow(chains, ends, most=45)) == [(0, 0), (0, 10), (1, 0), (1, 10)]
    assert places(follow(chains, ends, most=45)) == [(0, 20), (1, 20)]
    assert places(follow(chains, ends, most=45)) == [(2, 0)]
    assert places(follow(chains, ends, most=45)) == []


def test_a_gap_is_waited_for_and_then_told(lake: CountingLake) -> None:
    chains, ends = Chains(lake, PREFIX), dict[int, End]()
    lake.land(0, 0, 10)
    later = lake.land(0, 20, 10)
    followed = follow(chains, ends)
    assert (places(followed), followed.problem) == ([(0, 0)], "")
    lake.land(0, 20, 10, at=LONG_AGO)
    chains = Chains(lake, PREFIX)
    followed = follow(chains, ends)
    assert places(followed) == []
    assert followed.problem.startswith(f"The object of partition 0 from position 10 is missing before {later}: look")
    lake.land(0, 10, 10)
    followed = follow(chains, ends)
    assert (places(followed), followed.problem) == ([(0, 10), (0, 20)], "")


def test_an_object_before_the_first_one_is_not_passed_over(lake: CountingLake) -> None:
    ends = dict[int, End]()
    lake.land(0, 10, 10)
    follow(Chains(lake, PREFIX), ends)
    early = lake.land(0, 0, 10)
    assert follow(Chains(lake, PREFIX), ends, {0: 10}).problem == (
        f"{early} came before the first object that was built of partition 0: run the load_date again, which builds it "
        "from all of its objects"
    )


def test_a_link_that_is_not_whole_is_told(lake: CountingLake) -> None:
    key = lake.land(0, 0, 10)
    body, at = lake.objects[key]
    lake.objects[key] = body[:-9], at
    assert follow(Chains(lake, PREFIX), {}).problem == (
        f"{key} is cut off: it ends before its gzip does: restore the object that was landed there."
    )
    with pytest.raises(ChainError, match="is cut off"):
        list(whole(lake, PREFIX))


def test_a_whole_load_date_is_read_in_order_and_must_be_a_chain(lake: CountingLake) -> None:
    for partition, start in ((1, 0), (0, 10), (0, 0), (1, 10)):
        lake.land(partition, start, 10, hour=start // 10)
    lake.objects[f"{PREFIX}_closed.json"] = b"{}", LONG_AGO
    assert [(each.link.partition, each.link.start) for each in whole(lake, PREFIX)] == [
        (0, 0),
        (0, 10),
        (1, 0),
        (1, 10),
    ]
    lake.land(1, 21, 3, hour=2)
    with pytest.raises(ChainError, match="partition 1 from position 20 is missing before"):
        list(whole(lake, PREFIX))


def test_the_hash_of_objects_does_not_depend_on_how_they_were_added() -> None:
    entries = [Entry(f"k{n}", n, f'"e{n}"', LONG_AGO) for n in range(5)]
    at_once = added_hash(NOTHING, "b", entries)
    one_by_one = NOTHING
    for each in reversed(entries):
        one_by_one = added_hash(one_by_one, "b", [Entry(each.key, each.size_bytes, each.etag.strip('"'), LONG_AGO)])
    assert one_by_one == at_once != NOTHING
    assert added_hash(NOTHING, "b", entries[1:]) != at_once
