"""The published table follows its file while other load_dates are published; what stands in the way is a sentence."""

import re
from datetime import date

import pytest

from kpi_assets.ledger import publishes
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import check_as_published
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets.warehouse.tables import find_mismatches
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

FILE = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: [{grain}]
storage: {storage}
columns:
{columns}
{more}@end */
select
    {select}
from (values {rows}) as v ({names})
"""
STORAGES = pytest.mark.parametrize("storage", ["rows", "partitions"])


def things(
    columns: dict[str, str], rows: list[str], *, storage: str = "rows", grain: str = "thing_id", more: str = ""
) -> str:
    """A file whose SELECT returns the given rows, each a list of SQL constants, cast to the columns' types."""
    return FILE.format(
        grain=grain,
        storage=storage,
        columns="\n".join(f'  {name}: {{type: "{type_}", description: Of {name}.}}' for name, type_ in columns.items()),
        more=more,
        select=",\n    ".join(f"{name}::{type_} as {name}" for name, type_ in columns.items()),
        rows=", ".join(f"({row})" for row in rows),
        names=", ".join(columns),
    )


BEFORE = {"thing_id": "integer", "name": "text", "weight": "integer"}


def publish(lab: PipelineHarness, text: str, day: date = DAY) -> None:
    lab.file("marts/things.sql", text)
    assert not lab.build("marts.things", day).held


def execute(lab: PipelineHarness, statement: str) -> None:
    with lab.session() as session:
        session.execute(statement.encode())


def types(lab: PipelineHarness, name: str = "marts.things") -> dict[str, str]:
    return dict(
        lab.rows(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            f"where attrelid = '{name}'::regclass and attnum > 0 and not attisdropped"
        )
    )


# What a file changes to, a row of it, and which columns the table keeps for the load_date of before, or keeps wider.
CHANGES = {
    "gains a column": ({**BEFORE, "unit": "text"}, "2, 'saw', 5, 'kg'", {}),
    "gains a column in the middle": (
        {"thing_id": "integer", "unit": "text", "name": "text", "weight": "integer"},
        "2, 'kg', 'saw', 5",
        {},
    ),
    "loses a column": ({"thing_id": "integer", "name": "text"}, "2, 'saw'", {"weight": "integer"}),
    "renames a column": (
        {"thing_id": "integer", "label": "text", "weight": "integer"},
        "2, 'saw', 5",
        {"name": "text"},
    ),
    "widens a column": ({**BEFORE, "weight": "bigint"}, "2, 'saw', 5", {}),
    "narrows a column": ({**BEFORE, "weight": "smallint"}, "2, 'saw', 5", {"weight": "integer"}),
    "retypes a column": ({**BEFORE, "weight": "numeric(6,2)"}, "2, 'saw', 5.25", {"weight": "numeric"}),
    "retypes a column to a roomy one": ({**BEFORE, "weight": "numeric(12,2)"}, "2, 'saw', 5.25", {}),
    "retypes a column to text": ({**BEFORE, "weight": "text"}, "2, 'saw', 5", {}),
    "retypes a text": ({**BEFORE, "name": "integer"}, "2, 9, 5", {"name": "text"}),
    "takes its columns in another order": (
        {"weight": "integer", "name": "text", "thing_id": "integer"},
        "5, 'saw', 2",
        {},
    ),
}


def rows_of(lab: PipelineHarness, day: date, columns: dict[str, str]) -> list[tuple[object, ...]]:
    """What is stored of a load_date, as text, in the types with which it was published."""
    names = ", ".join(f"{name}::{type_}::text" for name, type_ in columns.items())
    return lab.rows(f"select {names} from marts.things where load_date = '{day}' order by thing_id")


def is_as_published(lab: PipelineHarness, day: date) -> bool:
    """Whether the ledger's checksum is that of the stored rows."""
    table = lab.pipeline().table("marts.things")
    with lab.session() as session:
        publish = publishes.current(session, [table.relation], day)[table.relation]
        return check_as_published(session, table, publish).passed


