"""Collecting the facts of a plan while others publish."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.materialize.drop import drop_table
from kpi_assets.model.names import Relation
from kpi_assets.model.table import Table
from kpi_assets.plan import collect
from kpi_assets_tests.machine import eventually
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

WAITING = "select count(*) from pg_locks where relation = 'ops.manifests'::regclass and not granted"


def test_a_plan_does_not_mix_what_was_published_before_it_with_what_is_published_meanwhile(
    shop: TwoSourcePipeline,
) -> None:
    """The queries of a plan see one state, also where a load_date is first published between two of them."""
    shop.land()
    shop.run()
    with shop.session() as publisher, ThreadPoolExecutor(1) as pool:
        publisher.execute("update ops.publishes set removed_at = now() where load_date = %s", [shop.day])
        with publisher.transaction():
            publisher.execute("lock table ops.manifests in access exclusive mode")
            planned = pool.submit(shop.status)
            eventually(lambda: shop.rows(WAITING) == [(1,)])
            publisher.execute("update ops.publishes set removed_at = null where load_date = %s", [shop.day])
        assert planned.result(60).reason == "All 2 objects landed; nothing of it is published."
    assert shop.status().state == "published"


def rewrite(shop: TwoSourcePipeline) -> None:
    """Rewrite a table, as a change of a type does: to an older snapshot it is empty then."""
    with shop.session() as session:
        session.execute("alter table marts.weighed add column probe uuid default gen_random_uuid()")
        session.execute("alter table marts.weighed drop column probe")


def drop(shop: TwoSourcePipeline) -> None:
    drop_table(shop.server, shop.name, Relation.parse("marts.weighed"), lambda _phase, _done, _total: None)


@pytest.mark.parametrize("change", [rewrite, drop])
def test_rows_that_are_rewritten_or_dropped_while_a_plan_is_made_are_not_lost(
    shop: TwoSourcePipeline, monkeypatch: pytest.MonkeyPatch, change: Callable[[TwoSourcePipeline], None]
) -> None:
    with shop.session() as session:
        session.execute("drop table if exists marts.weighed cascade")
        session.execute("update ops.publishes set removed_at = now() where asset = 'marts.weighed'")
    shop.land()
    shop.run()
    find_lost = collect.find_lost

    def after_the_change(connection: Connection[Any], table: Table, load_dates: Collection[date]) -> set[date]:
        if table.relation.table == "weighed":
            change(shop)
        return find_lost(connection, table, load_dates)

    monkeypatch.setattr(collect, "find_lost", after_the_change)
    assert shop.status().state == "published", "the state before the change"
    monkeypatch.undo()
    assert shop.status().state == ("published" if change is rewrite else "stale")
