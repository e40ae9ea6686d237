"""Subjects: which words and tables are refused, because a person could not be found or erased there."""

import pytest

from kpi_assets.model.names import Relation
from kpi_assets.model.subject_tables import holders_of
from kpi_assets_tests.model.conftest import Tree

PEOPLE = """\
/* @asset
description: People as delivered.
owner: team:tests
grain: [person_id]
source:
  object: raw/people/load_date={load_date}/people.csv
  format: csv
subject: {person: person_id}
columns:
  person_id: {type: text, description: Person., pii: id}
  email: {type: text, description: Address., pii: email}
  age: {type: integer, description: Age.}
  born: {type: jsonb, description: Birth., pii: text}
@end */
"""
SUBJECT = "subject: {person: person_id}"


@pytest.fixture
def people(tree: Tree) -> Tree:
    tree.write("shop/raw/people.sql", PEOPLE)
    return tree


def test_the_words_are_read(people: Tree) -> None:
    people.edit("shop/raw/people.sql", SUBJECT, "subject: {person: person_id, address: 'lower(trim(email))'}")
    [table] = [each for each in people.load().tables.values() if each.header.subject]
    assert [(each.kind, each.column, each.of("x")) for each in table.header.subjects] == [
        ("person", "person_id", "x"),
        ("address", "email", "LOWER(TRIM(x))"),
    ]
    assert table.header.erase == "rows"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            SUBJECT,
            "subject: {person: person_id || email}",
            "'person_id || email' is no key of a person: write a column",
        ),
        (SUBJECT, "subject: {person: md5(email)}", "'md5(email)' is no key of a person: write a column, or lower"),
        (SUBJECT, "subject: {person: 'replace(email, person_id)'}", "does not name one column"),
        (SUBJECT, "subject: {person: 'a b c'}", "'a b c' is no SQL expression"),
        (SUBJECT, "subject: {person: name}", "'name' is not one of the columns that the object fills (person_id, "),
        (SUBJECT, "subject: {person: age}", "'age' names a person: write pii: id at the column"),
        (SUBJECT, "subject: {person: born}", "'born' is jsonb, which names nobody: name another column"),
        ("Age.}", "Age., pii: id}\n  n: {type: text, description: More.}", None),
        (SUBJECT, "erase: values", "erase: says what becomes of the rows of an erased person"),
        ("format: csv", "format: csv\n  position: n", None),
        ("raw/people/load_date={load_date}/people.csv", "raw/people.csv", "an object that is the same for all load_d"),
        ("format: csv", "format: csv\n  encoding: utf-16", "no record can be taken out of utf-16: have the file"),
        (SUBJECT, f"{SUBJECT}\nerase: some", "erase:"),
        (SUBJECT, f"{SUBJECT}\nerase: values", None),
        ("grain: [person_id]", "grain: [person_id, email]\nerase: values", "'email' is personal and may not be NULL"),
        ("grain: [person_id]", "grain: [person_id]\nerase: values\nchecks: {not_null: [email]}", "'email' is personal"),
        ("format: csv", "format: csv\n  extra: keep\nerase: values", "source.extra: keep keeps the record"),
    ],
)
def test_what_cannot_be_erased_is_refused(people: Tree, old: str, new: str, said: str | None) -> None:
    people.edit("shop/raw/people.sql", old, new)
    if said is None:
        people.load()
    else:
        assert said in people.error()


def test_a_replaced_key_is_a_text(people: Tree) -> None:
    people.edit("shop/raw/people.sql", "person_id: {type: text", "person_id: {type: integer")
    people.load()
    people.edit("shop/raw/people.sql", "columns:", "erase: values\ncolumns:")
    assert "'person_id' is integer, which no replaced key fits: write erase: rows" in people.error()


def test_only_an_address_has_spellings(people: Tree) -> None:
    people.edit("shop/raw/people.sql", "Age.}", "Age., pii: id}")
    people.edit("shop/raw/people.sql", SUBJECT, "subject: {person: lower(age)}")
    assert "'age' is integer, whose values have one spelling: write the column alone" in people.error()


def test_a_select_has_no_subject_of_its_own(people: Tree) -> None:
    people.edit("shop/marts/sold.sql", "checks:", f"{SUBJECT}\nchecks:")
    assert "subject: is for raw tables" in people.error()


HISTORY = """\
/* @asset
description: People through time.
owner: team:tests
grain: [id]
storage: history
history: {surrogate_key: sk}
columns:
  id: {type: text, description: Person.}
  age: {type: integer, description: Age.}
@end */
select KEY as id, age from raw.people where load_date = %(load_date)s
"""
CARRIED = """\
/* @asset
description: The oldest ever.
owner: team:tests
grain: [id]
columns:
  id: {type: text, description: Person.}
@end */
select KEY as id from raw.people where load_date = %(load_date)s
union
select id from marts.kept where load_date = %(previous_load_date)s
"""


