"""Answers: of which load_date they are, what they are made of, their values, and what a hostile value does: nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.fixtures.database import publish
from kpi_assets.ledger import runs
from kpi_assets.model.names import Relation
from kpi_assets.model.ops_relations import FOR_READERS, OF_NO_LOAD_DATE
from kpi_assets.model.question import LONGEST_TEXT
from kpi_assets.read import ask
from kpi_assets.read.ask import Answer, NoAnswerError, answer, prepare_question
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness

DAY = date(2025, 3, 10)
WEEK = timedelta(days=7)
THINGS, SALES = Relation("marts", "things"), Relation("marts", "sales")
TABLE = """\
/* @asset
description: Things.
owner: team:tests
grain: [thing_id]
versions: latest
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
@end */
select thing_id, name, weight from raw.things where load_date = %(load_date)s
"""
HEAD = """\
/* @question
title: Which things are there?
description: Things of a name.
owner: team:tests
"""
NAMED = f"""\
{HEAD}parameters:
  name: {{title: Name, type: text, default: anvil}}
columns:
  name: {{title: Name}}
  weight: {{title: Weight, format: decimal1, bar: true}}
  is_heavy: {{title: Heavy, labels: {{"true": "yes"}}}}
@end */
select t.name, t.weight, t.weight > 10 as is_heavy
from marts.things as t
inner join marts.sales as s using (load_date, thing_id)
where t.load_date = %(load_date)s and (t.name = %(name)s or %(name)s = 'every')
order by t.thing_id
"""
COMPARED = f"""\
{HEAD}columns:
  thing_id: {{title: Thing}}
  weight_before: {{title: Before}}
  weight: {{title: Now}}
@end */
select n.thing_id, b.weight as weight_before, n.weight
from marts.things as n
left join marts.things as b on n.thing_id = b.thing_id and b.load_date = %(load_date)s::date - 7
where n.load_date = %(load_date)s
order by n.thing_id
"""
WINDOW = f"""\
{HEAD}lookback: 7
columns:
  thing_id: {{title: Thing}}
  weight: {{title: Weight}}
