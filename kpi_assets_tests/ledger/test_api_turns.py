"""The turns at an API, which all sessions of a pipeline's database share."""

import pytest

from kpi_assets.ledger import api_turns
from kpi_assets_tests.pipeline_harness import PipelineHarness


def test_turns_come_one_interval_after_another_whoever_takes_them(lab: PipelineHarness) -> None:
    lab.prepared()
    with lab.session() as one, lab.session() as other:
        waits = [api_turns.take(session, "north", 10) for session in (one, other, one)]
        assert waits == pytest.approx([0, 10, 20], abs=1)
        assert api_turns.take(one, "south", 10) == pytest.approx(0, abs=0.01), "another API has turns of its own"


def test_a_turn_that_nobody_took_is_not_saved_up(lab: PipelineHarness) -> None:
    lab.prepared()
    with lab.session() as session:
        api_turns.take(session, "north", 10)
        session.execute("update ops.api_turns set next_at = next_at - interval '1 hour'")
        assert [api_turns.take(session, "north", 10) for _ in range(2)] == pytest.approx([0, 10], abs=1)


def test_an_api_that_asks_to_wait_postpones_the_turns_of_all_and_never_brings_them_forward(
    lab: PipelineHarness,
) -> None:
    lab.prepared()
    with lab.session() as one, lab.session() as other:
        api_turns.postpone(one, "north", 60)
        api_turns.postpone(one, "north", 5)
        assert api_turns.take(other, "north", 0) == pytest.approx(60, abs=1)
        assert api_turns.take(other, "north", 10) == pytest.approx(60, abs=1), "a turn without an interval takes none"
        assert api_turns.take(one, "north", 10) == pytest.approx(70, abs=1)
