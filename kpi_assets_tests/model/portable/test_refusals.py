"""Every refusal of the code is a row of the reference page, with an example; and the page has no other row."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kpi_assets.docs.markdown import word
from kpi_assets.docs.portable_sql import page
from kpi_assets.model import lake, lake_tables, portable, question_tables
from kpi_assets.model.portable import problems, raw_words
from kpi_assets.model.portable.refusals import OF_KIND, OF_LAKE, OF_NAME, OF_OBJECTS, OF_TABLES, REFUSALS, Refusal
from kpi_assets.model.portable.statement import _NO_CLAUSES

BAR = "\\|"
LISTS = {"REFUSALS": REFUSALS, "OF_TABLES": OF_TABLES, "OF_OBJECTS": OF_OBJECTS, "OF_LAKE": OF_LAKE}


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the constant texts in a node, those of conditions left out."""
    if isinstance(node, ast.IfExp):
        yield from (text for branch in (node.body, node.orelse) for text in texts(branch))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        yield from (text for child in ast.iter_child_nodes(node) for text in texts(child))


def calls(path: str, name: str, argument: int) -> Iterator[str]:
    """Yield the constant texts that a module passes to a function as its argument of that number."""
    for node in ast.walk(ast.parse(Path(path).read_text())):
        called = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and called == name and len(node.args) > argument:
            yield from texts(node.args[argument])


def yielded(path: str) -> Iterator[str]:
    """Yield the first of each tuple that a module yields."""
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
            yield from texts(node.value.elts[0])


def subscripts(path: str) -> Iterator[str]:
    """Yield the keys by which a module takes a refusal of the lake."""
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "OF_LAKE":
            yield from texts(node.slice)


def test_each_reason_to_refuse_sql_is_on_the_page_and_each_on_the_page_is_one() -> None:
    [folder] = portable.__path__
    raised = {key for path in Path(folder).glob("*.py") for key in calls(str(path), "NotPortableError", 0)}
    assert raised | {*OF_KIND.values()} | {*OF_NAME.values()} | {*_NO_CLAUSES.values()} == {*REFUSALS}


def test_each_word_that_is_refused_is_on_the_page_and_each_on_the_page_is_one() -> None:
    assert {*yielded(problems.__file__)} == {*OF_TABLES}
    columns = {f"column_{name}" for name in ("format", "allow", "round")}
    words = {"encoding", "compression", "extra", "comment"}  # the tests of each are in test_problems.py
    assert {*yielded(raw_words.__file__)} == {"format", "column_"}
    assert {"format", *words, *columns} == {*OF_OBJECTS}


def test_each_refusal_of_the_lake_is_on_the_page_and_each_on_the_page_is_one() -> None:
    said = {*calls(lake_tables.__file__, "_sentence", 1), *lake._NOT_ON_THE_LAKE}
    assert said | {*subscripts(lake_tables.__file__), *subscripts(question_tables.__file__)} == {*OF_LAKE}


@pytest.mark.parametrize("name", LISTS)
def test_each_has_its_row_with_an_example_and_the_portable_way(name: str) -> None:
    rows = [line for line in page().splitlines() if line.startswith("| ")]
    refusals: Mapping[str, Refusal] = LISTS[name]
    assert len({refusal.what for refusal in refusals.values()}) == len(refusals)
    for refusal in refusals.values():
        way = word(refusal.instead) if refusal.instead else "no way"
        assert refusal.example
        cells = (refusal.what, refusal.why, word(refusal.example), way)
        assert f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |" in rows


def test_the_page_has_no_other_row() -> None:
    heads = ("| --", "| refused")
    rows = [line for line in page().splitlines() if line.startswith("| ") and not line.startswith(heads)]
    assert len(rows) == sum(len(refusals) for refusals in LISTS.values())
