"""`reconcile` with `on`: each row is compared with its row of the source, and what differs is explained or fails."""

from datetime import date
from textwrap import indent

import pytest

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.results import CheckResult
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness

RAW = """\
/* @asset
description: People as delivered.
owner: team:tests
grain: [record]
source:
  object: raw/people/load_date={load_date}/people.csv
  format: csv
  position: record
columns:
  person_id: {type: text, description: Person.}
  name: {type: text, description: Name.}
  city: {type: text, description: City.}
  paid: {type: numeric, description: What the person paid.}
  born: {type: text, description: "Day of birth, as it is written."}
  note: {type: json, description: Any JSON.}
@end */
"""
CLEAN = """\
/* @asset
description: People once each.
owner: team:tests
grain: [person_id]
columns:
  record: {type: bigint, description: Record of the object.}
  person_id: {type: text, description: Person.}
  name: {type: text, description: Name.}
  city: {type: text, description: City.}
  paid: {type: "numeric(9,2)", description: What the person paid.}
  born: {type: date, description: Day of birth.}
  note: {type: json, description: Any JSON.}
  other: {type: text, description: What the source does not have.}
checks:
  reconcile:
    source: raw.people
    on: record
WORDS@end */
select record, person_id, NAME as name, city, paid::numeric(9,2) as paid, born::date as born, note, 'x' as other
from raw.people as p
where load_date = %(load_date)s and person_id is not null and record = (
    select max(o.record) from raw.people as o where o.load_date = %(load_date)s and o.person_id = p.person_id
)
"""
DROPPED = """\
dropped:
  without_id: person_id is null
  twice: >
    person_id is not null and exists (select 1 from raw.people as o where o.load_date = %(load_date)s
    and o.person_id = people.person_id and o.record > people.record)
"""
TRIMMED = "changed: {trimmed: name <> trim(name), odd: name like '%%  %%'}\n"
BODY = b"""\
person_id,name,city,paid,born,note
a,Ann,Bonn,1.5,2001-02-03,{}
b, Bob ,Bern,2,,"{""x"": 1}"
b,  Bob,Bern,2,,
,Nobody,,,,
c,Cid,,,1999-12-31,null
"""


def declare(people: PipelineHarness, words: str, select: tuple[str, str] = ("NAME", "trim(name)")) -> None:
    people.file("stg/people.sql", CLEAN.replace("WORDS", indent(words, "    ")).replace(*select))


