"""A pipeline as a whole: rules on paths and on several files, versions, and load_dates."""

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from kpi_assets.errors import UsageError
from kpi_assets.model.calendar import parse_date
from kpi_assets.model.checks.row_counts import MinRows
from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.model.conftest import MART, RAW, YAML, Tree
from kpi_assets_tests.shipped import TABLES


def test_tables_are_in_an_order_in_which_they_can_be_built(tree: Tree) -> None:
    tree.write("shop/marts/a.sql", MART.replace("raw.things", "marts.sold"))
    shop = tree.load()
    assert [str(relation) for relation in shop.tables] == ["raw.things", "marts.sold", "marts.a"]
    sold = shop.table("marts.sold")
    assert (sold.key, sold.columns, sold.reads) == (
        ("shop", "marts", "sold"),
        ["thing_id", "name"],
        (Relation("raw", "things"),),
    )
    assert [table.relation.table for table in shop.object_tables] == ["things"]
    assert (shop.layer(Relation("raw", "things")), shop.layer(sold.relation)) == ("raw", "marts")
    assert shop.config.start_date == date(2025, 1, 1)


def test_a_table_that_a_check_reads_is_built_before(tree: Tree) -> None:
    tree.write("shop/raw/zoo.sql", RAW.replace("raw/things", "raw/zoo"))
    tree.write("shop/raw/things.sql", RAW.replace("@end", "checks:\n  foreign_key: {thing_id: raw.zoo.thing_id}\n@end"))
    assert [str(relation) for relation in tree.load().tables] == ["raw.zoo", "raw.things", "marts.sold"]
    assert tree.load().table("raw.things").reads == (Relation("raw", "zoo"),)


def test_an_unknown_table_is_named_with_the_known_ones(tree: Tree) -> None:
    with pytest.raises(UsageError, match=r"shop has no table 'marts\.x': it has raw\.things, marts\.sold\.$"):
        tree.load().table("marts.x")
    with pytest.raises(
        UsageError, match=r"shop has no table 'mart\.sold': write marts\.sold, or one of raw\.things\.$"
    ):
        tree.load().table("mart.sold")


def test_object_key_contains_the_load_date(tree: Tree) -> None:
    day = date(2025, 3, 1)
    assert tree.load().table("raw.things").object_key(day) == "raw/things/load_date=2025-03-01/things.csv"
    tree.write("shop/raw/things.sql", RAW.replace("/things.csv", "/{things}.csv").replace("{things}", "}{"))
    assert tree.load().table("raw.things").object_key(day) == "raw/things/load_date=2025-03-01/}{.csv"


def test_the_shipped_pipelines_load() -> None:
    instacart = load_pipelines(default_sql_dir())["instacart"]
    assert set(map(str, instacart.tables)) >= TABLES
    assert {str(table.relation) for table in instacart.object_tables} == {
        f"raw.{name}" for name in ("orders", "order_products_prior", "products", "aisles", "departments")
    }


