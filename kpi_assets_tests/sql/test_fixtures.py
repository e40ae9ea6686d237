"""Every table of every pipeline, built from small tables: the rows that come out, and the result of each check."""

import gzip
import io
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.cases import Case, find_cases, stray_files
from kpi_assets.fixtures.database import FixtureDatabase
from kpi_assets.fixtures.run import check_case, run_cases
from kpi_assets.model.checks.base import Check
from kpi_assets.model.checks.keys import Grain
from kpi_assets.model.checks.quality import Quality
from kpi_assets.model.checks.source_object import Chain, NotSeenBefore, RowAccounting
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.question import Question
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import CHECKOUT, default_sql_dir, settings
from kpi_assets.sources.s3_objects import client
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests import shipped
from kpi_assets_tests.carry_on import SEEN
from kpi_assets_tests.cities import CITIES, CUSTOMERS, RAW_CUSTOMERS
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness
from kpi_assets_tests.sql.cases import CASES, all_cases, folder_of, has_cases, missing, of_question
from kpi_assets_tests.test_readme import new_kpi
from kpi_assets_tests.two_source_pipeline import RAW_LABELS

ALL = all_cases()
# The shipped files, and those of a user that have fixtures; conftest.py names the others.
TABLES = [
    table
    for pipeline in shipped.PIPELINES.values()
    for table in pipeline.tables.values()
    if (pipeline.name == shipped.NAME and str(table.relation) in shipped.TABLES) or has_cases(table)
]
# No object of one load_date can fail only one of these checks. Unreadable records are counted, so only a record that we
# lose fails the first: see materialize/test_content.py. The second compares with the object of another load_date: see
# materialize/test_same_bytes.py. The third needs objects of which one is missing: see materialize/test_grow.py.
OF_NO_CASE = (RowAccounting, NotSeenBefore, Chain)
# A fixture of so many records would be longer than all others together: see test_ecommerce.py.
VOLUMES = {"at_most_500000", "at_most_2000000"}


def has_a_case(table: Table, check: Check) -> bool:
    """Return whether a fixture can fail the check alone. The numbers that a load gives to records cannot repeat."""
    is_numbered = isinstance(check, Grain) and (
        bool(table.stream) or (table.has_object and table.header.grain == [table.source.position])
    )
    # A score without a limit, and what a stream sets aside instead, never fail.
    never_fails = (isinstance(check, Quality) and check.at_least is None) or (
        bool(table.stream) and check.name == "not_null"
    )
    return not isinstance(check, OF_NO_CASE) and check.name not in VOLUMES and not is_numbered and not never_fails


def fails_alone(case: Case, check: Check) -> bool:
    """Return whether only the check fails in a case; a score is low only if checks warn."""
    if not isinstance(check, Quality):
        return case.failing == {check.name}
    warned = {name for name, expected in case.file.checks.items() if expected.status == "warn"}
    return case.failing - warned == {check.name}


CHECKS = [(table, check) for table in TABLES for check in table.checks if has_a_case(table, check)]
DatabaseOf = Callable[[str], FixtureDatabase]


@contextmanager
def open_database(pipeline: Pipeline) -> Iterator[FixtureDatabase]:
    """Yield the pipeline in its own database, on the servers of the test session."""
    config = settings()
    assert config.postgres_url is not None
    with FixtureDatabase.open(pipeline, config.postgres_url, client(config)) as database:
        yield database


@pytest.fixture(scope="module")
def database_of(stack: Stack) -> Iterator[DatabaseOf]:
    """A function that returns the database of a pipeline; all its cases share it, and each starts with empty tables."""
    with ExitStack() as opened:

        @cache
        def database_of(name: str) -> FixtureDatabase:
            return opened.enter_context(open_database(shipped.PIPELINES[name]))

        yield database_of


def cases_of(table: Table) -> list[Case]:
    return [case for case in ALL if (case.pipeline, case.table) == (table.pipeline, str(table.relation))]


@pytest.mark.parametrize("case", ALL, ids=[case.id for case in ALL])
def test_a_table_is_built_as_its_case_says(case: Case, database_of: DatabaseOf) -> None:
    assert list(map(str, check_case(database_of(case.pipeline), case))) == [], case.file.description


