"""The shop in a hurry: its events, and when they happen."""

from datetime import datetime, timedelta, timezone
from itertools import takewhile

from kpi_assets.samples.realtime.hurry import HurriedShop
from kpi_assets.samples.realtime.world import ORDERS, Happening, World, time_text

OPENING = datetime(2026, 3, 1, tzinfo=timezone.utc)
NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
AT = int(NOW.timestamp() * 1000)


def shop() -> HurriedShop:
    return HurriedShop(OPENING, 5, seed=1, pace=1440)


def in_life(seconds: int) -> list[Happening]:
    end = int((OPENING + timedelta(seconds=seconds)).timestamp() * 1000)
    return list(takewhile(lambda event: event.at < end, World(OPENING, 5, seed=1, pace=1440).events()))


def without_times(event: Happening) -> dict[str, object]:
    return {name: said for name, said in event.said.items() if name not in {"occurred_at", "promised_by"}}


def test_minutes_happen_within_seconds_and_events_are_those_of_the_shop() -> None:
    played, wanted = list(shop().play(600, within=4, now=NOW)), in_life(600)
    assert [without_times(event) for event in played] == [without_times(event) for event in wanted]
    start = int(OPENING.timestamp() * 1000)
    assert [event.at for event in played] == [AT + int((event.at - start) * 4 / 600) for event in wanted]
    assert all(event.said["occurred_at"] == time_text(event.at) for event in played)
    assert all(AT <= event.at < AT + 4000 for event in played)


def test_a_promise_is_as_much_nearer_as_everything_else() -> None:
    played, wanted = list(shop().play(600, within=4, now=NOW)), in_life(600)
    start = int(OPENING.timestamp() * 1000)
    promised = 0
    for event, before in zip(played, wanted, strict=True):
        if "promised_by" in before.said:
            promised += 1
            in_time = datetime.fromisoformat(before.said["promised_by"].replace("Z", "+00:00")).timestamp() * 1000
            assert event.said["promised_by"] == time_text(AT + int((round(in_time) - start) * 4 / 600))
    assert promised == sum(event.said["event_type"] == "placed" for event in played if event.stream == ORDERS) > 10


def test_stretches_follow_each_other_without_a_gap_and_each_begins_when_it_is_played() -> None:
    together, later = shop(), NOW + timedelta(hours=1)
    first = list(together.play(200, within=2, now=NOW))
    second = list(together.play(400, within=2, now=later))
    assert [without_times(event) for event in [*first, *second]] == [without_times(event) for event in in_life(600)]
    assert second[0].at >= int(later.timestamp() * 1000)
