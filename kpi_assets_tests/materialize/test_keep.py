"""What readers saw before is kept as long as the files say: once for each content, and no build drops it."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import kept
from kpi_assets.materialize import retention
from kpi_assets.materialize.build import build
from kpi_assets.materialize.drop import drop_load_date, drop_table, published_load_date
from kpi_assets.materialize.keep import bytes_by_table, drop_due, find_due
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.names import Relation
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.kept_pipeline import OTHER_COLUMNS, PARTITIONED, STORED, KeptPipeline, things
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptPipeline]:
    with KeptPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, KeptPipeline)
        yield shop


@pytest.fixture
def shop(opened: KeptPipeline) -> KeptPipeline:
    return opened.stock()


CHANGED = {name: 1 for name in STORED if name != "raw.labels"}


def test_what_is_superseded_is_kept_once_for_each_content(shop: KeptPipeline) -> None:
    shop.publish(20.5)
    assert shop.kept() == {}
    shop.run()
    assert shop.kept() == {}, "the same rows again"
    before = shop.content()
    shop.publish(30)
    assert shop.kept() == CHANGED
    found = shop.rows(f"select asset, rows::int, checksum from ops.versions where load_date = '{shop.day}'")
    assert {asset: (rows, checksum) for asset, rows, checksum in found} == {name: before[name] for name in CHANGED}
    shop.run()
    assert shop.kept() == CHANGED
    shop.publish(20.5)
    assert shop.kept() == CHANGED, "the first content is what readers see, and the second is kept"
    assert shop.content() == before
    found = shop.rows(f"select count(*)::int, count(relation)::int from ops.versions where load_date = '{shop.day}'")
    assert found == [(2 * len(CHANGED), len(CHANGED))]


def test_a_content_is_of_rows_and_columns(shop: KeptPipeline) -> None:
    shop.publish(20.5)
    shop.file("marts/weighed.sql", PARTITIONED.replace("description: Thing.}", "description: The thing.}"))
    assert not shop.build("marts.weighed", shop.day).held
    assert shop.kept() == {}
    shop.file("marts/heavy.sql", OTHER_COLUMNS)
    assert not shop.build("marts.heavy", shop.day).held
    assert shop.kept() == {"marts.heavy": 1}


def test_no_build_takes_kept_rows_for_a_leftover(shop: KeptPipeline) -> None:
    shop.publish(20.5)
    shop.publish(30)
    shop.land(things=b"thing_id,name,weight\n1,twice,1.00\n1,twice,1.00\n")
    assert shop.run()["raw.things"] == "held"
    shop.run()
    assert shop.kept() == CHANGED


def test_nothing_is_kept_unless_somebody_asks_for_it(shop: KeptPipeline) -> None:
    shop.configure("")
    shop.publish(20.5)
    shop.publish(30)
    assert shop.kept() == {}
    assert shop.rows(f"select count(*)::int from ops.versions where load_date = '{shop.day}'") == [(0,)]
    shop.configure("rollback: {keep: 1}")
    shop.file("raw/things.sql", RAW_THINGS.replace("grain:", "rollback: {keep: 0}\ngrain:"))
    shop.publish(40)
    assert shop.kept() == {name: 1 for name in CHANGED if name != "raw.things"}


@pytest.mark.nightly
def test_as_many_are_kept_as_the_words_say(shop: KeptPipeline) -> None:
    for weight in (1, 2, 3, 4):
        shop.publish(weight)
    assert shop.kept() == dict.fromkeys(CHANGED, 2)
    why = "select distinct dropped_why from ops.versions where dropped_at is not null and load_date = "
    assert shop.rows(f"{why}'{shop.day}'") == [("rollback: keep: 2",)]

    with shop.session() as session:
        everything = kept.every(session)
        own = [each for each in everything if each.load_date == shop.day]
        now = datetime.now(timezone.utc)
        assert find_due(shop.pipeline(), own, now) == {}
        due = find_due(shop.pipeline(), own, now + timedelta(days=14, minutes=1))
        assert due == {each.version_id: "rollback: days: 14" for each in own}
        largest = max(own, key=lambda each: each.size_bytes)
        all_bytes = sum(each.size_bytes for each in own)
        assert sum(size for _, size in bytes_by_table(own).values()) == all_bytes
        shop.configure(f"rollback: {{keep: 2, most_bytes: {all_bytes - 1}}}")
        [(first, why_dropped)] = find_due(shop.pipeline(), own, now).items()
        assert why_dropped == f"rollback: most_bytes: {all_bytes - 1}"
        assert [each.size_bytes for each in own if each.version_id == first] == [largest.size_bytes]
    shop.configure("rollback: {keep: 1}")
    context = shop.context()
    for name in ("raw.things", "marts.weighed"):
        table = context.pipeline.table(name)
        with context.session(table, "drop") as session:
            drop_due(context, session, table)
    assert shop.kept() == CHANGED


@pytest.mark.parametrize("how", few(1, ["load_date", "table", "retention"]))
def test_what_is_dropped_takes_its_kept_rows_with_it(shop: KeptPipeline, how: str) -> None:
    shop.publish(20.5)
    shop.publish(30)
    context, relation = shop.context(), Relation("raw", "things")
    table = context.pipeline.tables[relation]
    if how == "table":
        drop_table(shop.server, shop.name, relation, lambda *_: None)
    elif how == "load_date":
        with shop.session() as session:
            found = published_load_date(session, context.pipeline, table, shop.day, place="here")
        drop_load_date(context, found)
    else:
        publish = shop.current()["raw.things"]
        assert [*retention.drop_due(context, [publish])] == [(publish, "")]
    assert "raw.things" not in shop.kept()
    assert len(shop.kept()) == len(CHANGED) - 1
    shop.land(things=things(50))
    shop.run()


def test_rows_that_were_lost_are_published_again_and_nothing_is_kept_of_them(shop: KeptPipeline) -> None:
    shop.publish(20.5)
    with shop.session() as session:
        session.execute(f"delete from raw.things where load_date = '{shop.day}'")
        session.execute("drop table marts.weighed cascade")
    shop.publish(30)
    assert set(shop.kept()) == set(CHANGED) - {"raw.things", "marts.weighed"}
    context = shop.context()
    results = recheck(context, context.pipeline.table("marts.weighed"), shop.day)
    assert all(result.passed for result in results)


def test_a_publish_that_fails_keeps_nothing(lab: PipelineHarness, shop: KeptPipeline) -> None:
    del lab
    shop.publish(20.5)

    def stop(phase: str, _done: int, _total: int) -> None:
        if phase == "publishing":
            with shop.session() as session:
                session.execute("update ops.publishes set checksum = checksum where false")
            raise KeyboardInterrupt

    shop.land(things=things(30))
    shop.verify("raw.things", shop.day)
    context = shop.prepared(on_progress=stop)
    with pytest.raises(KeyboardInterrupt):
        build(context, context.pipeline.table("raw.things"), shop.day)
    assert shop.kept() == {}
