"""Records are taken out of objects of each format and packing, and every other byte is as it was."""

import gzip
import io
import zipfile
from collections.abc import Collection, Sequence

import pyarrow.parquet as pq
import pytest

from kpi_assets.sources.formats import format_of
from kpi_assets.sources.formats.base import NOTHING, Instead, UnreadableError
from kpi_assets_tests.examples import few
from kpi_assets_tests.materialize.test_parquet import parquet, things
from kpi_assets_tests.pipeline_harness import DAY, RAW_THINGS, PipelineHarness


def without(
    lab: PipelineHarness,
    body: bytes,
    gone: Collection[int],
    words: str = "format: csv",
    instead: Instead = NOTHING,
) -> bytes:
    lab.file("raw/things.sql", RAW_THINGS.replace("format: csv", words))
    table = lab.pipeline().table("raw.things")
    lab.put_things(body)
    manifest = lab.store.manifest("things", DAY, f"raw/things/load_date={DAY}/things.csv")
    assert manifest
    with format_of(table).open(lab.store, manifest, table, DAY) as opened:
        assert not opened.problem
        opened.prepare(lambda _done: None)
        return b"".join(opened.without(gone, instead))


HEADER = b"thing_id,name,weight\n"
CSV = [b"1,anvil,20.50\n", b'2,"a ""quoted""\nname",1\r\n', b"3,broken,quote,here\n", b"4,caf\xc3\xa9,2\n", b"5,last,"]


@pytest.mark.parametrize("gone", few(2, map(pytest.param, [(), (1,), (2, 4), (5,), (3,), (1, 2, 3, 4, 5)])))
def test_a_csv_keeps_its_other_bytes(lab: PipelineHarness, gone: Sequence[int]) -> None:
    kept = HEADER + b"".join(record for number, record in enumerate(CSV, start=1) if number not in gone)
    assert without(lab, HEADER + b"".join(CSV), gone) == kept


def test_a_csv_in_another_dialect_keeps_what_stands_around_its_records(lab: PipelineHarness) -> None:
    words = "format: csv\n  encoding: cp1252\n  delimiter: ';'\n  skip_lines: 1\n  comment: '#'"
    head = b"export of today\nthing_id;name;weight\n"
    one, note, two, three = b"1;caf\xe9;2\r\n", b"# a note \xe9\n", b"2;\x81;3\n", b"3;stone;4\n"
    assert without(lab, head + one + note + two + three, [1, 3], words) == head + note + two
    assert without(lab, head + one + note + two + three, [], words) == head + one + note + two + three


def test_what_does_not_give_its_bytes_again_is_refused(lab: PipelineHarness) -> None:
    body = "thing_id,name,weight\n1,anvil,1\n".encode("utf-16")
    with pytest.raises(UnreadableError, match="its records do not give its bytes again"):
        without(lab, body, [1], "format: csv\n  encoding: utf-16")


ONE, TWO, THREE = '{"thing_id": 1, "name": "a,]"}', '{"thing_id": 2, "name": "ñ"}', '{"thing_id": 3}'


@pytest.mark.parametrize(
    ("text", "gone", "kept"),
    few(
        4,
        [
            (f"{ONE}\n{TWO}\n{THREE}\n", (2,), f"{ONE}\n{THREE}\n"),
            (f"{ONE}\n{TWO}\n{THREE}", (1, 3), f"{TWO}\n"),
            (f"{ONE}\r\n{TWO}\r\n", (1,), f"{TWO}\r\n"),
            (f"{ONE}{TWO} {THREE}", (2,), f"{ONE} {THREE}"),
            (f"[{ONE},\n {TWO},\n {THREE}\n]\n", (1,), f"[{TWO},\n {THREE}\n]\n"),
            (f"[{ONE},\n {TWO},\n {THREE}\n]\n", (2,), f"[{ONE},\n {THREE}\n]\n"),
            (f"[{ONE},\n {TWO},\n {THREE}\n]\n", (3,), f"[{ONE},\n {TWO}\n]\n"),
            (f"[{ONE},\n {TWO},\n {THREE}\n]\n", (2, 3), f"[{ONE}\n]\n"),
            (f"[{ONE},\n {TWO},\n {THREE}\n]\n", (1, 3), f"[{TWO}\n]\n"),
            (f"[{ONE},\n {TWO},\n {THREE}\n]\n", (1, 2, 3), "[\n]\n"),
            (f"\ufeff[{ONE}]\n[{TWO}, {THREE}]", (1, 2), f"\ufeff[]\n[{THREE}]"),
        ],
    ),
)
def test_json_stays_json(lab: PipelineHarness, text: str, gone: Sequence[int], kept: str) -> None:
    assert without(lab, text.encode(), gone, "format: json").decode() == kept


