"""The arithmetic of the soak: what lands when, and a verdict that finds each fault."""

from datetime import date, timedelta

import pytest
from psycopg.conninfo import make_conninfo

from kpi_assets.model.names import Relation
from kpi_assets_tests.e2e.soak import verdict
from kpi_assets_tests.e2e.soak.kills import FILES, deliveries
from kpi_assets_tests.e2e.soak.readers import Reader
from kpi_assets_tests.pipeline_harness import DAY, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness

PARTITIONED = RAW_THINGS.replace("grain:", "storage: partitions\ngrain:")


@pytest.mark.fast
def test_a_seed_decides_what_lands_and_every_third_load_date_comes_twice() -> None:
    found = deliveries(5, 1200, 10)
    assert found == deliveries(5, 1200, 10) != deliveries(6, 1200, 10)
    assert found == sorted(found, key=lambda each: each.at)
    for name, (first, *_) in FILES.items():
        days = [each.day for each in found if each.pipeline == name]
        assert set(days) == {first + timedelta(days=number) for number in range(10)}
        assert len(days) == (14 if name == "instacart" else 10)
    twice = [each.orders for each in found if (each.pipeline, each.day) == ("instacart", date(2025, 3, 4))]
    assert twice == [2003, 2503]
    assert all(0 <= each.at <= 1200 for each in found)


@pytest.fixture
def lab(lab: PipelineHarness) -> PipelineHarness:
    """A pipeline with a published load_date of which one record was set aside."""
    lab.file("raw/things.sql", PARTITIONED.replace("columns:", "quarantine: {rows: 1}\ncolumns:"))
    lab.file("marts/weighed.sql", MART)
    lab.put_things(GOOD + b"broken\n")
    for name in ("raw.things", "marts.weighed"):
        assert not lab.build(name).held
    return lab


FAULTS = {
    "": [],
    "delete from raw.things where thing_id = 2": [
        "raw.things of 2025-03-01: 1 rows are stored, and 2 were published: somebody changed them; run it again"
    ],
    "update raw.things set weight = 20.51 where thing_id = 1": [
        "raw.things of 2025-03-01: the rows differ from what was published: somebody changed them; run it again"
    ],
    "update ops.publishes set superseded_at = now() where asset = 'marts.weighed'": [
        "marts.weighed of 2025-03-01 has 0 current publishes, and 1 are due"
    ],
    "update ops.pipeline_runs set rows_quarantined = 0 where job = 'raw.things'": [
        "raw.things of 2025-03-01: 3 records were delivered, 3 read, 2 loaded, 0 set aside, 2 published"
    ],
    "create table builds.left_over (n integer)": ["builds.left_over was left behind"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_verdict_finds_each_fault(lab: PipelineHarness, fault: str) -> None:
    if fault:
        with lab.session() as session:
            session.execute(fault.encode())
    url = make_conninfo(lab.server.get_secret_value(), dbname=lab.name)
    found = verdict.wrong(url, lab.pipeline(), [DAY], {(lab.name, "things.csv", DAY): 3})
    assert found == [f"{lab.name}: {each}" for each in FAULTS[fault]]


def test_the_verdict_misses_no_load_date_and_no_record(lab: PipelineHarness) -> None:
    url = make_conninfo(lab.server.get_secret_value(), dbname=lab.name)
    found = verdict.wrong(url, lab.pipeline(), [DAY, NEXT], {(lab.name, "things.csv", DAY): 4})
    assert found == [
        f"{lab.name}: {each}"
        for each in (
            "marts.weighed of 2025-03-02 has 0 current publishes, and 1 are due",
            "raw.things of 2025-03-02 has 0 current publishes, and 1 are due",
            "raw.things of 2025-03-01: 4 records were delivered, 3 read, 2 loaded, 1 set aside, 2 published",
        )
    ]
    assert verdict.locks(url) == []
    with lab.session() as session:
        session.execute("select pg_advisory_lock(7)")
        assert [mode for *_, mode in verdict.locks(url) or []] == ["ExclusiveLock"]


def test_a_reader_notes_rows_that_are_not_those_of_the_ledger(lab: PipelineHarness) -> None:
    reader, relation = Reader(), Relation("raw", "things")
    with lab.session() as session:
        for _ in range(2):
            reader.look(session, lab.name, relation)
        assert (reader.looks, reader.mixtures) == (2, [])
        session.execute("delete from raw.things where thing_id = 2")
        reader.look(session, lab.name, relation)
    assert reader.mixtures == [f"{lab.name}: raw.things of 2025-03-01: 2 rows are published, 1 were seen"]
