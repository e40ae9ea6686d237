"""The demo of `realtime`: events flow, a tile moves, a field appears, a broken release is held, and it recovers.

What is printed was read from the database, or counted by the broker. Only the shop knows how many orders it placed: the
tile must say the same in the end.

Belongs here: the story. Not here: the shop (samples/realtime), and what lands and builds its events (beside.py).
"""

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from psycopg import Connection

from kpi_assets.cli.alerts import deliver_due
from kpi_assets.cli.beside import Beside, landing, open_live, wait_for
from kpi_assets.cli.show import RowFormat, show_table
from kpi_assets.cli.terminal import headline, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace
from kpi_assets.errors import UserError
from kpi_assets.ledger import batches, incidents, kpi_values, results, streams
from kpi_assets.ledger.holds import last_build
from kpi_assets.model.names import Relation
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_sound
from kpi_assets.monitoring.through import through
from kpi_assets.samples.realtime.faults import Message, planted
from kpi_assets.samples.realtime.hurry import HurriedShop
from kpi_assets.samples.realtime.sending import Sent, send
from kpi_assets.samples.realtime.world import CLICKS, ORDERS, STREAMS, Happening
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot

PIPELINE = "realtime"
SEED, RATE, PACE = 1, 5, 1440  # events in a second of the shop's time
TILE = Relation("marts", "kpi_revenue_by_minute")
MEASURES = ("orders_last_hour", "eur_last_hour")
RAW_CLICKS, RAW_ORDERS = Relation("raw", CLICKS), Relation("raw", ORDERS)
ORDERS_FILE, ALLOWED = "raw/order_events.sql", "{share: 0.5}"
FIELD = "campaign"
PATIENCE = 120.0  # seconds for what takes some
BEFORE_MIDNIGHT = timedelta(minutes=5)


@dataclass(frozen=True)
class Stretch:
    """So many seconds of the shop's time, and in how many seconds they happen."""

    seconds: float
    within: float
    faults: Sequence[str] = ()


OPENED = Stretch(600, 4)
MOVES = Stretch(300, 8)
DRIFTS = Stretch(200, 3, ["drift=0.05"])
BROKEN = Stretch(180, 2, ["broken-release"])
AFTERWARDS = Stretch(200, 4)


@dataclass(frozen=True)
class Tile:
    """What readers see of a KPI: its measures, and through which instant it is built."""

    values: dict[str, Decimal]
    through: datetime | None

    @property
    def age(self) -> float:
        """How many seconds ago that instant was."""
        return (datetime.now(timezone.utc) - self.through).total_seconds() if self.through else 0.0


@dataclass
class Placed:
    """The orders that the shop has placed, as it knows them itself."""

    orders: int = 0
    euros: Decimal = Decimal(0)

    def note(self, event: Happening) -> None:
        """Count an event, if it is an order that was placed."""
        if event.said["event_type"] == "placed":
            self.orders += 1
            if event.said["currency"] == "EUR":
                self.euros += Decimal(str(event.said["amount"]))


