"""The orders of a synthetic day: who bought what, when, and whether it was paid.

Belongs here: everything in orders.json. Not here: how the file is written (files.py), and how a shopper came to buy
(events.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws, spread
from kpi_assets.samples.ecommerce.catalog import Product

STATUSES = ("paid", "cancelled", "refunded", "pending")
STATUS_SHARES = (86, 6, 4, 4)
QUANTITY_SHARES = (62, 22, 9, 4, 3)  # of 1 to 5 pieces
HOUR_SHARES = (9, 5, 3, 2, 2, 4, 9, 18, 28, 36, 42, 44, 46, 43, 40, 40, 42, 48, 57, 66, 70, 60, 38, 19)
USERS_FOR_AN_ORDER = 10  # users of the shop, for each order of a day
USERS_FOR_A_REGULAR, REGULARS_OF_TEN = 20, 3  # how many users there are for a regular; visits of regulars
ONE_LATE_IN = 200
MOST_DAYS_LATE = 5


@dataclass(frozen=True)
class Orders:
    """Equally long arrays with an entry an order, by the second of the day."""

    user: npt.NDArray[np.int32]
    product: npt.NDArray[np.int32]  # an index into the listed products
    quantity: npt.NDArray[np.int8]
    status: npt.NDArray[np.int8]  # an index into STATUSES
    second: npt.NDArray[np.int32]
    days_late: npt.NDArray[np.int8]  # days from the timestamp to the load_date

    def __len__(self) -> int:
        return len(self.user)


def draw_orders(count: int, products: Sequence[Product], draws: Draws) -> Orders:
    """Draw exactly `count` orders of listed products; a few of them come days after they were placed."""
    users = USERS_FOR_AN_ORDER * count
    late = np.zeros(count, dtype=np.int8)
    chosen = draws.permutation(count)[: count // ONE_LATE_IN]
    late[chosen] = draws.uint32(len(chosen)) % MOST_DAYS_LATE + 1
    return Orders(
        user=draw_users(count, users, draws),
        product=draw_products(count, products, draws),
        quantity=draws.choose(spread(np.arange(1, 6, dtype=np.int8), QUANTITY_SHARES), count),
        status=draws.choose(spread(np.arange(4, dtype=np.int8), STATUS_SHARES), count),
        second=np.sort(draw_seconds(count, draws)),
        days_late=late,
    )


def draw_users(count: int, users: int, draws: Draws) -> npt.NDArray[np.int32]:
    """Draw users from 1 on. One user in twenty is a regular, and three visits in ten are of regulars."""
    is_regular = draws.uint32(count) % 10 < REGULARS_OF_TEN
    room = np.where(is_regular, max(1, users // USERS_FOR_A_REGULAR), users).astype(np.uint64)
    drawn: npt.NDArray[np.uint64] = draws.uint32(count).astype(np.uint64) * room >> np.uint64(32)
    found: npt.NDArray[np.int32] = drawn.astype(np.int32) + np.int32(1)
    return found


def draw_products(count: int, products: Sequence[Product], draws: Draws) -> npt.NDArray[np.int32]:
    """Draw indexes of products, of which few sell well and most now and then."""
    ranks = np.arange(len(products), dtype=np.int32)
    return draws.choose(spread(ranks, 1.0 / (ranks.astype(np.float64) + 20.0)), count)


def draw_seconds(count: int, draws: Draws) -> npt.NDArray[np.int32]:
    """Draw seconds of a day, of which the evening has most and the night fewest."""
    hours = draws.choose(spread(np.arange(24, dtype=np.int32), HOUR_SHARES), count)
    return (hours * 3600 + (draws.uint32(count) % 3600).astype(np.int32)).astype(np.int32)
