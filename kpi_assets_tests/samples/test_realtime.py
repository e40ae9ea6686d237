"""The stream of the sample shop: what happens in it, what goes wrong on its way, and the objects that it becomes."""

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.errors import UsageError, UserError
from kpi_assets.samples import GENERATORS
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.faults import FAULTS, Message
from kpi_assets.samples.realtime.generator import Realtime, messages
from kpi_assets.samples.realtime.world import CLICKS, INVENTORY, ORDERS, STREAMS, World
from kpi_assets.stream.frame import decode, link_of

OPENING = datetime(2026, 3, 1, tzinfo=timezone.utc)
Said = dict[str, Any]


def sent(
    days: float = 1, rate: float = 0.05, faults: Sequence[str] = (), pace: float = 1, seed: int = 1
) -> list[Message]:
    return [*bronze.until(messages(OPENING, rate, seed=seed, faults=faults, pace=pace), OPENING + timedelta(days=days))]


def said(found: Sequence[Message], stream: str | None = None) -> list[Said]:
    return [json.loads(each.value) for each in found if stream in {None, each.stream}]


def test_as_many_events_come_as_are_asked_for_in_the_sequence_of_their_times() -> None:
    found = [*islice(World(OPENING, 833).events(), 50_000)]
    assert [each.at for each in found] == sorted(each.at for each in found)
    assert 59 < (found[-1].at - found[0].at) / 1000 < 61
    assert len({each.said["event_id"] for each in found}) == 50_000
    of_second = Counter(each.at // 1000 for each in found)
    assert {*of_second.values()} <= {832, 833, 834} | {of_second[found[-1].at // 1000]}


def test_ids_are_uuids_of_version_7_and_rise_with_the_time() -> None:
    found = [*islice(World(OPENING, 100).events(), 5000)]
    for each in found:
        bits = int(each.said["event_id"].replace("-", ""), 16)
        assert (bits >> 80, bits >> 76 & 15, bits >> 62 & 3) == (each.at, 7, 2)
    assert found[0].said["occurred_at"] == datetime.fromtimestamp(found[0].at / 1000, timezone.utc).isoformat(
        timespec="milliseconds"
    ).replace("+00:00", "Z")


def test_an_order_goes_from_its_placing_to_its_end() -> None:
    of_order: dict[str, list[Said]] = defaultdict(list)
    for each in said(sent(days=12, rate=0.03), ORDERS):
        of_order[each["order_id"]].append(each)
    steps = Counter("-".join(each["event_type"] for each in events) for events in of_order.values())
    whole = {"placed-paid-shipped-delivered", "placed-paid-shipped-delivered-refunded", "placed-cancelled"}
    whole |= {"placed-paid-cancelled-refunded"}
    assert whole <= {*steps}
    begun = {"placed", "placed-paid", "placed-paid-shipped", "placed-paid-cancelled"}
    assert {*steps} <= whole | begun
    assert steps["placed-paid-shipped-delivered"] > 0.5 * len(of_order)
    late = 0
    for events in of_order.values():
        assert len({(each["customer_id"], each["channel"], each["currency"]) for each in events}) == 1
        placed = events[0]
        assert 0 < placed["amount"] == round(placed["amount"], 2)
        assert 2 <= (_time(placed["promised_by"]) - _time(placed["occurred_at"])) / timedelta(days=1) <= 4
        refunds = [each["amount"] for each in events if each["event_type"] == "refunded"]
        assert all(0 < amount <= placed["amount"] for amount in refunds)
        late += any(e["event_type"] == "delivered" and e["occurred_at"] > placed["promised_by"] for e in events)
    assert 0.02 < late / len(of_order) < 0.12


def test_a_pace_lets_a_day_of_an_order_take_a_minute() -> None:
    kinds = Counter(each["event_type"] for each in said(sent(days=10 / 1440, rate=50, pace=1440), ORDERS))
    assert kinds["delivered"] > 0.4 * kinds["placed"] > 50
    assert kinds["refunded"] > 0


@pytest.mark.nightly
def test_stock_is_counted_sold_and_received_so_that_the_last_count_explains_it() -> None:
    on_hand: dict[tuple[str, str], int] = {}
    kinds: Counter[str] = Counter()
    counted_wrong = 0
    for each in said(sent(days=7, rate=0.2), INVENTORY):
        place, kind, quantity = (each["sku"], each["warehouse_id"]), each["event_type"], each["quantity"]
        kinds[kind] += 1
        if kind == "counted":
            counted_wrong += place in on_hand and max(0, on_hand[place]) != quantity
            on_hand[place] = quantity
        elif place in on_hand:
            on_hand[place] += -quantity if kind == "sold" else quantity
    assert {*kinds} == {"counted", "sold", "received", "adjusted"}
    assert counted_wrong < 0.05 * kinds["counted"]  # what is ordered again counts before it arrives
    assert len(on_hand) == 117  # of 120 places, three are never counted


def test_visitors_are_nobody_or_log_in_and_a_session_has_one_key() -> None:
    of_session: dict[str, list[Said]] = defaultdict(list)
    found = sent(days=0.2, rate=1)
    for message in found:
        if message.stream == CLICKS:
            each = json.loads(message.value)
            assert message.key.decode() == each["session_id"]
            of_session[each["session_id"]].append(each)
    users = Counter(len({each["user_id"] for each in events}) for events in of_session.values())
    assert {*users} == {1, 2}
    nobody = sum(all(each["user_id"] is None for each in events) for events in of_session.values())
    assert 0.3 < nobody / len(of_session) < 0.45
    with_cart = sum(any(each["event_type"] == "add_to_cart" for each in events) for events in of_session.values())
    assert 0.2 < with_cart / len(of_session) < 0.4


def test_the_same_arguments_give_the_same_messages_and_others_give_others() -> None:
    faults = ("repeats", "late", "poison", "drift")
    first = sent(rate=0.1, faults=faults)
    assert sent(rate=0.1, faults=faults) == first
    assert sent(rate=0.1, faults=faults, seed=2) != first
    assert sent(rate=0.1) != first


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def good(found: Sequence[Message]) -> Iterator[tuple[Message, Said]]:
    for each in found:
        try:
            value = json.loads(each.value)
        except ValueError:
            continue
        if isinstance(value, dict) and "occurred_at" in value:
            yield each, value


@pytest.mark.nightly
def test_faults_of_a_share_hit_so_many_events() -> None:
    plain = sent(days=0.4, rate=0.5)
    events = len(plain)

    repeated = sent(days=0.4, rate=0.5, faults=["repeats=0.02"])
    again = [each for each, count in Counter((e.stream, e.key, e.value) for e in repeated).items() if count > 1]
    assert 0.015 < len(again) / events < 0.025
    assert [each.at for each in repeated] == sorted(each.at for each in repeated)
    assert {(e.stream, e.key, e.value) for e in repeated} == {(e.stream, e.key, e.value) for e in plain}

    poisoned = sent(days=0.4, rate=0.5, faults=["poison=0.01"])
    assert 0.007 < (len(poisoned) - len([*good(poisoned)])) / events < 0.013
    of_plain = {*plain}
    assert [each for each in poisoned if each in of_plain] == plain

    late = [(e.at / 1000 - _time(v["occurred_at"]).timestamp()) for e, v in good(sent(0.4, 0.5, faults=["late=0.02"]))]
    assert 0.007 < sum(each > 300 for each in late) / events < 0.023  # some come after the end
    assert 6 * 3600 < max(late) < 3 * 86_400

    drifted = [v for _, v in good(sent(0.4, 0.5, faults=["drift"])) if "campaign" in v]
    assert 0.007 < len(drifted) / events < 0.013
    early = [_time(v["occurred_at"]).timestamp() - e.at / 1000 for e, v in good(sent(0.4, 0.5, faults=["early=0.05"]))]
    assert 0.04 < sum(each > 300 for each in early) / events < 0.06


@pytest.mark.parametrize(
    ("fault", "is_hit"),
    [
        ("new-type", lambda v: v["event_type"] == "wishlist"),
        ("wrong-type", lambda v: v.get("product_id") == "none"),
        ("missing-key", lambda v: "product_id" in v and "session_id" not in v),
    ],
)
def test_faults_of_a_click(fault: str, is_hit: Any) -> None:
    found = [v for _, v in good(sent(days=0.2, rate=1, faults=[f"{fault}=0.01"]))]
    assert 0.006 < sum(map(is_hit, found)) / len(found) < 0.014


def test_a_broken_release_writes_amounts_as_texts() -> None:
    amounts = [v["amount"] for v in said(sent(faults=["broken-release"]), ORDERS) if "amount" in v]
    assert amounts
    assert all(isinstance(each, str) and each[-4:] in {" EUR", " GBP", " USD"} and "," in each for each in amounts)


def test_bursts_clock_jumps_and_cancellations() -> None:
    by_minute = Counter((e.at - int(OPENING.timestamp() * 1000)) // 60_000 for e in sent(10 / 1440, 20, ["bursts"]))
    assert [round(by_minute[minute] / 1200) for minute in range(10)] == [1] * 8 + [10] * 2

    ahead = [
        (e.at - int(OPENING.timestamp() * 1000)) // 60_000
        for e, v in good(sent(12 / 1440, 20, ["clock-jumps"]))
        if _time(v["occurred_at"]).timestamp() > e.at / 1000 + 3000
    ]
    assert {*ahead} == {0, 10}

    kinds = Counter(v["event_type"] for v in said(sent(days=2, rate=0.1, faults=["cancellations"]), ORDERS))
    assert 0.3 < kinds["cancelled"] / kinds["placed"] < 0.5


@pytest.mark.parametrize("name", ["repeats=2", "repeats=0", "repeats=x", "bursts=0.1", "repeats=", "late=0.0"])
def test_a_share_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"The fault '{name}' cannot be planted: give a share above 0 and up to 1"):
        sent(faults=[name])


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(UsageError, match="Realtime has no fault 'nothing': choose from repeats, poison, late"):
        sent(faults=["nothing"])
    assert [*FAULTS] == [*Realtime.faults]


def test_objects_are_links_that_say_where_the_next_one_begins() -> None:
    found = sent(days=1, rate=0.1, faults=["poison", "repeats"])
    prefixes = {stream: f"raw/{stream}/load_date={{load_date}}/" for stream in STREAMS}
    objects = [*bronze.packed(bronze.objects(bronze.events(found)), prefixes, dict.fromkeys(STREAMS, "c1"))]
    chains: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    texts = []
    for key, body in objects:
        frame, lines = decode(body, key)
        link = link_of(key)
        assert link is not None
        assert key.startswith(f"raw/{frame.stream}/load_date=2026-03-0")
        for line in lines:
            assert (line.time.date(), line.time.hour) == (link.load_date, link.hour)
            texts.append(line.text)
        chains[frame.stream, frame.partition].append((frame.start, frame.next))
        assert frame.records == frame.next - frame.start
    assert len(texts) == len(found)
    assert {stream for stream, _ in chains} == {*STREAMS}
    assert {partition for _, partition in chains} == {0, 1, 2}
    for links in chains.values():
        assert links[0][0] == 0
        assert all(one[1] == other[0] for one, other in pairwise(links))


def test_a_key_has_one_partition_and_positions_go_on() -> None:
    positions: dict[tuple[str, int], int] = {}
    found = [*bronze.events(sent(), positions=positions)]
    partitions = defaultdict(set)
    for stream, event in found:
        partitions[stream, event.key].add(event.partition)
    assert {len(each) for each in partitions.values()} == {1}
    assert sum(positions.values()) == len(found)
    more = next(bronze.events(sent(), positions=positions))[1]
    assert more.position > 0


def test_files_are_written_in_place_of_those_of_an_earlier_run(tmp_path: Path) -> None:
    generator = GENERATORS["realtime"].sized(events=2000, days=2)
    written = generator.write(tmp_path, load_date=date(2026, 3, 1), orders=1, seed=1, faults=["poison"])
    assert sum(written.values()) == pytest.approx(4000, abs=20)
    first = {path: (tmp_path / path).read_bytes() for path in written}
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {*first}
    assert all(gzip.decompress(body).count(b"\n") == written[path] + 1 for path, body in first.items())
    other = generator.sized(events=500, days=2).write(tmp_path, load_date=date(2026, 3, 1), orders=1, seed=2)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == {*other}


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"events": 0}, "A day of 0 events cannot be made"),
        ({"events": 10, "days": 367}, "367 days cannot be made at once"),
        ({"events": 10, "seed": -1}, "The seed -1 is negative"),
        ({"events": 10, "load_date": date.max, "days": 3}, "There are no 3 days from 9999-12-31 on"),
    ],
)
def test_numbers_out_of_their_limits_are_refused(tmp_path: Path, more: Any, problem: str) -> None:
    generator = Realtime().sized(events=more.pop("events"), days=more.pop("days", None))
    arguments = {"load_date": date(2026, 3, 1), "orders": 1, "seed": 1, **more}
    with pytest.raises(UserError, match=problem):
        generator.write(tmp_path, **arguments)
