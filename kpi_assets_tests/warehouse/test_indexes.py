"""The word `indexes`: a published table has the indexes of its file, and no publish waits for readers because of it."""

import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.warehouse import indexes
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.indexes import name_of
from kpi_assets_tests.materialize.test_slices import BODY, LINES
from kpi_assets_tests.materialize.test_slices import KEY as LINES_KEY
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness
from kpi_assets_tests.warehouse.test_tables import BEFORE, STORAGES, publish, things

ROWS = ["1, 'anvil', 7", "2, 'saw', 8"]
# (name, columns, whether it is valid) of each index of a table but those of its key.
FOUND = """
select c.relname, pg_get_indexdef(c.oid, 1, true) || coalesce(', ' || nullif(pg_get_indexdef(c.oid, 2, true), ''), ''),
    i.indisvalid
from pg_index as i inner join pg_class as c on i.indexrelid = c.oid
where i.indrelid = '{}'::regclass and not i.indisunique order by 1
"""


def found(lab: PipelineHarness, name: str = "marts.things") -> list[tuple[object, ...]]:
    return lab.rows(FOUND.format(name))


def indexed(words: str, storage: str) -> str:
    return things(BEFORE, ROWS, storage=storage, more=f"indexes: {{{words}}}\n")


@STORAGES
def test_indexes_are_created_changed_and_dropped_as_the_file_says(lab: PipelineHarness, storage: str) -> None:
    publish(lab, things(BEFORE, ROWS, storage=storage))
    assert found(lab) == []
    before = lab.pipeline().table("marts.things")
    publish(lab, indexed("by_name: [name], by_weight: [weight, name]", storage), NEXT)
    assert found(lab) == [("things index by_name", "name", True), ("things index by_weight", "weight, name", True)]
    after = lab.pipeline().table("marts.things")
    assert (after.code_version, after.checks_version) == (before.code_version, before.checks_version)

    oids = "select oid from pg_class where relname = 'things index by_name'"
    kept = lab.rows(oids)
    publish(lab, indexed("by_name: [name], by_weight: [weight]", storage), NEXT)
    assert found(lab) == [("things index by_name", "name", True), ("things index by_weight", "weight", True)]
    assert lab.rows(oids) == kept, "an index that does not change is not created again"
    publish(lab, things(BEFORE, ROWS, storage=storage), NEXT)
    assert found(lab) == []


@STORAGES
def test_an_index_that_somebody_else_made_stays(lab: PipelineHarness, storage: str) -> None:
    publish(lab, things(BEFORE, ROWS, storage=storage))
    with lab.session() as session:
        session.execute("create index by_hand on marts.things (weight)")
    publish(lab, indexed("by_name: [name]", storage), NEXT)
    publish(lab, things(BEFORE, ROWS, storage=storage), NEXT)
    assert found(lab) == [("by_hand", "weight", True)]


def test_a_history_has_them_over_the_columns_that_it_adds_too(lab: PipelineHarness) -> None:
    more = "history: {surrogate_key: key}\nindexes: {by_end: [end_date, name]}\n"
    publish(lab, things(BEFORE, ROWS, storage="history", more=more))
    assert ("things index by_end", "end_date, name", True) in found(lab)


def test_a_partition_brings_its_index_which_becomes_a_part_of_that_of_the_table(lab: PipelineHarness) -> None:
    publish(lab, indexed("by_name: [name]", "partitions"))
    publish(lab, indexed("by_name: [name]", "partitions"), NEXT)
    of_partitions = "select count(*) from pg_inherits where inhparent = 'marts.\"things index by_name\"'::regclass"
    assert lab.rows(of_partitions) == [(2,)]
    made = "select count(*) from pg_class where relkind = 'i' and relname ~ '^[0-9a-f]{16} index$'"
    assert lab.rows(made) == [(2,)], "both were built on the candidates, under names that were made for these"


