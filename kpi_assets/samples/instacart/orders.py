"""The orders of a synthetic Instacart day: who ordered how often and when, and which eval_set an order is in.

Belongs here: everything in orders.csv. Not here: the content of the orders (baskets.py), and how they are written
(files.py). The weights are rounded from the distributions of the published dataset.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws, spread

FULL_ORDERS, FULL_USERS, FULL_TRAIN = 3_421_083, 206_209, 131_209
PRIOR, TRAIN, TEST = 0, 1, 2
EVAL_SETS = ("prior", "train", "test")
FIRST_ORDER = 31  # in place of the days since the order before

# Users have 4 to 100 orders: most have few, some have many, and what goes beyond 100 is cut off there.
LEAST_ORDERS, MOST_ORDERS = 4, 100
ORDERS_PER_USER = [
    *(0.617 / 6.25 * math.exp(-more / 6.25) + 0.383 / 26 * math.exp(-more / 26) for more in range(96)),
    0.007,
]
DOW = (176, 172, 137, 128, 125, 132, 130)
HOUR = (7, 4, 2, 2, 2, 3, 9, 27, 52, 75, 84, 83, 80, 81, 83, 83, 80, 67, 53, 41, 30, 23, 18, 12)
FIRST_FORTNIGHT = (21, 45, 60, 67, 69, 67, 75, 100, 56, 37, 30, 26, 24, 26, 31)
DAYS = (*FIRST_FORTNIGHT, 21, 14, 12, 11, 11, 12, 14, 10, 7, 6, 6, 6, 7, 8, 6, 115)


@dataclass(frozen=True)
class Orders:
    """Equally long arrays with an entry an order, by user and order_number."""

    users: int
    order_id: npt.NDArray[np.int32]  # a permutation of 1 to the number of orders
    user_id: npt.NDArray[np.int32]
    order_number: npt.NDArray[np.uint8]
    eval_set: npt.NDArray[np.uint8]  # an index into EVAL_SETS
    dow: npt.NDArray[np.uint8]
    hour: npt.NDArray[np.uint8]
    days: npt.NDArray[np.uint8]  # FIRST_ORDER where there was none before

    def __len__(self) -> int:
        return len(self.order_id)


def draw_orders(count: int, draws: Draws) -> Orders:
    """Exactly `count` orders; each user's last is train or test, except that a user's only order is prior."""
    users = max(1, round(count * FULL_USERS / FULL_ORDERS))
    per_user = orders_per_user(count, users, draws)
    ends = np.cumsum(per_user)
    last = ends - 1

    train = round(users * FULL_TRAIN / FULL_USERS)
    eval_set = np.full(count, PRIOR, dtype=np.uint8)
    eval_set[last] = np.where(draws.permutation(users) < train, TRAIN, TEST)
    eval_set[last[per_user == 1]] = PRIOR

    order_number = np.arange(1, count + 1) - np.repeat(ends - per_user, per_user)
    days = draws.choose(spread(np.arange(31, dtype=np.uint8), DAYS), count)
    days[order_number == 1] = FIRST_ORDER
    return Orders(
        users=users,
        order_id=draws.permutation(count) + np.int32(1),
        user_id=np.repeat(np.arange(1, users + 1, dtype=np.int32), per_user),
        order_number=order_number.astype(np.uint8),
        eval_set=eval_set,
        dow=draws.choose(spread(np.arange(7, dtype=np.uint8), DOW), count),
        hour=draws.choose(spread(np.arange(24, dtype=np.uint8), HOUR), count),
        days=days,
    )


def orders_per_user(count: int, users: int, draws: Draws) -> npt.NDArray[np.int64]:
    """How many of the `count` orders each user has: the distribution's quantiles in random order, nudged to the sum."""
    quantiles = spread(np.arange(LEAST_ORDERS, MOST_ORDERS + 1), ORDERS_PER_USER, users)
    drawn = np.minimum(quantiles, count)[draws.permutation(users)].astype(np.int64)
    while missing := count - int(drawn.sum()):
        more = missing > 0
        room = np.flatnonzero(drawn < MOST_ORDERS if more else drawn > min(LEAST_ORDERS, count))
        drawn[room[: abs(missing)]] += 1 if more else -1
    return drawn
