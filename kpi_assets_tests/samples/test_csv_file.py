"""Edits change the record with their number, whichever block contains it."""

from pathlib import Path

from kpi_assets.samples.csv_file import write_csv


def test_edits_count_records_across_blocks(tmp_path: Path) -> None:
    blocks = [b"a\nb\n", b"", b"c\nd\ne\n", b"f\n"]
    edits = {
        1: lambda record: [record, record],
        2: lambda record: [],
        4: lambda record: [record.upper()],
        5: lambda record: [record, b"more"],
        6: lambda record: [b"never"],
    }
    assert write_csv(tmp_path / "file.csv", b"header\n", blocks, edits) == 7
    assert (tmp_path / "file.csv").read_bytes() == b"header\na\nb\nb\nd\nE\nf\nmore\n"


def test_without_edits_the_blocks_are_the_file(tmp_path: Path) -> None:
    assert write_csv(tmp_path / "file.csv", b"header\n", [b"a\n", b"b\nc\n"], {}) == 3
    assert (tmp_path / "file.csv").read_bytes() == b"header\na\nb\nc\n"
    assert write_csv(tmp_path / "file.csv", b"header\n", [], {}) == 0
    assert (tmp_path / "file.csv").read_bytes() == b"header\n"
