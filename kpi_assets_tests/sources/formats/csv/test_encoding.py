"""Encodings of CSV objects: which of them can be read in parts."""

import pytest

from kpi_assets.sources.formats.csv.encoding import is_bytewise


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        *(("latin-1", True), ("cp1252", True), ("iso8859-15", True), ("cp037", False)),
        *(("shift_jis", False), ("gb18030", False), ("utf-8", False), ("utf-16", False), ("utf-32", False)),
    ],
)
def test_each_byte_is_a_letter_or_not(encoding: str, expected: bool) -> None:
    assert is_bytewise(encoding) == expected