EACH_CHECK = pytest.mark.parametrize(
    ("table", "check"), CHECKS, ids=[f"{'/'.join(table.key)}:{check.name}" for table, check in CHECKS]
)


@EACH_CHECK
def test_each_check_has_a_case_in_which_it_alone_fails(table: Table, check: Check) -> None:
    verdict = "fail" if check.blocking else "warn"
    assert any(fails_alone(case, check) for case in cases_of(table)), (
        f"No case sees only the check {check.name!r} of {table.relation} fail: add {folder_of(table)}/<case>/ with "
        f"rows that it must not let through, and `checks: {{{check.name}: {{status: {verdict}, metric: <bad rows>}}}}` "
        "in case.yaml; where the SELECT cannot make such rows of any input, with the `mistake` in it that would."
    )


@pytest.mark.nightly
@EACH_CHECK
def test_each_check_alone_keeps_bad_rows_from_readers(table: Table, check: Check, database_of: DatabaseOf) -> None:
    """Without the check in the header, the case in which only that check fails is published.

    This follows from the case, in which all other checks pass, unless a check did more than it says.
    """
    case = next(case for case in cases_of(table) if fails_alone(case, check))
    database = database_of(table.pipeline)
    guarded = database.table(case)
    unguarded = replace(guarded, checks=tuple(other for other in guarded.checks if other.name != check.name))

    try:
        built = database.build(case, unguarded)
    except WarehouseError as error:
        assert isinstance(check, Grain), error
        refusals = ("UniqueViolation", "NotNullViolation", "read back from the versions")
        is_refused = any(words in str(error) for words in refusals)
        assert is_refused, "for a table stored as rows or a history, the database or the fold refuses such rows too"
    else:
        assert not built.outcome.held
        assert check.name not in {result.name for result in built.outcome.results}


@pytest.mark.parametrize("table", TABLES, ids=["/".join(table.key) for table in TABLES])
def test_every_shipped_file_has_its_cases(table: Table) -> None:
    place = f"{table.path.name} of {table.pipeline}"
    cases = cases_of(table)
    inputs = "object.csv, its object," if table.has_object else "<schema>.<table>.csv of each table that it reads"
    assert any(not case.held for case in cases), (
        f"{place} has no fixture whose rows are published: add {folder_of(table)}/<case>/ with {inputs} and "
        "expect.csv, its rows."
    )
    reads_nothing = table.query is None or not table.reads  # such as a calendar
    assert reads_nothing or any(
        (given.load_date != case.file.load_date or b"effective_date" in given.rows) and given.relation in table.reads
        for case in cases
        for given in case.inputs()
    ), (
        f"{place} has no fixture in which other load_dates could leak in: add a case of {folder_of(table)} with "
        "<schema>.<table>@YYYY-MM-DD.csv of a table that it reads, or the versions of a history."
    )


QUESTIONS = [(name, question) for name, each in shipped.PIPELINES.items() for question in each.questions.values()]


@pytest.mark.parametrize(("name", "question"), QUESTIONS, ids=[f"{name}/{each.name}" for name, each in QUESTIONS])
def test_every_question_has_a_case_in_which_other_days_could_leak_in(name: str, question: Question) -> None:
    cases = of_question(name, question.name)
    given = {(each.relation, each.load_date == case.file.load_date) for case in cases for each in case.inputs()}
    in_ops = {relation for relation, _ in given if relation.schema == "ops"}
    histories = [relation for relation in question.tables if shipped.PIPELINES[name].tables[relation].header.history]
    leaks = {relation for relation, is_of_day in given if not is_of_day} | in_ops | {*histories}
    assert leaks, f"{question.path} has no fixture with <schema>.<table>@YYYY-MM-DD.csv of a table that it reads"
    assert {relation for relation, is_of_day in given if is_of_day} >= {*question.of_day}


QUESTION = """\
/* @question
title: Which things are heavy?
description: Things with a weight that is high enough.
owner: team:tests
parameters:
  at_least: {title: Kilograms, type: numeric, default: 1}
columns:
  thing_id: {title: Thing}
  weight: {title: Weight, format: decimal2}
@end */
select thing_id, weight from marts.weighed where load_date = %(load_date)s and weight >= %(at_least)s order by thing_id
"""