@STORAGES
@pytest.mark.parametrize(("columns", "row", "kept"), CHANGES.values(), ids=CHANGES)
def test_a_header_changes_while_another_load_date_is_published(
    lab: PipelineHarness, storage: str, columns: dict[str, str], row: str, kept: dict[str, str]
) -> None:
    before = things(BEFORE, ["1, 'anvil', 7"], storage=storage)
    publish(lab, before)
    after = things(columns, [row], storage=storage)
    publish(lab, after, NEXT)

    assert types(lab) == {"load_date": "date", **columns, **kept}
    assert rows_of(lab, DAY, BEFORE) == [("1", "anvil", "7")], "nobody published it again"
    values = zip(row.split(","), columns.values(), strict=True)
    new = lab.rows("select " + ", ".join(f"{value}::{type_}::text" for value, type_ in values))
    assert rows_of(lab, NEXT, columns) == new
    assert is_as_published(lab, DAY)
    assert is_as_published(lab, NEXT)
    assert lab.rows("select load_date, columns from ops.published order by 1") == [
        (DAY, [list(column) for column in BEFORE.items()]),
        (NEXT, [list(column) for column in columns.items()]),
    ]

    publish(lab, after, DAY)
    assert types(lab) == {"load_date": "date", **columns}, "no load_date needs what was kept"
    assert rows_of(lab, DAY, columns) == rows_of(lab, NEXT, columns) == new
    assert is_as_published(lab, DAY)
    assert is_as_published(lab, NEXT)

    publish(lab, before, DAY)
    assert rows_of(lab, DAY, BEFORE) == [("1", "anvil", "7")]
    assert rows_of(lab, NEXT, columns) == new, "nor is one changed by the way back"
    assert is_as_published(lab, NEXT)


def test_a_column_that_was_taken_out_by_mistake_is_there_again_with_all_its_values(lab: PipelineHarness) -> None:
    text = things(BEFORE, ["1, 'anvil', 7"])
    publish(lab, text)
    publish(lab, things({"thing_id": "integer", "name": "text"}, ["1, 'anvil'"]), NEXT)
    publish(lab, text, NEXT)
    assert lab.rows("select load_date, weight from marts.things order by 1") == [(DAY, 7), (NEXT, 7)]


@STORAGES
def test_types_that_have_nothing_in_common_stand_in_the_way(lab: PipelineHarness, storage: str) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=storage))
    path = lab.file("marts/things.sql", things({**BEFORE, "weight": "date"}, ["2, 'x', null"], storage=storage))

    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: the column 'weight' cannot become date: it is integer in 2025-03-01, published before, which "
        rf"would lose by that: keep the type, give the column another name, or run `kpi drop {lab.name} marts\.things` "
        r"and backfill\.$",
    ):
        lab.build("marts.things", NEXT)

    assert types(lab) == {"load_date": "date", **BEFORE}
    assert rows_of(lab, DAY, BEFORE) == [("1", "anvil", "7")]
    assert lab.rows("select load_date from ops.published") == [(DAY,)]
    status, message = lab.rows("select status, error_message from ops.pipeline_runs order by id desc limit 1")[0]
    assert status == "failed"
    assert message.startswith(f"{path}: the column 'weight' cannot become date")

    lab.build("marts.things", DAY)
    assert types(lab)["weight"] == "date", "of the one load_date that is replaced nothing is lost"


@STORAGES
def test_somebody_s_view_of_a_column_keeps_its_type_unless_it_is_ours_to_make_anew(
    lab: PipelineHarness, storage: str
) -> None:
    publish(lab, things(BEFORE, ["1, '8', 7"], storage=storage))
    execute(
        lab, "create view marts.weights as select weight from marts.things; grant select on marts.weights to public"
    )
    publish(lab, things({**BEFORE, "weight": "bigint"}, ["2, 'x', 2"], storage=storage))
    assert types(lab, "marts.weights") == {"weight": "bigint"}
    assert lab.rows("select has_table_privilege('pg_monitor', 'marts.weights', 'select')") == [(True,)]

    publish(lab, things(BEFORE, ["1, '8', 7"], storage=storage))
    execute(lab, "create view public.weights as select weight from marts.things")
    lab.file("marts/things.sql", things({**BEFORE, "weight": "bigint"}, ["2, 'x', 2"], storage=storage))
    with pytest.raises(
        DefinitionError, match=r"cannot be altered to the header's columns \(cannot .*view public\.weights"
    ):
        lab.build("marts.things", NEXT)
    assert lab.rows("select weight from public.weights") == [(7,)]
    assert types(lab) == {"load_date": "date", **BEFORE}


@STORAGES
def test_somebody_s_view_of_a_column_that_no_load_date_has_any_more_keeps_it(
    lab: PipelineHarness, storage: str
) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=storage))
    execute(lab, "create view marts.weights as select weight from marts.things")
    publish(lab, things({"thing_id": "integer", "name": "text"}, ["1, 'anvil'"], storage=storage))
    assert lab.rows("select weight from marts.weights") == [(None,)]
    assert is_as_published(lab, DAY)


