"""What the core tells an observer: that a piece of work begins, what came of it, and how long it took.

Nobody listens unless a process has an observer, which costs then next to nothing. An observer that fails is not heard
of: no work ends otherwise because somebody watches it.

Belongs here: what is told. It has no message of an error, no value that was delivered, and no row. Not here: what an
observer makes of it (telemetry/).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from time import perf_counter
from typing import Literal

# build: one table for one load_date.  batch: what a table that grows gets.  tick: all batches and builds of one look.
# landing: one object of a stream, put into the store.
Kind = Literal["build", "batch", "tick", "landing"]


@dataclass(slots=True)
class Work:
    """One piece of work. Who does it fills in the rest of the fields before it ends.

    `name` is the table, the stream, or the pipeline of a tick. `outcome` is `failed` if it ended with an error, and
    `error` is the type of that. `facts` are numbers and ids, and `verdicts` those of its checks, by name.
    """

    kind: Kind
    pipeline: str
    name: str
    load_date: date | None = None
    outcome: str = ""
    error: str = ""
    facts: Mapping[str, int | str] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)  # seconds
    verdicts: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


# Is called when work begins, in its thread; what it returns is called there when the work has ended.
Observer = Callable[[Work], Callable[[], None]]
_observers: list[Observer] = []


def observe(observer: Observer) -> Callable[[], None]:
    """Tell an observer of all work of this process from now on; return what ends that."""
    _observers.append(observer)
    return lambda: _observers.remove(observer)


@contextmanager
def observed(work: Work) -> Iterator[Work]:
    """Tell the observers of a piece of work, which is what the context does."""
    ends = [end for observer in _observers if (end := _begin(observer, work))]
    began = perf_counter()
    try:
        yield work
    except BaseException as error:
        work.outcome, work.error = "failed", type(error).__name__
        raise
    finally:
        work.seconds = perf_counter() - began
        for end in reversed(ends):
            with suppress(Exception):
                end()


def _begin(observer: Observer, work: Work) -> Callable[[], None] | None:
    with suppress(Exception):
        return observer(work)
    return None