def test_what_an_answer_should_be_is_compared_in_order(things: PipelineHarness, tmp_path: Path) -> None:
    things.file("questions/heavy.sql", QUESTION)
    rows, head = b"thing_id,weight\n1,20.50\n2,3\n3,0.5\n", b"thing_id,weight\n"
    day = {"marts.weighed.csv": rows}
    cases: dict[str, dict[str, bytes]] = {
        "good": {**day, "expect.csv": head + b"1,20.5\n2,3.000\n"},
        "value": {**day, "expect.csv": head + b"1,20.51\n2,3\n"},
        "order": {**day, "expect.csv": head + b"2,3\n1,20.5\n"},
        "more": {**day, "case.yaml": b"parameters: {at_least: 0.5}", "expect.csv": head + b"1,20.5\n2,3\n"},
        "parameter": {**day, "case.yaml": b"parameters: {at_least: many}", "expect.csv": head},
        "checks": {**day, "case.yaml": b"checks: {grain: {status: pass}}", "expect.csv": head},
        "nothing": {"expect.csv": head},
        "unsaid": day,
    }
    for case, files in cases.items():
        folder = tmp_path / "fixtures" / things.name / "questions" / "heavy" / case
        folder.mkdir(parents=True)
        for name, body in files.items():
            (folder / name).write_bytes(body)
    (tmp_path / "fixtures" / things.name / "questions" / "light" / "good").mkdir(parents=True)
    ran = run_cases({things.name: things.pipeline()}, find_cases(tmp_path / "fixtures"), things.server, things.s3)
    assert {case.id.split("questions/")[1]: [each.problem for each in differ] for case, differ in ran} == {
        "heavy/good": [],
        "heavy/value": ["in row 1 weight is '20.50', not '20.51'"],
        "heavy/order": [
            "in row 1 thing_id is '1', not '2', weight is '20.50', not '3'",
            "in row 2 thing_id is '2', not '1', weight is '3.00', not '20.5'",
        ],
        "heavy/more": ["the answer has 3 rows, not 2", "row 3 is not expected: '3', '0.50'"],
        "heavy/parameter": ["at_least: 'many' is not a number: write a plain decimal number."],
        "heavy/checks": ["a question has no checks: take checks and mistake out"],
        "heavy/nothing": [
            "heavy has no answer for 2025-03-10, because marts.weighed is not published for it: no day has an answer "
            "yet."
        ],
        "heavy/unsaid": ["expect.csv is missing: add it with the rows of the answer"],
        "light/good": ["there is no question light: rename the folder to one of heavy"],
    }


def test_every_fixture_lies_in_a_case() -> None:
    lost = list(map(str, stray_files(CASES)))
    assert not lost, f"These are read by no case, which is a folder <pipeline>/<schema>/<table>/<case>: {lost}"


def pieces() -> dict[str, bytes]:
    """Return the files of the page's two cases by name; the text before a code block names its file."""
    page = (CHECKOUT / "docs" / "guides" / "authoring.md").read_text().split("## Fixtures")[1].split("\n## ")[0]
    named = re.findall(r"`([\w.@-]+\.(?:csv|yaml))`[^`]*\n```(?:csv|yaml)\n(.*?)```", page, re.DOTALL)
    return {name: text.encode() for name, text in named}


def differences(tmp_path: Path, cases: Mapping[str, Mapping[str, bytes]]) -> dict[str, list[str]]:
    """Return the differences that `kpi check` finds in cases of the README's KPI, by the name of the case."""
    name, text = new_kpi()
    sql = Path(shutil.copytree(default_sql_dir() / "instacart", tmp_path / "sql" / "instacart"))
    (sql.parent / name).write_text(text)
    root = tmp_path / "fixtures"
    folder = root / "instacart" / "marts" / "kpi_orders_by_hour"
    for case, given in cases.items():
        (folder / case).mkdir(parents=True)
        for file, body in given.items():
            (folder / case / file).write_bytes(body)
    config = settings()
    assert config.postgres_url is not None
    found = run_cases(load_pipelines(sql.parent), find_cases(root), config.postgres_url, client(config))
    return {case.id.split("/")[-1]: [str(each).replace(str(folder), "") for each in differ] for case, differ in found}


