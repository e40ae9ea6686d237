"""A function that stops once after it was called, so that a test can do something at that moment."""

from dataclasses import dataclass, field
from threading import Event
from typing import Any

import pytest

from kpi_assets_tests.machine import PATIENCE


@dataclass
class Pause:
    """`reached` is set when the function has returned, and its caller goes on when `over` is set."""

    reached: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)

    def wait(self) -> None:
        """Wait until the function was called."""
        assert self.reached.wait(PATIENCE)


def pause_after(patch: pytest.MonkeyPatch, owner: Any, name: str) -> Pause:
    """Let the first call of `owner.name` stop before it gives its result back."""
    pause, original = Pause(), getattr(owner, name)

    def paused(*args: Any, **words: Any) -> Any:
        found = original(*args, **words)
        if not pause.reached.is_set():
            pause.reached.set()
            assert pause.over.wait(PATIENCE)
        return found

    patch.setattr(owner, name, paused)
    return pause
