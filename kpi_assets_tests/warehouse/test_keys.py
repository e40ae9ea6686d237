"""The key of `storage: rows` is a primary key, also of tables that were published before it was one."""

import time

import pytest

from kpi_assets.warehouse import keys
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness
from kpi_assets_tests.warehouse.test_tables import BEFORE, execute, publish, things

ROWS = ["1, 'anvil', 7", "2, 'saw', 8"]
CONSTRAINTS = (
    "select contype::text, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'marts.things'::regclass "
    "and contype in ('p', 'u', 'c') order by 1, 2"
)
NOT_NULL = (
    "select attname from pg_attribute where attrelid = 'marts.things'::regclass and attnum > 0 and attnotnull "
    "order by 1"
)
UNIQUE = "select indisunique, indisprimary from pg_index where indrelid = 'marts.things'::regclass"
PRIMARY = [("p", "PRIMARY KEY (load_date, thing_id)")]


def older(lab: PipelineHarness, more: str = "") -> None:
    """Publish a table and give it the key that it had before it was a primary key."""
    publish(lab, things(BEFORE, ROWS, more=more))
    [(name,)] = lab.rows(
        "select conname from pg_constraint where conrelid = 'marts.things'::regclass and contype = 'p'"
    )
    execute(lab, f'alter table marts.things drop constraint "{name}"')
    execute(lab, "alter table marts.things alter load_date drop not null, alter thing_id drop not null")
    execute(lab, f'create unique index "{name}" on marts.things (load_date, thing_id)')
    assert lab.rows(CONSTRAINTS) == lab.rows(NOT_NULL) == []


def test_a_new_table_has_a_primary_key(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ROWS))
    assert lab.rows(CONSTRAINTS) == PRIMARY
    assert lab.rows(NOT_NULL) == [("load_date",), ("thing_id",)]
    publish(lab, things(BEFORE, ROWS), NEXT)
    assert lab.rows(CONSTRAINTS) == PRIMARY


def test_an_older_table_gets_it_at_the_next_publish(lab: PipelineHarness) -> None:
    older(lab)
    index = "select oid from pg_class where oid = (select indexrelid from pg_index where indrelid = %s::regclass)"
    before = lab.rows(index.replace("%s", "'marts.things'"))
    publish(lab, things(BEFORE, ROWS), NEXT)
    assert lab.rows(CONSTRAINTS) == PRIMARY
    assert lab.rows(NOT_NULL) == [("load_date",), ("thing_id",)]
    assert lab.rows(index.replace("%s", "'marts.things'")) == before, "the index is the one that was there"


def test_a_reader_postpones_it_and_not_the_publish(lab: PipelineHarness) -> None:
    older(lab)
    with lab.session() as reader, reader.transaction():
        reader.execute("select count(*) from marts.things")
        start = time.monotonic()
        publish(lab, things(BEFORE, ROWS), NEXT)
        assert time.monotonic() - start < 10, "it waits for nobody"
        assert lab.rows(CONSTRAINTS) == []
    publish(lab, things(BEFORE, ROWS), NEXT)
    assert lab.rows(CONSTRAINTS) == PRIMARY


def test_no_row_is_read_while_readers_are_kept_out(lab: PipelineHarness) -> None:
    """The proof is the whole scan. If it were not used, the key would scan the table again."""
    older(lab)
    execute(lab, "insert into marts.things select '2024-01-01', n, 'x', 1 from generate_series(1, 50000) as n")
    context = lab.prepared()
    table = context.pipeline.table("marts.things")
    reads = "select pg_stat_get_xact_blocks_fetched('marts.things'::regclass)"
    with lab.session() as session:
        keys.prove(session, table)
        with session.transaction():
            [(before,)] = session.execute(reads).fetchall()
            keys.declare(session, table)
            [(after,)] = session.execute(reads).fetchall()
            assert after - before < 10
    assert lab.rows(CONSTRAINTS) == PRIMARY


def test_a_key_with_null_in_other_load_dates_stays_a_unique_index(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, null, 7", "2, 'saw', 8"]))
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), NEXT)
    assert lab.rows(CONSTRAINTS) == []
    assert lab.rows(UNIQUE) == [(True, False)]
    assert lab.rows(NOT_NULL) == [("load_date",)] or lab.rows(NOT_NULL) == []
    # Built again, the older load_date has none. The next publish proves it.
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), DAY)
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), NEXT)
    assert lab.rows(CONSTRAINTS) == [("p", "PRIMARY KEY (load_date, name)")]


def test_columns_that_leave_the_key_may_be_null(lab: PipelineHarness) -> None:
    columns = {"name": "text", "weight": "integer"}
    publish(lab, things(BEFORE, ROWS))
    publish(lab, things(columns, ["'anvil', 7"], grain="name"), NEXT)  # thing_id stays, and is NULL
    assert lab.rows(CONSTRAINTS) == [("p", "PRIMARY KEY (load_date, name)")]
    assert lab.rows(NOT_NULL) == [("load_date",), ("name",)]
    assert lab.rows("select load_date, thing_id, name from marts.things order by 1, 2") == [
        (DAY, 1, "anvil"),
        (DAY, 2, "saw"),
        (NEXT, None, "anvil"),
    ]


def test_a_view_that_depends_on_the_key_is_named(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ROWS))
    execute(lab, "create view marts.grouped as select load_date, thing_id, name from marts.things group by 1, 2")
    lab.file("marts/things.sql", things(BEFORE, ROWS, grain="name"))
    with pytest.raises(
        DefinitionError, match=r"marts\.things cannot get another key .*grouped.*: drop what depends on"
    ):
        lab.build("marts.things", NEXT)


def test_a_changed_type_keeps_the_key(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ROWS))
    publish(lab, things({**BEFORE, "thing_id": "bigint"}, ROWS), NEXT)
    assert lab.rows(CONSTRAINTS) == PRIMARY