def test_the_fixtures_of_the_authoring_guide_pass(stack: Stack, tmp_path: Path) -> None:
    """The cases are those that docs/guides/authoring.md shows for the KPI of the README."""
    files = pieces()
    assert list(files) == ["marts.fact_orders.csv", "marts.fact_orders@2025-03-09.csv", "expect.csv", "case.yaml"]
    outside = files["marts.fact_orders.csv"].replace(b",23,", b",24,")
    plain = {name: body for name, body in files.items() if name != "case.yaml"}
    cases = {"plain": plain, "hour_outside": {"marts.fact_orders.csv": outside, "case.yaml": files["case.yaml"]}}
    assert differences(tmp_path, cases) == {"hour_outside": [], "plain": []}


def test_a_case_that_expects_something_else_is_reported(stack: Stack, tmp_path: Path) -> None:
    files = pieces()
    outside = {"marts.fact_orders.csv": files["marts.fact_orders.csv"].replace(b",23,", b",24,")}
    cases = {
        "metric": {**outside, "case.yaml": b"checks: {range__order_hour_of_day: {status: fail, metric: 2}}"},
        "name": {**outside, "case.yaml": files["case.yaml"] + b"\n  grane: {status: fail, metric: 1}\n"},
        "passes": {**outside, "expect.csv": files["expect.csv"].replace(b"23,", b"24,")},
    }
    found = differences(tmp_path, cases)
    answer = "the check 'range__order_hour_of_day' of marts.kpi_orders_by_hour answers fail, metric 1"
    assert found["metric"] == [f"/metric/case.yaml: {answer}, and the case says metric 2: correct one of them"]
    [unknown] = found["name"]
    assert unknown.startswith("/name/case.yaml: marts.kpi_orders_by_hour has no check 'grane': it has ")
    assert found["passes"] == [f"/passes/case.yaml: {answer} (1 bad row), and the case says pass: correct one of them"]


def test_a_case_has_several_objects(lab: PipelineHarness, tmp_path: Path) -> None:
    """Nothing waits until they are complete, and each is named after what stands for the first wildcard."""
    source = "raw/things/{load_date:%Y/%m/%d}/part-*.csv\n  complete: {settled_minutes: 15}"
    lab.file("raw/things.sql", RAW_THINGS.replace("raw/things/load_date={load_date}/things.csv", source))
    header = b"thing_id,name,weight\n"
    files = {"object.a.csv": header + b"1,anvil,20.50\n", "object.b.csv": header + b"2,feather,\n"}
    cases = {
        "both": {**files, "expect.csv": header + b"1,anvil,20.50\n2,feather,\n"},
        "one": {"object.csv": files["object.b.csv"], "expect.csv": header + b"2,feather,\n"},
        "wrong": {**files, "expect.csv": header},
    }
    found = of_things(lab, tmp_path, cases)
    assert (found["both"], found["one"]) == ([], [])
    assert len(found["wrong"]) == 2


def test_a_case_gives_the_rows_from_which_a_table_carries_on(lab: PipelineHarness, tmp_path: Path) -> None:
    """They are those of an earlier load_date of the table under test; without them, the case is of the first one."""
    lab.file("raw/labels.sql", RAW_LABELS)
    lab.file("marts/seen.sql", SEEN)
    folder = tmp_path / "fixtures" / lab.name / "marts" / "seen"
    labels = b"thing_id,label\n1,heavy\n2,light\n"
    before = b"thing_id,first_on,times\n2,2025-03-01,4\n3,2025-03-05,1\n"
    first = b"thing_id,first_on,times\n1,2025-03-10,1\n2,2025-03-10,1\n"
    later = b"thing_id,first_on,times\n1,2025-03-10,1\n2,2025-03-01,5\n3,2025-03-05,1\n"
    lost = "mistake: {replace: '= %(previous_load_date)s', by: '= %(previous_load_date)s and false'}\n"
    cases = {
        "first": {"raw.labels.csv": labels, "expect.csv": first},
        "later": {"raw.labels.csv": labels, "marts.seen@2025-03-08.csv": before, "expect.csv": later},
        "lost": {
            "raw.labels.csv": b"thing_id,label\n",
            "marts.seen@2025-03-08.csv": before,
            "case.yaml": f"{lost}checks: {{min_rows: {{status: fail, metric: 0}}}}\n".encode(),
        },
        "wrong": {"raw.labels.csv": labels, "marts.seen@2025-03-08.csv": before, "expect.csv": first},
    }
    for case, files in cases.items():
        (folder / case).mkdir(parents=True)
        for name, body in files.items():
            (folder / case / name).write_bytes(body)
    ran = run_cases({lab.name: lab.pipeline()}, find_cases(tmp_path / "fixtures"), lab.server, lab.s3)
    found = {case.id.split("/")[-1]: [each.problem for each in differ] for case, differ in ran}
    assert found == {
        "first": [],
        "later": [],
        "lost": [],
        "wrong": [
            "in the row thing_id 2 first_on is 2025-03-01, not 2025-03-10, times is 5, not 1",
            "the row thing_id 3, first_on 2025-03-05, times 1 is built and not expected",
        ],
    }


