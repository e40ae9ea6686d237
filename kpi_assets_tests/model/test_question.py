"""What the file of a question may say and read, and which values its parameters take."""

import re
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from kpi_assets.errors import UsageError
from kpi_assets.model.names import Relation
from kpi_assets.model.ops_relations import FOR_READERS, OF_NO_LOAD_DATE
from kpi_assets.model.question import LONGEST_TEXT, Question, WrongParameterError
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import CHECKOUT, default_sql_dir
from kpi_assets_tests.model.conftest import MART, YAML, Tree

SOLD = Relation("marts", "sold")
QUESTION = """\
/* @question
title: Which things were sold?
description: Things with a number that is high enough.
owner: team:tests
parameters:
  at_least: {title: At least, type: integer, default: 1, range: [0, 9]}
columns:
  name: {title: Name}
  thing_id: {title: Number, format: integer, bar: true}
@end */
select
    name,
    thing_id
from marts.sold
where load_date = %(load_date)s and thing_id >= %(at_least)s
order by thing_id
"""
SELECT = QUESTION.partition("@end */\n")[2]
LIVE = """\
/* @asset
description: Builds.
owner: team:tests
grain: [id, made_on]
storage: live
columns:
  id: {type: bigint, description: Number of the build.}
  made_on: {type: date, description: Its load_date.}
@end */
select id, load_date as made_on
from ops.pipeline_runs
"""


def asked(tree: Tree, text: str = QUESTION) -> Question:
    tree.write("shop/questions/sold.sql", text)
    return tree.load().question("sold")


def refused(tree: Tree, text: str) -> str:
    tree.write("shop/questions/sold.sql", text)
    return tree.error()


def selecting(select: str, *, lookback: str = "", parameters: str = "") -> str:
    """Return a question with this SELECT of `name` and `thing_id`, and the two words."""
    header = QUESTION.partition("@end */\n")[0] + "@end */\n"
    before, _, behind = header.partition("parameters:\n")
    columns = "columns:" + behind.partition("columns:")[2]
    return f"{before}{lookback}{parameters}{columns}{select}"


def test_a_question_knows_what_it_reads(tree: Tree) -> None:
    question = asked(tree)
    assert (question.title, question.of_day, question.days_before, question.of_window) == (
        "Which things were sold?",
        (SOLD,),
        (),
        (),
    )
    assert question.values({}) == {"at_least": 1}
    assert tree.load().tables.keys() == {Relation("raw", "things"), SOLD}, "a question is no table"


def test_a_day_before_is_read_beside_the_load_date(tree: Tree) -> None:
    select = """\
select n.name, b.thing_id
from marts.sold as n
left join marts.sold as b on n.thing_id = b.thing_id and b.load_date = %(load_date)s::date - 7
where n.load_date = %(load_date)s
order by 1
"""
    question = asked(tree, selecting(select))
    assert (question.of_day, question.days_before) == ((SOLD,), ((SOLD, 7),))


def test_a_history_is_read_as_it_was_known_on_the_load_date(tree: Tree) -> None:
    history = "storage: history\nhistory: {surrogate_key: sold_sk}\ngrain:"
    tree.write("shop/marts/sold.sql", MART.replace("grain:", history))
    select = "select name, thing_id from marts.sold where is_current order by 1"
    question = asked(tree, selecting(select))
    assert (question.of_day, question.of_window) == ((SOLD,), ())
    assert "%(load_date)s::date" in question.query.executed
    before = select.replace("is_current", "load_date = %(load_date)s::date - 7")
    said = "marts.sold is a history, which is read as known on the load_date: take the condition out"
    assert refused(tree, selecting(before)) == f"questions/sold.sql:9: {said}"


def test_a_window_says_which_rows_count(tree: Tree) -> None:
    select = (
        "select name, thing_id from marts.sold\nwhere load_date between %(window_start)s and %(load_date)s order by 1"
    )
    every = asked(tree, selecting(select, lookback="lookback: {days: 7, rows: all}\n"))
    assert (every.of_day, every.of_window) == ((), (SOLD,))
    assert 'any(%(load_dates_there)s)) as "sold"' in every.query.executed
    unsaid = refused(tree, selecting(select, lookback="lookback: 7\n"))
    assert unsaid.startswith(
        "questions/sold.sql:10: marts.sold is read over 7 calendar days, and nothing says which of"
    )
    tree.write("shop/marts/sold.sql", MART.replace("grain:", "versions: latest\ngrain:"))
    latest = asked(tree, selecting(select, lookback="lookback: 7\n"))
    assert 'select distinct on ("thing_id")' in latest.query.executed