def test_a_lookback_over_which_no_table_is_read_is_an_error(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", MART.replace("grain:", "lookback: 7\ngrain:"))
    with pytest.raises(
        ModelError,
        match=r"sold\.sql:4: the SELECT reads no window of 7 calendar days: limit a table to it by `load_date ",
    ):
        tree.load()


# ---- one file


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "    name\n",
            "    1 as x,\n    name\n",
            ":13: the SELECT returns the column 'x', which the header does not de",
        ),
        (
            "    thing_id,\n    name\n",
            "    name,\n    thing_id\n",
            ":12: the header's columns (thing_id, name) have",
        ),
        ("    thing_id,\n", "", ":6: the column 'thing_id' is declared but the SELECT does not return it"),
        ("    name\n", "    name,\n    name\n", ":14: the SELECT returns the column 'name' a second time"),
        ("    thing_id,\n    name\n", "    *\n", ":11: the SELECT must name each column it returns"),
        ("    thing_id,\n    name\n", "    thing_id,\n    t.*\n", ":13: the SELECT must name each column it returns"),
        ("    name\n", "    name,\n    upper(name)\n", ":14: the SELECT must name each column it returns"),
        ("    name\n", "    name,\n    1\n", ":11: the SELECT must name each column it returns"),
        (MART[MART.index("select") :], "\n", ":1: has neither a source nor a SELECT"),
        ("raw.things", "things", ":14: the table 'things' must be written as schema.table"),
        ("raw.things", "raw.nothing", ":14: reads raw.nothing, which has no file here"),
        ("raw.things", 'raw."Things"', ":14: reads raw.Things, which has no file here"),
        ("raw.things", "marts.sold", ":14: reads marts.sold, which is itself"),
        ("where", "where (", ":15: this SQL cannot be parsed"),
        (
            "  min_rows: {at_least: 2}",
            "  grain:\n    bad_rows: select * from {this}",
            ":9: two checks are called 'grain'",
        ),
        (
            "  min_rows: {at_least: 2}",
            "  range: {name: [a, b]}\n  range__name: {bad_rows: select * from {this}}",
            ":10: ",
        ),
        (
            "  min_rows: {at_least: 2}",
            "  range: {name: [a, b]}\n  range__name: {bad_rows: 'select * from {this}'}",
            ":10: two checks are called 'range__name': rename this one",
        ),
        (
            "  min_rows: {at_least: 2}",
            "  foreign_key:\n    thing_id: raw.things.thing_id\n    name: raw.things.label",
            ":11: checks.foreign_key.name: raw.things has no column 'label'",
        ),
        (
            "  min_rows: {at_least: 2}",
            "  foreign_key:\n    name: raw.zoo.name",
            ":10: reads raw.zoo, which has no file",
        ),
        (
            "  min_rows: {at_least: 2}",
            "  foreign_key: {name: marts.sold.name}",
            ":9: reads marts.sold, which is itself",
        ),
        (
            "  min_rows: {at_least: 2}",
            "  reconcile:\n    source: raw.zoo",
            ":10: reads raw.zoo, which has no file here",
        ),
    ],
)
def test_a_wrong_file_is_an_error_with_the_line_of_the_mistake(tree: Tree, old: str, new: str, error: str) -> None:
    assert MART.count(old) == 1
    tree.write("shop/marts/sold.sql", MART.replace(old, new))
    assert tree.error().startswith(f"marts/sold.sql{error}")


def test_a_raw_table_with_a_select_is_refused(tree: Tree) -> None:
    tree.write("shop/raw/things.sql", RAW + "\nselect 1 as thing_id\n")
    assert tree.error().startswith("raw/things.sql:5: has both a source and a SELECT")


def test_a_file_is_utf_8_with_any_line_ends(tree: Tree) -> None:
    tree.write("shop/marts/sold.sql", MART.replace("Name.", "Größe.").replace("\n", "\r\n"))
    assert tree.load().table("marts.sold").header.columns["name"].description == "Größe."
    tree.write("shop/marts/sold.sql", MART.replace("Name.", "Größe.").encode("latin-1"))
    assert tree.error() == "marts/sold.sql:7: is not UTF-8 (byte 176): save it as UTF-8"
    tree.write("shop/marts/sold.sql", MART)
    tree.write("shop/pipeline.yaml", YAML.replace("A shop", "Ein Geschäft").encode("latin-1"))
    assert tree.error() == "pipeline.yaml:1: is not UTF-8 (byte 22): save it as UTF-8"


# ---- where a file lies


@pytest.mark.parametrize(
    "name",
    [
        "sold2.sql",
        "marts/deep/sold2.sql",
        "marts/Sold2.sql",
        "marts/sold-2.sql",
        f"marts/{'x' * 41}.sql",
        "Marts/x.sql",
    ],
)
def test_a_path_that_is_no_table_name_is_refused(tree: Tree, name: str) -> None:
    tree.write(f"shop/{name}", MART)
    assert tree.error() == f"{name}:1: must lie at <schema>/<table>.sql, both in lower case and at most 40 letters long"


def test_a_schema_that_is_no_layer_is_refused(tree: Tree) -> None:
    tree.write("shop/gold/sold.sql", MART)
    assert tree.error() == "gold/sold.sql:1: the schema 'gold' is not one of the layers of pipeline.yaml"


