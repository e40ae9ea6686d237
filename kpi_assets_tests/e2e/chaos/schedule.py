"""What is killed when: a seed decides it, so that a run that found something can be repeated."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# How often each part is killed, in comparison with the others. What is restarted sooner is killed more often.
SHARES: Mapping[str, int] = {"lander": 3, "builder": 3, "broker": 2, "store": 2, "postgres": 2, "daemon": 2}
LEAST_PAUSE, MOST_PAUSE = 3.0, 17.0  # seconds between two kills
LONGEST_DOWN = 6.0  # seconds until a part is started again


@dataclass(frozen=True)
class Kill:
    """A kill: `at` so many seconds after the beginning, and for how long the part stays down at least.

    With `its_children` what the part has started dies with it; otherwise that lives on without it.
    """

    at: float
    part: str
    down: float
    its_children: bool


def schedule(seed: int, seconds: float) -> Sequence[Kill]:
    """Return the kills of so many seconds, in order. The first ones are of all parts, one of each."""
    draw = random.Random(f"chaos {seed}")
    first = list(SHARES)
    draw.shuffle(first)
    kills: list[Kill] = []
    at = draw.uniform(LEAST_PAUSE, MOST_PAUSE)
    while at < seconds:
        part = first.pop() if first else draw.choices(list(SHARES), list(SHARES.values()))[0]
        kills.append(Kill(at, part, draw.uniform(0, LONGEST_DOWN), draw.random() < 0.5))
        at += draw.uniform(LEAST_PAUSE, MOST_PAUSE)
    return kills