@dataclass
class Shop:
    """The shop, the pipeline that follows it, and one load_date: `lands` and `builds` go on meanwhile."""

    work: Workspace
    session: Connection[Any]
    load_date: date
    lands: Beside
    builds: Beside | None = None
    placed: Placed = field(default_factory=Placed)
    taken: Counter[str] = field(default_factory=Counter)  # by stream, as often as the broker took it
    _seen: dict[str, Decimal] = field(default_factory=dict)  # the values of the tile that were printed last

    def __post_init__(self) -> None:
        self._shop = HurriedShop(datetime.now(timezone.utc), RATE, seed=SEED, pace=PACE)

    def happen(self, stretch: Stretch) -> Iterator[Happening]:
        """Yield what happens in a stretch of time from now on, and count the orders."""
        for event in self._shop.play(stretch.seconds, within=stretch.within, now=datetime.now(timezone.utc)):
            self.placed.note(event)
            yield event

    def send(self, events: Iterable[Happening], faults: Sequence[str] = (), *, is_watched: bool = False) -> datetime:
        """Send events, print how many the broker took, and return when the last of them was acknowledged.

        If the tile `is_watched`, it is printed meanwhile whenever it has another value.
        """
        is_whole = False

        def messages() -> Iterator[Message]:
            nonlocal is_whole
            yield from planted(faults).messages(iter(events), SEED)
            is_whole = True

        def progress(_seconds: float, _sent: Sent) -> None:
            for each in self.others:
                each.check()
            if is_watched:
                self.watch()

        forever = float("inf")
        sent = send(self.work.settings, messages(), seconds=forever, patience=PATIENCE, progress=progress)
        if sent.refused:
            raise UserError(f"The broker did not take {sent.refused:,} events ({sent.reason}): see `kpi doctor`.")
        if not is_whole:
            raise KeyboardInterrupt  # it ended the sending, and is to end the rest too
        self.taken += sent.taken
        at = datetime.now(timezone.utc)
        counts = ", ".join(f"{name} {sent.taken[name]:,}" for name in STREAMS if sent.taken[name])
        say(f"The broker took {sent.taken.total():,} events: {counts}.")
        return at

    def ask(self, question: Callable[[Connection[Any]], Any]) -> Any:
        """Return the answer of a question to the database."""
        return question(self.session)

    def tile(self) -> Tile:
        """Return the tile as readers see it at one instant: values of one publish, and not the age of the next."""
        table = self.work.pipeline.tables[TILE]

        def question(connection: Connection[Any]) -> Tile:
            with one_snapshot(connection, LEDGER_ALONE):
                shown = kpi_values.shown(connection, TILE, [self.load_date])
                values = {each.measure: each.value or Decimal(0) for each in shown if each.measure}
                return Tile(values, through(connection, self.work.pipeline, table, self.load_date))

        found: Tile = self.ask(question)
        return found

    def say_tile(self, tile: Tile) -> None:
        """Print the tile."""
        kpi = self.work.pipeline.tables[TILE].header.kpi
        assert kpi
        shown = []
        for name in MEASURES:
            measure = kpi.measures[name]
            value = write(tile.values.get(name, Decimal(0)), measure.format)
            shown.append(f"{measure.title.removesuffix(', EUR')} {value}")
        built = f"built through {tile.through:%H:%M:%S} UTC, {tile.age:.0f} s ago" if tile.through else "not built yet"
        say(styled("tile", "bold"), f" {', '.join(shown)}; {built}")

    def watch(self) -> Tile:
        """Return the tile, and print it if it has another value than the last time."""
        tile = self.tile()
        if tile.through and tile.values != self._seen:
            self._seen = tile.values
            self.say_tile(tile)
        return tile

    def await_built(self, at: datetime, patience: float = PATIENCE) -> Tile:
        """Wait until the tile has all events that the broker took before an instant, and print each value of it."""
        tile: Tile | None = None

        def is_built() -> bool:
            nonlocal tile
            tile = self.watch()
            return tile.through is not None and tile.through >= at

        wait_for(is_built, patience, "The tile did not get the events", *self.others)
        assert tile
        return tile

    def await_landed(self, at: datetime) -> None:
        """Wait until all events that the broker took before an instant are objects."""

        def is_landed() -> bool:
            found = self.ask(lambda connection: [streams.through(connection, name) for name in STREAMS])
            return all(each and each >= at for each in found)

        wait_for(is_landed, PATIENCE, "The events were not landed", self.lands)

    def totals(self, relation: Relation) -> batches.Batch | None:
        """Return the last batch of a table, which has the totals of the load_date."""
        found: batches.Batch | None = self.ask(lambda connection: batches.last(connection, relation, self.load_date))
        return found

    def is_held(self) -> bool:
        """Whether the latest batch of the orders is held."""
        last = self.ask(lambda connection: last_build(connection, RAW_ORDERS, self.load_date))
        return last is not None and last.status == "held"

    @contextmanager
    def built_by(self, builds: Beside) -> Iterator[None]:
        """Let a live run build what comes."""
        with builds.going_on() as self.builds:
            yield
        self.builds = None

    @property
    def others(self) -> list[Beside]:
        """What goes on beside the story."""
        return [self.lands, *([self.builds] if self.builds else [])]


@dataclass(frozen=True)
class Counts:
    """What is published of the order events of a load_date."""

    rows: int = 0
    set_aside: int = 0
    repeats: int = 0

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(self.rows - other.rows, self.set_aside - other.set_aside, self.repeats - other.repeats)


