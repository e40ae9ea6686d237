"""The error for an object that is not CSV names its format and the remedy."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpi_assets.sources.signatures import other_format
from kpi_assets_tests.csv_files import header_problem
from kpi_assets_tests.pipeline_harness import GOOD, RAW_THINGS, PipelineHarness

COLUMNS = ["thing_id", "name", "weight"]
TEXT = GOOD.decode()


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, body in members.items():
            archive.writestr(name.replace("_", "/", 1), body)
    return made.getvalue()


UNPACK = "not CSV: unpack it, and land the CSV that is in it"
EXPORT = "not CSV: export it as CSV in UTF-8, and land that"
SHEET = "not CSV: export the sheet as CSV in UTF-8, and land that"
FETCH = "not CSV: it is mostly what a server says instead of the file: look into it, and fetch the file again"
SAVE = "not in UTF-8: write encoding:"
FORMATS = {
    "gzip": (gzip.compress(GOOD), "it is a gzip file, not CSV: write compression: gzip"),
    "bzip2": (bz2.compress(GOOD), f"it is a bzip2 file, {UNPACK}"),
    "xz": (lzma.compress(GOOD), f"it is an xz file, {UNPACK}"),
    "zip": (zipped(things=GOOD), "it is a zip file, not CSV: write compression: zip"),
    "an empty zip": (zipped(), f"it is a zip file with nothing in it, {UNPACK}"),
    "xlsx": (zipped(xl_workbook=b"<workbook/>"), f"it is an Excel workbook, {SHEET}"),
    "ods": (
        zipped(mimetype=b"application/vnd.oasis.opendocument.spreadsheet"),
        f"it is an OpenDocument spreadsheet, {SHEET}",
    ),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), f"it is an Excel workbook of before 2007, {SHEET}"),
    "avro": (b"Obj\x01\x04\x14avro.codec", f"it is an Avro file, {EXPORT}"),
    "sqlite": (b"SQLite format 3\0\x10", f"it is an SQLite database, {EXPORT}"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "it is a PDF, not CSV: ask who delivers it for a CSV, and land that"),
    "html": (b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>", f"it is a web page, {FETCH}"),
    "xml": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', f"it is XML, {FETCH}"),
    "json": (b'[\n  {"thing_id": 1}\n]', "it is JSON, not CSV: write format: json"),
    "json lines": (b'{"thing_id": 1}\n{"thing_id": 2}\n', "it is JSON, not CSV: write format: json"),
    "utf-16": (TEXT.encode("utf-16"), f"it is text in UTF-16, {SAVE} utf-16"),
    "utf-16, big-endian": (b"\xfe\xff" + TEXT.encode("utf-16-be"), f"it is text in UTF-16, {SAVE} utf-16"),
    "utf-16 without a mark": (TEXT.encode("utf-16-le"), f"it is text in UTF-16, {SAVE} utf-16-le"),
    "utf-16, big-endian, without a mark": (TEXT.encode("utf-16-be"), f"it is text in UTF-16, {SAVE} utf-16-be"),
    "utf-32": (TEXT.encode("utf-32"), f"it is text in UTF-32, {SAVE} utf-32"),
    "utf-32 without a mark": (TEXT.encode("utf-32-le"), f"it is text in UTF-32, {SAVE} utf-32-le"),
    "utf-32, big-endian, without a mark": (TEXT.encode("utf-32-be"), f"it is text in UTF-32, {SAVE} utf-32-be"),
    "a NUL byte": (
        b"thing_id,na\0me,weight\n",
        "its first line holds a NUL byte, which no text has: ask who delivers it for a CSV in UTF-8",
    ),
    "semicolons": (GOOD.replace(b",", b";"), "its values are separated by ';': write delimiter: \";\""),
    "tabs": (GOOD.replace(b",", b"\t"), "its values are separated by tabs: write delimiter: tab"),
    "other letters": (
        b'"Thing ID",Name,weight\n',
        "its header writes 'Thing ID' for the column 'thing_id': write field: \"Thing ID\" there, and so for 1 more",
    ),
}


@pytest.mark.parametrize(("body", "sentence"), FORMATS.values(), ids=FORMATS)
def test_an_object_that_is_not_csv_is_named_by_its_format(body: bytes, sentence: str) -> None:
    assert header_problem(body, COLUMNS) == sentence


def test_a_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "things.parquet"
    duckdb.sql("select 1 as thing_id").write_parquet(str(path))
    assert header_problem(path.read_bytes(), COLUMNS) == "it is a Parquet file, not CSV: write format: parquet"


@given(
    st.lists(st.from_regex(r"[a-z_][a-z0-9_]{0,39}", fullmatch=True), min_size=1, max_size=4), st.binary(max_size=40)
)
def test_a_csv_with_column_names_is_never_taken_for_another_format(names: list[str], rest: bytes) -> None:
    for line in (",".join(names), ",".join(f'"{name}"' for name in names)):
        assert other_format(line.encode() + b"\n" + rest, "CSV") == ""


def test_an_object_that_is_not_csv_is_held_with_that_message(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(gzip.compress(GOOD))
    outcome = lab.verify("raw.things")
    assert outcome.held
    [header] = [result for result in outcome.results if result.name == "header"]
    place = f"s3://{lab.bucket}/raw/things/load_date=2025-03-01/things.csv"
    assert header.message == f"{place}: it is a gzip file, not CSV: write compression: gzip"
