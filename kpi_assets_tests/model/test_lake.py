"""Tables on the lake: the words, what the loader refuses with file and line, and what their versions know."""

import subprocess
import sys

import pytest

from kpi_assets.model import lake_tables
from kpi_assets.model.lake import Snapshot
from kpi_assets.model.names import Relation
from kpi_assets.model.portable.refusals import OF_LAKE, OF_OBJECTS, OF_TABLES
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.cities import CUSTOMERS, RAW_CUSTOMERS
from kpi_assets_tests.model.conftest import MART, RAW, YAML, Tree

LAKE = "lake: {engine: spark, catalog: kpi}\n"
OTHER = RAW.replace("raw/things/", "raw/others/").replace("things.csv", "others.csv")
THINGS, SOLD = Relation("raw", "things"), Relation("marts", "sold")


def on_lake(text: str) -> str:
    return text.replace("grain: [thing_id]\n", "grain: [thing_id]\nstorage: lake\n", 1)


@pytest.fixture
def lake(tree: Tree) -> Tree:
    """A tree whose raw table is on the lake; the table that selects from it is in Postgres."""
    tree.write("shop/pipeline.yaml", YAML + LAKE)
    tree.write("shop/raw/things.sql", on_lake(RAW))
    return tree


def no_way(place: str, what: str, key: str) -> str:
    return f"{place}: {what} is not possible, because {OF_LAKE[key].sentence}"


def test_what_selects_from_the_lake_is_computed_on_the_engine_and_nothing_else_is(lake: Tree) -> None:
    lake.write("shop/raw/others.sql", OTHER)
    lake.write("shop/marts/again.sql", MART.replace("raw.things", "marts.sold"))
    pipeline = lake.load()
    found = {str(name): (pipeline.on_engine(table), table.storage.in_lake) for name, table in pipeline.tables.items()}
    assert found == {
        "raw.things": (True, True),
        "raw.others": (False, False),
        "marts.sold": (True, False),
        "marts.again": (False, False),
    }
    assert [str(table.relation) for table in pipeline.lake_tables] == ["raw.things"]
    assert pipeline.has_retention, "something must clear up behind builds"
    assert pipeline.config.lake is not None
    assert (pipeline.config.lake.engine, pipeline.config.lake.catalog) == ("spark", "kpi")


def test_the_word_lake_moves_no_table(tree: Tree) -> None:
    before = {name: table.code_version for name, table in tree.load().tables.items()}
    tree.write("shop/pipeline.yaml", YAML + LAKE)
    pipeline = tree.load()
    assert not pipeline.has_retention
    assert {name: table.code_version for name, table in pipeline.tables.items()} == before
    assert not any(pipeline.on_engine(table) or table.engine_version for table in pipeline.tables.values())


def test_storage_lake_needs_the_word_lake(lake: Tree) -> None:
    lake.write("shop/pipeline.yaml", YAML)
    assert lake.error() == no_way("raw/things.sql:5", "storage: lake", "no_lake")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{engine: flink, catalog: kpi}", "lake.engine"),
        ("{engine: spark}", "lake.catalog"),
        ("{engine: spark, catalog: Kpi.prod}", "lake.catalog"),
    ],
)
def test_the_word_lake_has_an_engine_that_is_known_and_the_name_of_a_catalog(tree: Tree, words: str, said: str) -> None:
    tree.write("shop/pipeline.yaml", f"{YAML}lake: {words}\n")
    assert tree.error().startswith("pipeline.yaml:6: ")
    assert said in tree.error()