def test_documents_around_lists_stay(lab: PipelineHarness) -> None:
    page = '{"page": %d, "items": [%s], "next": "x"}\n'
    body = page % (1, f"{ONE}, {TWO}") + page % (2, THREE)
    kept = page % (1, ONE) + page % (2, "")
    assert without(lab, body.encode(), [2, 3], "format: json\n  records: items").decode() == kept


def test_a_packed_object_is_packed_again(lab: PipelineHarness) -> None:
    body, kept = HEADER + b"".join(CSV), HEADER + b"".join(CSV[1:])
    found = without(lab, gzip.compress(body), [1], "format: csv\n  compression: gzip")
    assert gzip.decompress(found) == kept
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("inside.csv", body)
    found = without(lab, packed.getvalue(), [1], "format: csv\n  compression: zip")
    with zipfile.ZipFile(io.BytesIO(found)) as opened:
        assert {name: opened.read(name) for name in opened.namelist()} == {"inside.csv": kept}


def test_parquet_keeps_its_schema_row_groups_and_packing(lab: PipelineHarness) -> None:
    columns = things(thing_id=[*range(1, 8)], name=list("abcdefg"), weight=[None] * 7)
    columns["weight"] = columns["thing_id"]
    body = parquet(columns, row_group_size=3, compression={"name": "zstd", "thing_id": "none", "weight": "snappy"})
    found = pq.ParquetFile(io.BytesIO(without(lab, body, [1, 4, 5, 6], "format: parquet")))
    before = pq.ParquetFile(io.BytesIO(body))
    assert found.read().column("thing_id").to_pylist() == [2, 3, 7]
    assert found.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    groups = [found.metadata.row_group(number).num_rows for number in range(found.metadata.num_row_groups)]
    assert groups == [2, 0, 1]
    packed = [found.metadata.row_group(0).column(number).compression for number in range(3)]
    assert packed == ["UNCOMPRESSED", "ZSTD", "SNAPPY"]


INSTEAD = {2: {"name": "erased-1f", "weight": None}, 4: {"name": None}}


def test_other_values_stand_in_records_that_stay(lab: PipelineHarness) -> None:
    kept = [CSV[0], b'2,"erased-1f",\r\n', b"4,,2\n", CSV[4]]
    assert without(lab, HEADER + b"".join(CSV), [3], instead=INSTEAD) == HEADER + b"".join(kept)
    text = f'[{ONE}, {{"name" : "x", "thing_id":2, "weight": 1.50}},{THREE}, {{"thing_id": 4, "name": "y"}}]'
    changed = (
        f'[{ONE}, {{"name" : "erased-1f", "thing_id":2, "weight": null}},{THREE}, {{"thing_id": 4, "name": null}}]'
    )
    assert without(lab, text.encode(), [], "format: json", INSTEAD).decode() == changed
    body = parquet({"thing_id": [1, 2, 3, 4], "name": list("abcd"), "weight": [1, 2, 3, 4]}, row_group_size=3)
    found = pq.ParquetFile(io.BytesIO(without(lab, body, [1], "format: parquet", INSTEAD))).read().to_pydict()
    assert found == {"thing_id": [2, 3, 4], "name": ["erased-1f", "c", None], "weight": [None, 3, 4]}
