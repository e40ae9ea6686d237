"""Which type holds the values of which other one, and which name Postgres gives to a type."""

from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.warehouse.shape import can_hold, common_type
from kpi_assets_tests.model.test_column_types import NAMES


@pytest.mark.parametrize(("written", "name"), NAMES.items())
def test_the_names_of_types_are_those_of_the_catalog(session: Connection[Any], written: str, name: str) -> None:
    session.execute(f"create temporary table named (a {written})")
    query = (
        "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'named'::regclass and attnum = 1"
    )
    assert session.execute(query).fetchone() == (name,)


@pytest.mark.parametrize(
    ("new", "old", "holds"),
    [
        ("character varying(5)", "character varying(3)", True),
        ("character varying(3)", "character varying(5)", False),
        ("character varying", "character varying(5)", True),
        ("character varying(5)", "text", False),
        ("character varying", "text", True),
        ("text", "character varying", True),
        ("text", "character(3)", True),
        ("character varying(3)", "character(3)", True),
        ("character(3)", "character varying(3)", False),
        ("character(5)", "character(3)", True),
        ("character varying(9)", "integer", False),
        ("text", "time without time zone", True),
        ("bigint[]", "integer[]", True),
        ("integer[]", "bigint[]", False),
        ("integer[]", "integer", False),
        ("text", "integer[]", True),
        ("text[]", "integer[]", True),
    ],
)
def test_a_type_holds_another_one_if_no_value_is_lost(new: str, old: str, holds: bool) -> None:
    assert can_hold(new, old) is holds


def test_two_arrays_have_a_common_type_if_their_elements_have_one() -> None:
    assert common_type("bigint[]", "numeric(4,2)[]") == "numeric[]"
    assert common_type("boolean[]", "integer[]") is None
    assert common_type("integer[]", "numeric(4,2)") is None