READER = """\
/* @asset
description: Weights of things.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  weight: {type: "numeric(6,2)", description: Weight.}
checks:
  known: {bad_rows: "select t.* from {this} as t join marts.things as o using (load_date) where o.weight <> t.weight"}
@end */
select
    thing_id,
    weight
from marts.things
where load_date = %(load_date)s
"""


@STORAGES
def test_a_build_reads_the_types_that_the_file_declares_while_others_are_kept(
    lab: PipelineHarness, storage: str
) -> None:
    narrow = {**BEFORE, "weight": "numeric(6,2)"}
    publish(lab, things({**BEFORE, "weight": "numeric(9,4)"}, ["1, 'anvil', 7.1234"], storage=storage))
    publish(lab, things(narrow, ["1, 'anvil', 7.12"], storage=storage), NEXT)
    assert types(lab)["weight"] == "numeric(9,4)"
    lab.file("marts/weights.sql", READER)
    assert not lab.build("marts.weights", NEXT).held
    assert types(lab, "marts.weights")["weight"] == "numeric(6,2)"
    assert lab.rows("select weight::text from marts.weights") == [("7.12",)]
    with pytest.raises(
        UpstreamError,
        match=r"^marts\.weights of 2025-03-01 cannot be built: marts\.things of 2025-03-01 was published before its "
        r"column 'weight' became what its file declares now; build that again first\.$",
    ):
        lab.build("marts.weights", DAY)


def test_a_build_does_not_read_a_column_that_a_load_date_was_published_without(lab: PipelineHarness) -> None:
    publish(lab, things({"thing_id": "integer", "name": "text"}, ["1, 'anvil'"]))
    publish(lab, things({**BEFORE, "weight": "numeric(6,2)"}, ["1, 'anvil', 7"]), NEXT)
    lab.file("marts/weights.sql", READER)
    with pytest.raises(UpstreamError, match="published before its column 'weight' became what its file declares now"):
        lab.build("marts.weights", DAY)
    assert not lab.build("marts.weights", NEXT).held
    lab.file(
        "marts/weights.sql",
        READER.replace("    weight\n", "    1.5::numeric(6,2) as weight\n").replace(
            "o.weight <> t.weight", "o.name is null"
        ),
    )
    assert not lab.build("marts.weights", DAY).held, "what it does not read may be whatever it is"


KPI = "kpi: {chart: {x: thing_id, y: weight}}\n"


def test_the_latest_view_follows_the_columns_and_the_latest_load_date(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], more=KPI))
    assert types(lab, "marts.things_latest") == {"load_date": "date", **BEFORE}
    after = {"thing_id": "integer", "weight": "bigint", "unit": "text"}
    publish(lab, things(after, ["2, 5, 'kg'"], more=KPI), NEXT)
    assert types(lab, "marts.things_latest") == {"load_date": "date", **after}
    assert lab.rows("select * from marts.things_latest") == [(NEXT, 2, 5, "kg")]
    publish(lab, things(after, ["3, 6, 'g'"], more=KPI), DAY)
    assert lab.rows("select thing_id from marts.things_latest") == [(2,)], "an older load_date is not the latest"


@STORAGES
def test_the_latest_view_is_as_its_load_date_was_published_whatever_an_older_one_becomes(
    lab: PipelineHarness, storage: str
) -> None:
    text = things(BEFORE, ["1, 'anvil', 7", "2, 'nail', 4"], storage=storage, more=KPI + VOLUME)
    publish(lab, text)
    publish(lab, text, NEXT)
    latest = "select * from marts.things_latest order by thing_id"
    before = lab.rows(latest)
    assert before == [(NEXT, 1, "anvil", 7)]
    publish(
        lab,
        things({"thing_id": "integer", "weight": "integer", "unit": "text"}, ["1, 5, 'kg'"], storage=storage, more=KPI),
    )
    assert lab.rows(latest) == before, "nobody published it again: no column less, and no row more"
    publish(
        lab,
        things({"thing_id": "integer", "weight": "integer", "unit": "text"}, ["1, 5, 'kg'"], storage=storage, more=KPI),
        NEXT,
    )
    assert lab.rows(latest) == [(NEXT, 1, 5, "kg")]
    assert set(types(lab)) == {"load_date", "thing_id", "weight", "unit"}, "nothing is kept that no load_date needs"


