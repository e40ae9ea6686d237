"""A table that carries on: what it reads of itself, what the ledger records, and what it refuses to carry on from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildOutcome, UpstreamError
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.retention import drop_due, find_due
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.carry_on import FILE, SEEN, CarryingPipeline
from kpi_assets_tests.examples import few
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.materialize.crash_points import at, leftover_builds
from kpi_assets_tests.pipeline_harness import failed


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CarryingPipeline]:
    with CarryingPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, CarryingPipeline)
        yield shop


@pytest.fixture
def shop(opened: CarryingPipeline) -> CarryingPipeline:
    return opened.stock()


def backfill(shop: CarryingPipeline, number: int, select: str = " --select marts.seen") -> str:
    """Return the command that the messages name."""
    return (
        f"`kpi backfill {shop.name} --from 2025-01-01 --to {shop.at(number)}{select}` builds it in order from its "
        "first load_date"
    )


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_each_load_date_is_made_of_the_one_before_and_what_came_since(shop: CarryingPipeline, storage: str) -> None:
    shop.file(FILE, SEEN.replace("grain:", f"storage: {storage}\ngrain:"))
    for number, things in ((1, (1, 2)), (2, (2, 3)), (5, (1, 4))):
        shop.publish(number, *things)
    assert shop.seen(1) == [(1, 1, 1), (2, 1, 1)]
    assert shop.seen(2) == [(1, 1, 1), (2, 1, 2), (3, 2, 1)]
    assert shop.seen(5) == [(1, 1, 2), (2, 1, 2), (3, 2, 1), (4, 5, 1)], "days without a delivery do not matter"
    assert [shop.carried_from(number) for number in (1, 2, 5)] == [[], [1], [2]]


def test_it_may_look_back_on_other_tables_too(shop: CarryingPipeline) -> None:
    """Only Postgres knows the type of this sum: it parses the SELECT with and without a load_date before."""
    window = "load_date between %(window_start)s and %(load_date)s"
    text = SEEN.replace("grain:", "lookback: {days: 2, rows: all}\ngrain:").replace("sum(times)", "sum(abs(times))")
    shop.file(
        FILE,
        text.replace("from raw.labels\n    where load_date = %(load_date)s", f"from raw.labels\n    where {window}"),
    )
    for number, thing in ((1, 1), (2, 2), (3, 3)):
        shop.publish(number, thing)
    assert shop.seen(3) == [(1, 1, 2), (2, 2, 2), (3, 3, 1)]
    [(inputs,)] = shop.rows(
        f"select inputs from ops.published where asset = 'marts.seen' and load_date = '{shop.at(3)}'"
    )
    assert sorted(inputs) == [f"marts.seen@{shop.at(2)}", "raw.labels", f"raw.labels@{shop.at(2)}"]
    assert shop.stale() == {}
    context = shop.prepared()
    assert all(each.passed for each in recheck(context, context.pipeline.table("marts.seen"), shop.at(3)))


def test_the_ledger_names_the_publish_that_was_read(shop: CarryingPipeline) -> None:
    first = shop.publish(1, 1)
    second = shop.publish(2, 2)
    [(inputs, hash_)] = shop.rows(
        f"select inputs, manifest_hash from ops.published where asset = 'marts.seen' and load_date = '{shop.at(2)}'"
    )
    assert inputs[f"marts.seen@{shop.at(1)}"] == first.publish_id
    assert sorted(inputs) == [f"marts.seen@{shop.at(1)}", "raw.labels"]
    assert hash_ == second.manifest_hash != first.manifest_hash


def test_it_is_built_whole_and_others_may_read_it_in_slices(shop: CarryingPipeline) -> None:
    shop.file(FILE, SEEN.replace("grain:", "storage: partitions\ngrain:"))
    pipeline = shop.pipeline()
    assert pipeline.co_sliced_inputs(pipeline.table("marts.seen")) == {}


def test_a_gate_demands_that_the_rows_do_not_become_fewer(shop: CarryingPipeline) -> None:
    shop.publish(1, 1, 2, 3)
    tie = "where load_date = %(previous_load_date)s"
    shop.file(FILE, SEEN.replace(tie, f"{tie} and thing_id > 2"))
    shop.deliver(2, 4)
    floor = failed(shop.build("marts.seen", shop.at(2)).results)["min_rows"]
    assert (floor.metric, floor.threshold) == (2, 3)
    assert floor.message == "2 rows, at least 3 are wanted (100% of the 3 rows of the load_date before)"
    shop.file(FILE, SEEN)
    assert shop.again(2).rows == 4
    shop.publish(3, 1)
    assert [result.threshold for result in shop.again(3).results if result.name == "min_rows"] == [4]


def test_a_recheck_of_an_old_load_date_compares_it_with_the_one_before_it(shop: CarryingPipeline) -> None:
    for number, things in ((1, (1, 2)), (2, (3,)), (3, (4, 5))):
        shop.publish(number, *things)
    context = shop.prepared()
    table = context.pipeline.table("marts.seen")
    found = [recheck(context, table, shop.at(number)) for number in (1, 2, 3)]
    floors = [{each.name: each for each in results}["min_rows"] for results in found]
    assert [(floor.passed, floor.metric, floor.threshold) for floor in floors] == [
        (True, 2, 0.0),
        (True, 3, 2.0),
        (True, 5, 3.0),
    ]
    assert all(result.passed for results in found for result in results)


# ---- what cannot be carried on from


def test_rows_of_the_load_date_before_with_other_columns_are_refused(shop: CarryingPipeline) -> None:
    for number in (1, 2):
        shop.publish(number, number)
    shop.file(
        FILE,
        SEEN.replace("first_on: {type: date", "first_on: {type: text").replace(
            "%(load_date)s::date, 1", "%(load_date)s::text, 1"
        ),
    )
    with pytest.raises(UpstreamError) as refused:
        shop.again(2)
    assert str(refused.value) == (
        f"marts.seen of {shop.at(2)} cannot be built: it carries on from {shop.at(1)}, which was published before its "
        f"column 'first_on' became what its file declares now; {backfill(shop, 2)}."
    )
    shop.again(1)
    shop.again(2)
    assert shop.rows(f"select first_on from marts.seen where load_date = '{shop.at(2)}' order by 1") == [
        (str(shop.at(1)),),
        (str(shop.at(2)),),
    ]


def test_a_new_column_is_built_in_order_from_the_first_load_date(shop: CarryingPipeline) -> None:
    for number in (1, 2):
        shop.publish(number, number)
    new = (
        SEEN.replace(
            "checks:", "  last_on: {type: date, description: The last load_date on which it was labelled.}\nchecks:"
        )
        .replace("::bigint as times\n", "::bigint as times,\n    max(last_on) as last_on\n")
        .replace("first_on, times\n", "first_on, times, last_on\n")
        .replace("%(load_date)s::date, 1", "%(load_date)s::date, 1, %(load_date)s::date")
    )
    shop.file(FILE, new)
    with pytest.raises(UpstreamError, match="before its column 'last_on' became what its file declares now"):
        shop.again(2)
    shop.again(1)
    shop.again(2)
    last = shop.rows(f"select last_on from marts.seen where load_date = '{shop.at(2)}' order by 1")
    assert last == [(shop.at(1),), (shop.at(2),)]


def test_rows_that_other_sql_has_made_are_carried_on_from_with_a_warning(shop: CarryingPipeline) -> None:
    shop.publish(1, 1)
    shop.file(FILE, SEEN.replace("sum(times)", "sum(2 * times)"))
    assert shop.publish(2, 1).warnings == [
        f"marts.seen of {shop.at(2)} carries on from {shop.at(1)}, which was built before its SQL was changed; "
        + backfill(shop, 2)
    ]
    shop.again(1)
    assert shop.again(2).warnings == []


def test_rows_that_are_gone_from_the_database_are_not_an_empty_start(shop: CarryingPipeline) -> None:
    shop.publish(1, 1)
    with shop.session() as session:
        session.execute(f"delete from marts.seen where load_date = '{shop.at(1)}'")
    shop.deliver(2, 2)
    with pytest.raises(UpstreamError, match=rf"the rows of marts\.seen of {shop.at(1)} are gone from the database; "):
        shop.again(2)


def test_a_sum_of_its_own_floating_point_numbers_is_refused(shop: CarryingPipeline) -> None:
    """Only Postgres knows the type of this sum. On the first load_date there is no table to ask for it."""
    shop.drop_seen()
    text = SEEN.replace("times: {type: bigint", "times: {type: double precision").replace(
        "sum(times)::bigint", "sum(abs(times))"
    )
    shop.file(FILE, text.replace("%(load_date)s::date, 1", "%(load_date)s::date, 1::double precision"))
    shop.deliver(1, 1)
    with pytest.raises(DefinitionError, match="adds up floating-point numbers"):
        shop.build("marts.seen", shop.at(1))


# ---- retention


def retain(shop: CarryingPipeline, words: str) -> None:
    path = shop.folder / "pipeline.yaml"
    path.write_text(path.read_text() + f"retention: {{{words}}}\n")


def dropped(shop: CarryingPipeline) -> list[tuple[str, int]]:
    """Drop what is due and return each table with the number of the load_date."""
    today = shop.at(10) + timedelta(days=90)
    with shop.session() as session:
        due = [each for each in find_due(session, shop.pipeline(), today) if each.load_date >= shop.day]
    found = list(drop_due(shop.context(), due, 5.0))
    assert not any(why for _, why in found)
    return [(publish.asset, shop.number(publish.load_date)) for publish, _ in found]


def test_retention_keeps_the_latest_load_date_whatever_its_age(shop: CarryingPipeline) -> None:
    for number in (1, 2, 3):
        shop.publish(number, number)
    retain(shop, "marts.seen: 5")
    assert dropped(shop) == [("marts.seen", 1), ("marts.seen", 2)]
    assert dropped(shop) == []
    assert (shop.seen(1), shop.seen(3)) == ([], [(1, 1, 1), (2, 2, 1), (3, 3, 1)])
    assert shop.stale() == {}
    shop.again(1)
    assert shop.stale() == {}, "a replay of day 1 is not the load_date before of day 3"
    shop.publish(4, 4)
    assert shop.seen(4) == [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)]
    assert dropped(shop) == [("marts.seen", 3)]


@pytest.mark.nightly
def test_a_load_date_before_that_retention_dropped_is_not_an_empty_start(shop: CarryingPipeline) -> None:
    for number in (1, 3):
        shop.publish(number, number)
    retain(shop, "marts.seen: 5")
    assert dropped(shop) == [("marts.seen", 1)]
    shop.deliver(2, 2)
    with pytest.raises(UpstreamError) as refused:
        shop.again(2)
    why = f"it carries on from {shop.at(1)}, which was dropped by retention; {backfill(shop, 2)}."
    assert str(refused.value) == f"marts.seen of {shop.at(2)} cannot be built: {why}"
    for number in (1, 2, 3):
        shop.again(number)
    assert shop.seen(3) == [(1, 1, 1), (2, 2, 1), (3, 3, 1)]


@pytest.mark.nightly
def test_the_way_back_builds_what_it_reads_too_if_that_is_dropped(shop: CarryingPipeline) -> None:
    for number in (1, 2):
        shop.publish(number, number)
    retain(shop, "marts.seen: 5, raw: 5")
    assert dropped(shop) == [("marts.seen", 1), ("raw.labels", 1), ("raw.labels", 2)]
    shop.deliver(2, 2)
    with pytest.raises(UpstreamError, match="was dropped by retention") as refused:
        shop.again(2)
    assert backfill(shop, 2, select="") in str(refused.value)
    context = shop.context()
    with pytest.raises(UpstreamError) as unchecked:
        recheck(context, context.pipeline.table("marts.seen"), shop.at(1))
    command = f"`kpi backfill {shop.name} --from 2025-01-01 --to {shop.at(1)}` replays them from S3"
    assert command in str(unchecked.value)


# ---- two load_dates at once


def test_a_load_date_before_that_is_replaced_before_it_is_read_fails_the_build(shop: CarryingPipeline) -> None:
    for number in (1, 2):
        shop.publish(number, number)
    changing = at("selecting", lambda: shop.publish(1, 7) and None)
    with pytest.raises(UpstreamError) as refused:
        shop.again(2, on_progress=changing)
    assert str(refused.value) == (
        f"marts.seen of {shop.at(2)} was not published: marts.seen of {shop.at(1)} was published or dropped while it "
        "was being built from the load_date before it; build it again."
    )
    assert refused.value.transient
    assert shop.seen(2) == [(1, 1, 1), (2, 2, 1)], "readers keep what they had"
    assert leftover_builds(shop) == []
    assert shop.heal() == [2]
    assert shop.seen(2) == [(2, 2, 1), (7, 1, 1)]


@pytest.mark.parametrize("phase", ["checking", "publishing"])
def test_a_load_date_before_that_is_replaced_after_it_was_read_makes_the_build_stale(
    shop: CarryingPipeline, phase: str
) -> None:
    for number in (1, 2):
        shop.publish(number, number)
    shop.again(2, on_progress=at(phase, lambda: shop.publish(1, 7) and None))
    assert shop.seen(2) == [(1, 1, 1), (2, 2, 1)]
    assert shop.stale() == {2: ("inputs", ("marts.seen",))}
    assert shop.heal() == [2]
    assert shop.seen(2) == [(2, 2, 1), (7, 1, 1)]


@pytest.mark.parametrize("phase", ["selecting", "checking", "publishing"])
@pytest.mark.parametrize("first", few(1, [[1], []]))
def test_a_load_date_between_that_is_published_meanwhile_makes_the_build_stale(
    shop: CarryingPipeline, first: list[int], phase: str
) -> None:
    for number in first:
        shop.publish(number, number)
    shop.deliver(3, 3)
    shop.again(3, on_progress=at(phase, lambda: shop.publish(2, 2) and None))
    assert shop.carried_from(3) == first
    assert shop.stale() == {3: ("window", ("marts.seen",))}
    assert shop.heal() == [3]
    assert shop.carried_from(3) == [2]


def test_a_build_is_not_held_for_rows_of_a_load_date_that_it_has_not_read(shop: CarryingPipeline) -> None:
    """Its gate compares it with the load_date between, which is published while it is built, and has more rows."""
    shop.publish(1, 1)
    shop.deliver(3, 3)
    with pytest.raises(UpstreamError, match=f"marts.seen of {shop.at(2)} was published or dropped while it was being"):
        shop.again(3, on_progress=at("checking", lambda: shop.publish(2, 5, 6, 7) and None))
    of_day = f"job = 'marts.seen' and load_date = '{shop.at(3)}'"
    assert shop.rows(f"select status from ops.pipeline_runs where {of_day}") == [("failed",)]
    shop.again(3)
    assert shop.seen(3) == [(1, 1, 1), (3, 3, 1), (5, 2, 1), (6, 2, 1), (7, 2, 1)]


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_load_dates_that_are_built_at_once_wait_for_none_and_heal(shop: CarryingPipeline, storage: str) -> None:
    shop.file(FILE, SEEN.replace("grain:", f"storage: {storage}\ngrain:"))
    for number in (1, 2, 3, 4):
        shop.deliver(number, number)
    together, context = Barrier(4, timeout=PATIENCE), shop.prepared(publish_timeout=30.0)
    table = context.pipeline.table("marts.seen")

    def one(number: int) -> BuildOutcome:
        report = at("checking", lambda: together.wait() and None)
        return build(replace(context, on_progress=report), table, shop.at(number))

    with ThreadPoolExecutor(4) as pool:
        assert [outcome.held for outcome in pool.map(one, (1, 2, 3, 4))] == [False] * 4
    assert [shop.carried_from(number) for number in (1, 2, 3, 4)] == [[]] * 4
    assert {number: reason for number, (reason, _) in shop.stale().items()} == {2: "window", 3: "window", 4: "window"}
    assert shop.heal() == [2, 3, 4]
    assert shop.seen(4) == [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)]
