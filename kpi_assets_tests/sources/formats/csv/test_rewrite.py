"""Columns of CSV values are made those of COPY's text format."""

from kpi_assets.sources.formats.csv import rewrite


def test_letters_are_translated_in_every_value_and_an_empty_one_is_null() -> None:
    assert rewrite._translated({".": "", ",": "."}, ["1.234,5", "", "7,0"]) == ["1234.5", rewrite.NULL, "7.0"]
