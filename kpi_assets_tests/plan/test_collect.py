"""Collecting the facts of a plan while others publish."""

from concurrent.futures import ThreadPoolExecutor

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
            eventually(lambda: shop.rows(WAITING) == [(1,)], 30)
            publisher.execute("update ops.publishes set removed_at = null where load_date = %s", [shop.day])
        assert planned.result(60).reason == "All 2 objects landed; nothing of it is published."
    assert shop.status().state == "published"
