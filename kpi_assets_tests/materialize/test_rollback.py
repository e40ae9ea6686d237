"""Rollback: a load_date shows again what it showed before, all at once, and what took its place stays out."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from psycopg import sql

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.ledger import growth, marks, publishes
from kpi_assets.ledger.locks import run_lock, try_lock
from kpi_assets.materialize.drop import drop_table
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.rollback import roll_back
from kpi_assets.materialize.rolled_back import Moment, at_instant, before_run, last_with
from kpi_assets.materialize.rule import revoke
from kpi_assets.model.names import Relation
from kpi_assets.monitoring.restated import report_restated
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.materialize.kept_pipeline import (
    MEASURED,
    OTHER_COLUMNS,
    PARTITIONED,
    REASON,
    STORED,
    TABLES,
    KeptPipeline,
    things,
)
from kpi_assets_tests.pipeline_harness import RAW_THINGS
from kpi_assets_tests.waivers import waived

SAID = f"rolled back by ana: {REASON}"
NOTHING = "Nothing of {} differs from what readers see now {}: there is nothing to roll back."
ROLLED_BACK = {name for name in STORED if name != "raw.labels"}


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptPipeline]:
    with KeptPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, KeptPipeline)
        yield shop


@pytest.fixture
def shop(opened: KeptPipeline) -> KeptPipeline:
    return opened.stock()


def refused(shop: KeptPipeline, moment: Moment, *only: str) -> str:
    """Return why a load_date cannot be rolled back; nothing changes."""
    before = shop.current()
    with pytest.raises(UserError) as error:
        shop.roll_back(moment, *only)
    assert shop.current() == before
    return str(error.value)


def test_a_raw_table_that_is_not_kept_is_left_out(shop: KeptPipeline) -> None:
    shop.file("raw/things.sql", RAW_THINGS.replace("grain:", "rollback: {keep: 0}\ngrain:"))
    good = shop.publish(20.5)
    shop.publish(30)
    assert "raw.things (those rows are not kept any more)" in refused(shop, good)

    shop.roll_back(good, *(ROLLED_BACK - {"raw.things"}))
    assert shop.weights() == [20.5]
    raw = f"select weight from raw.things where load_date = '{shop.day}'"
    assert [float(weight) for (weight,) in shop.rows(raw)] == [30]
    assert shop.run()["marts.weighed"] == "held", "what is made of the new rows is kept out"
    assert shop.weights() == [20.5]


def rechecked(shop: KeptPipeline) -> None:
    """Make sure that every table of the load_date has the rows of the ledger, and passes its checks."""
    context = shop.context()
    for name in TABLES:
        results = recheck(context, context.pipeline.table(name), shop.day)
        assert all(result.passed for result in results), (name, results)


def test_a_load_date_shows_again_what_it_showed_before(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    before, shown = shop.content(), shop.current()
    shop.publish(30)
    condemned = shop.current()

    planned = shop.planned(good)
    assert {str(each.table.relation) for each in planned.changes} == ROLLED_BACK
    assert [str(each.table.relation) for each in planned.roots] == ["raw.things"]
    assert [(each.asset, [*each.now.values()], [*each.then.values()]) for each in planned.values] == [
        ("marts.heavy", [30], [20.5]),
        ("marts.shown", [30], [20.5]),
    ]
    done = shop.roll_back(good)
    assert {str(relation) for relation in done.publishes} == ROLLED_BACK
    assert shop.content() == before
    assert shop.weights() == [20.5]
    now = shop.current()
    for name in ROLLED_BACK:
        assert now[name].build_id == shown[name].build_id
    restores = "select asset, restores from ops.publishes where superseded_at is null and restores is not null"
    found = dict(shop.rows(f"{restores} and load_date = '{shop.day}'"))
    assert found == {name: shown[name].publish_id for name in {*ROLLED_BACK, "marts.shown"}}
    causes = shop.rows(
        "select distinct cause, caused_by, differences from ops.publishes where superseded_at is null "
        f"and load_date = '{shop.day}' and asset <> 'raw.labels' and asset not like 'decisions.%'"
    )
    root = {"rank": 0, "asset": "raw.things", "difference": "rollback", "load_date": str(shop.day)}
    assert causes == [("rollback", [now["raw.things"].publish_id], [root])]
    values = shop.rows(
        "select p.asset, v.value from ops.kpi_values as v inner join ops.published as p using (publish_id) "
        f"where p.load_date = '{shop.day}' order by 1"
    )
    assert [(asset, float(value)) for asset, value in values] == [("marts.heavy", 20.5), ("marts.shown", 20.5)]
    assert shop.kept() == dict.fromkeys(ROLLED_BACK, 1), "what was condemned is kept, as whatever is superseded"
    assert condemned["raw.things"].checksum != now["raw.things"].checksum
    rechecked(shop)


def test_what_was_rolled_back_is_held_until_something_new_comes(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    shop.roll_back(good)
    status = shop.status()
    assert (status.state, status.reason) == (
        "held",
        f"raw.things: {SAID}. Its inputs, SQL and checks have not changed since.",
    )
    assert not status.is_due(rebuild_on_sql_change=True), "no sensor and no backfill starts a run of it"
    alert = "select details from ops.alerts where kind = 'held' and closed_at is null and load_date = "
    assert shop.rows(f"{alert}'{shop.day}'") == [([f"raw.things: not_ruled_out ({SAID})"],)]

    assert shop.run()["raw.things"] == "held", "nor does a run by hand publish it"
    assert not shop.build("marts.weighed", shop.day).held, "what reads it is built of what readers see"
    assert shop.weights() == [20.5]
    assert shop.status().state == "held"
    [(kind, asset)] = shop.rows(f"select kind, asset from ops.rulings where load_date = '{shop.day}'")
    assert (kind, asset) == ("hold", "raw.things")

    shop.land(things=things(40))
    assert shop.status().is_due(rebuild_on_sql_change=False)
    assert set(shop.run().values()) == {"published"}
    assert shop.weights() == [40]
    assert shop.status().state == "published"
    shop.land(things=things(30))
    assert shop.run()["raw.things"] == "held", "what was condemned stays out whenever it comes"
    with shop.session() as session:
        [(ruling,)] = session.execute("select ruling_id from ops.rulings where load_date = %s", [shop.day]).fetchall()
    revoke(shop.context(), ruling, "the scale was right after all", "ben")
    assert set(shop.run().values()) == {"published"}
    assert shop.weights() == [30]


@pytest.mark.nightly
def test_twice_to_the_same_instant(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    before = shop.content()
    for weight in (30, 31):
        shop.publish(weight)
        shop.roll_back(good)
        assert shop.content() == before
        rechecked(shop)
    assert refused(shop, good) == NOTHING.format(shop.day, good.said)
    assert shop.rows(f"select count(*)::int from ops.rulings where load_date = '{shop.day}'") == [(2,)]


def test_who_looks_back_is_stale_and_fresh_again_by_its_checksum(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(5, day=shop.next)
    shop.publish(30)
    [later] = shop.plan(shop.next, shop.next)
    assert (later.state, later.tables_to_build) == ("stale", ("marts.recent",))
    shop.roll_back(good)
    [later] = shop.plan(shop.next, shop.next)
    assert later.state == "published", "it was built from the rows that are there again"
    shop.publish(30.5)
    assert not shop.build("marts.recent", shop.next).held
    shop.roll_back(good)
    [later] = shop.plan(shop.next, shop.next)
    assert (later.state, later.stale_reason) == ("stale", "inputs")
    assert not shop.build("marts.recent", shop.next).held
    found = shop.rows(
        "select p.cause, p.differences from ops.publishes as p where p.superseded_at is null "
        f"and p.asset = 'marts.recent' and p.load_date = '{shop.next}'"
    )
    assert found == [
        (
            "rollback",
            [{"rank": 0, "asset": "raw.things", "difference": "rollback", "load_date": str(shop.day)}],
        )
    ]


def test_the_moment_is_an_instant_a_run_or_a_publish(shop: KeptPipeline) -> None:
    shop.publish(20.5)
    first = shop.current()["raw.things"].publish_id
    shop.run_id = "the-second-run"
    shop.publish(30)
    second = shop.current()["raw.things"].publish_id
    shop.run_id = "the-third-run"
    shop.publish(40)
    with shop.session() as session:
        for moment, weight in (
            (before_run(session, shop.day, "the-second"), 20.5),
            (before_run(session, shop.day, "the-third-run"), 30),
            (last_with(session, shop.day, first), 20.5),
            (last_with(session, shop.day, second), 30),
        ):
            [change] = [each for each in shop.planned(moment).changes if str(each.table.relation) == "marts.heavy"]
            [values] = [each for each in shop.planned(moment).values if each.asset == "marts.heavy"]
            assert change.then.load_date == shop.day
            assert values.then == {"heaviest": weight}
        for run in ("the", "the-fourth", "the-s"):
            with pytest.raises(UserError, match=f"'{run}' names no run that published something of {shop.day}"):
                before_run(session, shop.day, run)
        last = shop.current()["raw.things"].publish_id
        with pytest.raises(UserError, match=f"Publish {last} is the last one of raw.things of {shop.day}"):
            last_with(session, shop.day, last)
        with pytest.raises(UserError, match=f"There is no publish {first} of {shop.next}: `kpi publishes` prints"):
            last_with(session, shop.next, first)
    shop.run_id = "run-of-the-test"


def test_nothing_changes_if_a_version_is_gone_or_columns_are_others(shop: KeptPipeline) -> None:
    early = at_instant(shop.now().at - timedelta(days=1))  # type: ignore[operator]
    good = shop.publish(20.5)
    assert refused(shop, early) == (f"Nothing of {shop.day} was published {early.said}: there is nothing to roll back.")
    for weight in (30, 40, 50):
        shop.publish(weight)
    assert refused(shop, good, "marts.weighed", "marts.heavy") == (
        f"{shop.day} cannot be rolled back to what it was {good.said}, and nothing was changed: marts.weighed "
        "(those rows are not kept any more); marts.heavy (those rows are not kept any more). Name with --select the "
        "tables that can be, or build it again by the files of that time."
    )
    with shop.session() as session:
        fourth = last_with(
            session,
            shop.day,
            shop.rows(
                f"select publish_id from ops.publishes where asset = 'marts.weighed' and load_date = '{shop.day}' "
                "order by 1 desc offset 1 limit 1"
            )[0][0],
        )
    shop.file("marts/heavy.sql", OTHER_COLUMNS)
    assert "marts.heavy (its file declares other columns by now)" in refused(shop, fourth)
    shop.file("marts/heavy.sql", MEASURED)
    [(name,)] = shop.rows(
        f"select relation from ops.versions where asset = 'marts.weighed' and load_date = '{shop.day}' "
        "and relation is not null order by kept_since desc limit 1"
    )
    with shop.session() as session:
        session.execute(sql.SQL("update {} set weight = 41").format(sql.Identifier(*name.split("."))))
    said = refused(shop, fourth)
    assert f"The rows of marts.weighed of {shop.day} that are kept in {name} are not those of publish" in said
    assert said.endswith("somebody changed them, and nothing was rolled back; leave the table out with --select.")
    assert shop.rows(f"select count(*)::int from ops.rulings where load_date = '{shop.day}'") == [(0,)]


@pytest.mark.nightly
def test_part_of_a_load_date_is_rolled_back_and_its_input_is_the_root(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    planned = shop.planned(good, "marts.weighed", "marts.heavy")
    assert [str(each.table.relation) for each in planned.roots] == ["marts.weighed"]
    shop.roll_back(good, "marts.weighed", "marts.heavy")
    assert shop.weights() == [20.5]
    assert shop.status().state == "held"
    assert shop.status().reason.startswith(f"marts.weighed: {SAID}.")
    assert shop.run() == {
        "raw.things": "published",
        "raw.labels": "published",
        "marts.weighed": "held",
        "marts.named": "published",
        "marts.shown": "not built",
        "marts.heavy": "not built",
        "marts.recent": "not built",
    }
    assert shop.weights() == [20.5]


@pytest.mark.nightly
def test_sql_is_a_root_and_stays_out_until_it_changes(shop: KeptPipeline) -> None:
    good = shop.publish(20.5, 1)
    changed = PARTITIONED.replace("weight is not null", "weight > 10")
    shop.file("marts/weighed.sql", changed)
    assert set(shop.run().values()) == {"published"}
    assert shop.weights() == [20.5]
    shop.roll_back(good)
    assert shop.weights() == [20.5, 1]
    assert shop.status().reason.startswith(f"marts.weighed: {SAID}.")
    assert shop.run()["marts.weighed"] == "held"
    shop.file("marts/weighed.sql", changed.replace("> 10", "> 0.5"))
    assert shop.status().is_due(rebuild_on_sql_change=True)
    assert shop.run()["marts.weighed"] == "published"


TENFOLD = PARTITIONED.replace("select thing_id, weight\n", "select thing_id, (10 * weight)::numeric(6,2) as weight\n")


def test_sql_stays_out_also_of_the_input_that_was_rolled_back_with_it(shop: KeptPipeline) -> None:
    good = shop.publish(20.5, 1)
    shop.file("marts/weighed.sql", TENFOLD)
    shop.publish(30, 2)
    assert shop.weights() == [300, 20]
    assert [str(each.table.relation) for each in shop.planned(good).roots] == ["raw.things", "marts.weighed"]
    shop.roll_back(good)
    assert shop.weights() == [20.5, 1]

    for _ in range(2):
        held = shop.build("marts.weighed", shop.day)
        assert held.held, "the SQL gives rows that no ruling names"
        assert [result.message for result in held.results if result.blocks_publish] == [SAID]
        assert shop.weights() == [20.5, 1]
    assert shop.status().state == "held"
    shop.land(things=things(20.5, 1))
    assert not shop.build("raw.things", shop.day).held
    assert shop.build("marts.weighed", shop.day).held, "the rows of its input are the same"

    shop.land(things=things(20.5, 3))
    assert set(shop.run().values()) == {"published"}, "another delivery is something new"
    assert shop.weights() == [205, 30]


@pytest.mark.nightly
def test_sql_stays_out_of_what_was_rolled_back_until_it_changes_or_its_ruling_is_revoked(shop: KeptPipeline) -> None:
    good = shop.publish(20.5, 1)
    shop.file("marts/weighed.sql", TENFOLD)
    shop.publish(30, 2)
    shop.roll_back(good)
    assert shop.build("marts.weighed", shop.day).held
    shop.file("marts/weighed.sql", PARTITIONED.replace("is not null", "> 1"))
    assert not shop.build("marts.weighed", shop.day).held
    assert shop.weights() == [20.5]
    shop.file("marts/weighed.sql", TENFOLD)
    assert shop.build("marts.weighed", shop.day).held
    which = f"asset = 'marts.weighed' and load_date = '{shop.day}'"
    [(ruling,)] = shop.rows(f"select ruling_id from ops.rulings where {which}")
    revoke(shop.context(), ruling, "tenfold was right after all", "ben")
    assert not shop.build("marts.weighed", shop.day).held
    assert shop.weights() == [205, 10]


OF_HISTORY = """\
/* @asset
description: Names that things have.
owner: team:tests
grain: [name]
columns:
  name: {type: text, description: Name.}
@end */
select name from marts.named where is_current
"""


def test_sql_stays_out_of_a_history_that_was_rolled_back_with_it(shop: KeptPipeline) -> None:
    path = shop.file("marts/names.sql", OF_HISTORY)
    try:
        shop.publish(20.5)
        names = f"select name from marts.names where load_date = '{shop.day}'"
        good = shop.now()
        shop.file("marts/names.sql", OF_HISTORY.replace("select name", "select upper(name) as name"))
        shop.publish(30)
        assert shop.rows(names) == [("THING OF 30",)]
        planned = shop.planned(good, "raw.things", "marts.named", "marts.names")
        roll_back(shop.context(), planned, REASON, "ana")
        assert shop.rows(names) == [("thing of 20.5",)]
        assert shop.status().state == "held"
        assert shop.build("marts.names", shop.day).held
        assert shop.rows(names) == [("thing of 20.5",)]
        shop.land(things=things(40))
        assert shop.run()["marts.names"] == "published"
        assert shop.rows(names) == [("THING OF 40",)]
    finally:
        path.unlink()
        drop_table(shop.server, shop.name, Relation("marts", "names"), lambda *_: None)


@pytest.mark.nightly
def test_what_is_kept_out_is_not_rolled_back_to(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    condemned = shop.publish(30)
    shop.roll_back(good)
    [(ruling,)] = shop.rows(f"select ruling_id from ops.rulings where load_date = '{shop.day}'")
    assert f"raw.things (ana keeps that build out: `kpi revoke {shop.name} {ruling}` takes it back)" in refused(
        shop, condemned
    )
    revoke(shop.context(), ruling, "the scale was right after all", "ben")
    shop.roll_back(condemned)
    assert shop.weights() == [30]
    rechecked(shop)


def test_what_stood_on_a_waiver_that_was_revoked_is_not_rolled_back_to(shop: KeptPipeline) -> None:
    shop.file("marts/weighed.sql", PARTITIONED.replace("@end */", "checks:\n  range: {weight: [0, 50]}\n@end */"))
    shop.land(things=things(70))
    assert shop.run()["marts.weighed"] == "held"
    ruling = waived(shop, shop.day).ruling_id
    assert set(shop.run().values()) == {"published"}
    heavy = shop.now()
    shop.publish(30)
    assert len(shop.planned(heavy).changes) == 5, "as long as the ruling stands"
    revoke(shop.context(), ruling, "the scale was wrong after all", "ben")
    said = f"ruling {ruling}, which was revoked since: roll back to a state without that"
    assert refused(shop, heavy) == (
        f"{shop.day} cannot be rolled back to what it was {heavy.said}, and nothing was changed: marts.weighed (it "
        f"was published by {said}); marts.heavy (marts.weighed, which it was made from, was published by {said}); "
        f"marts.recent (marts.weighed, which it was made from, was published by {said}). Name with --select the tables "
        "that can be, or build it again by the files of that time."
    )
    assert shop.weights() == [30]


@pytest.mark.nightly
def test_a_table_that_came_later_stays_and_is_built_again(shop: KeptPipeline) -> None:
    heavy = (shop.folder / "marts/heavy.sql").read_text()
    (shop.folder / "marts/heavy.sql").unlink()
    good = shop.publish(20.5)
    shop.file("marts/heavy.sql", heavy)
    shop.publish(30)
    planned = shop.planned(good)
    assert planned.later == ["marts.heavy"]
    shop.roll_back(good)
    assert shop.status().state == "held"
    assert not shop.build("marts.heavy", shop.day).held
    [(weight,)] = shop.rows(f"select weight from marts.heavy where load_date = '{shop.day}'")
    assert float(weight) == 20.5


def test_it_waits_for_a_run_and_gives_up(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    planned = shop.planned(good)
    with shop.session() as other:
        assert try_lock(other, run_lock(shop.day))
        with pytest.raises(UserError, match=f"A run of {shop.day} is in progress"):
            roll_back(shop.context(), planned, REASON, "ana", timeout=0)
    assert shop.weights() == [30]


def test_a_plan_that_is_overtaken_changes_nothing(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    planned = shop.planned(good)
    shop.publish(40)
    with pytest.raises(UserError, match="was published again meanwhile, and nothing was changed: roll it back again"):
        roll_back(shop.context(), planned, REASON, "ana")
    assert shop.weights() == [40]
    assert shop.rows(f"select count(*)::int from ops.rulings where load_date = '{shop.day}'") == [(0,)]


def test_a_database_that_is_rebuilt_from_s3_keeps_out_what_was_condemned(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    shop.publish(30, day=shop.next)
    shop.roll_back(good)
    columns = (
        "kind, asset, load_date, manifest_hash, code_version, rows, checksum, reason, ruled_by, ruled_at, object_key"
    )
    which = f"load_date between '{shop.day}' and '{shop.next}'"
    ruled = shop.rows(f"select {columns} from ops.rulings where {which}")
    later = shop.content(shop.next)

    with connect(shop.server, "postgres", "lab") as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(shop.name)))
    shop._ready = None
    shop.prepared()
    assert shop.run()["raw.things"] == "held"
    assert shop.content().keys() == {"raw.labels"}
    assert set(shop.run(shop.next).values()) == {"published"}
    assert {name: found for name, found in shop.content(shop.next).items() if name != "marts.recent"} == {
        name: found for name, found in later.items() if name != "marts.recent"
    }
    assert shop.rows(f"select {columns} from ops.rulings where {which}") == ruled
    shop.land(things=things(40))
    assert set(shop.run().values()) == {"published"}


def test_a_history_reads_as_it_was_and_its_readers_go_by_their_marks(shop: KeptPipeline) -> None:
    names = "select name from marts.named order by effective_date"
    good = shop.publish(20.5)
    shop.publish(7, day=shop.next)
    before = shop.rows(names)
    shop.publish(30)
    shop.roll_back(good, "marts.named")
    assert shop.rows(names) == before
    with shop.session() as session:
        mark = marks.known(session, Relation("marts", "named"), shop.day).mark
        assert (
            mark
            == publishes.current(session, [Relation("marts", "named")], shop.day)[Relation("marts", "named")].publish_id
        )
    context = shop.context()
    for day in (shop.day, shop.next):
        assert all(result.passed for result in recheck(context, context.pipeline.table("marts.named"), day))


CARRIED = """\
/* @asset
description: Every thing that was ever weighed, and its heaviest weight.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
@end */
select thing_id, max(weight)::numeric(6,2) as weight
from (
    select thing_id, weight from marts.carried where load_date = %(previous_load_date)s
    union all
    select thing_id, weight from marts.weighed where load_date = %(load_date)s
) as every_day
group by thing_id
"""


@pytest.mark.nightly
def test_what_carries_on_from_rows_that_are_rolled_back_is_stale(shop: KeptPipeline) -> None:
    path = shop.file("marts/carried.sql", CARRIED)
    try:
        good = shop.publish(20.5)
        shop.publish(30)
        shop.publish(7, day=shop.next)
        shop.roll_back(good)
        [later] = shop.plan(shop.next, shop.next)
        assert (later.state, later.stale_reason) == ("stale", "inputs")
        assert not shop.build("marts.carried", shop.next).held
        [(weight,)] = shop.rows(f"select weight from marts.carried where load_date = '{shop.next}'")
        assert float(weight) == 20.5
    finally:
        path.unlink()
        drop_table(shop.server, shop.name, Relation("marts", "carried"), lambda *_: None)


def test_a_load_date_that_grows_is_not_rolled_back(shop: KeptPipeline) -> None:
    good = shop.publish(20.5)
    shop.publish(30)
    with shop.session() as session:
        growth.record_tick(session, shop.day, run_id="live", through=None)
    said = f"{shop.day} still grows, so that each tick replaces it: roll it back once it is over."
    assert refused(shop, good) == said
    with shop.session() as session:
        growth.finish(session, shop.day)
    shop.roll_back(good)
    assert shop.weights() == [20.5]


def test_final_numbers_are_rolled_back_and_people_are_told(shop: KeptPipeline) -> None:
    shop.file("marts/heavy.sql", MEASURED.replace("kpi:\n", "kpi:\n  final: {after_days: 3, on_change: hold}\n"))
    good = shop.publish(20.5)
    shop.land(things=things(30))
    assert shop.run()["marts.heavy"] == "held"
    waived(shop, shop.day, "final", table="marts.heavy")
    shop.publish(30)

    done = shop.roll_back(good)
    assert shop.weights() == [20.5], "who rolls back gives a name and a reason, as who waives does"
    with shop.session() as session:
        report_restated(session, shop.pipeline())
    told = shop.rows(f"select publish_id, details from ops.alerts where kind = 'restated' and load_date = '{shop.day}'")
    by_publish = dict(told)
    assert len(told) == 2, "the waiver and the rollback"
    assert by_publish[done.publishes[Relation.parse("marts.heavy")]][1:] == [
        "Heaviest: 30.00 → 20.50 kg",
        "the cause: things was rolled back to what it was before and heavy was rolled back to what it was before",
    ]

    assert "held" in shop.run().values(), "the delivery that was rolled back stays out"
    shop.land(things=things(40))
    assert shop.run()["marts.heavy"] == "held", "what is shown again is final"
    assert shop.rows(f"select weight from marts.heavy where load_date = '{shop.day}'") == [(Decimal("20.50"),)]