def test_slices_bring_theirs(lab: PipelineHarness) -> None:
    lab.file("raw/lines.sql", LINES.replace("columns:", "indexes: {by_note: [note]}\ncolumns:"))
    lab.put(LINES_KEY, BODY)
    outcome = lab.build("raw.lines", writers=3, slice_bytes=len(BODY) // 5)
    assert not outcome.held
    of_slices = "select count(*) from pg_class where relkind = 'i' and relname ~ '^[0-9a-f]{16} index$'"
    assert lab.rows(of_slices) == [(6,)]
    assert found(lab, "raw.lines") == [("lines index by_note", "note", True)]


@STORAGES
def test_a_reader_postpones_the_drop_of_an_index_and_not_the_publish(lab: PipelineHarness, storage: str) -> None:
    publish(lab, indexed("by_name: [name]", storage))
    with lab.session() as reader, reader.transaction():
        reader.execute("select count(*) from marts.things")
        publish(lab, indexed("by_weight: [weight]", storage), NEXT)
        assert [name for name, *_ in found(lab)] == ["things index by_name", "things index by_weight"]
    publish(lab, indexed("by_weight: [weight]", storage), NEXT)
    assert [name for name, *_ in found(lab)] == ["things index by_weight"]


def test_names_that_are_too_long_are_shortened_and_stay_different() -> None:
    relation = Relation("marts", "t" * 40)
    names = {name_of(relation, "w" * 20 + end) for end in "abc"}
    assert len(names) == 3
    assert all(len(name) == 63 for name in names)
    assert name_of(Relation("marts", "things"), "w" * 40) == f"things index {'w' * 40}"


def test_a_declared_index_with_a_long_name_is_found_again(lab: PipelineHarness) -> None:
    name, word = "t" * 40, "w" * 40
    lab.file(f"marts/{name}.sql", indexed(f"{word}: [name]", "rows"))
    for _ in range(2):
        lab.build(f"marts.{name}")
    assert len(found(lab, f"marts.{name}")) == 1
    lab.file(f"marts/{name}.sql", things(BEFORE, ROWS))
    lab.build(f"marts.{name}")
    assert found(lab, f"marts.{name}") == []


def test_a_candidate_that_becomes_no_partition_has_none(lab: PipelineHarness) -> None:
    lab.file("marts/things.sql", indexed("by_name: [name]", "rows"))
    context = lab.prepared()
    with lab.session() as session:
        indexes.build(session, Candidate(context.pipeline.table("marts.things"), DAY, 1))  # there is no such relation


KEY = "indexes.by_key: the index of the table's key"


@pytest.mark.parametrize(
    ("words", "storage", "sentence"),
    [
        ("by_size: [size]", "rows", "'size' is not one of the columns (load_date, thing_id, name, weight)"),
        ("by_name: [name, name]", "rows", "indexes.by_name: a column is named twice: take it out once"),
        ("by_name: [name], again: [name]", "rows", "indexes.again: has the same columns as by_name: take one of them"),
        ("by_key: [load_date, thing_id]", "rows", f"{KEY} (load_date, thing_id) finds these rows already"),
        ("by_key: [load_date]", "rows", f"{KEY} (load_date, thing_id) finds these rows already: take it out"),
        ("by_key: [thing_id]", "partitions", f"{KEY} (thing_id) finds these rows already: take it out"),
        ("by_key: [thing_id]", "history", f"{KEY} (thing_id, effective_date) finds these rows already"),
        ("by_key: [key]", "history", f"{KEY} (key) finds these rows already"),
        ("by_day: [load_date]", "history", "'load_date' is not one of the columns (key, thing_id, name, weight,"),
        ("by_none: []", "rows", "indexes.by_none: it has 0 parts: write at least 1"),
        ("By: [name]", "rows", "'By' is not a valid name"),
    ],
)
def test_what_cannot_be_an_index_is_refused(lab: PipelineHarness, words: str, storage: str, sentence: str) -> None:
    more = "history: {surrogate_key: key}\n" * (storage == "history")
    lab.file("marts/things.sql", things(BEFORE, ROWS, storage=storage, more=f"{more}indexes: {{{words}}}\n"))
    with pytest.raises(ModelError) as caught:
        lab.pipeline()
    assert sentence in str(caught.value)


def test_a_key_of_all_load_dates_can_be_an_index_of_rows(lab: PipelineHarness) -> None:
    publish(lab, indexed("by_key: [thing_id]", "rows"))
    assert [columns for _, columns, _ in found(lab)] == ["thing_id"]


def test_neither_json_nor_a_view_can_be_indexed(lab: PipelineHarness) -> None:
    lab.file("marts/things.sql", things({**BEFORE, "doc": "json"}, ["1, 'a', 2, null"], more="indexes: {d: [doc]}\n"))
    with pytest.raises(ModelError, match="'doc' is json, of which PostgreSQL compares no values: declare jsonb"):
        lab.pipeline()
    lab.file("marts/things.sql", things(BEFORE, ROWS))
    view = "select thing_id, name, weight from marts.things where load_date = %(load_date)s\n"
    header = things(BEFORE, ROWS, storage="view", more="indexes: {by_name: [name]}\n").partition("@end */\n")[0]
    lab.file("marts/shown.sql", f"{header}@end */\n{view}")
    with pytest.raises(ModelError, match="indexes: a view has no rows that could be found faster: put it at the table"):
        lab.pipeline()
