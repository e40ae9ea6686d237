"""A process is recognized by its number and its start time only."""

import subprocess
import sys

import psutil
import pytest

from kpi_assets.process_identity import ProcessIdentity, living


def test_this_process_is_recognized() -> None:
    identity = ProcessIdentity.of()
    assert identity == ProcessIdentity.of(psutil.Process().pid)
    found = ProcessIdentity.parse(str(identity)).process()
    assert found is not None
    assert found.pid == identity.pid


def test_another_process_with_the_same_number_is_not_recognized() -> None:
    identity = ProcessIdentity.of()
    assert ProcessIdentity(identity.pid, identity.since - 5).process() is None
    assert ProcessIdentity(identity.pid, identity.since + 0.5).process() is not None, "the clock may have been set"


@pytest.mark.process
def test_an_ended_process_is_not_alive_even_before_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert living(child.pid)
        child.kill()
        psutil.wait_procs([psutil.Process(child.pid)], timeout=0.5)
        assert (living(child.pid), identity.process()) == (None, None)
    assert (living(child.pid), identity.process()) == (None, None)


@pytest.mark.parametrize("text", ["", "1", "x 1.0", "1 x", "1 1.0 1"])
def test_a_text_that_names_no_process_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ProcessIdentity.parse(text)


def test_a_number_that_no_process_can_have_is_refused() -> None:
    with pytest.raises(ValueError):
        ProcessIdentity(-1, 1.0).process()
