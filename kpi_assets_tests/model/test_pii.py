"""Personal columns: how a SELECT passes them on, what may not be done with them, and masking."""

import psycopg
import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.pii import Pii, Read, masked_json, masked_row, without_quotes
from kpi_assets.model.pii_tables import masked_bad_row
from kpi_assets.warehouse.error_reasons import reason_of
from kpi_assets_tests.model.conftest import Tree

PEOPLE = """\
/* @asset
description: People as delivered.
owner: team:tests
grain: [person_id]
source:
  object: raw/people/load_date={load_date}/people.csv
  format: csv
columns:
  person_id: {type: integer, description: Person., pii: id}
  email: {type: text, description: E-mail address., pii: email}
  name: {type: text, description: "Name, any.", pii: name}
  city: {type: text, description: City.}
  age: {type: integer, description: Age.}
@end */
"""
SEEN = """\
/* @asset
description: What is made of people.
owner: team:tests
grain: [one]
columns:
  one: {type: text, description: First.%s}
  two: {type: text, description: Second.}
@end */
%s
"""
OF_DAY = "where load_date = %(load_date)s"
MART = Relation("marts", "seen")


@pytest.fixture
def people(tree: Tree) -> Tree:
    """The tree with a raw table of people."""
    tree.write("shop/raw/people.sql", PEOPLE)
    return tree


def seen(tree: Tree, select: str, word: str = "") -> dict[str, str]:
    """Return the personal columns of a table with this SELECT."""
    tree.write("shop/marts/seen.sql", SEEN % (word, select))
    return dict(tree.load().tables[MART].pii.personal)


@pytest.mark.parametrize(
    ("select", "personal"),
    [
        (f"select email as one, city as two from raw.people {OF_DAY}", {"one": "email"}),
        (f"select lower(trim(email)) as one, city as two from raw.people {OF_DAY}", {"one": "email"}),
        (f"select email || name as one, person_id::text as two from raw.people {OF_DAY}", {"one": "text", "two": "id"}),
        (f"select p.name as one, p.city as two from raw.people as p {OF_DAY}", {"one": "name"}),
        (f"select city as one, count(email)::text as two from raw.people {OF_DAY} group by city", {}),
        (f"select city as one, sum(person_id)::text as two from raw.people {OF_DAY} group by city", {}),
        (
            f"select city as one, (count(*) filter (where email is null))::text as two from raw.people {OF_DAY} "
            "group by city",
            {},
        ),
        (f"select city as one, max(name) as two from raw.people {OF_DAY} group by city", {"two": "name"}),
        (
            f"select city as one, string_agg(name, ',' order by name) as two from raw.people {OF_DAY} group by 1",
            {"two": "name"},
        ),
        (f"select city as one, row_number() over (order by email)::text as two from raw.people {OF_DAY}", {}),
        (f"select city as one, lag(email) over (order by age) as two from raw.people {OF_DAY}", {"two": "email"}),
        (
            f"select city as one, sum(person_id) over (order by age)::text as two from raw.people {OF_DAY}",
            {"two": "id"},
        ),
        (
            f"select city as one, case when email like '%%@x' then 'x' end as two from raw.people {OF_DAY}",
            {"two": "email"},
        ),
        (
            f"with p as (select * from raw.people {OF_DAY}) select p.email as one, p.city as two from p",
            {"one": "email"},
        ),
        (
            "select t.name as one, p.email as two from raw.things as t inner join raw.people as p "
            "using (load_date, name) where t.load_date = %(load_date)s",
            {"two": "email"},
        ),
        ("select name as one, name as two from raw.things where load_date = %(load_date)s", {}),
        (
            f"select city as one, (select max(q.email) from raw.people as q where q.load_date = %(load_date)s) as two "
            f"from raw.people {OF_DAY}",
            {"two": "email"},
        ),
        (f"select city as one, to_jsonb(p)::text as two from raw.people as p {OF_DAY}", {"two": "text"}),
        (
            "select p.city as one, e.value as two from raw.people as p cross join lateral "
            "unnest(string_to_array(p.email, '@')) as e (value) where p.load_date = %(load_date)s",
            {"two": "email"},
        ),
        (
            f"select one, two from (select email as one, city as two from raw.people {OF_DAY} union all "
            f"select city as one, city as two from raw.people {OF_DAY}) as u",
            {"one": "email"},
        ),
    ],
)
def test_a_select_passes_personal_columns_on(people: Tree, select: str, personal: dict[str, str]) -> None:
    assert seen(people, select) == personal


