"""Personal columns are no readers' business: what kpi_reader and kpi_pii_reader may read of tables and their views."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.read.ask import answer, prepare_question
from kpi_assets.read.breakdown import read_breakdown
from kpi_assets.read.rows import read_rows
from kpi_assets.warehouse import reader_rights
from kpi_assets.warehouse.connection import LEDGER_ALONE, one_snapshot
from kpi_assets.warehouse.provision import PII_READER, READER
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

PEOPLE = """\
/* @asset
description: People of one test.
owner: team:tests
grain: [person_id]
storage: {storage}
{more}columns:
  person_id: {{type: bigint, description: Person., pii: id}}
  name: {{type: text, description: "Name, any.", pii: name}}
  city: {{type: text, description: City.}}
{columns}@end */
select
    {select}
from (values (7, 'Canary', 'Rome', 41), (8, null, 'Oslo', 35)) as v (person_id, name, city, age)
"""
AGE = "  age: {type: integer, description: Age.}\n"
HISTORY = (
    "history: {surrogate_key: person_sk, adds: {since: {type: date, value: effective_date, description: Since.}}}\n"
)
KPI = """\
kpi:
  chart: {x: city, y: people}
  measures: {people: {title: People, value: sum(people), better: up}}
"""
KPI_FILE = f"""\
/* @asset
description: People by name.
owner: team:tests
grain: [name, city]
{KPI}columns:
  name: {{type: text, description: "Name, any.", pii: name}}
  city: {{type: text, description: City.}}
  people: {{type: bigint, description: How many.}}
@end */
select name, city, people::bigint as people
from (values ('B', 'Rome', 2), ('A', 'Rome', 1), ('C', 'Oslo', 1)) as v (name, city, people)
"""


def people(more: str = "", columns: str = "", *, storage: str = "rows") -> str:
    """Return a file with two personal columns, and with the column age if `columns` has it."""
    select = ["person_id::bigint as person_id", "name::text as name", "city::text as city"]
    if columns:
        select.append("age::integer as age")
    return PEOPLE.format(storage=storage, more=more, columns=columns, select=",\n    ".join(select))


@contextmanager
def acting(lab: PipelineHarness, role: str) -> Iterator[Connection[Any]]:
    """Open a session that has the rights of a role, and no others."""
    with lab.session() as session:
        session.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        yield session


def readable(lab: PipelineHarness, name: str, role: str = READER) -> list[str]:
    """Return the columns that a role may read of a relation."""
    found = lab.rows(
        f"select attname from pg_attribute where attrelid = '{name}'::regclass and attnum > 0 and not attisdropped "
        f"and has_column_privilege('{role}', attrelid, attnum, 'select') order by attnum"
    )
    return [column for (column,) in found]


def type_of(lab: PipelineHarness, name: str, column: str) -> str:
    [(found,)] = lab.rows(
        f"select format_type(atttypid, atttypmod) from pg_attribute where attrelid = '{name}'::regclass "
        f"and attname = '{column}'"
    )
    return str(found)


def published(lab: PipelineHarness, text: str, day: Any = DAY, name: str = "marts.people") -> None:
    lab.file(f"{name.replace('.', '/')}.sql", text)
    assert not lab.build(name, day).held


@pytest.fixture
def lab(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path) as made:
        yield made


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_readers_get_no_personal_column_of_a_table_that_is_made_swapped_and_altered(
    lab: PipelineHarness, storage: str
) -> None:
    published(lab, people(storage=storage))
    assert readable(lab, "marts.people") == ["load_date", "city"]
    assert readable(lab, "marts.people", PII_READER) == ["load_date", "person_id", "name", "city"]
    published(lab, people(columns=AGE, storage=storage))
    published(lab, people(columns=AGE, storage=storage), NEXT)
    assert readable(lab, "marts.people") == ["load_date", "city", "age"]
    with acting(lab, READER) as reader:
        query = "select load_date, city, age from marts.people order by 1, 2"
        assert reader.execute(query).fetchall() == [
            (DAY, "Oslo", 35),
            (DAY, "Rome", 41),
            (NEXT, "Oslo", 35),
            (NEXT, "Rome", 41),
        ]
        for refused in ("name", "*", "person_id", "p", "count(*) filter (where name = 'Canary')", "count(name)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(f"select {refused} from marts.people as p".encode())
    with acting(lab, PII_READER) as reader:
        found = reader.execute("select name from marts.people where load_date = %s order by 1", [DAY]).fetchall()
        assert found == [("Canary",), (None,)]
        assert reader.execute("select count(*) from ops.published").fetchone() == (2,)
        for refused in ("select record from ops.quarantine", "delete from marts.people", "select * from ops.locks"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(refused.encode())


def test_the_word_takes_a_right_away_and_gives_it_back(lab: PipelineHarness, stack: Stack) -> None:
    plain = people().replace(", pii: id", "").replace(", pii: name", "")
    every = ["load_date", "person_id", "name", "city"]
    published(lab, plain)
    assert readable(lab, "marts.people") == every
    lab.file("marts/people.sql", people())
    prepare(lab.pipeline(), lab.server, stack.credentials.reader_password)
    assert readable(lab, "marts.people") == ["load_date", "city"], "it need not be built again"
    lab.file("marts/people.sql", plain)
    prepare(lab.pipeline(), lab.server)
    assert readable(lab, "marts.people") == every
    assert lab.rows(
        "select count(*) from pg_attribute where attacl is not null and attrelid = 'marts.people'::regclass"
    ) == [(0,)]


def test_one_more_column_becomes_personal(lab: PipelineHarness) -> None:
    published(lab, people().replace(", pii: id", ""))
    assert readable(lab, "marts.people") == ["load_date", "person_id", "city"]
    lab.file("marts/people.sql", people())
    prepare(lab.pipeline(), lab.server)
    assert readable(lab, "marts.people") == ["load_date", "city"]


def test_a_right_of_an_earlier_version_is_taken_away(lab: PipelineHarness) -> None:
    published(lab, people())
    published(lab, KPI_FILE, name="marts.kpi_people")
    tables, schemas = lab.pipeline().tables.values(), ["marts"]
    with lab.session() as session:
        session.execute("drop view marts.kpi_people_latest")
        session.execute("create view marts.kpi_people_latest as select * from marts.kpi_people")
        session.execute("grant select on all tables in schema marts to kpi_reader")
        session.execute("alter table marts.people add column of_nobody text; create view marts.mine as select 1 as a")
        session.execute("alter table marts.kpi_people add column more text")
        assert sorted(reader_rights.find_mismatches(session, tables, schemas)) == [
            "kpi_reader may read personal columns of marts.kpi_people (name, more)",
            "kpi_reader may read personal columns of marts.kpi_people_latest (name)",
            "kpi_reader may read personal columns of marts.people (person_id, name, of_nobody)",
        ]
        prepare(lab.pipeline(), lab.server)
        assert list(reader_rights.find_mismatches(session, tables, schemas)) == []
        session.execute("revoke select (city) on marts.people from kpi_reader")
        assert list(reader_rights.find_mismatches(session, tables, schemas)) == [
            "kpi_reader may not read columns of marts.people (city)"
        ]
    assert readable(lab, "marts.kpi_people_latest") == ["load_date", "city", "people"]
    assert readable(lab, "marts.people") == ["load_date"]
    assert readable(lab, "marts.mine") == ["a"], "the view of somebody else"


def test_a_table_without_a_file_keeps_its_rights_and_a_schema_of_nobody_has_none(lab: PipelineHarness) -> None:
    published(lab, people())
    (lab.folder / "marts/people.sql").unlink()
    published(lab, KPI_FILE, name="marts.kpi_people")
    prepare(lab.pipeline(), lab.server)
    assert readable(lab, "marts.people") == ["load_date", "city"]
    config = lab.folder / "pipeline.yaml"
    config.write_text(config.read_text().replace("readers: [marts]", "readers: []"))
    prepare(lab.pipeline(), lab.server)
    assert readable(lab, "marts.people") == readable(lab, "marts.people", PII_READER) == []
    published(lab, KPI_FILE, NEXT, name="marts.kpi_people")
    assert readable(lab, "marts.kpi_people") == []


def test_the_view_of_the_latest_load_date_has_no_personal_column(lab: PipelineHarness) -> None:
    published(lab, KPI_FILE, name="marts.kpi_people")
    with acting(lab, READER) as reader:
        found = reader.execute("select * from marts.kpi_people_latest order by 2, 3").fetchall()
        assert found == [(DAY, "Oslo", 1), (DAY, "Rome", 1), (DAY, "Rome", 2)]


def test_a_view_that_is_made_again_is_not_readable_as_a_whole(lab: PipelineHarness) -> None:
    """Postgres cannot alter the type of a column that a view shows, so the view is dropped meanwhile."""
    published(lab, people(columns=AGE), name="stg.people")
    view = people(columns=AGE, storage="view")
    view = (
        view[: view.index("select\n")]
        + "select person_id, name, city, age from stg.people\nwhere load_date = %(load_date)s\n"
    )
    published(lab, view)
    assert readable(lab, "marts.people") == ["load_date", "city", "age"]
    lab.file("marts/people.sql", view.replace("age: {type: integer", "age: {type: bigint"))
    wide = people(columns=AGE.replace("integer", "bigint")).replace("age::integer", "age::bigint")
    published(lab, wide, NEXT, name="stg.people")
    assert type_of(lab, "marts.people", "age") == "bigint"
    assert readable(lab, "marts.people") == ["load_date", "city", "age"]


def test_a_masked_view_shows_every_row_and_no_personal_value(lab: PipelineHarness) -> None:
    published(lab, people("readers: mask\n"))
    masked = [(DAY, "(masked)", None, "Oslo"), (DAY, "(masked)", "(masked)", "Rome")]
    with acting(lab, READER) as reader:
        assert reader.execute("select * from marts.people_masked order by city").fetchall() == masked
        leak = (
            "create function pg_temp.leak(t text) returns boolean language plpgsql cost 0.0000001 as "
            "$$ begin raise notice '%', t; return true; end $$"
        )
        reader.execute(leak)
        said: list[str] = []
        reader.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
        reader.execute("set client_min_messages to notice")
        assert len(reader.execute("select * from marts.people_masked where pg_temp.leak(name)").fetchall()) == 2
        assert not any("Canary" in each for each in said)
    published(lab, people("readers: mask\n", AGE), NEXT)
    with acting(lab, READER) as reader:
        assert reader.execute("select * from marts.people_masked where age = 41").fetchall() == [
            (NEXT, "(masked)", "(masked)", "Rome", 41)
        ]
    wide = people("readers: mask\n", AGE.replace("integer", "bigint")).replace("age::integer", "age::bigint")
    published(lab, wide, NEXT)
    assert lab.rows("select reloptions from pg_class where oid = 'marts.people_masked'::regclass") == [
        (["security_barrier=true"],)
    ]
    published(lab, people())
    assert lab.rows("select to_regclass('marts.people_masked')::text") == [(None,)]


def test_the_versions_of_a_history_are_masked_too(lab: PipelineHarness) -> None:
    mask = f"readers: mask\n{HISTORY}"
    published(lab, people(mask, storage="history"))
    columns = ["person_sk", "person_id", "name", "city", "effective_date", "end_date", "is_current", "since"]
    assert readable(lab, "marts.people") == ["city", "effective_date", "end_date", "is_current", "since"]
    assert readable(lab, "marts.people_masked") == columns
    published(
        lab, people(mask.replace("value: effective_date", 'value: "effective_date + 1"'), storage="history"), NEXT
    )
    with acting(lab, READER) as reader:
        found = reader.execute("select person_sk, name, since - effective_date from marts.people_masked order by city")
        assert found.fetchall() == [("(masked)", None, 1), ("(masked)", "(masked)", 1)]


def test_rows_are_shown_to_who_may_not_read_their_personal_columns(lab: PipelineHarness) -> None:
    published(lab, people())
    published(lab, people(HISTORY, storage="history"), name="marts.versions")
    pipeline = lab.pipeline()
    table, versions = pipeline.table("marts.people"), pipeline.table("marts.versions")
    with lab.session() as session:
        shown = read_rows(session, pipeline, table, place="here")
        assert shown.rows == [("(masked)", "(masked)", "Rome"), ("(masked)", None, "Oslo")]
        every = read_rows(session, pipeline, table, place="here", personal=True)
        assert every.rows == [("7", "Canary", "Rome"), ("8", None, "Oslo")]
    with acting(lab, PII_READER) as reader:
        assert read_rows(reader, pipeline, table, place="here", personal=True) == every
    with acting(lab, READER) as reader:
        found = read_rows(reader, pipeline, table, place="here")
        assert (found.columns, found.shown) == (["person_id", "name", "city"], 2)
        assert sorted(found.rows) == [("(masked)", "(masked)", "Oslo"), ("(masked)", "(masked)", "Rome")]
        assert [row[3] for row in read_rows(reader, pipeline, versions, place="here").rows] in (
            ["Rome", "Oslo"],
            ["Oslo", "Rome"],
        )
        with pytest.raises(UserError) as refused:
            read_rows(reader, pipeline, table, place="here", personal=True)
    assert str(refused.value) == (
        "This login may not read the personal columns of marts.people (name, person_id): have an administrator grant "
        "it kpi_pii_reader, or leave --pii out."
    )


def test_readers_of_a_kpi_page_through_its_rows(lab: PipelineHarness) -> None:
    published(lab, KPI_FILE, name="marts.kpi_people")
    pipeline = lab.pipeline()
    with acting(lab, READER) as reader, one_snapshot(reader, LEDGER_ALONE):
        pages = [
            read_breakdown(reader, pipeline, pipeline.table("marts.kpi_people"), limit=1, offset=number)
            for number in range(3)
        ]
    assert [row for page in pages for row in page.rows] == [("Oslo", "1"), ("Rome", "1"), ("Rome", "2")]
    assert [page.total for page in pages] == [3, 3, 3]


def test_the_word_is_for_a_table_with_personal_columns(lab: PipelineHarness) -> None:
    lab.file("marts/people.sql", people("readers: mask\n").replace(", pii: id", "").replace(", pii: name", ""))
    with pytest.raises(ModelError, match=r"readers: mask: marts\.people has no personal column: take it out"):
        lab.pipeline()
    lab.file("marts/people.sql", people("readers: mask\n"))
    lab.file("marts/people_masked.sql", people())
    with pytest.raises(ModelError, match=r"marts\.people_masked is the view in which marts\.people is masked"):
        lab.pipeline()


def test_what_may_not_be_read_is_found_without_reading_it(lab: PipelineHarness) -> None:
    published(lab, people())
    with acting(lab, READER) as reader:
        assert reader_rights.unreadable(reader, Relation("marts", "people")) == {"person_id", "name"}
        assert reader_rights.unreadable(reader, Relation("marts", "nothing")) == frozenset()


QUESTION = """\
/* @question
title: How many?
description: Rows by city.
owner: team:tests
{more}columns:
  city: {{title: City}}
  n: {{title: Rows, format: integer}}
@end */
select city, count(*) as n from marts.{table} where load_date {condition} group by city order by city
"""
WINDOW = "between %(window_start)s and %(load_date)s"


@pytest.mark.parametrize(
    ("table", "more", "condition", "rows"),
    [
        ("people", "", "= %(load_date)s", [["Oslo", "1"], ["Rome", "1"]]),
        ("people", "lookback: {days: 2, rows: all}\n", WINDOW, [["Oslo", "2"], ["Rome", "2"]]),
        ("versions", "", "is not null", [["Oslo", "1"], ["Rome", "1"]]),
    ],
)
def test_a_question_reads_the_other_columns(
    lab: PipelineHarness, table: str, more: str, condition: str, rows: list[list[str]]
) -> None:
    for day in (DAY, NEXT):
        published(lab, people(), day)
    published(lab, people(HISTORY, storage="history"), NEXT, name="marts.versions")
    text = QUESTION.format(more=more, table=table, condition=condition)
    lab.file("questions/how_many.sql", text.replace(" where load_date is not null", ""))
    pipeline = lab.pipeline()
    with acting(lab, READER) as reader, one_snapshot(reader, LEDGER_ALONE):
        asked = prepare_question(reader, pipeline, pipeline.questions["how_many"], {})
        assert answer(reader, pipeline, asked).rows == rows


def test_a_question_cannot_look_for_the_latest_row_of_a_person(lab: PipelineHarness) -> None:
    lab.file("marts/people.sql", people("versions: latest\n"))
    lab.file("questions/how_many.sql", QUESTION.format(more="lookback: 2\n", table="people", condition=WINDOW))
    with pytest.raises(ModelError, match=r"its latest rows are found by person_id, which readers may not read"):
        lab.pipeline()
