"""The published table follows its file while other load_dates are published; what stands in the way is a sentence."""

import re
from datetime import date

import pytest

from kpi_assets.warehouse.candidates import DefinitionError
from kpi_assets_tests.lab import DAY, NEXT, Lab

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


def publish(lab: Lab, text: str, day: date = DAY) -> None:
    lab.file("marts/things.sql", text)
    assert not lab.build("marts.things", day).held


def execute(lab: Lab, statement: str) -> None:
    with lab.session() as session:
        session.execute(statement.encode())


def types(lab: Lab, name: str = "marts.things") -> dict[str, str]:
    return dict(
        lab.rows(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            f"where attrelid = '{name}'::regclass and attnum > 0 and not attisdropped"
        )
    )


CHANGES = {
    "gains a column": ({**BEFORE, "unit": "text"}, "2, 'saw', 5, 'kg'", {"unit": None}),
    "gains a column in the middle": (
        {"thing_id": "integer", "unit": "text", "name": "text", "weight": "integer"},
        "2, 'kg', 'saw', 5",
        {"unit": None},
    ),
    "loses a column": ({"thing_id": "integer", "name": "text"}, "2, 'saw'", {}),
    "renames a column": (
        {"thing_id": "integer", "label": "text", "weight": "integer"},
        "2, 'saw', 5",
        {"label": None},
    ),
    "widens a column": ({**BEFORE, "weight": "bigint"}, "2, 'saw', 5", {"weight": 7}),
    "retypes a column": ({**BEFORE, "weight": "numeric(6,2)"}, "2, 'saw', 5", {"weight": "7.00"}),
    "retypes a column to text": ({**BEFORE, "weight": "text"}, "2, 'saw', 5", {"weight": "7"}),
    "takes its columns in another order": (
        {"weight": "integer", "name": "text", "thing_id": "integer"},
        "5, 'saw', 2",
        {},
    ),
}


@STORAGES
@pytest.mark.parametrize(("columns", "row", "old"), CHANGES.values(), ids=CHANGES)
def test_a_header_changes_while_another_load_date_is_published(
    lab: Lab, storage: str, columns: dict[str, str], row: str, old: dict[str, object]
) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=storage))
    publish(lab, things(columns, [row], storage=storage), NEXT)

    assert types(lab) == {"load_date": "date", **columns}
    names = ", ".join(f"{name}::text" for name in columns)
    before = {"thing_id": 1, "name": "anvil", "weight": 7, **old}
    [first, second] = lab.rows(f"select load_date, {names} from marts.things order by load_date")
    assert first == (DAY, *(before[name] if before[name] is None else str(before[name]) for name in columns))
    casts = ", ".join(
        f"{value.strip()}::{type_}::text" for value, type_ in zip(row.split(","), columns.values(), strict=True)
    )
    assert second == (NEXT, *lab.rows(f"select {casts}")[0])
    assert lab.rows("select load_date, rows from ops.published order by 1") == [(DAY, 1), (NEXT, 1)]


@STORAGES
def test_a_load_date_of_before_the_change_is_built_again_like_any_other(lab: Lab, storage: str) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=storage))
    after = things({"weight": "bigint", "thing_id": "integer", "unit": "text"}, ["5, 2, 'kg'"], storage=storage)
    publish(lab, after, NEXT)
    publish(lab, after, DAY)
    rows = lab.rows("select load_date, thing_id, weight, unit from marts.things order by 1")
    assert rows == [(DAY, 2, 5, "kg"), (NEXT, 2, 5, "kg")]


@STORAGES
def test_values_that_a_new_type_refuses_stand_in_the_way(lab: Lab, storage: str) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=storage))
    path = lab.file("marts/things.sql", things({**BEFORE, "name": "integer"}, ["2, 3, 5"], storage=storage))

    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: marts\.things cannot be altered to the header's columns \(invalid input syntax for type "
        r"integer: \"anvil\".*\): drop what depends on it, or keep the column\.$",
    ):
        lab.build("marts.things", NEXT)

    assert types(lab) == {"load_date": "date", **BEFORE}
    assert lab.rows("select load_date, name from marts.things") == [(DAY, "anvil")]
    assert lab.rows("select load_date from ops.published") == [(DAY,)]
    status, message = lab.rows("select status, error_message from ops.pipeline_runs order by id desc limit 1")[0]
    assert status == "failed"
    assert message.startswith(f"{path}: marts.things cannot be altered")


@STORAGES
@pytest.mark.parametrize("columns", [{"thing_id": "integer", "weight": "integer"}, {**BEFORE, "name": "integer"}])
def test_somebody_s_view_of_a_column_stands_in_the_way(lab: Lab, storage: str, columns: dict[str, str]) -> None:
    publish(lab, things(BEFORE, ["1, '8', 7"], storage=storage))
    execute(lab, "create view marts.names as select name from marts.things")
    lab.file("marts/things.sql", things(columns, [", ".join("2" * len(columns))], storage=storage))
    with pytest.raises(
        DefinitionError, match=r"cannot be altered to the header's columns \(cannot .*view marts\.names"
    ):
        lab.build("marts.things", NEXT)
    assert lab.rows("select name from marts.names") == [("8",)]
    assert types(lab) == {"load_date": "date", **BEFORE}


KPI = "kpi: {chart: {x: thing_id, y: weight}}\n"