def test_none_ends_it_and_a_kind_changes_it(people: Tree) -> None:
    select = f"select md5(email) as one, name as two from raw.people {OF_DAY}"
    assert seen(people, select) == {"one": "email", "two": "name"}
    assert seen(people, select, ", pii: none") == {"two": "name"}
    assert seen(people, select, ", pii: id") == {"one": "id", "two": "name"}


def test_it_goes_on_through_several_tables_and_a_history(people: Tree) -> None:
    people.write(
        "shop/marts/known.sql",
        """\
/* @asset
description: People as known.
owner: team:tests
grain: [person_id]
storage: history
history: {surrogate_key: person_sk}
columns:
  person_id: {type: integer, description: Person.}
  city: {type: text, description: City.}
@end */
select person_id, city from raw.people where load_date = %(load_date)s
""",
    )
    assert seen(people, "select person_sk::text as one, city as two from marts.known") == {"one": "id"}
    tables = people.load().tables
    assert tables[Relation("marts", "known")].pii.personal == {"person_id": "id", "person_sk": "id"}
    assert tables[Relation("raw", "people")].pii.personal == {"person_id": "id", "email": "email", "name": "name"}
    assert not tables[Relation("raw", "things")].pii
    assert not tables[Relation("marts", "sold")].pii


def test_a_table_that_carries_on_passes_its_own_columns_on(people: Tree) -> None:
    select = """\
select person_id::text as one, coalesce(b.two, p.city) as two
from raw.people as p
left join (select * from marts.seen where load_date = %(previous_load_date)s) as b on b.one = p.person_id::text
where p.load_date = %(load_date)s"""
    assert seen(people, select) == {"one": "id"}
    assert seen(people, select.replace("coalesce(b.two, p.city)", "coalesce(b.one, p.city)")) == {
        "one": "id",
        "two": "id",
    }


def test_what_holds_whole_records_or_unknown_fields_is_personal_beside_a_personal_column(people: Tree) -> None:
    people.edit("shop/raw/people.sql", "  format: csv", "  format: csv\n  extra: keep")
    assert people.load().tables[Relation("raw", "people")].pii.personal["extra_fields"] == "text"


def test_a_table_that_counts_persons_handles_personal_values_but_has_none(people: Tree) -> None:
    assert seen(people, f"select city as one, count(email)::text as two from raw.people {OF_DAY} group by city") == {}
    assert people.load().tables[MART].pii, "a failed statement may quote one"


@pytest.mark.parametrize(
    ("kpi", "said"),
    [
        ("chart: {x: one, y: n}", "marts/seen.sql:8: kpi.chart.x: 'one' is personal, and a chart shows it: "),
        (
            "chart: {x: two, y: n}\n  dimensions: [one]",
            "marts/seen.sql:9: kpi.dimensions: 'one' is personal, and readers choose its values: ",
        ),
        (
            "chart: {x: two, y: n}\n  measures: {oldest: {title: Oldest, value: max(id)}}",
            "marts/seen.sql:12: kpi.measures.oldest: 'id' is personal, and min and max give the value of one person: ",
        ),
    ],
)
def test_a_kpi_shows_no_personal_column(people: Tree, kpi: str, said: str) -> None:
    mend = "compute it without the column, or write `pii: none` at the column if it is about no person"
    people.write("shop/marts/seen.sql", KPI.replace("WORDS", kpi))
    assert people.error() == said + mend


KPI = """\
/* @asset
description: A KPI about people.
owner: team:tests
grain: [one]
kpi:
  WORDS
columns:
  one: {type: text, description: First.}
  two: {type: text, description: Second.}
  n: {type: bigint, description: Number.}
  id: {type: integer, description: Person.}
@end */
select email as one, city as two, count(*) as n, max(person_id) as id
from raw.people where load_date = %(load_date)s group by email, city
"""


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            "select count(distinct one) as people from marts.seen where load_date = %(load_date)s order by 1",
            "reads one, which has personal values, and readers may not read them: read a table that counts them, or "
            "one that says `pii: none`",
        ),
        (
            "select count(*) as people from (select * from marts.seen where load_date = %(load_date)s) as s order by 1",
            "reads all columns by *, and marts.seen has personal ones: name the columns that are read",
        ),
        ("select count(two) as people from marts.seen where load_date = %(load_date)s order by 1", ""),
    ],
)
def test_a_question_reads_no_personal_column(people: Tree, select: str, said: str) -> None:
    seen(people, f"select email as one, city as two from raw.people {OF_DAY}")
    people.write(
        "shop/questions/how_many.sql",
        f"""\
/* @question
title: How many people?
description: The number of people.
owner: team:tests
columns:
  people: {{title: People}}
@end */
{select}
""",
    )
    if said:
        assert people.error().partition(": ")[2] == said
    else:
        assert "how_many" in people.load().questions


