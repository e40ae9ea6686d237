"""A published table follows changes of its file while other load_dates are published, or one sentence says why not."""

import re
from datetime import date

import pytest

from kpi_assets.ledger import publishes
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import check_as_published
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets.warehouse.tables import find_mismatches
from kpi_assets_tests.examples import few
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
    """Return a file whose SELECT gives `rows`. Each row lists SQL constants, cast to the types of the columns."""
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


# (new columns, a row of them, the columns that the table keeps, or keeps wider, for the older load_date)
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
    "retypes a column to a type that holds its values": ({**BEFORE, "weight": "numeric(12,2)"}, "2, 'saw', 5.25", {}),
    "retypes a column to text": ({**BEFORE, "weight": "text"}, "2, 'saw', 5", {}),
    "retypes a text": ({**BEFORE, "name": "integer"}, "2, 9, 5", {"name": "text"}),
    "reorders its columns": (
        {"weight": "integer", "name": "text", "thing_id": "integer"},
        "5, 'saw', 2",
        {},
    ),
}


def rows_of(lab: PipelineHarness, day: date, columns: dict[str, str]) -> list[tuple[object, ...]]:
    """Return the stored rows of a load_date as text, in the types with which it was published."""
    names = ", ".join(f"{name}::{type_}::text" for name, type_ in columns.items())
    return lab.rows(f"select {names} from marts.things where load_date = '{day}' order by thing_id")


def is_as_published(lab: PipelineHarness, day: date) -> bool:
    """Return whether the stored rows have the checksum of the ledger."""
    table = lab.pipeline().table("marts.things")
    with lab.session() as session:
        publish = publishes.current(session, [table.relation], day)[table.relation]
        return check_as_published(session, table, publish).passed


@STORAGES
@pytest.mark.parametrize(("columns", "row", "kept"), few(5, CHANGES.values()), ids=CHANGES)
def test_changed_columns_leave_other_published_load_dates_as_they_were(
    lab: PipelineHarness, storage: str, columns: dict[str, str], row: str, kept: dict[str, str]
) -> None:
    before = things(BEFORE, ["1, 'anvil', 7"], storage=storage)
    publish(lab, before)
    after = things(columns, [row], storage=storage)
    publish(lab, after, NEXT)

    assert types(lab) == {"load_date": "date", **columns, **kept}
    assert rows_of(lab, DAY, BEFORE) == [("1", "anvil", "7")], "this load_date was not published again"
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
    assert types(lab) == {"load_date": "date", **columns}, "no load_date needs the old columns any more"
    assert rows_of(lab, DAY, columns) == rows_of(lab, NEXT, columns) == new
    assert is_as_published(lab, DAY)
    assert is_as_published(lab, NEXT)

    publish(lab, before, DAY)
    assert rows_of(lab, DAY, BEFORE) == [("1", "anvil", "7")]
    assert rows_of(lab, NEXT, columns) == new, "the way back changes no other load_date either"
    assert is_as_published(lab, NEXT)


def test_a_column_that_is_removed_and_added_again_has_its_old_values(lab: PipelineHarness) -> None:
    text = things(BEFORE, ["1, 'anvil', 7"])
    publish(lab, text)
    publish(lab, things({"thing_id": "integer", "name": "text"}, ["1, 'anvil'"]), NEXT)
    publish(lab, text, NEXT)
    assert lab.rows("select load_date, weight from marts.things order by 1") == [(DAY, 7), (NEXT, 7)]


@STORAGES
def test_a_type_that_cannot_hold_published_values_is_refused(lab: PipelineHarness, storage: str) -> None:
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
    assert types(lab)["weight"] == "date", "the type may change when the only load_date is replaced"


@STORAGES
def test_a_user_s_view_blocks_a_type_change_unless_it_lies_in_a_schema_of_the_pipeline(
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
def test_a_column_that_no_load_date_has_stays_while_a_user_s_view_reads_it(lab: PipelineHarness, storage: str) -> None:
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
def test_a_build_reads_the_declared_types_although_the_table_has_wider_ones(lab: PipelineHarness, storage: str) -> None:
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


def test_a_build_refuses_a_column_that_its_load_date_was_published_without(lab: PipelineHarness) -> None:
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
    assert not lab.build("marts.weights", DAY).held, "a column that is not read does not matter"


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
def test_the_latest_view_does_not_change_when_an_older_load_date_is_rebuilt(lab: PipelineHarness, storage: str) -> None:
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
    assert lab.rows(latest) == before, "this load_date was not published again, so its columns and rows stay"
    publish(
        lab,
        things({"thing_id": "integer", "weight": "integer", "unit": "text"}, ["1, 5, 'kg'"], storage=storage, more=KPI),
        NEXT,
    )
    assert lab.rows(latest) == [(NEXT, 1, 5, "kg")]
    assert set(types(lab)) == {"load_date", "thing_id", "weight", "unit"}, "columns that no load_date needs are removed"


def test_a_missing_latest_view_is_reported_and_created_again_by_a_build(lab: PipelineHarness) -> None:
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
def test_rows_of_low_volume_are_kept_and_marked_and_hidden_from_readers(lab: PipelineHarness, storage: str) -> None:
    rows = ["1, 'anvil', 5", "2, 'nail', 4", "3, 'feather', null"]
    path = lab.file("marts/things.sql", things(BEFORE, rows, storage=storage, more=KPI + VOLUME))
    outcome = lab.build("marts.things")
    assert outcome.rows == 3
    assert outcome.chart == ([("1", 5.0)], 1), "the chart has the rows that readers see"
    marked = "select thing_id, is_low_volume from marts.things order by 1"
    assert lab.rows(marked) == [(1, False), (2, True), (3, True)]
    assert types(lab, "marts.things_latest") == {"load_date": "date", **BEFORE}
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)]
    [(comment,)] = lab.rows("select col_description('marts.things'::regclass, 5)")
    assert comment == "Whether weight is below 5 or unknown; the view for readers leaves it out."

    path.write_text(path.read_text().replace("at_least: 5", "at_least: 4"))
    assert lab.build("marts.things").checksum != outcome.checksum
    assert lab.rows("select thing_id from marts.things_latest order by 1") == [(1,), (2,)]


