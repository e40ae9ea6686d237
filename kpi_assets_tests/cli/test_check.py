"""`kpi check` shows all errors of the files at once, without a server, and other commands show the same errors."""

import json
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import Kpi
from kpi_assets_tests.model.conftest import MART, RAW, YAML, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "sql")


@pytest.fixture
def kpi(tree: Tree, tmp_path: Path) -> Kpi:
    """The command in a home in which no server was ever started."""
    return Kpi(tmp_path / "home", tmp_path, KPI_SQL_DIR=str(tree.root))


def test_correct_files_pass_without_a_server(kpi: Kpi, tmp_path: Path) -> None:
    assert kpi.process("check").out == "All files can be read: shop.\n"
    assert kpi("check", "shop", "--format", "json").out == "[]\n"
    assert not (tmp_path / "home").exists(), "no server was started"


def test_all_errors_of_the_named_pipelines_are_shown_with_their_lines(kpi: Kpi, tree: Tree) -> None:
    tree.write("zoo/pipeline.yaml", YAML.replace("readers", "reader"))
    tree.write("shop/raw/things.sql", RAW.replace("owner", "ower").replace("type: integer", "type: string"))
    tree.write("shop/marts/sold.sql", MART.replace("    name\n", "    nam\n"))
    shop, zoo = tree.root / "shop", tree.root / "zoo"
    errors = [
        (shop / "marts/sold.sql", 7, "the column 'name' is declared but the SELECT does not return it"),
        (shop / "marts/sold.sql", 13, "the SELECT returns the column 'nam', which the header does not declare: "),
        (shop / "raw/things.sql", 3, "unknown word 'ower': write 'owner'"),
        (shop / "raw/things.sql", 9, "columns.thing_id.type: 'string' is not a known column type: write text, or "),
        (zoo / "pipeline.yaml", 5, "unknown word 'reader': write 'readers'"),
    ]
    said = kpi("check", code=2)
    *lines, last = said.out.splitlines()
    for line, (path, number, problem) in zip(lines, errors, strict=True):
        assert line.startswith(f"error: {path}:{number}: {problem}")
    assert (last, said.err) == ("5 errors: shop, zoo.", "")
    assert kpi("check", "zoo", code=2).out.splitlines()[1] == "1 error: zoo."
    found = json.loads(kpi("check", "shop", "--format", "json", code=2).out)
    assert [(error["file"], error["line"]) for error in found] == [(str(path), n) for path, n, _ in errors[:4]]
    assert [error["problem"] for error in found] == [line.split(": ", 2)[2] for line in lines[:4]]
    # Other commands show the errors of the pipeline they are called for, one a line.
    assert kpi("url", "shop", code=1).err.splitlines() == lines[:4]


def test_only_pipelines_with_errors_are_named(kpi: Kpi, tree: Tree) -> None:
    tree.write("zoo/pipeline.yaml", YAML.replace("readers", "reader"))
    assert kpi("check", code=2).out.splitlines()[-1] == "1 error: zoo."


def test_only_check_shows_all_of_many_errors(kpi: Kpi, tree: Tree) -> None:
    for number in range(7):
        tree.write(f"shop/marts/m{number}.sql", "select 1")
    assert len(kpi("check", code=2).out.splitlines()) == 8
    lines = kpi("plan", "shop", code=1).err.splitlines()
    assert (len(lines), lines[-1]) == (6, "error: 2 more of these: `kpi check` shows all.")


def test_a_setting_that_names_no_table_is_an_error(kpi: Kpi) -> None:
    sentence = "KPI_MIN_ROWS names 'shop.raw.x', which is not a table: write pipeline.schema.table."
    said = kpi("check", "--format", "json", code=2, KPI_MIN_ROWS='{"shop.raw.x": 1}')
    assert json.loads(said.out) == [{"file": None, "line": None, "problem": sentence}]
    kpi.fails("There is no pipeline 'x': there is shop.", "check", "x", code=2)


def test_errors_of_fixtures_files_are_shown_with_those_of_the_tree(kpi: Kpi, tree: Tree, tmp_path: Path) -> None:
    case = tmp_path / "fixtures" / "shop" / "raw" / "things" / "plain" / "case.yaml"
    case.parent.mkdir(parents=True)
    case.write_text("description: Plain.\ncheks: {}\nload_date: soon\n")
    other = case.parent.parent / "other" / "case.yaml"
    other.parent.mkdir()
    other.write_bytes(b"description: caf\xe9\n")
    tree.write("shop/raw/things.sql", RAW.replace("owner", "ower"))
    said = kpi("check", code=2).out.splitlines()
    assert [line.split(": ")[1].rpartition("/")[2] for line in said[:-1]] == [
        "things.sql:3",
        "case.yaml:1",
        "case.yaml:2",
        "case.yaml:3",
    ]
    assert said[1] == f"error: {other}:1: is not UTF-8 (byte 16): save it as UTF-8"
    assert said[-1] == "4 errors: shop."
    assert kpi("check", "--no-fixtures", code=2).out.splitlines()[1:] == ["1 error: shop."]
    tree.write("shop/raw/things.sql", RAW)
    assert kpi("check", code=2).out.splitlines()[-1] == "3 errors: shop."
    assert not (tmp_path / "home").exists(), "no server was started"


def test_what_an_engine_would_refuse_is_said_with_its_lines(kpi: Kpi, tree: Tree) -> None:
    assert kpi("check", "--engine", "spark").out == "All files can be read: shop.\nspark would refuse nothing: shop.\n"
    sold = tree.root / "shop/marts/sold.sql"
    tree.write("shop/marts/sold.sql", MART.replace("    name\n", "    upper(name) as name\n"))
    assert kpi("check").out == "All files can be read: shop.\n", "it is no error"
    said = kpi("check", "shop", "--engine", "spark", code=1).out.splitlines()
    assert said[0] == "All files can be read: shop."
    assert said[1].startswith(f"refused: {sold}:13: UPPER(things.name) is not portable, because letters beyond ASCII ")
    assert said[2:] == ["spark would refuse 1 place: shop."]
    [found] = json.loads(kpi("check", "--engine", "duckdb", "--format", "json", code=1).out)
    assert (found["file"], found["line"]) == (str(sold), 13)