def test_an_unknown_kind_is_refused(people: Tree) -> None:
    people.edit("shop/raw/people.sql", "pii: email", "pii: mail")
    assert people.error().startswith("raw/people.sql:10: columns.email.pii: 'mail' is not known here: write ")


def test_a_sample_is_masked_by_what_its_query_returns(people: Tree) -> None:
    seen(people, f"select email as one, city as two from raw.people {OF_DAY}")
    people.edit(
        "shop/marts/seen.sql",
        "@end */",
        """checks:
  renamed: {description: Nobody., bad_rows: "select two, one as shown, upper(one), 7 as n from {this}"}
  named: {description: Nobody., bad_rows: "select two, one as shown, null as nothing from {this}"}
  counted: {description: Nobody., bad_rows: "select two, count(one) as n from {this} group by two"}
@end */""",
    )
    table = people.load().tables[MART]
    queries = {check.name: check.queries[0] for check in table.checks if check.queries}
    rows = [{"two": "Rome", "shown": "a@b.c", "nothing": None}]
    assert table.pii.masked_rows(queries["named"], rows) == [{"two": "Rome", "shown": "(masked)", "nothing": None}]
    rows = [{"two": "Rome", "n": 3}]
    assert table.pii.masked_rows(queries["counted"], rows) == rows
    rows = [{"two": "Rome", "shown": "a@b.c", "upper": "A@B.C", "n": 7}]
    [masked] = table.pii.masked_rows(queries["renamed"], rows)
    assert set(masked.values()) == {"(masked)"}, "upper has no name in the SQL"


def test_masking_keeps_null_and_looks_into_objects() -> None:
    row = {"id": 1, "email": None, "name": "Ana", "differs": {"email": {"here": "a", "there": "b"}, "n": {"here": 1}}}
    shown = {"id": 1, "email": None, "name": "(masked)", "differs": {"email": "(masked)", "n": {"here": 1}}}
    assert masked_row(row, {"email", "name"}) == shown
    pii = Pii({"email": "email"}, ["id", "email"])
    assert masked_json('{"id": 1, "email": "a@b.c"}', pii) == '{"id": 1, "email": "(masked)"}'
    assert masked_json('{"id": 1, "gone": "a@b.c"}', pii) == '{"id": 1, "gone": "(masked)"}', "no column any more"
    assert masked_json('{"id": 1, "ema… (cut)', pii) == "(masked)"
    assert not pii.hides("load_date")
    assert without_quotes("is 'x', not 'y' (1)") == "is (masked) (1)"


def test_a_bad_record_is_masked_whole_and_a_bad_row_by_column(people: Tree) -> None:
    seen(people, f"select email as one, city as two from raw.people {OF_DAY}")
    tables = people.load().tables
    bad = {
        "id": 7,
        "column_name": "age",
        "value": "Ana",
        "reason": 'no integer: "Ana"',
        "record": "1,a,Ana",
        "key": None,
    }
    shown = {**bad, "value": "(masked)", "reason": "no integer: (masked)", "record": "(masked)"}
    assert masked_bad_row(tables[Relation("raw", "people")], bad) == shown
    row = {"key": '{"one": "a@b.c"}', "value": None, "reason": "breaks r", "record": '{"one": "a@b.c", "two": "Rome"}'}
    shown = {**row, "key": '{"one": "(masked)"}', "record": '{"one": "(masked)", "two": "Rome"}'}
    assert masked_bad_row(tables[MART], row) == shown
    assert masked_bad_row(tables[Relation("raw", "things")], bad) == bad


def test_an_error_gives_its_reason_without_a_value() -> None:
    pii = Pii({"email": "email"}, ["email"])
    error = psycopg.errors.InvalidTextRepresentation('invalid input syntax for type integer: "a@b.c"')
    assert "a@b.c" in reason_of(error, Pii())
    assert "a@b.c" not in reason_of(error, pii)
    assert "a@b.c" not in reason_of(error, Pii(read={MART: Read(["email"], {"email": "email"})}))