def test_a_view_for_readers_that_is_gone_is_named_and_made_again(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], more=KPI))
    pipeline = lab.pipeline()
    with lab.session() as session:
        assert find_mismatches(session, pipeline.tables.values()) == []
        session.execute("drop view marts.things_latest")
        [found] = find_mismatches(session, pipeline.tables.values())
    assert found.startswith(
        "the view marts.things_latest, in which readers find the latest load_date, is gone: `kpi run "
    )
    lab.build("marts.things")
    with lab.session() as session:
        assert find_mismatches(session, pipeline.tables.values()) == []


VOLUME = "min_volume: {column: weight, at_least: 5}\n"


@STORAGES
def test_rows_of_low_volume_are_kept_marked_and_left_out_for_readers(lab: PipelineHarness, storage: str) -> None:
    rows = ["1, 'anvil', 5", "2, 'nail', 4", "3, 'feather', null"]
    path = lab.file("marts/things.sql", things(BEFORE, rows, storage=storage, more=KPI + VOLUME))
    outcome = lab.build("marts.things")
    assert outcome.rows == 3
    assert outcome.chart == ([("1", 5.0)], 1), "the picture is of what readers see"
    marked = "select thing_id, is_low_volume from marts.things order by 1"
    assert lab.rows(marked) == [(1, False), (2, True), (3, True)]
    assert types(lab, "marts.things_latest") == {"load_date": "date", **BEFORE}
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)]
    [(comment,)] = lab.rows("select col_description('marts.things'::regclass, 5)")
    assert comment == "Whether weight is below 5 or unknown; the view for readers leaves it out."

    path.write_text(path.read_text().replace("at_least: 5", "at_least: 4"))
    assert lab.build("marts.things").checksum != outcome.checksum
    assert lab.rows("select thing_id from marts.things_latest order by 1") == [(1,), (2,)]


def test_a_min_volume_that_is_added_hides_nothing_that_was_published_before_and_goes_again(
    lab: PipelineHarness,
) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI), NEXT)
    publish(lab, things(BEFORE, ["2, 'nail', 4", "3, 'saw', 6"], more=KPI + VOLUME), DAY)
    assert lab.rows("select thing_id, is_low_volume from marts.things order by 1") == [(1, None), (2, True), (3, False)]
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)], "it is not judged, and still the latest"
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI + VOLUME), NEXT)
    assert lab.rows("select thing_id from marts.things_latest") == []
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI), NEXT)
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)]
    publish(lab, things(BEFORE, ["2, 'nail', 4"], more=KPI), DAY)
    assert types(lab) == {"load_date": "date", **BEFORE}


def test_somebody_s_view_of_the_latest_view_stands_in_the_way(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], more=KPI))
    execute(lab, "create view marts.names as select name from marts.things_latest")
    path = lab.file("marts/things.sql", things({"thing_id": "integer", "weight": "integer"}, ["2, 5"], more=KPI))
    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: marts\.things_latest cannot get other columns .*view marts\.names depends on",
    ):
        lab.build("marts.things", NEXT)
    assert lab.rows("select name from marts.names") == [("anvil",)]


# ---- grain and storage


def test_another_grain_is_kept_from_then_on(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7", "2, 'anvil', 8"]))
    publish(lab, things(BEFORE, ["1, 'anvil', 7", "1, 'saw', 8"], grain="thing_id, name"), NEXT)
    keys = lab.rows(
        "select array_agg(a.attname::text order by k.n) from pg_index as i cross join lateral "
        "unnest(i.indkey) with ordinality as k (attnum, n) inner join pg_attribute as a "
        "on a.attrelid = i.indrelid and a.attnum = k.attnum where i.indrelid = 'marts.things'::regclass "
        "and i.indisunique group by i.indexrelid"
    )
    assert keys == [(["load_date", "thing_id", "name"],)]
    assert lab.rows("select count(*) from marts.things") == [(4,)]


def test_a_table_is_called_like_the_index_that_a_server_would_make(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"]))
    name = "things_load_date_thing_id_idx"
    lab.file(f"marts/{name}.sql", things(BEFORE, ["1, 'anvil', 7"]))
    assert lab.build(f"marts.{name}").publish_id is not None
    assert lab.rows(f"select count(*) from marts.{name}") == [(1,)]


def test_a_grain_that_published_rows_break_is_unique_once_they_are_built_again(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7", "2, 'anvil', 8"]))
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), NEXT)
    assert lab.rows("select load_date, thing_id from marts.things order by 1, 2") == [(DAY, 1), (DAY, 2), (NEXT, 1)]
    unique = "select indisunique from pg_index where indrelid = 'marts.things'::regclass"
    assert lab.rows(unique) == [(False,)], "their key is proven by their audits meanwhile"
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), DAY)
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), NEXT)
    assert lab.rows(unique) == [(True,)]


