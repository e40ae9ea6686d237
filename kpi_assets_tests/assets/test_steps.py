"""How a step reports an error, and how it is stopped."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.errors import raise_execution_interrupts

from kpi_assets.assets.steps import user_errors_as_failures
from kpi_assets.errors import UserError
from kpi_assets.warehouse.connection import WarehouseError


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_step_raises_keyboard_interrupt(how: signal.Signals) -> None:
    with (
        raise_execution_interrupts(),  # as Dagster does around a step
        pytest.raises(KeyboardInterrupt),
        user_errors_as_failures(dg.build_op_context()),
    ):
        os.kill(os.getpid(), how)


def test_an_error_that_stopping_causes_does_not_hide_the_interrupt() -> None:
    def clean_up() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise psycopg.OperationalError("cannot exit pipeline mode while busy")

    def build() -> None:
        try:
            clean_up()
        except psycopg.Error as error:
            raise WarehouseError("raw/things.sql: building raw.things failed.") from error

    with pytest.raises(KeyboardInterrupt), user_errors_as_failures(dg.build_op_context()):
        build()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("s3://lake/\x1b[31m\u202ename is not there."), r"s3://lake/\x1b[31m\u202ename is not there."),
        (
            psycopg.errors.DiskFull("could not extend file: No space left on device"),
            "The warehouse refused a statement (DiskFull: could not extend file: No space left on device): make room "
            "on the server's disk.",
        ),
    ],
)
def test_a_step_fails_with_one_sentence_without_control_characters(error: Exception, told: str) -> None:
    context: Any = SimpleNamespace(retry_number=0, run=SimpleNamespace(tags={}))
    with pytest.raises(dg.Failure) as failure, user_errors_as_failures(context):
        raise error
    assert failure.value.description == told
