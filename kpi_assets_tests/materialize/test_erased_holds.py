"""What a rollback keeps out stays out when erased persons are taken out of its object, until something new comes."""

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import sql

from kpi_assets.ledger.locks import build_lock, try_lock
from kpi_assets.materialize import erase as steps
from kpi_assets.materialize import erased_holds
from kpi_assets.materialize.erase import Asked
from kpi_assets.materialize.rollback import RolledBack, roll_back
from kpi_assets.materialize.rolled_back import at_instant, plan
from kpi_assets.materialize.rule import revoke
from kpi_assets.model.names import Relation
from kpi_assets.sources import decisions as objects
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.materialize.test_erase import MART
from kpi_assets_tests.materialize.test_erasures import HEADER, RAW, deliver
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

GOOD = ["1,ana@x.org,1.00", "2,bob@x.org,2.00"]
BAD = ["1,ana@x.org,10.00", "2,bob@x.org,20.00", "3,cyd@x.org,40.00"]
REASON = "the tills were wrong that day"
ROWS = "select customer_id::int, spent::text from {} order by 1"
TENFOLD = MART.replace("select customer_id, spent", "select customer_id, (10 * spent)::numeric(8,2) as spent")
SEVERAL = RAW.replace("{load_date}/customers.csv", "{load_date}/*.csv")


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline that keeps what readers saw."""
    lab.file("raw/customers.sql", RAW)
    lab.file("marts/spent.sql", MART)
    yaml = lab.folder / "pipeline.yaml"
    yaml.write_text(yaml.read_text() + "rollback: {keep: 2, days: 14}\n")
    return lab


def published(lab: PipelineHarness) -> tuple[list[Any], list[Any]]:
    """Return what readers see of both tables."""
    return lab.rows(ROWS.format("raw.customers")), lab.rows(ROWS.format("marts.spent"))


def build(lab: PipelineHarness) -> tuple[bool, bool]:
    """Build both tables; return whether each was held."""
    return lab.build("raw.customers").held, lab.build("marts.spent").held


def rolled_back(lab: PipelineHarness, change: Callable[[], object], roots: int = 1) -> RolledBack:
    """Publish both tables, change something, publish them again, and roll the load_date back."""
    assert build(lab) == (False, False)
    [[good]] = lab.rows("select clock_timestamp()")
    change()
    assert build(lab) == (False, False)
    context = lab.prepared()
    with lab.session() as session:
        planned = plan(session, context.pipeline, DAY, at_instant(good))
    assert len(planned.roots) == roots
    return roll_back(context, planned, REASON, "ana")


def erase(lab: PipelineHarness, *values: str) -> None:
    """Erase persons from the objects, up to the builds."""
    context = lab.prepared()
    asked = Asked("customer", values, "REQ-1", "asked to be erased", "ana")
    steps.write(context, asked, steps.keys_of(context, "customer", values))
    go_on(lab)


def go_on(lab: PipelineHarness) -> None:
    context = lab.prepared()
    for erasure in steps.bring_up_all(context):
        steps.rewrite_objects(context, erasure, lambda _key, _erased: None)


def marks(lab: PipelineHarness) -> list[str]:
    """Return the names of the objects beside the rulings on raw.customers."""
    found = lab.store.entries(f"decisions/raw.customers/load_date={DAY}/")
    return sorted(entry.key.rpartition("/")[2].partition("-")[0] for entry in found if ".without-" in entry.key)


def test_an_object_that_was_rolled_back_stays_out_without_the_persons(lab: PipelineHarness) -> None:
    deliver(lab, *GOOD)
    done = rolled_back(lab, lambda: deliver(lab, *BAD))
    erase(lab, "2")
    key = f"raw/customers/load_date={DAY}/customers.csv"
    body = lab.s3.get_object(Bucket=lab.bucket, Key=key)["Body"].read().decode()
    assert body == HEADER + f"{BAD[0]}\n{BAD[2]}\n"
    assert marks(lab) == ["0001.without"] * 2
    table = lab.pipeline().table("raw.customers")
    found = objects.find(lab.store, table.relation, DAY)
    [ruling] = objects.read(lab.store, table, found).rulings
    assert [each.key for each in found.entries] == [ruling.key]
    assert objects.find_all(lab.store, lab.pipeline(), DAY, DAY) == {DAY: {"raw.customers": found.hash}}
    assert [each.hash for each in objects.find_of_table(lab.store, table.relation)] == [found.hash]

    for _ in range(2):
        outcome = lab.build("raw.customers")
        assert outcome.held
        at = f"{ruling.at:%Y-%m-%d %H:%M} UTC"
        assert [each.message for each in outcome.results if each.blocks_publish] == [
            f"kept out by ana on {at}: {REASON}"
        ]
        assert outcome.rows == 2
        assert not lab.build("marts.spent").held
        assert published(lab) == ([(1, "1.00"), (2, "2.00")], [(1, "1.00"), (2, "2.00")])

    erase(lab, "3")
    assert marks(lab) == ["0001.without"] * 3
    assert lab.build("raw.customers").held, "the object was written again a second time"
    deliver(lab, *BAD)
    assert lab.build("raw.customers").held, "the source has delivered the condemned bytes again"
    revoke(lab.prepared(), done.rulings[0].ruling_id, "the tills were right after all", "ben")
    assert build(lab) == (False, False)
    assert published(lab) == ([(1, "10.00")], [(1, "10.00")])


def test_it_is_not_built_between_its_object_and_its_ruling(lab: PipelineHarness) -> None:
    deliver(lab, *GOOD)
    rolled_back(lab, lambda: deliver(lab, *BAD))
    context, asked, free = lab.prepared(), Asked("customer", ["2"], "REQ-1", "asked to be erased", "ana"), list[bool]()
    steps.write(context, asked, steps.keys_of(context, "customer", ["2"]))
    [erasure] = steps.bring_up_all(context)

    def look(*_: object) -> None:
        with lab.session() as other:
            free.append(try_lock(other, build_lock(Relation("raw", "customers"), DAY)))

    steps.rewrite_objects(context, erasure, look)
    look()
    assert free == [False, True]


def test_it_stays_out_of_a_database_that_is_made_anew(lab: PipelineHarness) -> None:
    deliver(lab, *GOOD)
    rolled_back(lab, lambda: deliver(lab, *BAD))
    erase(lab, "2")
    with connect(lab.server, "postgres", "lab") as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(lab.name)))
    lab._ready = None
    assert lab.build("raw.customers").held
    assert lab.rows("select asset from ops.published where asset not like 'decisions.%'") == []
    deliver(lab, *BAD[:2], "3,cyd@x.org,4.00")
    assert build(lab) == (False, False), "a corrected delivery is something new"
    assert published(lab) == ([(1, "10.00"), (3, "4.00")], [(1, "10.00"), (3, "4.00")])


def test_sql_that_was_rolled_back_stays_out_of_rows_without_the_persons(lab: PipelineHarness) -> None:
    deliver(lab, *GOOD)
    rolled_back(lab, lambda: lab.file("marts/spent.sql", TENFOLD))
    erase(lab, "2")
    assert marks(lab) == [], "it is no ruling on the object"
    for _ in range(2):
        assert build(lab) == (False, True)
        assert published(lab) == ([(1, "1.00")], [(1, "1.00"), (2, "2.00")])
    deliver(lab, "1,ana@x.org,3.00")
    assert build(lab) == (False, False)
    assert published(lab) == ([(1, "3.00")], [(1, "30.00")])


def test_who_is_killed_before_the_ruling_follows_goes_on(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(lab, *GOOD)
    rolled_back(lab, lambda: deliver(lab, *BAD))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(erased_holds, "_follow", killed)
        erase(lab, "2")
    assert marks(lab) == []
    go_on(lab)
    assert marks(lab) == ["0001.without"] * 2
    assert lab.build("raw.customers").held


def test_a_delivery_that_came_meanwhile_or_a_ruling_that_was_revoked_is_not_followed(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(lab, *GOOD)
    done = rolled_back(lab, lambda: deliver(lab, *BAD))
    with monkeypatch.context() as patched:
        patched.setattr(erased_holds, "_follow", lambda *_: None)
        erase(lab, "2")
    deliver(lab, "1,ana@x.org,5.00")
    go_on(lab)
    assert marks(lab) == []
    assert build(lab) == (False, False)
    deliver(lab, *BAD)
    revoke(lab.prepared(), done.rulings[0].ruling_id, "the tills were right after all", "ben")
    erase(lab, "3")
    assert marks(lab) == []
    assert build(lab) == (False, False)
    assert published(lab)[0] == [(1, "10.00")]


@pytest.mark.parametrize("is_built", [True, False])
def test_of_several_objects_each_may_be_written_again(lab: PipelineHarness, is_built: bool) -> None:
    lab.file("raw/customers.sql", SEVERAL)

    def land(*several: list[str]) -> None:
        for name, rows in zip("ab", several, strict=True):
            body = HEADER + "".join(f"{row}\n" for row in rows)
            lab.put(f"raw/customers/load_date={DAY}/{name}.csv", body.encode())

    land(GOOD, ["4,dan@x.org,8.00"])
    rolled_back(lab, lambda: land(BAD, ["4,dan@x.org,80.00", "2,bob@x.org,90.00", "5,eve@x.org,100.00"][::2]))
    erase(lab, "5")
    if is_built:
        assert lab.build("raw.customers").held, "one of the two"
    erase(lab, "2", "4")
    assert lab.build("raw.customers").held, "both"
    assert lab.rows(ROWS.format("raw.customers")) == [(1, "1.00"), (2, "2.00"), (4, "8.00")]
    land(BAD[:1], ["6,fay@x.org,7.00"])
    assert build(lab) == (False, False)
    assert lab.rows(ROWS.format("raw.customers")) == [(1, "10.00"), (6, "7.00")]