def test_tables_that_read_each_other_are_refused(tree: Tree) -> None:
    tree.write("shop/marts/a.sql", MART.replace("raw.things", "marts.b"))
    tree.write("shop/marts/b.sql", MART.replace("raw.things", "marts.a"))
    assert tree.error().startswith(
        "marts/b.sql:14: the tables read each other in a circle: marts.a -> marts.b -> marts.a"
    )


@pytest.mark.parametrize("folder", ["Shop", "my-shop", "x" * 41])
def test_a_folder_that_cannot_name_a_database_is_refused(tree: Tree, folder: str) -> None:
    tree.write(f"{folder}/pipeline.yaml", YAML)
    with pytest.raises(ModelError, match=f"{folder}/pipeline.yaml:1: the folder names a database"):
        tree.load()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "bucket: kpi-shop",
            "bucket: Kpi_Shop",
            "2: bucket: 'Kpi_Shop' is not a bucket name: write 3 to 63 lower case letters",
        ),
        ("bucket: kpi-shop\n", "", "1: 'bucket' is missing: add it"),
        ("start_date", "begin", "1: 'start_date' is missing"),
        ("2025-01-01", "2025-02-30", "3: start_date: '2025-02-30' is not a date: write it as YYYY-MM-DD"),
        ("2025-01-01", "20250101", "3: start_date: '20250101' is not a date"),
        ("marts: marts", "marts: gold", "4: layers.marts: 'gold' is not known here: write 'raw', 'staging' or 'marts'"),
        ("{raw: raw, marts: marts}", "{}", "4: layers: it has 0 parts: write at least 1"),
        ("raw: raw,", "ops: raw,", "4: layers.ops: this schema is taken"),
        ("raw: raw,", "builds: raw,", "4: layers.builds: this schema is taken"),
        ("raw: raw,", "s3: raw,", "4: layers.s3: this schema is taken"),
        ("raw: raw,", "pg_raw: raw,", "4: layers.pg_raw: this schema is taken"),
        ("[marts]", "[raw, gold]", "5: readers.1: 'gold' is none of the layers (raw, marts)"),
        ("readers", "colour: red\nreaders", "5: unknown word 'colour'"),
        ("readers", "bucket: again\nreaders", "5: the key 'bucket' appears a second time"),
        ("A shop", "A\x00shop", "1: contains the control character U+0000"),
        (
            "readers",
            "automation: {start: cron}\nreaders",
            "5: automation.start: 'cron' is not known here: write 'sensor', 'schedule'",
        ),
        (
            "readers",
            "automation: {interval_seconds: 1}\nreaders",
            "5: automation.interval_seconds: 1 is too small: write 5 or more",
        ),
        ("readers", "automation:\n  every: 5\nreaders", "6: unknown word 'automation.every'"),
        (
            "readers",
            "waivers: {approvals: 2}\nreaders",
            "5: waivers.approvals: 2 is not possible: one person rules, so write 1, or take the word out",
        ),
        ("readers", "rollback: {keep: -1}\nreaders", "5: rollback.keep: -1 is too small: write 0 or more"),
        ("readers", "rollback: {keep: 2, days: 0}\nreaders", "5: rollback.days: 0 is too small: write 1 or more"),
        ("readers", "waivers: {most_hours: 0}\nreaders", "5: waivers.most_hours: 0 is too small: write 1 or more"),
        (YAML, "", "1: 'description' is missing"),
    ],
)
def test_a_wrong_pipeline_yaml_is_an_error_with_the_line_of_the_mistake(
    tree: Tree, old: str, new: str, error: str
) -> None:
    tree.write("shop/pipeline.yaml", YAML.replace(old, new))
    assert tree.error().startswith(f"pipeline.yaml:{error}")


def test_a_folder_without_pipelines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No pipeline lies below .*: KPI_SQL_DIR must name a folder"):
        load_pipelines(tmp_path)


# ---- settings of the environment