def of_things(lab: PipelineHarness, folder: Path, cases: dict[str, dict[str, bytes]]) -> dict[str, list[str]]:
    """Return the differences of cases of raw.things, each given as the bytes of its files by name."""
    root = folder / "fixtures"
    for case, given in cases.items():
        (root / lab.name / "raw" / "things" / case).mkdir(parents=True)
        for name, body in given.items():
            (root / lab.name / "raw" / "things" / case / name).write_bytes(body)
    ran = run_cases({lab.name: lab.pipeline()}, find_cases(root), lab.server, lab.s3)
    return {case.id.split("/")[-1]: [each.problem for each in differ] for case, differ in ran}


def test_the_object_of_a_case_is_named_after_its_format(lab: PipelineHarness, tmp_path: Path) -> None:
    expected = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\n"
    table = pa.table({"thing_id": [1, 2], "name": ["anvil", "feather"], "weight": [Decimal("20.50"), None]})
    body = io.BytesIO()
    pq.write_table(table, body)
    lab.file("raw/things.sql", RAW_THINGS.replace("things.csv\n  format: csv", "things\n  format: parquet"))
    cases = {"good": {"object.parquet": body.getvalue(), "expect.csv": expected}, "none": {"expect.csv": expected}}
    assert of_things(lab, tmp_path / "parquet", cases) == {
        "good": [],
        "none": ["object.parquet is missing: add it with the object of raw.things"],
    }
    lab.file("raw/things.sql", RAW_THINGS.replace("things.csv\n  format: csv", "things\n  format: json"))
    records = b'[{"thing_id": 1, "name": "anvil", "weight": 20.50}, {"thing_id": 2, "name": "feather"}]'
    of_json = {"object.json": records, "expect.csv": expected}
    assert of_things(lab, tmp_path / "json", {"good": of_json}) == {"good": []}
    lab.file(
        "raw/things.sql", RAW_THINGS.replace("things.csv\n  format: csv", "things\n  format: json\n  whole: letters")
    )
    letters = (
        b'thing_id,name,weight,letters\n1,anvil,20.5,"{""thing_id"": 1, ""name"": ""anvil"", ""weight"": 20.50}"\n'
    )
    whole = {"object.json": records[: records.index(b"}, {") + 1] + b"]", "expect.csv": letters}
    other = {**whole, "expect.csv": letters.replace(b"20.50", b"20.5")}
    found = of_things(lab, tmp_path / "whole", {"whole": whole, "other": other})
    assert found["whole"] == []
    assert found["other"][0].startswith("in the row thing_id 1 letters is ")
    packed = {"object.csv.gz": gzip.compress(expected), "expect.csv": expected}
    lab.file("raw/things.sql", RAW_THINGS.replace("format: csv", "format: csv\n  compression: gzip"))
    assert of_things(lab, tmp_path / "gzip", {"packed": packed}) == {"packed": []}


