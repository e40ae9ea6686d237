"""What the store says of chains: their ends, wherever they lie, and each joint that does not fit."""

from datetime import date, datetime, timedelta, timezone

import pytest

from kpi_assets.stream import chain
from kpi_assets.stream.chain import Closed, End
from kpi_assets.stream.frame import Frame, FrameError, encode, key_of
from kpi_assets_tests.stream.memory import CLICKS, NOON, Bench, MemoryLake
from kpi_assets_tests.stream.test_door import Sent

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY = date(2026, 3, 1)


def put(lake: MemoryLake, hour: datetime, partition: int, first: int, following: int, lost: str | None = None) -> str:
    """Put a link whose events have the positions from `first` to `following`."""
    events = [] if lost else [Sent(b"{}", None, partition, position) for position in range(first, following)]
    frame = Frame("clicks", partition, first, following, len(events), "c1", lost)
    key = key_of(CLICKS.prefix(hour.date()), hour.hour, partition, first, 16)
    lake.objects[key] = encode(frame, events)
    return key


@pytest.fixture
def lake() -> MemoryLake:
    return MemoryLake()


def test_an_empty_store_has_no_ends(lake: MemoryLake) -> None:
    assert chain.ends(lake, CLICKS, [0, 1]) == ({0: End(None, START), 1: End(None, START)}, None)


def test_the_end_of_a_chain_is_in_the_latest_hour_that_has_a_link_of_it(lake: MemoryLake) -> None:
    put(lake, NOON - timedelta(days=40), 1, 0, 7)
    put(lake, NOON - timedelta(days=1), 0, 0, 2)
    put(lake, NOON, 0, 2, 5)
    put(lake, NOON, 0, 5, 9)
    put(lake, NOON + timedelta(hours=1), 2, 0, 1)
    found, closed = chain.ends(lake, CLICKS, [0, 1, 2])
    assert found == {
        0: End(9, NOON),
        1: End(7, NOON - timedelta(days=40)),
        2: End(1, NOON + timedelta(hours=1)),
    }
    assert closed is None


def test_nobody_looks_behind_a_load_date_that_is_closed(lake: MemoryLake) -> None:
    put(lake, NOON - timedelta(days=9), 1, 0, 7)
    put(lake, NOON, 0, 2, 5)
    chain.close(lake, CLICKS, DAY - timedelta(days=1), {0: 2, 1: 7})
    lake.reads.clear()
    found, closed = chain.ends(lake, CLICKS, [0, 1, 2])
    assert found == {0: End(5, NOON), 1: End(7, NOON.replace(hour=0)), 2: End(None, NOON.replace(hour=0))}
    assert closed == Closed(DAY - timedelta(days=1), {0: 2, 1: 7})
    assert not [read for read in lake.reads if "2026-02-20" in read]


def test_what_was_written_first_of_a_closed_load_date_counts(lake: MemoryLake) -> None:
    chain.close(lake, CLICKS, DAY, {0: 2})
    chain.close(lake, CLICKS, DAY, {0: 3})
    assert chain.ends(lake, CLICKS, [0])[1] == Closed(DAY, {0: 2})


def test_a_closing_that_cannot_be_read_is_named(lake: MemoryLake) -> None:
    lake.objects["raw/clicks/load_date=2026-03-01/_closed.json"] = b"{}"
    with pytest.raises(FrameError, match=r"^raw/clicks/load_date=2026-03-01/_closed\.json does not say where"):
        chain.ends(lake, CLICKS, [0])


def test_other_objects_are_no_links(lake: MemoryLake) -> None:
    put(lake, NOON, 0, 0, 5)
    for key in ("_manifest.json.gz", "load_date=yesterday/hour=12/x", "load_date=2026-03-01/hour=23/notes.txt"):
        lake.objects[f"raw/clicks/{key}"] = b"x"
    assert chain.ends(lake, CLICKS, [0])[0] == {0: End(5, NOON)}
    assert chain.load_dates(lake, CLICKS) == [DAY]


def test_a_whole_chain_has_no_problem(lake: MemoryLake) -> None:
    put(lake, NOON - timedelta(hours=1), 0, 3, 5)
    put(lake, NOON, 0, 5, 9)
    put(lake, NOON, 0, 9, 12, lost="given up by alice")
    put(lake, NOON + timedelta(hours=13), 0, 12, 13)
    put(lake, NOON, 1, 0, 1)
    checked = lake.checked()
    assert (checked.links, checked.records, checked.lost, checked.problems) == (5, 8, 1, ())


def test_each_joint_that_does_not_fit_is_named(lake: MemoryLake) -> None:
    first = put(lake, NOON, 0, 0, 5)
    gap = put(lake, NOON, 0, 7, 9)
    twice = put(lake, NOON + timedelta(hours=1), 0, 8, 12)
    back = put(lake, NOON - timedelta(hours=1), 0, 12, 13)
    cut = put(lake, NOON, 1, 0, 5)
    lake.objects[cut] = lake.objects[cut][:-4]
    put(lake, NOON, 1, 5, 6)
    assert lake.checked().problems == (
        f"{cut} is cut off: it ends before its gzip does: restore the object that was landed there.",
        f"the chain of clicks, partition 0, lacks positions 5 to 6, between {first} and {gap}: restore the objects "
        "that were there.",
        f"the chain of clicks, partition 0, has positions 8 to 8 twice, in {gap} and {twice}: two landings wrote where "
        "the store let both, so look who else lands this stream, and delete the second.",
        f"the chain of clicks, partition 0, goes back in time from {twice} to {back}: only `kpi stream` may write "
        "there.",
    )


def test_a_link_that_a_listing_does_not_show_yet_fences_the_landing() -> None:
    bench = Bench()
    bench.broker.send_many(4)
    bench.land()
    bench.broker.send_many(4)
    bench.land()
    hidden = sorted(bench.lake.objects)[1]
    seen = bench.lake.entries

    def late(prefix: str) -> object:
        return (entry for entry in seen(prefix) if entry.key != hidden)

    bench.lake.entries = late  # type: ignore[assignment, method-assign]
    bench.broker.send_many(4)
    landing = bench.land(seconds=15)
    bench.lake.entries = seen  # type: ignore[method-assign]
    assert landing.counts.fenced == 1
    bench.assert_all_landed()
