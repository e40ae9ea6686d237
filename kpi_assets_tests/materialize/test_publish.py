"""Readers see only rows that passed their gates, and no table is built from rows that did not."""

import pytest

from kpi_assets.materialize.context import UpstreamError
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness, failed


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_a_held_build_changes_nothing_for_readers(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(GOOD)
    first = lab.build("raw.things")
    assert (first.held, first.rows) == (False, 2)

    lab.put_things(DOUBLED)
    second = lab.build("raw.things")

    assert second.held
    assert failed(second.results)["grain"].metric == 1
    assert lab.rows("select thing_id, name, weight::text from raw.things order by thing_id") == [
        (1, "anvil", "20.50"),
        (2, "feather", None),
    ]
    assert lab.rows("select publish_id, rows, build_id from ops.published") == [(first.publish_id, 2, first.build_id)]
    assert lab.rows(f"select count(*) from {second.candidate}") == [(2,)], "the candidate is kept for inspection"


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_the_next_build_replaces_the_load_date_and_drops_the_held_candidate(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(GOOD)
    lab.put_things(GOOD, NEXT)
    lab.build("raw.things")
    lab.build("raw.things", NEXT)
    lab.put_things(DOUBLED)
    held = lab.build("raw.things")
    lab.put_things(b"thing_id,name,weight\n7,saw,1.00\n")

    healed = lab.build("raw.things")

    assert not healed.held
    assert lab.rows("select load_date, thing_id from raw.things order by 1, 2") == [(DAY, 7), (NEXT, 1), (NEXT, 2)]
    assert lab.rows(f"select to_regclass('{held.candidate}')") == [(None,)]
    left = {
        name
        for (name,) in lab.rows(
            "select relname from pg_class where relnamespace = 'builds'::regnamespace and relkind = 'r'"
        )
    }
    assert len(left) == (2 if storage == "partitions" else 0), left


def test_a_table_is_not_built_from_an_unpublished_input(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    lab.put_things(DOUBLED)
    assert lab.build("raw.things").held

    with pytest.raises(UpstreamError, match=r"marts\.weighed of 2025-03-01 cannot be built: raw\.things"):
        lab.build("marts.weighed")

    assert lab.rows("select to_regclass('marts.weighed')") == [(None,)]
    assert lab.rows("select job, status from ops.pipeline_runs order by id") == [
        ("s3.things", "success"),
        ("raw.things", "held"),
        ("marts.weighed", "failed"),
    ]


def test_a_table_warns_about_an_input_whose_latest_build_is_held(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    lab.put_things(GOOD)
    lab.build("raw.things")
    lab.put_things(DOUBLED)
    lab.build("raw.things")

    outcome = lab.build("marts.weighed")

    assert (outcome.held, outcome.rows) == (False, 1)
    assert len(outcome.warnings) == 1
    assert outcome.warnings[0].endswith("its latest build is held")


def test_the_same_objects_and_sql_give_the_same_checksums(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    lab.put_things(GOOD)
    first = [lab.build(name).checksum for name in ("raw.things", "marts.weighed")]
    second = [lab.build(name).checksum for name in ("raw.things", "marts.weighed")]
    assert first == second
    lab.put_things(GOOD.replace(b"20.50", b"20.51"))
    third = [lab.build(name).checksum for name in ("raw.things", "marts.weighed")]
    assert first[0] != third[0]
    assert first[1] != third[1]


def test_an_empty_database_gets_the_same_rows_checksums_and_versions_from_the_objects(lab: PipelineHarness) -> None:
    """One table of each kind of storage, and two load_dates of which the second corrects the first."""
    history = MART.replace("grain:", "storage: history\nhistory: {surrogate_key: sk, max_changed: 1}\ngrain:")
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
    lab.file("marts/weighed.sql", MART)
    lab.file("marts/known.sql", history)
    names = ("raw.things", "marts.weighed", "marts.known")
    bodies = {DAY: GOOD, NEXT: b"thing_id,name,weight\n1,anvil,20.51\n7,saw,1.00\n"}

    def built() -> list[object]:
        for day, body in bodies.items():
            lab.put_things(body, day)
            for name in names:
                assert not lab.build(name, day).held
        ledger = "select asset, load_date, rows, checksum, manifest_hash, code_version from ops.published order by 1, 2"
        return [lab.rows(ledger), *(lab.rows(f"select * from {name} as t order by t::text") for name in names)]

    first = built()
    assert [len(rows) for rows in first] == [6, 4, 3, 3]
    lab.in_postgres(f'drop database "{lab.name}" with (force)')
    lab._ready = None
    assert built() == first