def test_kpi_min_rows_sets_the_minimum_of_its_table_only(tree: Tree) -> None:
    def at_least(minimum: dict[str, int]) -> int:
        [check] = [check for check in tree.load(minimum).table("marts.sold").checks if isinstance(check, MinRows)]
        return check.at_least

    assert at_least({}) == 2
    assert at_least({"shop.raw.things": 7}) == 2
    assert at_least({"shop.marts.sold": 7}) == 7


def test_defaults_of_min_rows_apply_to_files_without_min_rows(tree: Tree) -> None:
    def shares() -> dict[str, tuple[int, float, str]]:
        tables = tree.load().tables.values()
        found = {str(table.relation): (check, table) for table in tables for check in table.checks}
        return {
            name: (check.at_least, check.of_usual, table.checks_version)
            for name, (check, table) in found.items()
            if isinstance(check, MinRows)
        }

    tree.write("shop/marts/seen.sql", MART.replace("checks:\n  min_rows: {at_least: 2}\n", "storage: view\n"))
    before = shares()
    assert {name: of[:2] for name, of in before.items()} == {"raw.things": (1, 0), "marts.sold": (2, 0)}
    tree.write("shop/pipeline.yaml", YAML + "defaults: {min_rows: {of_usual: 0.4}}\n")
    after = shares()
    assert {name: of[:2] for name, of in after.items()} == {"raw.things": (1, 0.4), "marts.sold": (2, 0)}
    assert [name for name in after if after[name][2] != before[name][2]] == ["raw.things"], (
        "only the table without min_rows of its own gets another checks version"
    )
    tree.write("shop/pipeline.yaml", YAML + "defaults: {min_rows: {of_usual: 40}}\n")
    assert tree.error() == "pipeline.yaml:6: defaults.min_rows.of_usual: 40 is too large: write 1 or less"
    tree.write("shop/pipeline.yaml", YAML + "defaults: {min_row: 3}\n")
    assert tree.error() == "pipeline.yaml:6: unknown word 'defaults.min_row': write 'min_rows'"


@pytest.mark.parametrize("name", ["marts.sold", "shop.marts.nothing", "other.marts.sold"])
def test_kpi_min_rows_for_an_unknown_table_is_refused(tree: Tree, name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^KPI_MIN_ROWS names '{name}', which is not a table: write pipeline\.schema\.table"
    ):
        tree.load({name: 1})


# ---- code versions


def version(tree: Tree, name: str, text: str) -> str:
    tree.write(f"shop/{name.replace('.', '/')}.sql", text)
    return tree.load().table(name).code_version


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("{at_least: 2}", "{at_least: 3}", True),
        ("grain: [thing_id]", "grain: [name]", True),
        ("@end", "  few: {bad_rows: 'select * from {this}'}\n@end", True),
        ("Things that were sold.", "Sold things.", False),
        ("where load_date", "where name is not null and load_date", False),
    ],
)
def test_a_checks_version_changes_with_the_checks(tree: Tree, old: str, new: str, *, changes: bool) -> None:
    assert old in MART
    tree.write("shop/marts/sold.sql", MART)
    before = tree.load().table("marts.sold").checks_version
    assert tree.load({"shop.marts.sold": 7}).table("marts.sold").checks_version != before
    tree.write("shop/marts/sold.sql", MART.replace(old, new))
    assert (tree.load().table("marts.sold").checks_version != before) is changes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("select\n    thing_id", "-- why\nSELECT    thing_id"),
        ("Things that were sold.", "Sold things."),
        ("team:tests", "team:others"),
        ("{at_least: 2}", "{at_least: 3}"),
        ("grain: [thing_id]", "grain: [name]"),
    ],
)
def test_a_code_version_does_not_change_with_edits_that_change_no_rows(tree: Tree, old: str, new: str) -> None:
    assert old in MART
    before = version(tree, "marts.sold", MART)
    assert version(tree, "marts.sold", MART.replace(old, new)) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("marts.sold", "    name\n", "    upper(name) as name\n"),
        ("marts.sold", "type: integer", "type: bigint"),
        ("marts.sold", "load_date = %(load_date)s", "load_date = %(load_date)s and name is not null"),
        ("raw.things", "type: integer", "type: bigint"),
        ("raw.things", "things.csv", "things2.csv"),
        ("raw.things", "  name:", "  label:"),
    ],
)
def test_a_code_version_changes_with_the_table(tree: Tree, name: str, old: str, new: str) -> None:
    tree.write("shop/marts/sold.sql", MART.replace("    name\n", "    'x' as name\n"))
    text = RAW if name == "raw.things" else MART
    assert old in text
    assert version(tree, name, text) != version(tree, name, text.replace(old, new))


