"""The answers of Instacart's questions equal those of the oracle, in their order."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.read.ask import answer, prepare_question
from kpi_assets.samples import GENERATORS
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness
from kpi_assets_tests.questions_oracle import GIVEN, QUESTIONS, answers
from kpi_assets_tests.test_oracle import INSTACART, land_all, run_all

ORDERS = 1200


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[Any]]]:
    folder = tmp_path_factory.mktemp("oracle")
    for number, day in enumerate((DAY, DAY + timedelta(days=7))):
        GENERATORS["instacart"].write(folder / str(number), load_date=day, orders=ORDERS + 100 * number, seed=number)
    return answers(folder / "1", folder / "0")


@pytest.fixture(scope="module")
def instacart(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """The shipped pipeline with the same two load_dates."""
    folder = tmp_path_factory.mktemp("asked")
    with PipelineHarness.open(stack, folder, INSTACART) as lab:
        context = lab.prepared()
        for number, day in enumerate((DAY, DAY + timedelta(days=7))):
            files = folder / str(number)
            GENERATORS["instacart"].write(files, load_date=day, orders=ORDERS + 100 * number, seed=number)
            land_all(context, files, day)
            run_all(context, day)
        yield lab


def value(text: str | None, expected: Any) -> Any:
    """Return the text of Postgres as the type of what is expected."""
    if text is None or isinstance(expected, str):
        return text
    return text == "true" if isinstance(expected, bool) else Fraction(Decimal(text))


def test_the_oracle_knows_every_question_but_that_of_the_ledger(instacart: PipelineHarness) -> None:
    assert {*instacart.pipeline().questions} == {*QUESTIONS, "restated_this_week"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_equals_the_oracle(instacart: PipelineHarness, wanted: dict[str, list[list[Any]]], name: str) -> None:
    pipeline = instacart.pipeline()
    session = connect(instacart.server, instacart.name, "ask", role=READER, read_only=True)
    with session as connection, one_snapshot(connection, LEDGER_ALONE):
        asked = prepare_question(connection, pipeline, pipeline.question(name), GIVEN.get(name, {}))
        made = answer(connection, pipeline, asked)
    expected = wanted[name]
    assert len(made.rows) == len(expected) > 1
    for row, other in zip(made.rows, expected, strict=True):
        found = [value(text, each) for text, each in zip(row, other, strict=True)]
        # Postgres writes at least 16 digits of a quotient, of which the KPIs keep 6.
        exact = [each if not isinstance(each, Fraction) else pytest.approx(float(each), abs=5e-7) for each in other]
        assert [
            float(one) if isinstance(two, Fraction) else one for one, two in zip(found, other, strict=True)
        ] == exact


def test_the_files_of_the_oracle_are_those_that_were_published(instacart: PipelineHarness, tmp_path: Path) -> None:
    counts = instacart.rows("select load_date, count(*) from marts.fact_orders group by 1 order by 1")
    assert counts == [(DAY, ORDERS), (DAY + timedelta(days=7), ORDERS + 100)]
