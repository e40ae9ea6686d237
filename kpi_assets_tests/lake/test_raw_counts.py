"""What an engine's count of a CSV object says: which objects are not loaded, and why."""

from dataclasses import replace
from pathlib import Path

import pytest

from kpi_assets.lake.raw_parquet import RawParquet
from kpi_assets.lake.raw_text import Counted, RawText
from kpi_assets.lake.raw_values import constant, pattern
from kpi_assets.model.tree import load_pipelines
from kpi_assets.sources.formats.csv.layout import layout_of
from kpi_assets_tests.lake.raw_objects import table_text
from kpi_assets_tests.pipeline_harness import DAY, PIPELINE_YAML

DATA = b"k,t\n1,a\n2,b\n"
GOOD = Counted(lines=3, octets=9, joined=0, misplaced=0, first_block=3, records=2, bad=0, opened=None, quoted=None)


@pytest.fixture
def text(tmp_path: Path) -> RawText:
    """An object of three lines."""
    folder = tmp_path / "lab"
    (folder / "raw").mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket="kpi-lab"))
    (folder / "raw" / "t.sql").write_text(table_text({"k": "integer", "t": "text"}))
    table = load_pipelines(tmp_path)["lab"].table("raw.t")
    layout = layout_of(DATA, table.dialect, DAY)
    return RawText(table, layout, "file:///t.csv", "raw/t/t.csv", len(DATA), is_marked=False)


def test_an_object_whose_bytes_were_all_read_is_loaded(text: RawText) -> None:
    assert text.problem(GOOD) == ""
    assert text.problem(GOOD._replace(octets=10)) == "", "the last line has no line end"
    assert replace(text, size=15, is_marked=True).problem(GOOD) == ""
    nothing = Counted.of([None] * 11)
    assert replace(text, size=0).problem(nothing) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"octets": 8}, "the engine read 11 bytes in 3 lines, and the object has 12 bytes"),
        ({"octets": 11}, "the engine read 14 bytes in 3 lines, and the object has 12 bytes"),
        ({"lines": 1, "octets": 11, "joined": 1}, "the engine read 12 bytes in 1 lines"),
        ({"misplaced": 1}, "in another order"),
        ({"first_block": 0}, "in another order"),
        ({"opened": (0, 1), "quoted": (0, 2)}, "a value in quotes has a line end"),
        ({"opened": (0, 7), "quoted": (512, 0)}, "a value in quotes has a line end"),
    ],
)
def test_an_object_that_was_read_otherwise_is_not_loaded(text: RawText, change: dict[str, int], words: str) -> None:
    assert words in text.problem(GOOD._replace(**change))


def test_a_quote_that_no_later_line_could_close_is_one_bad_record(text: RawText) -> None:
    assert text.problem(GOOD._replace(opened=(0, 2), quoted=(0, 2))) == ""


@pytest.mark.parametrize("name", ["_t.csv", ".t.csv", "t.csv.gz", "t.bz2", "t*.csv", "t[1].csv", "{t}.csv"])
def test_a_key_that_an_engine_reads_otherwise_is_refused(text: RawText, name: str) -> None:
    assert "land it under another name" in replace(text, object_key=f"raw/{name}").refusal()


@pytest.mark.parametrize("name", ["_t.parquet", ".t.parquet", "t*.parquet", "part-[1].parquet", "{t}.parquet"])
def test_so_is_that_of_parquet(text: RawText, name: str) -> None:
    found = RawParquet(text.table, {}, f"s3a://b/raw/{name}", f"raw/{name}", 1)
    assert "land it under another name" in found.refusal()
    assert replace(found, object_key="raw/_t/t-1.parquet").refusal() == ""


def test_other_keys_are_read(text: RawText) -> None:
    for key in ("raw/_t/t.csv", "raw/t.gz/t.csv", "t 1.csv", "ä,ö=ü.csv"):
        assert replace(text, object_key=key).refusal() == "", key


def test_an_engine_replaces_nothing_in_a_constant() -> None:
    assert constant("${secret}") == f"cast(X'{b'${secret}'.hex()}' as string)"
    quoted = r"\Aa'\z"
    assert pattern(quoted) == f"cast(X'{quoted.encode().hex()}' as string)"