def test_a_select_has_lineage_and_a_raw_table_has_none(tree: Tree) -> None:
    shop = tree.load()
    assert shop.lineage(shop.table("raw.things")) == {}
    things = Relation("raw", "things")
    assert shop.lineage(shop.table("marts.sold")) == {"thing_id": [(things, "thing_id")], "name": [(things, "name")]}


def test_min_volume_has_the_lineage_of_its_column_and_affects_the_code_version(tree: Tree) -> None:
    volume = "kpi: {chart: {x: name, y: thing_id}}\nmin_volume: {column: thing_id, at_least: 2}\n"
    text = MART.replace("@end", f"{volume}@end")
    versions = [
        version(tree, "marts.sold", each) for each in (MART, text, text.replace("at_least: 2}\n@", "at_least: 3}\n@"))
    ]
    assert len(set(versions)) == 3
    shop = tree.load()
    things = Relation("raw", "things")
    assert shop.lineage(shop.table("marts.sold"))["is_low_volume"] == [(things, "thing_id")]


# ---- load_dates


def test_a_load_date_before_the_start_or_in_the_future_is_refused(tree: Tree) -> None:
    shop, today = tree.load(), datetime.now(timezone.utc).date()
    assert shop.check_load_date(date(2025, 1, 1)) == date(2025, 1, 1)
    assert shop.check_load_date(today) == today
    with pytest.raises(UsageError, match=r"shop has no load_date 2024-12-31: its first is 2025-01-01 \(start_date in"):
        shop.check_load_date(date(2024, 12, 31))
    with pytest.raises(
        UsageError, match=rf"The load_date {today + timedelta(1)} lies in the future: today is {today} "
    ):
        shop.check_load_date(today + timedelta(1))


def test_a_range_of_load_dates_is_checked_at_both_ends(tree: Tree) -> None:
    shop = tree.load()
    first, last = date(2025, 2, 27), date(2025, 3, 1)
    assert shop.load_dates(first, last) == [first, date(2025, 2, 28), last]
    assert shop.load_dates(first, first) == [first]
    with pytest.raises(UsageError, match="The range from 2025-03-01 to 2025-02-27 is empty"):
        shop.load_dates(last, first)
    with pytest.raises(UsageError, match="has no load_date 2024-12-31"):
        shop.load_dates(date(2024, 12, 31), last)
    with pytest.raises(UsageError, match="lies in the future"):
        shop.load_dates(first, date(9999, 1, 1))


@pytest.mark.parametrize(
    "text", ["2025-02-29", "2025-13-01", "2025-1-1", "20250101", "01.01.2025", "today", "", "2025-01-01 "]
)
def test_a_date_that_is_not_written_as_yyyy_mm_dd_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{text}' is not a date: write it as YYYY-MM-DD$"):
        parse_date(text)


def test_a_leap_day_is_a_date() -> None:
    assert parse_date("2024-02-29") == date(2024, 2, 29)


@pytest.mark.parametrize("name", ["postgres", "template1", "dagster", "rdsadmin"])
def test_a_folder_with_the_name_of_a_reserved_database_is_refused(tree: Tree, name: str) -> None:
    tree.write(f"{name}/pipeline.yaml", YAML)
    with pytest.raises(ModelError) as caught:
        tree.load()
    assert str(caught.value) == (
        f"{tree.root}/{name}/pipeline.yaml:1: a database called {name!r} is there for another purpose: "
        "rename the folder"
    )


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("sum: thing_id", ""),
        ("sum: price, here: thing_id", ":9: 'price' is floating-point and has no exact sum: write (price)::numeric"),
        (
            "sum: name, here: thing_id",
            ":9: 'name' is not a number that can be added up: name one, or cast it to numeric",
        ),
        ("sum: 'price::numeric', here: thing_id", ""),
    ],
)
def test_reconcile_requires_an_exact_sum_in_the_source(tree: Tree, words: str, error: str) -> None:
    price = "  price: {type: double precision, description: Price.}\n@end"
    tree.write("shop/raw/things.sql", RAW.replace("@end", price))
    tree.write(
        "shop/marts/sold.sql", MART.replace("min_rows: {at_least: 2}", f"reconcile: {{source: raw.things, {words}}}")
    )
    if error:
        assert tree.error() == f"marts/sold.sql{error}"
    else:
        assert [check.name for check in tree.load().table("marts.sold").checks][-1] == "reconcile"