def test_a_new_min_volume_hides_no_earlier_rows_and_can_be_removed_again(
    lab: PipelineHarness,
) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI), NEXT)
    publish(lab, things(BEFORE, ["2, 'nail', 4", "3, 'saw', 6"], more=KPI + VOLUME), DAY)
    assert lab.rows("select thing_id, is_low_volume from marts.things order by 1") == [(1, None), (2, True), (3, False)]
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)], (
        "the latest load_date has no marks, and hides nothing"
    )
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI + VOLUME), NEXT)
    assert lab.rows("select thing_id from marts.things_latest") == []
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI), NEXT)
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)]
    publish(lab, things(BEFORE, ["2, 'nail', 4"], more=KPI), DAY)
    assert types(lab) == {"load_date": "date", **BEFORE}


def test_a_user_s_view_on_the_latest_view_blocks_a_change_of_its_columns(lab: PipelineHarness) -> None:
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


def test_a_changed_grain_replaces_the_unique_index(lab: PipelineHarness) -> None:
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


def test_a_table_may_have_the_name_that_the_server_would_give_an_index(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"]))
    name = "things_load_date_thing_id_idx"
    lab.file(f"marts/{name}.sql", things(BEFORE, ["1, 'anvil', 7"]))
    assert lab.build(f"marts.{name}").publish_id is not None
    assert lab.rows(f"select count(*) from marts.{name}") == [(1,)]


def test_a_new_grain_is_unique_once_the_rows_that_violate_it_are_rebuilt(lab: PipelineHarness) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7", "2, 'anvil', 8"]))
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), NEXT)
    assert lab.rows("select load_date, thing_id from marts.things order by 1, 2") == [(DAY, 1), (DAY, 2), (NEXT, 1)]
    unique = "select indisunique from pg_index where indrelid = 'marts.things'::regclass"
    assert lab.rows(unique) == [(False,)], "until then the audit of each build checks the key"
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), DAY)
    publish(lab, things(BEFORE, ["1, 'saw', 7"], grain="name"), NEXT)
    assert lab.rows(unique) == [(True,)]


@pytest.mark.parametrize(("before", "after"), [("rows", "partitions"), ("partitions", "rows")])
def test_a_change_of_storage_is_refused(lab: PipelineHarness, before: str, after: str) -> None:
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
def test_a_column_whose_type_differs_from_its_declaration_is_an_error(
    lab: PipelineHarness, expression: str, type_: str, returned: str
) -> None:
    text = things({"thing_id": "integer", "value": type_}, ["1, null"])
    path = lab.file("marts/things.sql", text.replace(f"value::{type_} as", f"{expression} as"))
    if "count" in expression:
        path = lab.file("marts/things.sql", path.read_text() + "group by thing_id\n")
    with pytest.raises(
        DefinitionError,
        match=rf"^{path}:8: the column 'value' is declared as {re.escape(type_)}, but the SELECT returns {returned}: ",
    ):
        lab.build("marts.things")
    assert lab.rows("select to_regclass('marts.things')") == [(None,)]
    assert lab.rows("select relname from pg_class where relnamespace = 'builds'::regnamespace") == []


# ---- comments


def test_the_view_of_the_latest_load_date_has_comments_of_its_own(lab: PipelineHarness) -> None:
    text = things(BEFORE, ["1, 'anvil', 7"]).replace("grain:", "kpi: {chart: {x: name, y: weight}}\ngrain:")
    comments = (
        "select a.attname, d.description from pg_description as d left join pg_attribute as a "
        "on d.objoid = a.attrelid and d.objsubid = a.attnum and d.objsubid > 0 "
        "where d.objoid = 'marts.things_latest'::regclass"
    )
    publish(lab, text)
    found = dict(lab.rows(comments))
    assert found[None] == "The latest load_date of marts.things. Things of one test."
    assert (found["load_date"], found["name"]) == ("Day on which the source files landed.", "Of name.")
    publish(lab, text.replace("Of name.", "Its name.").replace("Things of one test.", "Things."), DAY)
    assert dict(lab.rows(comments)) == {
        **found,
        None: "The latest load_date of marts.things. Things.",
        "name": "Its name.",
    }


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


def test_tables_with_a_common_name_prefix_keep_their_own_builds(lab: PipelineHarness) -> None:
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