@pytest.fixture
def people(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/people.sql", RAW)
    for day in (DAY, NEXT):
        lab.put(f"raw/people/load_date={day}/people.csv", BODY)
    declare(lab, DROPPED + TRIMMED)
    return lab


def of_build(people: PipelineHarness, day: date = DAY, table: str = "stg.people") -> tuple[BuildOutcome, CheckResult]:
    people.build("raw.people", day)
    outcome = people.build(table, day)
    return outcome, next(result for result in outcome.results if result.name == "reconcile")


START = "5 rows of raw.people = 3 here + 1 dropped by without_id + 1 dropped by twice"


def test_each_rule_counts_the_rows_that_it_explains(people: PipelineHarness) -> None:
    outcome, found = of_build(people)
    assert not outcome.held
    assert found.message == f"{START}; 1 differ: 1 changed by trimmed, 1 changed by odd"
    assert (found.passed, found.metric, found.samples) == (True, 0, [])


def test_a_row_that_differs_and_meets_no_rule_is_shown_with_what_differs(people: PipelineHarness) -> None:
    declare(people, DROPPED + TRIMMED, ("NAME as name, city", "trim(name) as name, coalesce(city, '?') as city"))
    outcome, found = of_build(people)
    assert outcome.held
    assert found.message == f"{START}; 2 differ: 1 changed by trimmed, 1 changed by odd, 1 unexplained"
    assert found.metric == 1
    assert found.samples == [
        {"record": 5, "person_id": "c", "differs": {"city": {"source": None, "here": "?"}}},
    ]


def test_without_a_rule_every_difference_is_unexplained(people: PipelineHarness) -> None:
    declare(people, DROPPED)
    _, found = of_build(people)
    assert found.message == f"{START}; 1 differ: 1 unexplained"
    assert found.samples[0]["differs"] == {"name": {"source": "  Bob", "here": "Bob"}}


def test_nothing_differs_if_the_values_are_equal(people: PipelineHarness) -> None:
    """Among them 1.5 and 1.50, a date and the same date as text, and the same JSON."""
    declare(people, DROPPED, ("NAME", "name"))
    outcome, found = of_build(people)
    assert (outcome.held, found.message) == (False, f"{START}; none differs")


@pytest.mark.parametrize(
    ("select", "differs"),
    few(
        1,
        [
            (("paid::", "(paid + 0.01)::"), {"paid": {"source": 1.5, "here": 1.51}}),
            (("born::date", "(born::date + 1)"), {"born": {"source": "2001-02-03", "here": "2001-02-04"}}),
            (("note,", """'{"x":1}'::json as note,"""), {"note": {"source": {}, "here": {"x": 1}}}),
            (("city,", "nullif(city, 'Bonn') as city,"), {"city": {"source": "Bonn", "here": None}}),
        ],
    ),
)
def test_each_column_of_both_is_compared(
    people: PipelineHarness, select: tuple[str, str], differs: dict[str, object]
) -> None:
    old = "NAME as name, city, paid::numeric(9,2) as paid, born::date as born, note,"
    declare(people, DROPPED + TRIMMED, (old, old.replace("NAME", "trim(name)").replace(*select)))
    _, found = of_build(people)
    by_key = {sample["person_id"]: sample["differs"] for sample in found.samples}
    assert by_key["a"] == differs


def test_rows_that_the_source_lacks_are_found_even_if_the_counts_match(people: PipelineHarness) -> None:
    """A row is lost, and another one is invented."""
    declare(people, DROPPED + TRIMMED)
    text = (people.folder / "stg/people.sql").read_text()
    people.file(
        "stg/people.sql",
        text.replace("select record,", "select case person_id when 'c' then 9 else record end as record,"),
    )
    _, found = of_build(people)
    assert found.message == f"{START}; 1 differ: 1 changed by trimmed, 1 changed by odd; 1 here without a row there"
    assert (found.metric, found.samples) == (
        1,
        [{"record": 9, "person_id": "c", "differs": "no such row in raw.people"}],
    )


def test_a_row_that_a_rule_drops_and_that_is_here_has_no_row_there(people: PipelineHarness) -> None:
    declare(people, "dropped: {without_id: person_id is null, no_city: city is null}\n" + TRIMMED)
    _, found = of_build(people)
    assert found.message == (
        "5 rows of raw.people = 3 here + 1 dropped by without_id + 2 dropped by no_city + -1 dropped by "
        "several rules; "
        "1 differ: 1 changed by trimmed, 1 changed by odd; 1 here without a row there"
    )
    assert (found.passed, found.metric) == (False, 1)


def test_a_row_that_two_rules_drop_does_not_hide_one_that_is_lost(people: PipelineHarness) -> None:
    again = "nobody: name = 'Nobody'\n"
    declare(people, DROPPED + f"  {again}" + TRIMMED)
    outcome, found = of_build(people)
    start = f"{START} + 1 dropped by nobody + -1 dropped by several rules"
    assert not outcome.held, "each row is here or dropped by a rule"
    assert found.message == f"{start}; 1 differ: 1 changed by trimmed, 1 changed by odd"
    text = (people.folder / "stg/people.sql").read_text()
    people.file("stg/people.sql", text.replace("and record = (", "and person_id < 'c' and record = ("))
    outcome, found = of_build(people)
    assert (outcome.held, found.metric) == (True, 1)
    assert found.message.startswith(f"{start.replace('3 here', '2 here')} + 1 unexplained;")


def test_rows_that_share_the_key_of_the_join_are_counted(people: PipelineHarness) -> None:
    """Of the build, although their grain differs, and of the source, one row of which is not dropped."""
    declare(people, DROPPED + TRIMMED)
    text = (people.folder / "stg/people.sql").read_text()
    people.file("stg/people.sql", text.replace("select record,", "select 1::bigint as record,"))
    _, found = of_build(people)
    assert (
        found.message
        == f"{START}; 2 differ: 0 changed by trimmed, 0 changed by odd, 2 unexplained; 2 more with "
        + ("the same record")
    )
    assert found.metric == 4

    declare(people, "dropped: {without_id: person_id is null}\n" + TRIMMED)
    text = (people.folder / "stg/people.sql").read_text()
    people.file("stg/people.sql", text.replace("on: record", "on: person_id"))
    _, found = of_build(people)
    assert found.message.endswith("; 1 more with the same person_id")
    assert found.metric == 2, "one row of the source is neither here nor dropped, and shares its key"


def test_a_recheck_compares_the_published_rows(people: PipelineHarness) -> None:
    _, built = of_build(people)
    context = people.prepared()
    with people.session() as session:
        session.execute("update stg.people set city = 'Rome' where person_id = 'a'")
    found = {each.name: each for each in recheck(context, context.pipeline.table("stg.people"), DAY)}["reconcile"]
    assert found.message == built.message.replace("1 differ", "2 differ") + ", 1 unexplained"
    assert found.samples[0]["differs"] == {"city": {"source": "Bonn", "here": "Rome"}}


WINDOW = """\
/* @asset
description: People of two days.
owner: team:tests
grain: [day, record]
lookback: {days: 2, rows: all}
columns:
  day: {type: date, description: Day.}
  record: {type: bigint, description: Record.}
  name: {type: text, description: Name.}
checks:
  reconcile: {source: stg.days, on: [record, day], changed: {trimmed: name <> trim(name)}}
@end */
select day, record, trim(name) as name from stg.days where load_date between %(window_start)s and %(load_date)s
"""
DAYS = """\
/* @asset
description: People with their day.
owner: team:tests
grain: [record]
columns:
  day: {type: date, description: Day.}
  record: {type: bigint, description: Record.}
  name: {type: text, description: Name.}
@end */
select load_date as day, record, name from raw.people where load_date = %(load_date)s
"""


def test_with_a_lookback_the_rows_of_the_window_are_compared(people: PipelineHarness) -> None:
    people.file("stg/days.sql", DAYS)
    people.file("marts/window.sql", WINDOW)
    for day in (DAY, NEXT):
        people.build("raw.people", day)
        people.build("stg.days", day)
    outcome = people.build("marts.window", NEXT)
    found = next(result for result in outcome.results if result.name == "reconcile")
    assert found.message == "10 rows of stg.days = 10 here; 4 differ: 4 changed by trimmed"


HISTORY = """\
/* @asset
description: People and their history.
owner: team:tests
grain: [record]
storage: history
history: {surrogate_key: person_sk}
columns:
  record: {type: bigint, description: Record.}
  name: {type: text, description: Name.}
checks:
  reconcile: {source: raw.people, on: record, changed: {trimmed: name <> trim(name)}}
@end */
select record, trim(name) as name from raw.people where load_date = %(load_date)s
"""
OF_HISTORY = """\
/* @asset
description: People as they are known.
owner: team:tests
grain: [record]
columns:
  record: {type: bigint, description: Record.}
  person_sk: {type: bigint, description: Version.}
  name: {type: text, description: Name.}
  effective_date: {type: date, description: First day.}
checks:
  reconcile: {source: marts.people, on: record, changed: {long: length(name) > 3}}
@end */
select record, person_sk, left(name, 3) as name, effective_date from marts.people where is_current
"""


def test_a_history_is_compared_and_so_is_a_table_with_the_rows_of_a_history(people: PipelineHarness) -> None:
    people.file("marts/people.sql", HISTORY)
    people.file("marts/known.sql", OF_HISTORY)
    people.put(f"raw/people/load_date={NEXT}/people.csv", BODY.replace(b"Ann", b" Ann").replace(b"Cid", b"Cy"))
    for day, trimmed in ((DAY, 2), (NEXT, 3)):
        _, found = of_build(people, day, "marts.people")
        assert found.message == f"5 rows of raw.people = 5 here; {trimmed} differ: {trimmed} changed by trimmed"
    # The later load_date is known by now, and only the rows of the earlier one count.
    outcome = people.build("marts.known", DAY)
    found = next(result for result in outcome.results if result.name == "reconcile")
    assert found.message == "5 rows of marts.people = 5 here; 1 differ: 1 changed by long"


@pytest.mark.parametrize(
    ("words", "sentence"),
    few(
        4,
        [
            (
                "on: recordd",
                "on: 'recordd' is not one of the columns here (record, person_id, name, city, paid, born, note",
            ),
            ("on: [record, record]", "on: 'record' is named twice: take it out once"),
            ("on: []", "reconcile.on: it has 0 parts: write at least 1"),
            (
                "on: other",
                "on: raw.people has no column 'other': it has person_id, name, city, paid, born, note, record",
            ),
            ("on: born", "on: 'born' is date here and text there: rows are joined by like types"),
            ("on: note", "on: 'note' is json here and json there: rows are joined by like types"),
            (
                "on: [record, person_id, name, city, paid]\n    counted: count(*)",
                "on: compares rows one by one, and counted",
            ),
            (
                "on: record\n    sum: paid",
                "on: compares rows one by one, and sum does not: reconcile them in checks of",
            ),
            (
                "on: record\n    changed: {bad: nome is null}",
                "reads the column 'nome' of raw.people, which has no such",
            ),
            ("on: record\n    changed: {bad: a = = 1}", "cannot be parsed, at '='"),
            (
                "on: record\n    changed: {bad: ' '}",
                "sql:18: changed: 'bad' has no condition: write one, or take it out",
            ),
            ("on: record\n    dropped: {bad: '-- all'}", "dropped: 'bad' has no condition: write one, or take it out"),
            ("changed: {bad: name is null}", "changed: is for rows that are compared one by one: say on as well"),
        ],
    ),
)
def test_what_cannot_be_compared_is_refused(people: PipelineHarness, words: str, sentence: str) -> None:
    text = CLEAN.replace("WORDS", "").replace("on: record", words).replace("NAME", "name")
    people.file("stg/people.sql", text)
    with pytest.raises(ModelError) as caught:
        people.pipeline()
    assert sentence in str(caught.value)


def test_a_table_without_a_column_of_the_source_compares_nothing(people: PipelineHarness) -> None:
    people.file(
        "stg/people.sql",
        DAYS.replace("checks", "").replace(
            "@end", "checks: {reconcile: {source: raw.people, on: [record, name]}}\n@end"
        ),
    )
    with pytest.raises(ModelError, match="nothing would be compared, since no other column of"):
        people.pipeline()


def test_rows_that_are_set_aside_and_corrected_are_no_changes(people: PipelineHarness) -> None:
    declare(people, DROPPED)
    text = (people.folder / "stg/people.sql").read_text()
    people.file("stg/people.sql", text.replace("checks:", "quarantine: {rules: {not_null: [city]}}\nchecks:"))
    with pytest.raises(ModelError, match="reconcile: on compares every row, and a row that quarantine sets aside may"):
        people.pipeline()


def test_another_column_of_the_source_is_another_way_to_judge(people: PipelineHarness) -> None:
    before = people.pipeline().table("stg.people").checks_version
    people.file("raw/people.sql", RAW.replace("columns:", "columns:\n  other: {type: text, description: Other.}"))
    assert people.pipeline().table("stg.people").checks_version != before
