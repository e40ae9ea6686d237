"""What another engine would refuse of a pipeline: the words of headers, and the SQL of SELECTs and checks."""

import pytest

from kpi_assets.docs.markdown import word
from kpi_assets.docs.portable_sql import page
from kpi_assets.model.portable.problems import problems
from kpi_assets.model.portable.refusals import OF_OBJECTS, OF_TABLES
from kpi_assets_tests.carry_on import SEEN
from kpi_assets_tests.cities import CITIES, CUSTOMERS, RAW_CUSTOMERS
from kpi_assets_tests.clicks_pipeline import CLICKS, RAW_CLICKS
from kpi_assets_tests.model.conftest import MART, RAW, YAML, Tree
from kpi_assets_tests.two_source_pipeline import RAW_LABELS


def found(tree: Tree) -> list[str]:
    """Return the problems of the pipeline, each with the name of its file and its line."""
    return [str(error).removeprefix(f"{tree.root}/shop/") for error in problems(tree.load(), "spark")]


def sentence(place: str, what: str, key: str) -> str:
    return f"{place}: {what} is not portable, because {OF_TABLES[key].sentence}"


def test_a_pipeline_whose_sql_is_portable_has_none(tree: Tree) -> None:
    assert found(tree) == []


def test_a_history_and_what_reads_it_are_refused(tree: Tree) -> None:
    tree.write("shop/raw/customers.sql", RAW_CUSTOMERS)
    tree.write("shop/marts/customers.sql", CUSTOMERS)
    tree.write("shop/marts/cities.sql", CITIES)
    of_history, *of_reading = found(tree)
    assert of_history == sentence("marts/customers.sql:5", "storage: history", "history")
    assert of_reading == [sentence("marts/cities.sql:12", "reading the history marts.customers", "history_read")]
    days = CUSTOMERS.replace("storage: history\nhistory: {surrogate_key: customer_sk, max_changed: 1}\n", "")
    tree.write("shop/marts/customers.sql", days.replace("columns:", f"{OF_TABLES['history'].instead}\ncolumns:", 1))
    (tree.root / "shop/marts/cities.sql").unlink()
    assert found(tree) == []


def test_a_check_that_reads_a_history_is_refused_too(tree: Tree) -> None:
    tree.write("shop/raw/customers.sql", RAW_CUSTOMERS)
    tree.write("shop/marts/customers.sql", CUSTOMERS)
    tree.write(
        "shop/marts/sold.sql", MART.replace("checks:\n", "checks:\n  foreign_key: {name: marts.customers.city}\n")
    )
    assert found(tree)[1:] == [sentence("marts/sold.sql:9", "reading the history marts.customers", "history_read")]


def test_a_stream_and_what_grows_by_it_are_refused(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", YAML.replace("raw: raw,", "raw: raw, stg: staging,"))
    tree.write("shop/raw/clicks.sql", RAW_CLICKS)
    tree.write("shop/stg/clicks.sql", CLICKS)
    said = found(tree)
    assert sentence("raw/clicks.sql:6", "a stream", "stream") in said
    assert sentence("stg/clicks.sql:16", "a table that grows", "grows") in said


def test_rules_that_set_rows_aside_are_refused_and_checks_are_not(tree: Tree) -> None:
    rules = OF_TABLES["rules"]
    tree.write("shop/marts/sold.sql", MART.replace("checks:", f"{rules.example}\nchecks:"))
    assert found(tree) == [sentence("marts/sold.sql:8", "quarantine.rules", "rules")]
    tree.write("shop/marts/sold.sql", MART.replace("checks:\n  min_rows: {at_least: 2}", rules.instead))
    assert found(tree) == []


def test_a_table_that_carries_on_is_portable(tree: Tree) -> None:
    tree.write("shop/raw/labels.sql", RAW_LABELS)
    tree.write("shop/marts/seen.sql", SEEN)
    assert found(tree) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("{source: raw.things}", ""),
        ("{source: raw.things, dropped: {unnamed: name is null}}", ""),
        ("{source: raw.things, sum: thing_id}", ""),
        ("{source: raw.things, on: thing_id, changed: {a: name = 'a'}}", ""),
        ("{source: raw.things, dropped: {low: \"upper(name) = 'A'\"}}", "9: UPPER("),
        ('{source: raw.things, sum: length(name), here: "length(lower(name))"}', "9: LOWER("),
        ("{source: raw.things, sum: length(upper(name)), here: length(name)}", "9: UPPER("),
        ("{source: raw.things, counted: \"count(*) filter (where name ~ 'a')\"}", "9: "),
        ("{source: raw.things, on: thing_id, changed: {a: \"initcap(name) = 'A'\"}}", "9: INITCAP("),
    ],
)
def test_what_reconcile_computes_is_looked_at(tree: Tree, words: str, problem: str) -> None:
    tree.write("shop/marts/sold.sql", MART.replace("checks:\n", f"checks:\n  reconcile: {words}\n"))
    said = found(tree)
    assert len(said) == bool(problem), said
    assert all(each.startswith(f"marts/sold.sql:{problem}") for each in said)


def test_the_page_names_what_is_refused_of_a_table() -> None:
    text = page()
    for refusal in OF_TABLES.values():
        assert word(refusal.example) in text
        assert word(refusal.instead) in text


OBJECTS = [
    ("encoding", "  encoding: cp1252\n", "", "source.encoding", 5),
    ("compression", "  compression: gzip\n", "", "source.compression", 5),
    ("extra", "  extra: keep\n", "", "source.extra", 5),
    ("comment", '  comment: "#"\n  position: number\n', "", "source.comment", 5),
    ("column_format", "", "day: {type: date, format: M/D/YYYY", "format of the column day", 9),
    ("column_allow", "", "amount: {type: 'numeric(12,2)', allow: [nan]", "allow of the column amount", 9),
    ("column_round", "", "amount: {type: 'numeric(12,2)', round: half_even", "round of the column amount", 9),
]


@pytest.mark.parametrize(("key", "source", "column", "what", "line"), OBJECTS)
def test_what_an_engine_cannot_read_of_an_object_is_refused(
    tree: Tree, key: str, source: str, column: str, what: str, line: int
) -> None:
    written = RAW.replace("  format: csv\n", f"  format: csv\n{source}")
    if column:
        written = written.replace("columns:\n", f"columns:\n  {column}, description: A column.}}\n")
    tree.write("shop/raw/things.sql", written)
    place = f"raw/things.sql:{line}"
    said = [each for each in found(tree) if "extra_fields" not in each]  # whose type is refused too
    assert said == [f"{place}: {what} is not portable, because {OF_OBJECTS[key].sentence}"]


def test_each_refusal_of_an_object_has_a_test_and_is_on_the_page(tree: Tree) -> None:
    tree.write("shop/raw/things.sql", RAW.replace("format: csv", "format: json"))
    assert found(tree) == [f"raw/things.sql:5: format: json is not portable, because {OF_OBJECTS['format'].sentence}"]
    assert {key for key, *_ in OBJECTS} | {"format"} == {*OF_OBJECTS}
    text = page()
    for refusal in OF_OBJECTS.values():
        assert word(refusal.example) in text