def test_ops_and_live_views_are_tied_by_their_own_date(tree: Tree) -> None:
    tree.write("shop/marts/builds.sql", LIVE)
    of_ops = "select job as name, id as thing_id from ops.pipeline_runs where load_date = %(load_date)s order by 2"
    question = asked(tree, selecting(of_ops))
    assert (question.of_day, question.reads) == ((), (Relation("ops", "pipeline_runs"),))
    of_live = "select 'x' as name, id as thing_id from marts.builds where made_on = %(load_date)s order by 2"
    assert asked(tree, selecting(of_live)).reads == (Relation("marts", "builds"),)
    tree.write("shop/marts/builds.sql", LIVE.replace("type: date", "type: text"))
    assert refused(tree, selecting(of_live)).startswith(
        "questions/sold.sql:9: reads marts.builds, a live view without a"
    )


REFUSED = {
    "another column": ("select name, 1 as other from {sold} order by 1", 7, "the SELECT returns the column 'other'"),
    "another order": ("select thing_id, name from {sold} order by 1", 9, "the header's columns (name, thing_id) have"),
    "a star": ("select * from {sold} order by 1", 9, "the SELECT must name each column it returns"),
    "no order": ("select name, thing_id from {sold}", 9, "the SELECT ends without ORDER BY: add it"),
    "a semicolon": ("select name, thing_id from {sold} order by 1;", 9, "must be exactly one SELECT, without a"),
    "a write": ("delete from marts.sold", 9, "must be exactly one SELECT"),
    "a write in a CTE": (
        "with d as (delete from marts.sold returning *) select name, thing_id from d order by 1",
        9,
        "must be exactly one SELECT",
    ),
    "no SELECT": ("", 1, "has no SELECT: write it below the header"),
    "all load_dates": (
        "select name, thing_id\nfrom marts.sold order by 1",
        10,
        "marts.sold is not tied to the load_date",
    ),
    "a day before alone": (
        "select name, thing_id from marts.sold where load_date = %(load_date)s::date - 1 order by 1",
        9,
        "the SELECT reads nothing of the load_date itself",
    ),
    "a day that a column gives": (
        "select name, thing_id from marts.sold where load_date = %(load_date)s::date - thing_id order by 1",
        9,
        "marts.sold is not tied to the load_date here",
    ),
    "tied in a CTE alone": (
        "with d as (select load_date from {sold})\nselect name, thing_id from d join marts.sold using (load_date) "
        "order by 1",
        10,
        "marts.sold is not tied to the load_date here",
    ),
    "not for readers": (
        "select name, thing_id from raw.things where load_date = %(load_date)s order by 1",
        9,
        "reads raw.things, which readers may not read (readers in pipeline.yaml): read a table of marts",
    ),
    "no file": (
        "select name, thing_id from marts.lost where load_date = %(load_date)s order by 1",
        9,
        "reads marts.lost, which has no file here: correct the name or add the file",
    ),
    "ops without a load_date": (
        "select channel as name, alert_id as thing_id from ops.alert_deliveries order by 1",
        9,
        "reads ops.alert_deliveries, which is not of one load_date: read ops.alerts",
    ),
    "ops that readers may not read": (
        "select name, pid as thing_id from ops.locks order by 1",
        9,
        "reads ops.locks, which readers may not read: read ops.alerts",
    ),
    "a whole row of ops": (
        "select to_jsonb(r) as name, id as thing_id from ops.pipeline_runs as r where r.load_date = %(load_date)s "
        "order by 1",
        9,
        "r is a whole row, which may have columns that readers may not see",
    ),
    "the catalog": (
        "select rolname as name, 1 as thing_id from pg_catalog.pg_authid order by 1",
        9,
        "has no file here",
    ),
    "no such column": (
        "select name, sold.weight as thing_id from {sold} order by 1",
        9,
        "reads the column 'weight' of marts.sold, which has no such column",
    ),
    "the clock": ("select name, now() as thing_id from {sold} order by 1", 9, "gives another answer each time"),
    "another SELECT in a text": (
        "select name, query_to_xml('select 1', true, true, '')::text as thing_id from {sold} order by 1",
        9,
        "reads or does something that the SELECT does not name",
    ),
    "a setting": (
        "select name, pg_catalog.set_config('role', 'none', false) as thing_id from {sold} order by 1",
        9,
        "reads or does something that the SELECT does not name",
    ),
    "a lock": (
        "select name, pg_advisory_lock(1)::text as thing_id from {sold} order by 1",
        9,
        "reads or does something that the SELECT does not name",
    ),
    "a lock of rows": ("select name, thing_id from {sold} order by 1 for update", 9, "the SELECT locks rows"),
    "chance": ("select name, random() as thing_id from {sold} order by 1", 9, "gives another answer each time"),
    "a window without the word": (
        "select name, thing_id from marts.sold where load_date between %(window_start)s and %(load_date)s order by 1",
        9,
        "%(window_start)s needs the word lookback in the header: add it",
    ),
    "an unknown parameter": (
        "select name, thing_id from {sold} and thing_id > %(n)s order by 1",
        9,
        "unknown parameter %(n)s: known is %(load_date)s",
    ),
    "a table without its schema": (
        "select name, thing_id from sold where load_date = %(load_date)s order by 1",
        9,
        "the table 'sold' must be written as schema.table",
    ),
}


