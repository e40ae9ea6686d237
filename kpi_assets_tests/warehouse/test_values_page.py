"""docs/reference/values.md is true: each of its examples is read, or is refused with the reason on that page."""

import re
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.model import excerpt, written
from kpi_assets.model.column_types import BASES, base_of
from kpi_assets.settings import CHECKOUT
from kpi_assets.sources.formats.csv import records
from kpi_assets.sources.formats.csv.proof import UnprovenError
from kpi_assets_tests.csv_files import proven as prove
from kpi_assets_tests.csv_files import records_of

PAGE = (CHECKOUT / "docs" / "reference" / "values.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n\n((?:.+\n|\n(?!## ))*)", PAGE, re.MULTILINE))
EXAMPLES = [
    (type_, example.replace("␣", " "), said)
    for heading, text in SECTIONS.items()
    for type_ in heading.split(", ")
    if base_of(type_).removesuffix("[]") in BASES
    for cells, said in re.findall(r"^\| (`.+`) \| (.+) \|$", text, re.MULTILINE)
    for example in re.findall(r"`([^`]+)`", cells)
]


def proven(type_: str, text: str) -> bool:
    """Return whether the proof accepts a value, in quotes and, where quotes are optional, without them."""
    quoted = '"' + text.replace('"', '""') + '"'
    found = set()
    for field in (quoted, text) if not set(text) & set('",') else (quoted,):
        try:
            list(prove({"id": "integer", "value": type_}, [f"id,value\n1,{field}\n".encode()]))
            found.add(True)
        except UnprovenError:
            found.add(False)
    [one] = found
    return one


def accepts(session: Connection[Any], type_: str, text: str) -> bool:
    """Return whether Postgres accepts the value."""
    return session.execute("select pg_input_is_valid(%s, %s)", [text, type_]).fetchone() == (True,)


def test_every_type_has_its_section_and_examples_of_both_kinds() -> None:
    known = {*BASES, "integer[]", "text[]"}
    found = {(base_of(type_), said == "read") for type_, _, said in EXAMPLES}
    # `character varying` stands beside text and, with a length, for itself.
    assert found == {(kind, is_read) for kind in known for is_read in (True, False)} - {("text", False)}
    assert len(EXAMPLES) > 150


@pytest.mark.parametrize(("type_", "text", "said"), EXAMPLES)
def test_each_example_of_the_page_is_read_or_refused_as_it_says(
    session: Connection[Any], type_: str, text: str, said: str
) -> None:
    if said == "read":
        assert written.problem(type_, text) is None
        assert proven(type_, text)
        assert accepts(session, type_, text)
    elif said == "refused by Postgres":
        assert written.problem(type_, text) is None
        assert not accepts(session, type_, text)
    else:
        assert written.problem(type_, text) == said
        # An array has the characters of CSV in it, so the proof leaves it to the reading of its record.
        assert not proven(type_, text) or type_.endswith("[]")


def test_the_page_is_right_about_blanks_and_empty_texts() -> None:
    section = SECTIONS["Every type but texts, uuids and JSON"]
    formed = ["smallint", "numeric", "numeric(8,2)", "real", "boolean", "date"]
    assert {written.problem(type_, text) for type_ in formed for text in (" 5", "5 ")} == {written.BLANKS}
    assert {written.problem(type_, "") for type_ in formed} == {written.EMPTY}
    assert f"| `␣5`, `5␣` | {written.BLANKS} |" in section
    assert f'| `""` | {written.EMPTY} |' in section


@pytest.mark.parametrize("row", re.findall(r"^\| (`.+`) \| (.+) \|$", SECTIONS["Quotes and records"], re.MULTILINE))
def test_each_example_of_a_record_is_read_or_refused_as_the_page_says(row: tuple[str, str]) -> None:
    cells, said = row
    for example in re.findall(r"`([^`]+)`", cells):
        data = f"id,name\n{example.replace('⏎', chr(10))}\n".encode()
        [record] = records_of([data], ["id", "name"])
        if said.startswith("read"):
            assert record.problem is None
            list(prove({"id": "integer", "name": "text"}, [data]))
        else:
            assert record.problem == said


def test_the_page_names_the_limits_of_the_code() -> None:
    assert f"`{records.TOO_LONG}`" in PAGE
    record, value = f"{excerpt.RECORD:,}", f"{excerpt.VALUE:,}"
    limits = f"At most {record} characters of a record that is set aside are kept, {value} of a value"
    assert limits in " ".join(PAGE.split())