def play() -> None:
    """Play the story. Raises UserError if it does not end as it should."""
    with open_workspace(PIPELINE) as work:
        work.ready()
        load_date = _await_a_day()
        with (
            connect(work.server, PIPELINE, "demo", read_only=True) as session,
            open_live(work) as live,
            landing(work).going_on() as lands,
        ):
            shop = Shop(work, session, load_date, lands)
            before, found = _orders(shop), shop.tile()
            with shop.built_by(live(work.pipeline, load_date)):
                _flow(shop)
                _drift(shop)
            _say_drifted(shop)
            broken = _break(shop)
            with shop.built_by(live(work.pipeline, load_date)):
                at = _take_back(shop, broken, _hold(shop))
            with shop.built_by(live(_patient(work.pipeline), load_date)):
                tile = _recover(shop, at)
            _end(shop, _orders(shop) - before, found, tile)
        deliver_due(work)
    out.print()
    say(
        *("Go on with ", styled("make up", "bold"), ": the tiles are at "),
        *(styled(f"http://127.0.0.1:{settings().serve_port}", "bold"), "; "),
        *(styled(f"kpi enable {PIPELINE}", "bold"), " keeps them built, and "),
        *(styled(f"kpi sample {PIPELINE} --rate 100", "bold"), " sends events."),
    )


def _await_a_day() -> date:
    """Return today in UTC, once it is not about to end: the story is one of a single load_date."""
    now = datetime.now(timezone.utc)
    left = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), timezone.utc) - now
    if left < BEFORE_MIDNIGHT:
        say(f"In UTC this day ends in {left.total_seconds():.0f} seconds: the demo waits for the next one.")
        time.sleep(left.total_seconds() + 1)
    return datetime.now(timezone.utc).date()


def _flow(shop: Shop) -> None:
    headline("1. A shop sends orders, stock and clicks to a stream: minutes of its time happen within seconds")
    shop.await_built(shop.send(shop.happen(OPENED)))
    _say_objects(shop)
    headline("2. It goes on: the tile moves")
    shop.await_built(shop.send(shop.happen(MOVES), is_watched=True))


def _drift(shop: Shop) -> None:
    headline(f"3. A field appears: some clicks say which {FIELD} brought the visitor, and nobody has announced it")
    shop.await_built(shop.send(shop.happen(DRIFTS), DRIFTS.faults))
    events = shop.ask(_events_with_field)
    say(f"{RAW_CLICKS}: {events:,} events have it. They are published, and the column `unexpected` keeps the values.")


def _break(shop: Shop) -> list[Happening]:
    """Send what a broken release of the shop sends, and return the events of its orders as they should have been."""
    headline("4. A release of the shop writes amounts as text, such as 12,50 EUR")
    events = list(shop.happen(BROKEN))
    at = shop.send(events, BROKEN.faults)
    shop.await_landed(at)
    return [event for event in events if event.stream == ORDERS]


def _hold(shop: Shop) -> Tile:
    """Wait until the batch of the broken release is held, print why, and return the tile that readers keep."""
    before = shop.tile()
    wait_for(shop.is_held, PATIENCE, "The batch of the broken release was not held", *shop.others)
    for row in shop.ask(lambda connection: results.latest(connection, shop.load_date)):
        if row["table_name"] == str(RAW_ORDERS) and row["status"] == "fail":
            found = f"of {row['rows_examined']:,} events {row['rows_bad']:,} cannot be read"
            allowed = f"{row['threshold']:,.0f} may be set aside"
            say(styled("held", "bold red"), f" {RAW_ORDERS}, check {row['check_name']}: {found}, and {allowed}")
            first = row["samples"][0]
            say(f"  The first has {first['column']} {first['value']}: {first['reason']}")
    for row in shop.ask(incidents.open_incidents):
        if (row["kind"], row["load_date"]) == ("held", shop.load_date):
            say(styled("incident", "bold red"), f" {shop.load_date} is held since {row['opened_at']:%H:%M:%S} UTC")
    say("Readers keep what they had:")
    _say_unmoved(shop, before)
    return before


def _say_unmoved(shop: Shop, before: Tile) -> None:
    """Print the tile. Raises UserError if it has moved, or if the batch is held no more."""
    tile = shop.tile()
    shop.say_tile(tile)
    if tile.values != before.values or not shop.is_held():
        raise UserError("The demo did not go on as it should: the tile has moved although its orders are held.")


