"""A type has many names in a header, and one everywhere else."""

import doctest
import re

import pytest

from kpi_assets.model import column_types
from kpi_assets.model.column import Column
from kpi_assets.model.column_types import catalog_name
from kpi_assets.model.tree import load_pipelines
from kpi_assets_tests.model.conftest import Tree
from kpi_assets_tests.pipeline_harness import RAW_THINGS

NAMES = {
    **dict.fromkeys(("int", "int4", "INTEGER", " integer "), "integer"),
    **dict.fromkeys(("int2", "SmallInt"), "smallint"),
    **dict.fromkeys(("int8", "bigint"), "bigint"),
    **dict.fromkeys(("float4", "real"), "real"),
    **dict.fromkeys(("float", "float8", "double  precision"), "double precision"),
    **dict.fromkeys(("bool", "Boolean"), "boolean"),
    **dict.fromkeys(("decimal", "dec", "NUMERIC"), "numeric"),
    **dict.fromkeys(("decimal(10,2)", "numeric (10, 2)", "numeric(010,02)"), "numeric(10,2)"),
    **dict.fromkeys(("decimal(5)", "numeric(5,0)"), "numeric(5,0)"),
    **dict.fromkeys(("varchar", "character varying"), "character varying"),
    **dict.fromkeys(
        ("varchar(10)", "VARCHAR ( 10 )", "character varying (10)", "char varying(10)"), "character varying(10)"
    ),
    **dict.fromkeys(("char", "character", "char(1)"), "character(1)"),
    **dict.fromkeys(("timestamp", "timestamp without time zone"), "timestamp without time zone"),
    **dict.fromkeys(("timestamptz", "Timestamp With Time Zone"), "timestamp with time zone"),
    "JSON": "json",
    **dict.fromkeys(("time", "time without time zone"), "time without time zone"),
    **dict.fromkeys(("int[]", "integer []", "int4 [ ]"), "integer[]"),
    **dict.fromkeys(("decimal(10,2)[]",), "numeric(10,2)[]"),
    **dict.fromkeys(("varchar[]",), "character varying[]"),
    **dict.fromkeys(("timestamptz[]",), "timestamp with time zone[]"),
}
REFUSED = {
    "timetz": "a time with an offset but without a date names no instant: write time",
    "time with time zone": "names no instant: write time",
    "timestamp(3)": "it would round the seconds: write the type without digits in brackets",
    "time(3)": "it would round the seconds",
    "timestamp(0) with time zone": "it would round the seconds",
    "jsonb[]": "jsonb holds lists itself: write jsonb",
    "json[]": "jsonb holds lists itself: write jsonb",
    "interval": "declare its seconds as numeric",
    "integer[][]": "one dimension and no length: write integer[]",
    "integer[3]": "one dimension and no length: write integer[]",
    "varchar(10)[]": "write text[], whose elements have any length",
    "char[]": "write text[], whose elements have any length",
    "int(11)": "write integer without brackets",
    "varchar(1,2)": "write character varying without brackets",
    "varchar(0)": "write 1 to 10,485,760, or text",
    "varchar(10485761)": "write 1 to 10,485,760, or text",
    "numeric(1001,2)": "write 1 to 1,000, or numeric alone",
    "numeric(0,0)": "write 1 to 1,000, or numeric alone",
    "string": "write text, or another of smallint, ",
    "intger": "write integer, or another of ",
    "bytea": "write one of smallint, ",
    "numeric(10": "write the type in quotes",
    "text\n": "write text, or another of ",
    "text; drop table x": "is not a known column type",
    "": "is not a known column type: write one of ",
}


def test_the_examples_of_the_module_are_true() -> None:
    assert doctest.testmod(column_types).failed == 0


@pytest.mark.parametrize(("written", "name"), NAMES.items())
def test_each_name_becomes_the_name_of_the_catalog(written: str, name: str) -> None:
    assert Column(type=written, description="Value.").type == name


@pytest.mark.parametrize(("written", "told"), REFUSED.items())
def test_what_is_no_type_of_a_column_is_refused_with_what_to_write(written: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        catalog_name(written)
    assert repr(written) in str(caught.value)


def test_another_name_of_a_type_is_no_other_version(tree: Tree) -> None:
    versions = set()
    for type_ in ("integer", "INT", "int4"):
        tree.write("shop/raw/things.sql", RAW_THINGS.replace("type: integer", f"type: {type_}"))
        table = load_pipelines(tree.root)["shop"].table("raw.things")
        versions.add((table.code_version, table.checks_version, table.object_version, table.types["thing_id"]))
    assert len(versions) == 1