@end */
select thing_id, weight from marts.things where load_date between %(window_start)s and %(load_date)s order by 1
"""
ROWS = 'thing_id,name,weight\n1,anvil,20.50\n2,feather,\n3,"\'; drop table marts.things; --",0.10\n'


@pytest.fixture
def shop(lab: PipelineHarness) -> PipelineHarness:
    """Two tables of things and four questions; the things are published for the DAY and a week before."""
    lab.file("raw/things.sql", RAW_THINGS)
    for name in ("things", "sales"):
        lab.file(f"marts/{name}.sql", TABLE)
    for name, text in (("named", NAMED), ("compared", COMPARED), ("recent", WINDOW)):
        lab.file(f"questions/{name}.sql", text)
    lab.prepared()
    published(lab, THINGS, DAY, ROWS)
    return lab


def published(lab: PipelineHarness, relation: Relation, day: date, rows: str = ROWS) -> int:
    with lab.session() as session:
        return publish(session, lab.pipeline(), relation, day, rows.encode())


@contextmanager
def reader(lab: PipelineHarness) -> Iterator[Connection[Any]]:
    """Open a session of a reader, in one snapshot."""
    session = connect(lab.server, lab.name, "ask", role=READER, more={"application_name": "kpi_ask"}, read_only=True)
    with session as connection, one_snapshot(connection, LEDGER_ALONE):
        yield connection


def asked(
    lab: PipelineHarness, name: str, load_date: date | None = None, given: Mapping[str, str] | None = None
) -> Answer:
    pipeline = lab.pipeline()
    with reader(lab) as connection:
        found = prepare_question(connection, pipeline, pipeline.question(name), given or {}, load_date)
        return answer(connection, pipeline, found)


def test_the_day_is_the_latest_that_all_tables_have(shop: PipelineHarness) -> None:
    with pytest.raises(
        NoAnswerError, match=rf"^Nothing that named reads is published yet: run a load_date of {shop.name}"
    ):
        asked(shop, "named")
    ids = {day: published(shop, SALES, day) for day in (DAY - WEEK, DAY)}
    published(shop, THINGS, DAY - WEEK)
    published(shop, THINGS, DAY + WEEK)
    made = asked(shop, "named")
    assert (made.asked.load_date, made.asked.days) == (DAY, [DAY, DAY - WEEK])
    assert [(each.relation, each.load_date) for each in made.asked.read] == [(SALES, DAY), (THINGS, DAY)]
    assert made.asked.read[0].publish_id == ids[DAY]
    assert asked(shop, "named", DAY - WEEK).asked.load_date == DAY - WEEK
    with pytest.raises(NoAnswerError) as caught:
        asked(shop, "named", DAY + WEEK)
    assert str(caught.value) == (
        f"named has no answer for {DAY + WEEK}, because marts.sales is not published for it: the latest day with an "
        f"answer is {DAY}."
    )


def test_values_are_exact_and_have_their_types(shop: PipelineHarness) -> None:
    published(shop, SALES, DAY)
    made = asked(shop, "named", given={"name": "every"})
    assert (made.columns, made.types) == (["name", "weight", "is_heavy"], ["text", "numeric(6,2)", "boolean"])
    assert made.rows == [
        ["anvil", "20.50", "true"],
        ["feather", None, None],
        ["'; drop table marts.things; --", "0.10", "false"],
    ]
    assert [[made.shown(row, n) for n in range(3)] for row in made.rows] == [
        ["anvil", "20.5", "yes"],
        ["feather", "–", ""],
        ["'; drop table marts.things; --", "0.1", "false"],
    ]
    assert [made.share(row, 1) for row in made.rows] == [1.0, 0.0, float(Decimal("0.10") / Decimal("20.50"))]
    assert [made.share(row, 0) for row in made.rows] == [None] * 3


def test_a_day_before_that_is_not_published_has_no_rows(shop: PipelineHarness) -> None:
    made = asked(shop, "compared")
    assert made.rows == [["1", None, "20.50"], ["2", None, None], ["3", None, "0.10"]]
    [_, before] = made.asked.read
    assert (before.relation, before.load_date, before.publish_id) == (THINGS, DAY - WEEK, None)
    publish_id = published(shop, THINGS, DAY - WEEK, "thing_id,name,weight\n1,anvil,19\n")
    made = asked(shop, "compared")
    assert made.rows == [["1", "19.00", "20.50"], ["2", None, None], ["3", None, "0.10"]]
    assert made.asked.read[1].publish_id == publish_id


def test_a_window_has_the_latest_row_of_each_thing_within_it(shop: PipelineHarness) -> None:
    published(shop, THINGS, DAY - WEEK, "thing_id,name,weight\n8,outside,1\n")
    published(shop, THINGS, DAY - timedelta(days=6), "thing_id,name,weight\n1,anvil,1\n4,cup,4\n")
    made = asked(shop, "recent")
    assert made.rows == [["1", "20.50"], ["2", None], ["3", "0.10"], ["4", "4.00"]]
    assert made.asked.window is not None
    assert made.asked.window.absent == "2025-03-05 to 2025-03-09"


def test_a_window_of_what_is_recorded_lacks_nothing(shop: PipelineHarness) -> None:
    published(shop, THINGS, DAY - timedelta(days=6))
    select = "select asset as thing_id, rows as weight from ops.published where asset = 'marts.things' and "
    text = WINDOW.partition("select")[0] + select + "load_date between %(window_start)s and %(load_date)s order by 2\n"
    shop.file("questions/recorded.sql", text)
    made = asked(shop, "recorded")
    assert (made.asked.load_date, made.rows) == (DAY, [["marts.things", "3"]] * 2)
    assert made.asked.window is not None
    assert made.asked.window.absent == ""


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([("raw.things", "held")], ("held", "raw.things")),
        ([("raw.things", "running"), ("marts.things", "failed")], ("failed", "marts.things")),
        ([("s3.things", "failed"), ("s3.things", "success")], None),
        ([("marts.other", "held")], None),
    ],
)
def test_a_newer_day_that_stopped_is_named(
    shop: PipelineHarness, states: list[tuple[str, str]], expected: tuple[str, str] | None
) -> None:
    published(shop, THINGS, DAY - WEEK)
    with shop.session() as session:
        for job, state in states:
            build = runs.open_row(session, run_id="r", pipeline=shop.name, job=job, load_date=DAY + WEEK)
            session.execute("update ops.pipeline_runs set status = %s, ended_at = now() where id = %s", [state, build])
    newer = asked(shop, "compared").newer
    assert (newer and (newer.load_date, newer.state, newer.asset)) == (expected and (DAY + WEEK, *expected))
    assert asked(shop, "compared", DAY - WEEK).newer is None, "the reader has chosen an earlier day"


def test_an_answer_is_of_one_snapshot(shop: PipelineHarness) -> None:
    pipeline = shop.pipeline()
    with reader(shop) as connection:
        found = prepare_question(connection, pipeline, pipeline.question("compared"), {})
        published(shop, THINGS, DAY, "thing_id,name,weight\n1,anvil,99\n")
        assert answer(connection, pipeline, found).rows[0] == ["1", None, "20.50"]
    assert asked(shop, "compared").rows == [["1", None, "99.00"]]


HOSTILE = [
    "'; drop table marts.things; --",
    "' or '1'='1",
    "anvil' union select rolname, 1, true from pg_authid --",
    "\\'; select pg_sleep(20); --",
    "%(load_date)s",
    "%s",
    "%%",
    "$1",
    "{0}",
    "E'\\x27'",
    "\uff07 or 1=1",
    "'" * LONGEST_TEXT,
    "/* */ '' --",
    "<script>alert(1)</script>",
]


def test_a_hostile_text_is_a_text_and_nothing_else(shop: PipelineHarness) -> None:
    published(shop, SALES, DAY)
    for text in HOSTILE:
        made = asked(shop, "named", given={"name": text})
        assert [row[0] for row in made.rows] == [text] * (text == HOSTILE[0]), text
    assert len(shop.rows("select 1 from marts.things")) == 3


def test_the_statement_with_its_values_gives_the_same_rows(shop: PipelineHarness) -> None:
    published(shop, SALES, DAY)
    pipeline = shop.pipeline()
    for text in [*HOSTILE, "every"]:
        with reader(shop) as connection:
            found = prepare_question(connection, pipeline, pipeline.question("named"), {"name": text})
            statement = found.statement(connection)
            rows = answer(connection, pipeline, found).rows
            again = [list(row) for row in connection.execute(statement.encode()).fetchall()]
        assert [row[0] for row in again] == [row[0] for row in rows], text
    assert "where t.load_date = '2025-03-10'::date and (t.name = 'every' or 'every' = 'every')" in statement


SLOW = "(select count(*) from generate_series(1, 1000000000) as s (n))"


def test_a_question_that_takes_too_long_is_stopped(shop: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "TIMEOUT", 1)
    shop.file("questions/slow.sql", COMPARED.replace("b.weight as", f"b.weight + {SLOW} as"))
    published(shop, THINGS, DAY - WEEK)
    with pytest.raises(UserError, match=r"^slow took longer than 1 seconds and was stopped: ask for less, or let its"):
        asked(shop, "slow")


def test_an_answer_with_too_many_rows_is_refused(shop: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "MOST_ROWS", 3)
    assert len(asked(shop, "compared").rows) == 3
    monkeypatch.setattr(ask, "MOST_ROWS", 2)
    with pytest.raises(
        UserError, match=r"^The answer of compared has more than 2 rows: let its SELECT end with a limit"
    ):
        asked(shop, "compared")


def test_an_error_of_the_server_is_one_sentence(shop: PipelineHarness) -> None:
    shop.file("questions/wrong.sql", COMPARED.replace("n.weight\n", "n.weight / 0 as weight\n"))
    with pytest.raises(
        UserError, match=r"^wrong cannot be answered \(division by zero\): its SELECT is .*/wrong\.sql\.$"
    ):
        asked(shop, "wrong")


def test_the_relations_of_ops_that_a_question_reads_have_a_load_date(shop: PipelineHarness) -> None:
    found = shop.rows(
        "select c.relname from pg_attribute as a inner join pg_class as c on a.attrelid = c.oid "
        "where c.relnamespace = 'ops'::regnamespace and a.attname = 'load_date' and c.relkind in ('r', 'v')"
    )
    assert {*FOR_READERS} - OF_NO_LOAD_DATE <= {name for (name,) in found}