def test_the_latest_view_follows_the_columns_and_the_latest_load_date(lab: Lab) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], more=KPI))
    assert types(lab, "marts.things_latest") == {"load_date": "date", **BEFORE}
    after = {"thing_id": "integer", "weight": "bigint", "unit": "text"}
    publish(lab, things(after, ["2, 5, 'kg'"], more=KPI), NEXT)
    assert types(lab, "marts.things_latest") == {"load_date": "date", **after}
    assert lab.rows("select * from marts.things_latest") == [(NEXT, 2, 5, "kg")]
    publish(lab, things(after, ["3, 6, 'g'"], more=KPI), DAY)
    assert lab.rows("select thing_id from marts.things_latest") == [(2,)], "an older load_date is not the latest"


VOLUME = "min_volume: {column: weight, at_least: 5}\n"


@STORAGES
def test_rows_of_low_volume_are_kept_marked_and_left_out_for_readers(lab: Lab, storage: str) -> None:
    rows = ["1, 'anvil', 5", "2, 'nail', 4", "3, 'feather', null"]
    path = lab.file("marts/things.sql", things(BEFORE, rows, storage=storage, more=KPI + VOLUME))
    outcome = lab.build("marts.things")
    assert outcome.rows == 3
    assert outcome.chart == [("1", 5.0)], "the picture is of what readers see"
    marked = "select thing_id, is_low_volume from marts.things order by 1"
    assert lab.rows(marked) == [(1, False), (2, True), (3, True)]
    assert types(lab, "marts.things_latest") == {"load_date": "date", **BEFORE}
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)]
    [(comment,)] = lab.rows("select col_description('marts.things'::regclass, 5)")
    assert comment == "Whether weight is below 5 or unknown; the view for readers leaves it out."

    path.write_text(path.read_text().replace("at_least: 5", "at_least: 4"))
    assert lab.build("marts.things").checksum != outcome.checksum
    assert lab.rows("select thing_id from marts.things_latest order by 1") == [(1,), (2,)]


def test_a_min_volume_that_is_added_hides_nothing_that_was_published_before_and_goes_again(lab: Lab) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI), NEXT)
    publish(lab, things(BEFORE, ["2, 'nail', 4", "3, 'saw', 6"], more=KPI + VOLUME), DAY)
    assert lab.rows("select thing_id, is_low_volume from marts.things order by 1") == [(1, None), (2, True), (3, False)]
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)], "it is not judged, and still the latest"
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI + VOLUME), NEXT)
    assert lab.rows("select thing_id from marts.things_latest") == []
    publish(lab, things(BEFORE, ["1, 'anvil', 3"], more=KPI), NEXT)
    assert lab.rows("select thing_id from marts.things_latest") == [(1,)]
    assert types(lab) == {"load_date": "date", **BEFORE}


def test_somebody_s_view_of_the_latest_view_stands_in_the_way(lab: Lab) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], more=KPI))
    execute(lab, "create view marts.names as select name from marts.things_latest")
    path = lab.file("marts/things.sql", things({**BEFORE, "unit": "text"}, ["2, 'saw', 5, 'kg'"], more=KPI))
    with pytest.raises(
        DefinitionError, match=rf"^{path}: marts\.things cannot be altered .*view marts\.names depends on"
    ):
        lab.build("marts.things", NEXT)
    assert lab.rows("select name from marts.names") == [("anvil",)]


# ---- grain and storage


def test_another_grain_is_kept_from_then_on(lab: Lab) -> None:
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


def test_a_grain_that_published_rows_break_stands_in_the_way(lab: Lab) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7", "2, 'anvil', 8"]))
    path = lab.file("marts/things.sql", things(BEFORE, ["1, 'saw', 7"], grain="name"))
    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: load_dates of marts\.things that are published already have rows that share the new grain "
        r"\(name\): keep the old grain, or drop the table and backfill\.$",
    ):
        lab.build("marts.things", NEXT)
    assert lab.rows("select thing_id from marts.things order by 1") == [(1,), (2,)]


@pytest.mark.parametrize(("before", "after"), [("rows", "partitions"), ("partitions", "rows")])
def test_another_storage_stands_in_the_way(lab: Lab, before: str, after: str) -> None:
    publish(lab, things(BEFORE, ["1, 'anvil', 7"], storage=before))
    path = lab.file("marts/things.sql", things(BEFORE, ["2, 'saw', 5"], storage=after))
    with pytest.raises(
        DefinitionError,
        match=rf"^{path}: marts\.things was published with storage: {before}; to change it, drop table marts\.things "
        r"cascade, delete its rows from ops\.publishes, and backfill\.$",
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
    lab: Lab, expression: str, type_: str, returned: str
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
def test_descriptions_are_comments_and_follow_the_file(lab: Lab, storage: str) -> None:
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
def test_a_load_date_without_rows_replaces_one_with_rows(lab: Lab, storage: str) -> None:
    more = "checks:\n  min_rows: {at_least: 0, of_previous: 0}\n"
    text = things(BEFORE, ["1, 'anvil', 7"], storage=storage, more=more)
    publish(lab, text)
    publish(lab, text, NEXT)
    publish(lab, text + "where false\n")
    assert lab.rows("select load_date, thing_id from marts.things") == [(NEXT, 1)]
    assert lab.rows("select load_date, rows from ops.published order by 1") == [(DAY, 0), (NEXT, 1)]


def test_tables_whose_names_begin_alike_leave_each_other_s_builds_alone(lab: Lab) -> None:
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