def _take_back(shop: Shop, broken: Sequence[Happening], before: Tile) -> datetime:
    """Send the events of the broken release as they should have been, and what happens afterwards."""
    headline(f"5. The release is taken back: its {len(broken)} events come again as they should have been, and others")
    shop.send(broken)
    at = shop.send(shop.happen(AFTERWARDS))
    shop.await_landed(at)
    say("They have landed behind the held batch, so the tile has not moved:")
    _say_unmoved(shop, before)
    return at


def _recover(shop: Shop, at: datetime) -> Tile:
    """Wait until the batch is published with what came since."""
    headline(f"6. A person has looked at it, and lets it through: {ORDERS_FILE} says quarantine: {ALLOWED} for once")
    tile = shop.await_built(at)
    batch = shop.totals(RAW_ORDERS)
    assert batch
    say(
        *(styled("published", "green"), f" {RAW_ORDERS}, batch {batch.batch}: of {batch.records:,} events "),
        f"{batch.rows:,} are published and {batch.quarantined:,} are set aside",
    )
    return tile


def _patient(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline as its files would be if the table of the orders might set aside as much as ALLOWED.

    Raises UserError if the file does not say how much it may.
    """
    with TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(settings().sql_dir / pipeline.name, Path(folder) / pipeline.name))
        path = copied / ORDERS_FILE
        text, found = re.subn(r"^quarantine: .*$", f"quarantine: {ALLOWED}", path.read_text(), count=1, flags=re.M)
        if not found:
            raise UserError(f"{pipeline.name}/{ORDERS_FILE} has no line quarantine: the demo cannot change it.")
        path.write_text(text)
        return load_sound(Path(folder), settings().min_rows, pipeline.name)[0][pipeline.name]


def _end(shop: Shop, counts: Counts, before: Tile, tile: Tile) -> None:
    """Print what came of all order events. Raises UserError if the tile does not say what the shop knows."""
    headline("What came of all that")
    sent = shop.taken[ORDERS]
    say(
        f"Of {sent:,} order events that were sent, {counts.set_aside:,} were set aside, {counts.repeats:,} had come "
        f"before, and {counts.rows:,} count: {counts.set_aside + counts.repeats + counts.rows:,}."
    )
    moved = {name: tile.values[name] - before.values.get(name, Decimal(0)) for name in MEASURES}
    orders, euros = moved["orders_last_hour"], moved["eur_last_hour"]
    say(f"The shop placed {shop.placed.orders:,} orders, {shop.placed.euros:,.2f} EUR of them in EUR.")
    say(f"The tile has   {orders:,} orders, {euros:,.2f} EUR of them in EUR, more than before.")
    show_table(shop.work, str(TILE), shop.load_date, RowFormat.table, 9)
    is_whole = counts.rows + counts.set_aside + counts.repeats == sent
    if not is_whole or orders != shop.placed.orders or euros != shop.placed.euros:
        raise UserError("The demo did not end as it should: the tile does not say what the shop knows.")


def _orders(shop: Shop) -> Counts:
    """Return what is published of the order events of the load_date, and what was left out of them."""
    raw, stg = shop.totals(RAW_ORDERS), shop.totals(Relation("stg", ORDERS))
    return Counts(stg.total_rows, raw.total_quarantined if raw else 0, stg.total_repeats) if stg else Counts()


def _say_objects(shop: Shop) -> None:
    """Print how many objects were landed and built, and of how many events."""
    found = [shop.totals(table.relation) for table in shop.work.pipeline.stream_tables]
    objects = shop.ask(
        lambda connection: sum(batches.objects_between(connection, shop.load_date, shop.load_date).values())
    )
    say(f"Of {objects} objects, {sum(each.total_rows for each in found if each):,} events are published.")


def _events_with_field(connection: Connection[Any]) -> int:
    row = connection.execute(
        "select coalesce(sum(d.events), 0) from ops.drift as d where d.asset = %s and d.field = %s "
        "and exists (select 1 from ops.batches as b where (b.asset, b.load_date, b.base_build_id) "
        "= (d.asset, d.load_date, d.base_build_id) and b.superseded_at is null)",
        [str(RAW_CLICKS), FIELD],
    ).fetchone()
    return int(row[0]) if row else 0


def _say_drifted(shop: Shop) -> None:
    """Print the incidents of fields that no header names."""
    for row in shop.ask(incidents.open_incidents):
        if row["kind"] == "drifted":
            say(styled("incident", "yellow"), f" {'; '.join(row['details'])}")
