"""Objects that an API gives: a run asks for what lacks, lands it once, and reads it as any other object."""

import os
import signal
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from kpi_assets.assets.metadata import object_metadata
from kpi_assets.errors import UsageError
from kpi_assets.ledger import api_turns
from kpi_assets.materialize.context import FETCHING, shown_progress
from kpi_assets.materialize.verify_object import verify
from kpi_assets.settings import settings
from kpi_assets.sources.api.clock import Clock
from kpi_assets_tests.sales_api import APIS, SECRET, SalesPipeline

PUBLISHED = dict.fromkeys(("raw.north_sales", "raw.south_sales", "marts.all_sales"), "published")
BOTH = ["north", "south"]


def test_a_run_asks_lands_and_publishes_and_a_replay_asks_nothing(sales: SalesPipeline) -> None:
    day = sales.day
    assert sales.landed(day) == []
    assert sales.run(day) == PUBLISHED
    assert sales.api.of("north") == [(str(day), "1"), (str(day), "2")], "three sales are two pages"
    pages = [
        b'{"data": [{"sale_id": 1, "amount": "0.50"}, {"sale_id": 2, "amount": "1.50"}], "total": 3}',
        b'{"data": [{"sale_id": 3, "amount": "2.50"}], "total": 3}',
    ]
    assert sales.body("north", day) == b"".join(pages), "the answers as they came, one after another"
    assert sales.rows(
        f"select shop, count(*) from marts.all_sales where load_date = '{day}' group by 1 order by 1"
    ) == [
        ("north", 3),
        ("south", 3),
    ]
    sales.api.asked.clear()
    sales.api.sales = 9
    assert sales.run(day) == PUBLISHED
    assert sales.api.asked == []
    assert sales.rows(f"select count(*) from marts.all_sales where load_date = '{day}'") == [(6,)]


def test_one_shop_down_holds_back_what_reads_it_and_the_next_run_asks_only_it(sales: SalesPipeline) -> None:
    day = sales.day
    sales.api.down = {"south"}
    found = sales.run(day)
    assert found == {**PUBLISHED, "raw.south_sales": found["raw.south_sales"], "marts.all_sales": "not built"}
    assert "south" in found["raw.south_sales"]
    assert sales.landed(day) == ["north"]
    [(status, error)] = sales.rows(
        f"select status, error_message from ops.pipeline_runs where job = 's3.south_sales' and load_date = '{day}'"
    )
    assert (status, error) == ("failed", found["raw.south_sales"])
    assert SECRET not in str(sales.rows("select * from ops.pipeline_runs"))
    sales.api.down = set()
    sales.api.asked.clear()
    assert sales.run(day) == PUBLISHED
    assert sales.api.of("north") == []
    assert sales.landed(day) == BOTH


def test_two_processes_that_want_one_object_ask_for_it_once(sales: SalesPipeline) -> None:
    sales.api.on_ask = lambda _shop: time.sleep(0.2)
    context = sales.prepared()
    table = context.pipeline.table("raw.north_sales")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: verify(context, table, sales.day), range(2)))
    assert [outcome.held for outcome in found] == [False, False]
    assert sales.api.of("north") == [(str(sales.day), "1"), (str(sales.day), "2")]
    manifests = {outcome.manifest.hash for outcome in found if outcome.manifest}
    assert len(manifests) == 1


def test_an_object_that_somebody_lands_while_an_api_is_asked_is_used(sales: SalesPipeline) -> None:
    day, theirs = sales.day, b'{"data": [{"sale_id": 7, "amount": "7.00"}], "total": 1}'
    sales.api.on_ask = lambda shop: sales.put(sales.key(shop, day), theirs)
    assert sales.run(day) == PUBLISHED
    assert sales.body("north", day) == theirs
    assert sales.rows(f"select distinct sale_id from marts.all_sales where load_date = '{day}'") == [(7,)]


def test_a_process_that_is_killed_midway_lands_nothing_and_the_next_one_asks_from_the_first_page(
    sales: SalesPipeline,
) -> None:
    def die(_phase: str, done: int, _total: int) -> None:
        if done >= 2:
            os.kill(os.getpid(), signal.SIGKILL)

    day, context = sales.day, sales.prepared()
    table = context.pipeline.table("raw.north_sales")
    child = os.fork()
    if child == 0:
        verify(replace(context, on_progress=die), table, day)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert sales.landed(day) == []
    assert sales.api.of("north") == [(str(day), "1")]
    assert sales.run(day) == PUBLISHED
    assert sales.api.of("north")[1:] == [(str(day), "1"), (str(day), "2")]