def test_the_versions_of_what_the_engine_computes_know_the_engine(lake: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def versions() -> tuple[str, str]:
        tables = lake.load().tables
        return tables[THINGS].code_version, tables[SOLD].code_version

    on_engine = versions()
    lake.write("shop/raw/things.sql", RAW)
    assert [one != other for one, other in zip(on_engine, versions(), strict=True)] == [True, True]
    lake.write("shop/raw/things.sql", on_lake(RAW))
    assert versions() == on_engine
    monkeypatch.setattr(lake_tables, "RAW_READER", 2)
    assert [one != other for one, other in zip(on_engine, versions(), strict=True)] == [True, False]


def test_another_translation_of_the_same_file_is_another_version(lake: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lake.load().tables[SOLD].code_version
    from kpi_assets.model.portable import problems  # noqa: PLC0415  as the product imports it

    translate = problems.translate

    def otherwise(*arguments: object) -> object:
        found = translate(*arguments)  # type: ignore[arg-type]
        return type(found)(found.sql + " ", found.columns)

    monkeypatch.setattr(problems, "translate", otherwise)
    assert lake.load().tables[SOLD].code_version != before


def test_a_select_of_the_lake_and_of_postgres_is_refused_and_says_what_to_change(lake: Tree) -> None:
    lake.write("shop/raw/others.sql", OTHER)
    both = MART.replace(
        "    name\nfrom raw.things",
        "    o.name\nfrom raw.things as t\ninner join raw.others as o using (load_date, thing_id)",
    )
    lake.write("shop/marts/sold.sql", both)
    assert lake.error() == (
        "marts/sold.sql:15: reads raw.others, which is in Postgres, beside raw.things of the lake, and no engine "
        f"reads both: write storage: lake in {lake.root}/shop/raw/others.sql, or take storage: lake out of raw.things"
    )
    lake.write("shop/raw/others.sql", on_lake(OTHER))
    assert lake.load().on_engine(lake.load().tables[SOLD])


def test_a_table_of_the_lake_selects_from_tables_of_the_lake(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", YAML + LAKE)
    tree.write("shop/marts/sold.sql", on_lake(MART))
    assert tree.error() == (
        "marts/sold.sql:15: reads raw.things, which is in Postgres, and a table of the lake is computed from tables of "
        f"the lake: write storage: lake in {tree.root}/shop/raw/things.sql, or take it out of sold.sql"
    )


def test_what_is_not_portable_is_refused_as_the_files_are_read(lake: Tree) -> None:
    lake.edit("shop/marts/sold.sql", "    name\nfrom", "    lower(name) as name\nfrom")
    assert lake.error().startswith("marts/sold.sql:13: LOWER(things.name) is not portable, because ")
    lake.edit("shop/raw/things.sql", "format: csv", "format: csv\n  encoding: cp1252")
    assert (
        f"raw/things.sql:6: source.encoding is not portable, because {OF_OBJECTS['encoding'].sentence}" in lake.error()
    )


def test_a_type_that_no_engine_holds_is_refused_with_the_line_of_its_column(lake: Tree) -> None:
    lake.edit("shop/raw/things.sql", "name: {type: text,", "name: {type: jsonb,")
    assert "raw/things.sql:11: the column name is not portable" in lake.error()


def test_a_column_has_the_type_that_its_header_declares(lake: Tree) -> None:
    lake.edit("shop/marts/sold.sql", "thing_id: {type: integer", "thing_id: {type: bigint")
    assert lake.error() == (
        "marts/sold.sql:11: the column 'thing_id' is declared as bigint, but the SELECT returns integer: cast it"
    )


def test_sql_that_only_postgres_executes_need_not_be_portable(lake: Tree) -> None:
    check = "  small: {bad_rows: \"select * from {this} where lower(name) = 'x'\", description: No x.}\n"
    lake.edit("shop/marts/sold.sql", "checks:\n", f"checks:\n{check}")
    assert lake.load().tables[SOLD].engine_version
    lake.write("shop/marts/sold.sql", on_lake((lake.root / "shop/marts/sold.sql").read_text()))
    assert "is not portable" in lake.error()


@pytest.mark.parametrize("word", ["kpi", "indexes", "readers", "subject", "rollback"])
def test_words_that_need_postgres_are_refused_on_the_lake(tree: Tree, word: str) -> None:
    refusal = OF_LAKE[word]
    tree.write("shop/pipeline.yaml", YAML + LAKE)
    text = ORDERS.replace("columns:", f"{refusal.example}\ncolumns:", 1)
    text = text if word in ("readers", "subject") else text.replace(", pii: id", "").replace(", pii: none", "")
    tree.write("shop/raw/orders.sql", text.replace("grain:", "storage: lake\ngrain:"))
    said = f"{word}: a table on the lake cannot have it, because {refusal.sentence}"
    assert f"raw/orders.sql:{text.splitlines().index(refusal.example) + 2}: {said}" in tree.error()
    if "storage: " in refusal.instead and word != "kpi":
        tree.write("shop/raw/orders.sql", text.replace("grain:", f"{refusal.instead}\ngrain:"))
        assert Relation("raw", "orders") in tree.load().tables


ORDERS = """\
/* @asset
description: Orders as delivered.
owner: team:tests
grain: [order_id]
source: {object: "raw/orders/load_date={load_date}/orders.csv", format: csv}
columns:
  order_id: {type: integer, description: Order.}
  customer_id: {type: integer, description: Customer., pii: id}
  country: {type: text, description: Country., pii: none}
  revenue: {type: "numeric(12,2)", description: Money., pii: none}
@end */
"""


def test_a_view_of_the_lake_is_refused(lake: Tree) -> None:
    view = MART.replace("checks:\n  min_rows: {at_least: 2}\n", f"{OF_LAKE['view'].example}\n")
    lake.write("shop/marts/sold.sql", view)
    assert lake.error() == no_way("marts/sold.sql:13", "a view of raw.things", "view")


def test_carrying_on_is_refused_on_the_engine(lake: Tree) -> None:
    select = (
        "select\n    t.thing_id,\n    coalesce(t.name, s.name) as name\nfrom raw.things as t\n"
        "left join marts.sold as s on t.thing_id = s.thing_id and s.load_date = %(previous_load_date)s\n"
        "where t.load_date = %(load_date)s\n"
    )
    lake.write("shop/marts/sold.sql", MART.partition("select\n")[0] + select)
    assert no_way("marts/sold.sql:11", "carrying on", "carry_on") in lake.error()


def test_histories_streams_and_rules_are_refused_on_the_engine(lake: Tree) -> None:
    lake.write("shop/raw/customers.sql", RAW_CUSTOMERS.replace("grain:", "storage: lake\ngrain:", 1))
    lake.write("shop/marts/customers.sql", CUSTOMERS)
    assert f"storage: history is not portable, because {OF_TABLES['history'].sentence}" in lake.error()
    lake.write("shop/marts/customers.sql", CUSTOMERS.partition("\n")[0])
    rules = "quarantine: {rows: 5, rules: {not_null: [name]}}\ncolumns:"
    (lake.root / "shop/marts/customers.sql").unlink()
    lake.edit("shop/marts/sold.sql", "columns:", rules)
    assert f"quarantine.rules is not portable, because {OF_TABLES['rules'].sentence}" in lake.error()


def test_a_check_in_postgres_reads_no_table_of_the_lake(lake: Tree) -> None:
    lake.edit("shop/marts/sold.sql", "checks:\n", "checks:\n  foreign_key: {thing_id: raw.things.thing_id}\n")
    what = "the check foreign_key__thing_id of a table of Postgres that reads raw.things of the lake"
    assert lake.error().endswith(f"{what} is not possible, because {OF_LAKE['check'].sentence}")
    lake.edit(
        "shop/marts/sold.sql",
        "foreign_key: {thing_id: raw.things.thing_id}",
        "reconcile: {source: raw.things, on: thing_id}",
    )
    assert f"raw.things of the lake is not possible, because {OF_LAKE['check'].sentence}" in lake.error()


def test_a_check_on_the_lake_reads_no_table_of_postgres(lake: Tree) -> None:
    lake.write("shop/raw/others.sql", OTHER)
    keyed = on_lake(MART).replace("checks:\n", "checks:\n  foreign_key: {thing_id: raw.others.thing_id}\n")
    lake.write("shop/marts/sold.sql", keyed)
    what = "the check foreign_key__thing_id of a table of the lake that reads raw.others of Postgres"
    assert lake.error().endswith(f"{what} is not possible, because {OF_LAKE['check_of_lake'].sentence}")
    lake.write("shop/raw/others.sql", on_lake(OTHER))
    table = lake.load().tables[SOLD]
    assert lake_tables.engine_queries(lake.load(), table) == table.queries


def test_what_reconcile_counts_in_the_lake_is_asked_of_the_engine(lake: Tree) -> None:
    words = "reconcile: {source: raw.things, sum: thing_id, dropped: {zero: thing_id = 0}}"
    lake.edit("shop/marts/sold.sql", "checks:\n", f"checks:\n  {words}\n")
    pipeline = lake.load()
    table = pipeline.tables[SOLD]
    [check] = [check for check in table.checks if check.name == "reconcile"]
    of_source = lake_tables.of_source(pipeline, check)
    assert [*of_source] == [*check.queries]
    assert len(of_source) == 2
    assert lake_tables.engine_queries(pipeline, table) == [table.query, *of_source]
    lake.edit("shop/marts/sold.sql", "thing_id = 0", "lower(name) = 'x'")
    assert """LOWER("things".name) is not portable""" in lake.error()


def test_a_rule_of_reconcile_reads_the_lake_alone(lake: Tree) -> None:
    lake.write("shop/raw/others.sql", OTHER)
    rule = "thing_id in (select o.thing_id from raw.others as o where o.load_date = %(load_date)s)"
    lake.edit(
        "shop/marts/sold.sql", "checks:\n", f"checks:\n  reconcile: {{source: raw.things, dropped: {{o: '{rule}'}}}}\n"
    )
    assert lake.error().startswith(
        "marts/sold.sql:9: reads raw.others, which is in Postgres, beside raw.things of the lake, and no engine reads "
        "both: write storage: lake in "
    )


def test_a_table_that_postgres_computes_asks_the_ledger_alone_about_the_lake(lake: Tree) -> None:
    lake.write("shop/marts/again.sql", MART.replace("raw.things", "marts.sold"))
    lake.edit("shop/marts/again.sql", "checks:\n", "checks:\n  reconcile: {source: raw.things}\n")
    pipeline = lake.load()
    table = pipeline.table("marts.again")
    assert (pipeline.on_engine(table), table.engine_version) == (False, "")
    lake.edit("shop/marts/again.sql", "{source: raw.things}", "{source: raw.things, sum: thing_id}")
    said = (
        f"of a table of Postgres that reads raw.things of the lake is not possible, because {OF_LAKE['check'].sentence}"
    )
    assert lake.error() == f"marts/again.sql:9: the check reconcile {said}"


def test_a_question_reads_no_table_of_the_lake(lake: Tree) -> None:
    lake.write("shop/pipeline.yaml", YAML.replace("[marts]", "[marts, raw]") + LAKE)
    lake.write("shop/questions/things.sql", QUESTION)
    assert lake.error() == (
        "questions/things.sql:8: reads raw.things, which is on the lake, and readers ask Postgres: select from a KPI "
        "of it"
    )


QUESTION = """\
/* @question
title: Things
description: How many things came.
owner: team:tests
columns:
  things: {title: Things}
@end */
select count(*) as things from raw.things where load_date = %(load_date)s order by 1
"""


@pytest.mark.parametrize("text", ["kpi.raw.things", "kpi.raw.things@", "things@1", "kpi.raw.things@1; drop", "a.B@1"])
def test_a_place_that_names_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no snapshot of a table"):
        Snapshot.parse(text)


def test_a_place_is_read_as_it_was_written() -> None:
    snapshot = Snapshot("kpi.shop_raw.things", 8_412_345_678_901_234_567)
    assert Snapshot.parse(str(snapshot)) == snapshot


@pytest.mark.process
def test_a_pipeline_without_a_lake_imports_neither_the_lake_nor_an_engine() -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kpi_assets.model.tree import load_pipelines\n"
        f"load_pipelines(Path({str(default_sql_dir())!r}))\n"
        "import kpi_assets.cli.deploy, kpi_assets.materialize.build, kpi_assets.materialize.retention\n"
        "import kpi_assets.assets.factory, kpi_assets.read.sides, kpi_assets.surface\n"
        "banned = ('kpi_assets.lake.', 'pyspark.', 'grpc.', 'pyarrow.')\n"
        "print(sorted(name for name in sys.modules if f'{name}.'.startswith(banned)))\n"
        "print('kpi_assets.model.portable.statement' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "False"]