@pytest.mark.parametrize(("select", "line", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_question_may_not_select(tree: Tree, select: str, line: int, said: str) -> None:
    found = refused(tree, selecting(select.replace("{sold}", "marts.sold where load_date = %(load_date)s")))
    assert found.startswith(f"questions/sold.sql:{line}: "), found
    assert said in found


PARAMETERS = {
    "not used": (QUESTION.replace(" and thing_id >= %(at_least)s", ""), 6, "the SELECT does not use %(at_least)s"),
    "in quotes": (
        QUESTION.replace("%(at_least)s", "%(at_least)s and name <> '%(at_least)s'"),
        11,
        "%(at_least)s stands in quotes or in a comment, where it is no value: take it out",
    ),
    "in a comment": (
        QUESTION.replace("%(at_least)s", "%(at_least)s -- or %(at_least)s"),
        11,
        "%(at_least)s stands in quotes or in a comment",
    ),
    "a taken name": (QUESTION.replace("at_least", "load_date"), 6, "parameters.load_date: this word is taken"),
    "a taken option": (QUESTION.replace("at_least", "format"), 6, "parameters.format: this word is taken"),
    "no type": (QUESTION.replace(" type: integer,", ""), 6, "'parameters.at_least.type' is missing"),
    "another type": (QUESTION.replace("type: integer", "type: bigint"), 6, "'bigint' is not known here"),
    "a default of another type": (QUESTION.replace("default: 1", "default: one"), 6, "'one' is not a whole number"),
    "a default out of range": (
        QUESTION.replace("default: 1", "default: 10"),
        6,
        "default: '10' is too high",
    ),
    "a range of another type": (QUESTION.replace("[0, 9]", "[0, 9.5]"), 6, "range.1: '9.5' is not a whole number"),
    "a range the wrong way": (QUESTION.replace("[0, 9]", "[9, 0]"), 6, "range: its lowest value is above its highest"),
    "range and choices": (
        QUESTION.replace("range:", "choices: [1, 2], range:"),
        6,
        "choices: the range says",
    ),
    "a range of texts": (
        QUESTION.replace("integer", "text"),
        6,
        "range: is for numbers and dates",
    ),
    "a bar without a format": (QUESTION.replace("format: integer, ", ""), 9, "bar: a bar is as long as a number"),
    "another format": (QUESTION.replace("format: integer", "format: money"), 9, "'money' is no format"),
    "labels and a format": (
        QUESTION.replace("bar: true", "labels: [a]"),
        9,
        "labels: a value has a name",
    ),
    "an unknown word": (QUESTION.replace("owner:", "grain: [name]\nowner:"), 4, "unknown word 'grain': take it out"),
    "no owner": (QUESTION.replace("owner: team:tests\n", ""), 2, "'owner' is missing: add it"),
    "the header of a table": (QUESTION.replace("@question", "@asset"), 1, "the first line must be /* @question"),
    "a header that is not closed": (QUESTION.replace("@end */\n", ""), 1, "has a header that is not closed"),
    "a lookback that is not read": (
        QUESTION.replace("columns:", "lookback: 7\ncolumns:"),
        7,
        "the SELECT reads no window: limit a table by",
    ),
}


@pytest.mark.parametrize(("text", "line", "said"), PARAMETERS.values(), ids=PARAMETERS)
def test_what_a_header_may_not_say(tree: Tree, text: str, line: int, said: str) -> None:
    found = refused(tree, text)
    assert found.startswith(f"questions/sold.sql:{line}: "), found
    assert said in found


@pytest.mark.parametrize("place", ["deep/sold", "Sold", "a-b"])
def test_a_question_lies_in_its_folder(tree: Tree, place: str) -> None:
    tree.write(f"shop/questions/{place}.sql", QUESTION)
    assert tree.error().endswith("must lie at questions/<name>.sql, in lower case and at most 40 letters long")


def test_no_schema_is_called_questions(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", YAML.replace("raw: raw,", "raw: raw, questions: marts,"))
    assert tree.error() == "pipeline.yaml:4: layers.questions: this schema is taken: give it another name"


def test_a_table_with_an_error_hides_no_error_of_a_question(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", MART.replace("owner: team:tests\n", ""))
    tree.write("shop/questions/sold.sql", QUESTION.replace("load_date = %(load_date)s and ", ""))
    found = tree.error()
    assert "marts/sold.sql:2: 'owner' is missing" in found
    assert "questions/sold.sql:14: marts.sold is not tied to the load_date here" in found


def parameter(tree: Tree, words: str) -> Question:
    return asked(tree, QUESTION.replace("type: integer, default: 1, range: [0, 9]", words))


@pytest.mark.parametrize(
    ("words", "text", "value"),
    [
        ("type: integer, default: 1", "-5", -5),
        ("type: integer, default: 1", "9223372036854775807", 2**63 - 1),
        ("type: integer, default: 1, range: [null, 9]", "-99", -99),
        ("type: numeric, default: 0.5", "0.10", Decimal("0.10")),
        ("type: numeric, default: 0.5", ".5", Decimal("0.5")),
        ("type: date, default: '2025-03-01', range: ['2025-01-01', null]", "2025-03-10", date(2025, 3, 10)),
        ("type: boolean, default: false", "true", True),
        ("type: text, default: ''", "'; drop table marts.sold; --", "'; drop table marts.sold; --"),
        ("type: text, default: a, choices: [a, 'b c']", "b c", "b c"),
        ("type: integer, default: 1, choices: [1, 10]", "10", 10),
    ],
)
def test_a_value_has_the_type_of_its_parameter(tree: Tree, words: str, text: str, value: object) -> None:
    question = parameter(tree, words)
    assert question.values({"at_least": text}) == {"at_least": value}
    assert type(question.values({"at_least": text})["at_least"]) is type(value)


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        ("type: integer, default: 1", "1 or 1=1", "'1 or 1=1' is not a whole number: write digits only"),
        ("type: integer, default: 1", "", "'' is not a whole number: write digits only"),
        ("type: integer, default: 1", "1.0", "'1.0' is not a whole number: write digits only"),
        ("type: integer, default: 1", "٣", "'٣' is not a whole number: write digits only"),
        (
            "type: integer, default: 1",
            "9223372036854775808",
            "'9223372036854775808' is not a whole number: write digits only",
        ),
        ("type: integer, default: 1, range: [0, 9]", "10", "'10' is too high: write 9 or less"),
        ("type: integer, default: 1, range: [0, 9]", "-1", "'-1' is too low: write 0 or more"),
        ("type: numeric, default: 1", "NaN", "'NaN' is not a number: write a plain decimal number"),
        ("type: numeric, default: 1", "1e9", "'1e9' is not a number: write a plain decimal number"),
        ("type: date, default: '2025-03-01'", "2025-02-30", "'2025-02-30' is not a date: write it as YYYY-MM-DD"),
        ("type: date, default: '2025-03-01'", "infinity", "'infinity' is not a date: write it as YYYY-MM-DD"),
        ("type: boolean, default: false", "yes", "'yes' is not true or false: write one of them"),
        ("type: text, default: ''", "a\0b", "'a\\x00b' has a character that cannot be printed: take it out"),
        ("type: text, default: ''", "\ud800", "'\\ud800' has a character that cannot be printed: take it out"),
        ("type: text, default: ''", "x" * (LONGEST_TEXT + 1), "it has 201 characters: write at most 200"),
        ("type: text, default: a, choices: [a, b]", "c", "'c' is none of its values: write a, b"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence(tree: Tree, words: str, text: str, said: str) -> None:
    with pytest.raises(WrongParameterError) as caught:
        parameter(tree, words).values({"at_least": text})
    assert (caught.value.parameter, str(caught.value)) == ("at_least", f"at_least: {said}.")


def test_an_unknown_parameter_and_question_are_named(tree: Tree) -> None:
    with pytest.raises(WrongParameterError, match=r"^at_leest: the question has no such parameter: write at_least\.$"):
        asked(tree).values({"at_leest": "1"})
    with pytest.raises(UsageError, match=r"^shop has no question 'solt' \(.*/shop/questions\): write sold\.$"):
        tree.load().question("solt")


def test_the_relations_without_a_load_date_are_among_those_of_readers() -> None:
    assert set(FOR_READERS) >= OF_NO_LOAD_DATE


def test_the_question_of_the_guide_can_be_read(tmp_path: Path) -> None:
    page = (CHECKOUT / "docs" / "guides" / "questions.md").read_text()
    [text] = re.findall(r"```sql\n(/\* @question\n.*?)```", page, re.DOTALL)
    shutil.copytree(default_sql_dir() / "instacart", tmp_path / "instacart")
    (tmp_path / "instacart" / "questions" / "busiest_hours.sql").write_text(text)
    question = load_pipelines(tmp_path)["instacart"].question("busiest_hours")
    assert question.of_day == (Relation("marts", "fact_orders"),)