@pytest.mark.parametrize(("before", "after"), [("rows", "partitions"), ("partitions", "rows")])
def test_another_storage_stands_in_the_way(lab: PipelineHarness, before: str, after: str) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=before))
    path = lab.file("marts/things.sql", things(BEFORE, ["2, 'saw', 5"], storage=after))
    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: marts\.things was published with storage: {before}; to change it, run "
        rf"`kpi drop {lab.name} marts\.things` and backfill\.$",
    ):
        lab.build("marts.things", NEXT)
    assert lab.rows("select thing_id from marts.things") == [(1,)]


# ---- the SELECT's types


@pytest.mark.parametrize(
    ("expression", "type_", "returned"),
    [
        ("1", "bigint", "integer"),
        ("count(*)", "integer", "bigint"),
        ("1.5", "numeric(6,2)", "numeric"),
        ("1.5::numeric(6,2)", "numeric", r"numeric\(6,2\)"),
        ("'a'::varchar(3)", "text", r"character varying\(3\)"),
        ("'2025-03-01 12:00+01'::timestamptz", "timestamp without time zone", "timestamp with time zone"),
        ("null", "integer", "text"),
    ],
)
def test_a_column_of_another_type_than_declared_is_an_error(
    lab: PipelineHarness, expression: str, type_: str, returned: str
) -> None:
    text = things({"thing_id": "integer", "value": type_}, ["1, null"])
    path = lab.file("marts/things.sql", text.replace(f"value::{type_} as", f"{expression} as"))
    if "count" in expression:
        path = lab.file("marts/things.sql", path.read_text() + "group by thing_id\n")
    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: the column 'value' is declared as {re.escape(type_)}, but the SELECT returns {returned}: ",
    ):
        lab.build("marts.things")
    assert lab.rows("select to_regclass('marts.things')") == [(None,)]
    assert lab.rows("select relname from pg_class where relnamespace = 'builds'::regnamespace") == []


# ---- what people read about it


@STORAGES
def test_descriptions_are_comments_and_follow_the_file(lab: PipelineHarness, storage: str) -> None:
    def comments() -> dict[str | None, str]:
        return dict(
            lab.rows(
                "select a.attname, d.description from pg_description as d left join pg_attribute as a "
                "on d.objoid = a.attrelid and d.objsubid = a.attnum and d.objsubid > 0 "
                "where d.objoid = 'marts.things'::regclass"
            )
        )

    text = things(BEFORE, ["1, 'anvil', 7"], storage=storage)
    publish(lab, text)
    first = comments()
    assert first == {
        None: "Things of one test.",
        "load_date": "Day on which the source files landed.",
        "thing_id": "Of thing_id.",
        "name": "Of name.",
        "weight": "Of weight.",
    }
    publish(lab, text.replace("Of name.", 'It\'s a 50% {name} \\\\ \\"x\\".'.join('""')), DAY)
    assert comments() == {**first, "name": 'It\'s a 50% {name} \\ "x".'}


@STORAGES
def test_a_load_date_without_rows_replaces_one_with_rows(lab: PipelineHarness, storage: str) -> None:
    more = "checks:\n  min_rows: {at_least: 0, of_previous: 0}\n"
    text = things(BEFORE, ["1, 'anvil', 7"], storage=storage, more=more)
    publish(lab, text)
    publish(lab, text, NEXT)
    publish(lab, text + "where false\n")
    assert lab.rows("select load_date, thing_id from marts.things") == [(NEXT, 1)]
    assert lab.rows("select load_date, rows from ops.published order by 1") == [(DAY, 0), (NEXT, 1)]


def test_tables_whose_names_begin_alike_leave_each_other_s_builds_alone(lab: PipelineHarness) -> None:
    held, other = (f"{'long_' * 7}{letter * 5}" for letter in "ab")
    text = things(BEFORE, ["1, 'anvil', 7"], storage="partitions")
    lab.file(f"marts/{held}.sql", text.replace("@end", "checks:\n  min_rows: {at_least: 2}\n@end"))
    lab.file(f"marts/{other}.sql", text)
    kept = lab.build(f"marts.{held}")
    assert kept.held
    for _ in range(2):
        published = lab.build(f"marts.{other}")
        assert not published.held
    assert lab.rows(f"select count(*) from {kept.candidate}") == [(1,)]
    assert lab.rows(f"select count(*) from {published.candidate}") == [(1,)]
    assert max(len(outcome.candidate.table) for outcome in (kept, published)) <= 63