# ---- sources with one object


def with_object(key: str) -> str:
    return RAW.replace("raw/things/load_date={load_date}/things.csv", f'"{key}"')


@pytest.mark.parametrize(
    ("one", "other", "when"),
    [
        ("raw/{load_date}.csv", "raw/{load_date}.csv", ""),
        ("raw/{load_date}/2025-03-01.csv", "raw/2025-03-01/{load_date}.csv", " of 2025-03-01"),
        ("raw/2025-03-01/{load_date}.csv", "raw/{load_date}/2025-03-01.csv", " of 2025-03-01"),
        ("{load_date}25-01-20", "2025-01-{load_date}", " of 2025-01-20"),
        ("raw/{load_date}/2025-03-01.csv", "raw/2025-03-02/{load_date}.csv", ", such as raw/2025-03-02/2025-03-01.csv"),
        ("raw/{load_date}/orders*.csv", "raw/{load_date}/*.csv", ", such as raw/2025-01-01/orders.csv"),
        ("raw/2025-01-07.csv", "raw/{load_date}.csv", ", such as raw/2025-01-07.csv"),
    ],
)
def test_two_sources_of_one_object_are_refused(tree: Tree, one: str, other: str, when: str) -> None:
    tree.write("shop/raw/things.sql", with_object(one))
    tree.write("shop/raw/others.sql", with_object(other))
    assert tree.error() == (
        f"raw/things.sql:1: raw.others reads the same object{when} ({one}): give each an object of its own, or let one "
        "table select from the other"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("raw/{load_date}/a.csv", "raw/{load_date}/b.csv"),
        ("raw/{load_date}/2025-02-30.csv", "raw/2025-02-30/{load_date}.csv"),  # no date
        ("raw/{load_date}/2024-12-31.csv", "raw/2024-12-31/{load_date}.csv"),  # before the first load_date
        ("north/{load_date}/sales.csv", "south/{load_date}/sales.csv"),
        ("raw/{load_date}/x/y.csv", "raw/x/{load_date}/y.csv"),
    ],
)
def test_two_sources_whose_keys_always_differ_are_accepted(tree: Tree, one: str, other: str) -> None:
    tree.write("shop/raw/things.sql", with_object(one))
    tree.write("shop/raw/others.sql", with_object(other))
    assert len(tree.load().object_tables) == 2


def test_two_raw_tables_of_one_name_are_refused_because_objects_have_their_name(tree: Tree) -> None:
    tree.write("shop/pipeline.yaml", YAML.replace("{raw: raw,", "{raw: raw, ext: raw,"))
    tree.write("shop/ext/things.sql", with_object("ext/{load_date}.csv"))
    assert tree.error() == (
        "raw/things.sql:1: ext.things is a raw table of the same name, by which the object of each is known: rename one"
    )


def test_the_words_of_object_checks_are_part_of_the_object_version(tree: Tree) -> None:
    def things() -> Table:
        return tree.load().table("raw.things")

    plain, versions = things(), set()
    for word in ("warn", "hold", "ignore"):
        tree.write("shop/raw/things.sql", RAW.replace("format: csv", f"format: csv\n  ends_with_line_end: {word}"))
        versions.add(things().object_version)
    assert plain.object_version in versions
    assert len(versions) == 3
    tree.write("shop/raw/things.sql", RAW.replace("format: csv", "format: csv\n  same_bytes: hold"))
    assert things().object_version == plain.object_version
    assert things().checks_version != plain.checks_version
    assert things().code_version == plain.code_version