def test_what_is_set_aside_is_compared_in_the_columns_that_a_case_names(lab: PipelineHarness, tmp_path: Path) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("columns:", "quarantine: {rows: 5}\ncolumns:", 1))
    header = b"thing_id,name,weight\n"
    files = {"object.csv": header + b"1,anvil,heavy\n2,feather,\n", "expect.csv": header + b"2,feather,\n"}
    cases = {
        "right": {**files, "aside.csv": b"line,column_name,rules,state\n2,weight,,waiting\n"},
        "line": {**files, "aside.csv": b"line,state\n3,waiting\n"},
        "none": {**files, "aside.csv": b"line\n"},
        "silent": files,
    }
    assert of_things(lab, tmp_path, cases) == {
        "right": [],
        "line": ["line 3, state waiting is not set aside", "line 2, state waiting is set aside and not expected"],
        "none": ["line 2, column_name weight, rules NULL, state waiting is set aside and not expected"],
        "silent": [],
    }


def test_a_file_without_fixtures_is_named_in_a_sentence(tmp_path: Path) -> None:
    sql = Path(shutil.copytree(default_sql_dir(), tmp_path / "sql"))
    name, text = new_kpi()
    (sql / name).write_text(text)
    assert missing(sql) == [
        f"{sql / name} has no fixtures, so nothing shows that its rows are right: add "
        "kpi_assets_tests/sql/instacart/marts/kpi_orders_by_hour/plain/, as docs/guides/authoring.md says."
    ]


def test_a_case_gives_a_history_as_versions_or_as_rows_and_compares_it_by_rows(
    lab: PipelineHarness, tmp_path: Path
) -> None:
    lab.file("raw/customers.sql", RAW_CUSTOMERS)
    lab.file("marts/customers.sql", CUSTOMERS)
    lab.file("marts/cities.sql", CITIES)
    versions = b"customer_id,city,effective_date,end_date\nann,Kyiv,2025-03-01,2025-03-09\nann,Lviv,2025-03-10,\n"
    later = b"bob,Odesa,2025-03-11,\n"
    cities = b"city,versions,customers\nKyiv,1,0\nLviv,1,1\n"
    dated = versions.replace(b"customer_id,", b"customer_sk,customer_id,").replace(b"ann,", b"7,ann,", 1)
    rows = b"customer_id,city\nann,Lviv\n"
    known = {
        "versions": {"marts.customers.csv": versions + later, "expect.csv": cities},
        "keys": {"marts.customers.csv": dated.replace(b"\nann", b"\n8,ann"), "expect.csv": cities},
        "rows": {
            "marts.customers@2025-03-01.csv": rows.replace(b"Lviv", b"Kyiv"),
            "marts.customers.csv": rows,
            "marts.customers@2025-03-11.csv": b"customer_id,city\nbob,Odesa\n",
            "expect.csv": cities,
        },
        "mistake": {
            "marts.customers.csv": versions,
            "case.yaml": b"mistake: {replace: group by city, by: where false group by city}\n",
            "expect.csv": b"city,versions,customers\n",
        },
        "twice": {"marts.customers.csv": dated.replace(b"\nann", b"\n7,ann"), "expect.csv": cities},
        "computed": {
            "marts.customers.csv": versions.replace(b"end_date\n", b"end_date,is_current\n"),
            "expect.csv": cities,
        },
    }
    made = {
        "made": {
            "raw.customers.csv": rows,
            "marts.customers@2025-03-01.csv": versions.replace(b"2025-03-09", b"2025-03-04"),
            "expect.csv": rows,
        },
        "other": {"raw.customers.csv": rows, "expect.csv": rows.replace(b"Lviv", b"Kyiv")},
    }
    for name, cases in (("cities", known), ("customers", made)):
        for case, files in cases.items():
            folder = tmp_path / "fixtures" / lab.name / "marts" / name / case
            folder.mkdir(parents=True)
            for file, body in files.items():
                (folder / file).write_bytes(body)
    ran = run_cases({lab.name: lab.pipeline()}, find_cases(tmp_path / "fixtures"), lab.server, lab.s3)
    found = {case.id.split("/")[-1]: [each.problem for each in differ] for case, differ in ran}
    assert [name for name, problems in found.items() if not problems] == ["keys", "mistake", "rows", "versions", "made"]
    assert found["computed"] == [
        "it has the columns customer_id, city, effective_date, end_date, is_current: write customer_id, city, "
        "effective_date, end_date, and customer_sk if its value matters; the others are computed of these"
    ]
    assert found["other"] == ["in the row customer_id 'ann' city is 'Lviv', not 'Kyiv'"]
    [twice] = found["twice"]
    assert "duplicate key value violates unique constraint" in twice