def kept(people: Tree, key: str) -> None:
    people.write("shop/marts/kept.sql", HISTORY.replace("KEY", key))


AGES = """\
/* @asset
description: Ages through time.
owner: team:tests
grain: [age]
storage: history
history: {surrogate_key: age_sk}
columns:
  age: {type: integer, description: Age.}
@end */
select distinct age from raw.people where load_date = %(load_date)s
"""
FACTS = """\
/* @asset
description: Things through time.
owner: team:tests
grain: [thing_id]
storage: history
history: {surrogate_key: fact_sk}
columns:
  thing_id: {type: integer, description: Thing.}
  person_sk: {type: bigint, description: Version of the person.}
@end */
select t.thing_id, k.NUMBER as person_sk
from raw.things as t
left join lateral (select v.sk, v.age from marts.kept as v where v.age = t.thing_id order by v.sk limit 1) as k on true
where t.load_date = %(load_date)s
"""


def test_the_number_of_a_version_names_its_person(people: Tree) -> None:
    kept(people, "person_id")
    people.write("shop/marts/facts.sql", FACTS.replace("NUMBER", "sk"))
    found = holders_of(people.load())
    [facts] = [each for relation, each in found.items() if relation.table == "facts"]
    assert (facts.columns, facts.versions) == (frozenset(), {"person_sk": Relation("marts", "kept")})
    people.write("shop/marts/facts.sql", FACTS.replace("NUMBER", "age").replace("person.}", "person., pii: id}"))
    assert "a history keeps what was delivered on other load_dates, and no column of it holds" in people.error()


def test_a_history_that_is_about_no_person_needs_no_key(people: Tree) -> None:
    people.write("shop/marts/ages.sql", AGES)
    people.load()
    people.write("shop/marts/ages.sql", AGES.replace("Age.}", "Age., pii: text}"))
    assert "a history keeps what was delivered on other load_dates" in people.error()


DECIDED = """\
/* @asset
description: Persons whom somebody may decide on.
owner: team:tests
grain: [age]
quarantine: {rows: 9, rules: {young: {bad_rows: "select * from {this} where age < 18"}}}
columns:
  age: {type: integer, description: Age.}
  email: {type: text, description: Address.}
@end */
select age, email from raw.people where load_date = %(load_date)s
"""


def test_decisions_quote_rows_so_that_the_key_must_be_among_them(people: Tree) -> None:
    people.write("shop/marts/decided.sql", DECIDED.replace("  email: {type: text, description: Address.}\n", ""))
    people.edit("shop/marts/decided.sql", "select age, email", "select age")
    people.load()
    people.write("shop/marts/decided.sql", DECIDED)
    assert people.error() == (
        "marts/decided.sql:1: decisions on rows that are set aside quote them, and no column of it holds the key of "
        "the persons of raw.people, so that nobody can be erased from it: select that column too"
    )
    people.edit("shop/marts/decided.sql", "columns:", "columns:\n  person_id: {type: text, description: Person.}")
    people.edit("shop/marts/decided.sql", "select age", "select person_id, age")
    people.load()


def test_no_decision_names_its_row_by_the_number_of_a_record(people: Tree) -> None:
    """Those behind an erased record are counted anew, so the decision would be on another row, or on none."""
    people.edit("shop/raw/people.sql", "format: csv", "format: csv\n  position: n")
    numbered = DECIDED.replace("select age, email", "select n * 10 as number, person_id")
    numbered = numbered.replace("[age]", "[number]").replace("age: {type: integer", "number: {type: bigint")
    numbered = numbered.replace("email: {", "person_id: {").replace("age < 18", "number < 8")
    people.write("shop/marts/decided.sql", numbered)
    assert people.error() == (
        "marts/decided.sql:7: grain: 'number' is the number of a record, which is another one once somebody was erased "
        "from its object, so that no decision on a row would find it again: name the rows by other columns"
    )
    people.edit("shop/marts/decided.sql", "grain: [number]", "grain: [person_id]")
    people.load()


@pytest.mark.parametrize(("file", "what"), [(HISTORY, "a history"), (CARRIED, "a table that carries on")])
def test_what_keeps_other_load_dates_must_show_the_key(people: Tree, file: str, what: str) -> None:
    people.write("shop/marts/kept.sql", file.replace("KEY", "upper(person_id)"))
    people.load()
    people.write("shop/marts/kept.sql", file.replace("KEY", "email"))
    assert people.error() == (
        f"marts/kept.sql:1: {what} keeps what was delivered on other load_dates, and no column of it holds the key of "
        "the persons of raw.people, so that nobody can be erased from it: select that column too"
    )