def test_how_it_was_asked_for_is_metadata_of_the_object_and_progress_counts_records(sales: SalesPipeline) -> None:
    told: list[str] = []

    def tell(phase: str, done: int, total: int) -> None:
        told.append(f"{phase}: {shown_progress(phase, done, total)}")

    context = sales.prepared(on_progress=tell)
    table = context.pipeline.table("raw.north_sales")
    outcome = verify(context, table, sales.day)
    assert told == [
        f"{FETCHING}: ",
        f"{FETCHING}: 2 of 3 records",
        f"{FETCHING}: 3 of 3 records",
        "verified: ",
    ]
    assert {name: outcome.asked[name] for name in ("records", "total", "pages")} == {
        "records": "3",
        "total": "3",
        "pages": "2",
    }
    shown = object_metadata(outcome)
    assert {name: shown[name] for name in ("api/records", "api/total", "api/pages")} == {
        "api/records": 3,
        "api/total": 3,
        "api/pages": 2,
    }
    assert datetime.fromisoformat(shown["api/asked_at"]).tzinfo is not None
    assert not any(name.startswith("api/") for name in object_metadata(replace(outcome, asked={})))


def test_nothing_is_asked_before_an_address_and_every_secret_are_set(sales: SalesPipeline) -> None:
    bare = settings().model_copy(update={"api_urls": {sales.name: {"north": sales.api.url}}})
    context = sales.prepared(settings=bare)
    with pytest.raises(UsageError, match=f"KPI_API_SECRETS__{sales.name.upper()}__NORTH"):
        verify(context, context.pipeline.table("raw.north_sales"), sales.day)
    with pytest.raises(UsageError, match=f"KPI_API_URLS__{sales.name.upper()}__SOUTH"):
        verify(context, context.pipeline.table("raw.south_sales"), sales.day)
    assert sales.api.asked == []
    error = f"select status from ops.pipeline_runs where job = 's3.south_sales' and load_date = '{sales.day}'"
    assert sales.rows(error) == [("failed",)]


# ---- turns


def fetch_at_once(sales: SalesPipeline, days: Sequence[date], at_once: int) -> None:
    """Verify the objects of a shop for some load_dates, so many at once, each in a session of its own."""
    context = sales.prepared()
    table = context.pipeline.table("raw.north_sales")
    with ThreadPoolExecutor(at_once) as pool:
        assert not any(outcome.held for outcome in pool.map(lambda day: verify(context, table, day), days))


def test_load_dates_at_once_keep_together_to_the_rate_of_an_api(sales: SalesPipeline) -> None:
    sales.words(apis=APIS.replace("north: {", "north: {requests_per_second: 20, "))
    sales.api.sales = 10
    days = [sales.day + timedelta(days=n) for n in range(3)]
    fetch_at_once(sales, days, 3)
    assert sorted(sales.api.of("north")) == [(str(day), str(page)) for day in days for page in range(1, 6)]
    times = [at for at, *_ in sales.api.asked]
    for at in times:
        assert sum(at <= other < at + 0.25 for other in times) <= 0.25 * 20 + 2, "turns may come a little late"
    assert times[-1] - times[0] >= 14 / 20 - 0.05


def test_all_wait_when_an_api_tells_one_of_them_to(sales: SalesPipeline) -> None:
    api = sales.api
    sales.words(apis=APIS.replace("north: {", "north: {requests_per_second: 20, "))
    api.sales, api.retry_after = 16, "1"
    api.on_ask = lambda _shop: setattr(api, "busy_every", 4 if len(api.asked) <= 4 else 0)  # the fourth is refused
    fetch_at_once(sales, [sales.day + timedelta(days=n) for n in range(3)], 3)
    times = [at for at, *_ in api.asked]
    assert len(times) == 3 * 8 + 1
    refused = times[3]
    assert [at - refused for at in times if refused + 0.2 < at < refused + 0.9] == [], "but for turns that were taken"


def test_without_a_rate_no_turn_is_taken(sales: SalesPipeline) -> None:
    with sales.session() as session:
        session.execute("truncate ops.api_turns")
    sales.run(sales.day)
    assert sales.rows("select api from ops.api_turns") == []


def test_a_turn_beyond_the_deadline_fails_instead_of_waiting(sales: SalesPipeline) -> None:
    sales.words(apis=APIS.replace("north: {", "north: {requests_per_second: 1, deadline_minutes: 1, "))
    with sales.session() as session:
        api_turns.postpone(session, "north", 3600)
    late = "the next request to it may be made in 60 minutes, which is beyond deadline_minutes (1)"
    assert late in sales.run(sales.day)["raw.north_sales"]
    with sales.session() as session:
        session.execute("truncate ops.api_turns")


@pytest.mark.nightly
def test_a_backfill_of_90_days_ends_complete_although_every_other_request_is_refused(
    sales: SalesPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clock, "wait", lambda _clock, _seconds: None)
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(90)]
    sales.api.busy_every = 2
    fetch_at_once(sales, days, 4)
    assert len(sales.api.asked) >= 2 * 2 * 90 - 1
    bodies = {sales.body("north", day) for day in days}
    assert [body and body.count(b"sale_id") for body in bodies] == [3]
    assert {sales.status(day).landed for day in (days[0], days[44], days[-1])} == {1}
