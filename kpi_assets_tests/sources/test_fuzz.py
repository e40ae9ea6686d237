"""The readers of CSV are compared for a short time with independent readers and forms of values: see fuzz_csv.py."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests import fuzz_csv
from kpi_assets_tests.examples import examples
from kpi_assets_tests.pipeline_harness import PipelineHarness


@fuzz_csv.quietly(examples(400))
@given(text=fuzz_csv.files(), places=fuzz_csv.BORDERS)
def test_records_are_those_of_other_readers(text: str, places: list[int]) -> None:
    fuzz_csv.check_reading(text, places)


@fuzz_csv.quietly(examples(400))
@given(text=fuzz_csv.files(), places=fuzz_csv.BORDERS, piece=st.sampled_from([1, 2, 7, 64, 1 << 17]))
def test_the_proof_accepts_valid_files_and_no_others(text: str, places: list[int], piece: int) -> None:
    fuzz_csv.check_proof(text, places, piece)


@fuzz_csv.quietly(examples(100))
@given(text=fuzz_csv.files())
def test_good_files_are_read_as_duckdb_reads_them(text: str) -> None:
    fuzz_csv.check_duckdb(text)


@pytest.fixture(scope="module")
def typed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzz_csv.Typed]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("typed")) as lab:
        lab.prepared()
        with lab.session() as session:
            yield fuzz_csv.Typed(lab, session)


@fuzz_csv.quietly(examples(150))
@given(example=st.fixed_dictionaries(fuzz_csv.TYPED))
def test_values_are_read_as_in_the_table_of_forms(typed: fuzz_csv.Typed, example: dict[str, Any]) -> None:
    typed.check(**example)


@pytest.fixture(scope="module")
def dialects(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[fuzz_csv.Dialects]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("dialects")) as lab:
        lab.prepared()
        with lab.session() as session:
            yield fuzz_csv.Dialects(lab, session)


@fuzz_csv.quietly(examples(150))
@given(example=st.fixed_dictionaries(fuzz_csv.DIALECT_FILES))
def test_all_ways_of_loading_a_dialect_agree(dialects: fuzz_csv.Dialects, example: dict[str, Any]) -> None:
    dialects.check(**example)
