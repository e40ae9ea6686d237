"""Who may waive what, and what happens to a waiver on its way: several people, lost candidates, a failing database.

What a ruling does to builds is tested in test_rulings.py.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import unquote

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from kpi_assets.errors import UserError
from kpi_assets.ledger import rulings
from kpi_assets.materialize.rule import AskedWaiver, waive
from kpi_assets.materialize.tick import tick
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.clicks_pipeline import CLICKS, ClicksPipeline
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline
from kpi_assets_tests.waivers import CHECK, CHECKED, REASON, TOO_HEAVY, waived

CLERK = "clerk_of_the_shop"


@pytest.fixture
def held(shop: TwoSourcePipeline) -> TwoSourcePipeline:
    """The pipeline, whose marts.weighed is held."""
    shop.file("marts/weighed.sql", CHECKED)
    shop.land(things=TOO_HEAVY)
    assert shop.run()["marts.weighed"] == "held"
    return shop


@contextmanager
def asked_of_s3(lab: PipelineHarness) -> Iterator[Counter[str]]:
    """Count the requests about decisions and rulings by their operation."""
    found: Counter[str] = Counter()

    def count(request: object, event_name: str, **_: object) -> None:
        if "decisions/" in unquote(getattr(request, "url", "")):
            found[event_name.rpartition(".")[2]] += 1

    lab.s3.meta.events.register("before-send.s3", count)
    try:
        yield found
    finally:
        lab.s3.meta.events.unregister("before-send.s3", count)


def test_a_login_that_may_not_rule_is_refused_with_a_sentence(held: TwoSourcePipeline) -> None:
    name, password = sql.Identifier(CLERK), "nothing-secret"
    with held.session() as session:
        session.execute(
            sql.SQL("create role {} login password {} in role kpi_loader, kpi_builder").format(name, password)
        )
    try:
        login = SecretStr(make_conninfo(held.server.get_secret_value(), user=CLERK, password=password))
        context = replace(held.context(), server=login)
        asked = AskedWaiver(context.pipeline.table("marts.weighed"), held.day, [CHECK], REASON, "ana")
        with pytest.raises(UserError) as error:
            waive(context, asked)
    finally:
        with held.session() as session:
            session.execute(sql.SQL("drop owned by {0}; drop role {0}").format(name))
    assert str(error.value) == (
        "The login of KPI_POSTGRES_URL may not rule on builds: have an administrator grant it kpi_decider."
    )
    assert [*held.store.entries(f"decisions/marts.weighed/load_date={held.day}/")] == []


def test_of_people_who_waive_at_the_same_time_one_does_and_the_others_are_told(held: TwoSourcePipeline) -> None:
    def one(by: str) -> str:
        try:
            return waived(held, held.day, by=by).ruled_by
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        said = [*pool.map(one, ("ana", "ben", "eva", "tom"))]
    [(by,)] = held.rows(f"select ruled_by from ops.rulings where load_date = '{held.day}'")
    assert said.count(by) == 1
    others = [each for each in said if each != by]
    assert len(others) == 3
    assert all(each.startswith(f"{by} waived this already on ") for each in others)
    assert len([*held.store.entries(f"decisions/marts.weighed/load_date={held.day}/")]) == 1


def test_a_waiver_that_s3_has_and_the_ledger_has_not_counts_with_the_next_build(
    held: TwoSourcePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise WarehouseError("Postgres is away.")

    with monkeypatch.context() as patched:
        patched.setattr(rulings, "record", fails)
        with pytest.raises(WarehouseError):
            waived(held, held.day)
    assert held.rows(f"select count(*) from ops.rulings where load_date = '{held.day}'") == [(0,)]
    assert held.run()["marts.weighed"] == "published"
    query = f"select ruled_by, used_at is not null from ops.rulings where load_date = '{held.day}'"
    assert held.rows(query) == [("ana", True)]


def test_a_candidate_that_is_gone_is_made_again_and_published_as_it_was(held: TwoSourcePipeline) -> None:
    made = waived(held, held.day)
    [(candidate,)] = held.rows(
        "select candidate from ops.pipeline_runs where job = 'marts.weighed' and status = 'held' "
        "order by id desc limit 1"
    )
    with held.session() as session:
        session.execute(sql.SQL("drop table {}").format(sql.Identifier(*candidate.split("."))))
    assert held.run()["marts.weighed"] == "published"
    query = f"select checksum from ops.published where asset = 'marts.weighed' and load_date = '{held.day}'"
    assert held.rows(query) == [(made.checksum,)]


def test_a_load_date_that_is_built_again_is_waived_when_that_has_ended(held: TwoSourcePipeline) -> None:
    with held.session() as session:
        session.execute(
            "insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status) "
            "values ('another', %s, 'marts.weighed', %s, 'running')",
            [held.name, held.day],
        )
        with pytest.raises(UserError, match="is not held: there is nothing to waive"):
            waived(held, held.day)


def test_no_batch_of_a_table_that_grows_is_waived(clicks: ClicksPipeline) -> None:
    clicks.file("stg/clicks.sql", CLICKS)
    clicks.land("a", kind="oops")
    tick(clicks.context(), clicks.day)
    assert clicks.rows("select distinct status from ops.pipeline_runs where job = 'stg.clicks'") == [("held",)]
    with pytest.raises(UserError) as error:
        waived(clicks, clicks.day, "accepted_values__event_type", table="stg.clicks")
    assert str(error.value) == (
        "stg.clicks grows by batches, and no batch can be waived, as the next one would be added to it: correct its "
        "SQL, its checks or its budget, or replay the load_date."
    )
    with pytest.raises(UserError) as error:
        waived(clicks, clicks.day, "grain", table="marts.kpi_total")
    assert str(error.value) == (
        f"{clicks.day} still grows, so that marts.kpi_total is built from other rows with each tick: waive it once the "
        "load_date is over."
    )


def test_what_rulings_cost_in_requests(held: TwoSourcePipeline) -> None:
    with asked_of_s3(held) as asked:
        assert held.build("marts.weighed", held.day).held
    assert asked == {"ListObjectsV2": 1}, "of a table without a ruling"
    waived(held, held.day)
    with asked_of_s3(held) as asked:
        assert not held.build("marts.weighed", held.day).held
    first = {"ListObjectsV2": 2, "GetObject": 1, "PutObject": 1}
    assert asked == first, "the ruling is new to the ledger, and its use is noted"
    with asked_of_s3(held) as asked:
        assert not held.build("marts.weighed", held.day).held
    assert asked == {"ListObjectsV2": 1, "GetObject": 1}, "and one more for each further ruling"
    with asked_of_s3(held) as asked:
        held.status()
    assert asked == {"ListObjectsV2": 1}, "of a whole plan"


def test_a_tick_asks_for_no_ruling(clicks: ClicksPipeline) -> None:
    clicks.land("a")
    tick(clicks.context(), clicks.day)
    clicks.land("b")
    with asked_of_s3(clicks) as asked:
        tick(clicks.context(), clicks.day)
    assert clicks.total() == 2
    assert asked == {}
