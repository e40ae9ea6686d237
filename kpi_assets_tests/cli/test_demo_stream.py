"""`kpi demo realtime` plays minutes of a stream: a tile moves, a broken release is held, and it recovers."""

import re
import shutil
from collections.abc import Iterator
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.cli import demo_stream
from kpi_assets.embedded.stack import Stack, stop
from kpi_assets.ledger import kpi_values
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.cli.command import Kpi, Output

TILE = re.compile(
    r"tile Orders of the last hour (?P<orders>\d+), Revenue of the last hour (?P<euros>[\d,.]+) EUR; "
    r"built through (?P<through>\d\d:\d\d:\d\d) UTC, (?P<age>\d+) s ago"
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kpi]:
    folder = tmp_path_factory.mktemp("stream")
    yield Kpi(folder / "home", folder)
    stop(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def demo(alone: Kpi) -> Output:
    """The output of `kpi demo realtime` as the first command in a new home."""
    return alone.process("demo", "realtime")


def part(demo: Output, start: str) -> str:
    """The part of the output below the headline that begins so."""
    [found] = [each for each in f"\n{demo.out}".split("\n\n") if each.startswith(start)]
    return found


def tiles(demo: Output, start: str) -> list[tuple[str, str]]:
    """The orders and the revenue of each tile that was printed below a headline."""
    return [(found["orders"], found["euros"]) for found in TILE.finditer(part(demo, start))]


@pytest.mark.nightly
def test_events_flow_from_the_broker_to_a_tile_and_the_tile_moves(demo: Output) -> None:
    flows = part(demo, "1. ")
    assert "The broker took 3,003 events: order_events 127, inventory_events 710, clicks 2,166." in flows
    assert re.search(r"^Of \d+ objects, 3,003 events are published\.$", flows, re.M)
    assert tiles(demo, "1. ")[-1] == ("39", "4,279.29")
    assert "The broker took 1,497 events: order_events 101, inventory_events 337, clicks 1,059." in part(demo, "2. ")
    assert tiles(demo, "2. ")[-1] == ("61", "6,669.90")


@pytest.mark.nightly
def test_a_field_that_nobody_announced_is_an_incident_and_holds_nothing(demo: Output) -> None:
    appears = part(demo, "3. ")
    assert "raw.clicks: 41 events have it. They are published, and the column `unexpected` keeps the values." in appears
    assert "incident raw.clicks: events have the field 'campaign' (string), which the header does not name" in appears
    assert tiles(demo, "3. ")[-1] == ("75", "8,051.65")


@pytest.mark.nightly
def test_a_broken_release_is_held_and_readers_keep_what_they_had(demo: Output) -> None:
    held = part(demo, "4. ")
    assert "The broker took 901 events: order_events 44, inventory_events 208, clicks 649." in held
    assert (
        "\nheld raw.order_events, check quarantine: of 44 events 24 cannot be read, and 20 may be set aside\n" in held
    )
    assert "\n  The first has amount (masked): a decimal number has digits" in held
    assert re.search(r"^incident \d{4}-\d\d-\d\d is held since \d\d:\d\d:\d\d UTC$", held, re.M)
    assert tiles(demo, "4. ") == [("75", "8,051.65")]
    back = part(demo, "5. ")
    assert "The broker took 44 events: order_events 44." in back
    assert "The broker took 998 events: order_events 66, inventory_events 230, clicks 702." in back
    assert tiles(demo, "5. ") == [("75", "8,051.65")]


@pytest.mark.nightly
def test_it_recovers_and_each_order_counts_once(demo: Output) -> None:
    recovers = part(demo, "6. ")
    assert re.search(
        r"^published raw\.order_events, batch \d+: of 154 events 130 are published and 24 are set", recovers, re.M
    )
    assert tiles(demo, "6. ") == [("104", "11,432.12")]
    came = part(demo, "What came of all that")
    assert "Of 439 order events that were sent, 24 were set aside, 20 had come before, and 395 count: 439." in came
    assert "The shop placed 104 orders, 11,432.12 EUR of them in EUR." in came
    assert "The tile has   104 orders, 11,432.12 EUR of them in EUR, more than before." in came


@pytest.mark.nightly
def test_people_are_told_of_the_field_of_the_hold_and_of_the_recovery(demo: Output) -> None:
    told = [line.partition(", load_date ")[2] for line in demo.err.splitlines() if line.startswith("alert: ")]
    assert len(told) == 3
    assert "raw.clicks.campaign is a field that the header does not name" in told[0]
    assert "is held by its gates; readers keep what was published before: raw.order_events: quarantine (24 " in told[1]
    assert "has recovered: it is published" in told[2]


@pytest.mark.nightly
def test_the_load_date_goes_on_growing_after_the_demo(alone: Kpi, demo: Output) -> None:
    day = date.fromisoformat(demo.line("has recovered").partition("load_date ")[2][:10])
    planned = alone("plan", "realtime", "--from", day, "--to", day).line("Live runs build it")
    assert planned.split()[:2] == [str(day), "growing"]
    shown = alone("measures", "realtime", "marts.kpi_revenue_by_minute", "--format", "csv").out.splitlines()
    assert f"marts.kpi_revenue_by_minute,orders_last_hour,{day},104,current" in "\n".join(shown)


def test_a_tile_is_not_of_one_publish_and_as_old_as_the_next(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []

    def state(reader: Connection[Any]) -> None:
        states.append(reader.execute("select pg_current_snapshot()::text").fetchone())
        other.execute("select pg_current_xact_id()")  # a publish would come between two reads

    def shown(reader: Connection[Any], *_: object) -> list[kpi_values.Shown]:
        state(reader)
        return []

    monkeypatch.setattr(kpi_values, "shown", shown)
    monkeypatch.setattr(demo_stream, "through", lambda reader, *_: state(reader))
    work: Any = SimpleNamespace(pipeline=SimpleNamespace(tables={demo_stream.TILE: None}))
    beside: Any = None
    server = settings().postgres_url
    assert server
    with connect(server, "postgres", "demo", read_only=True) as reader, connect(server, "postgres", "test") as other:
        demo_stream.Shop(work, reader, date(2026, 3, 1), beside).tile()
    assert len(states) == 2
    assert states[0] == states[1]


def test_the_demo_of_a_stream_has_no_number_of_orders(alone: Kpi) -> None:
    sentence = "The demo of realtime has as many orders as its visitors place: leave --orders out."
    alone.fails(sentence, "demo", "realtime", "--orders", 1000, code=2)
