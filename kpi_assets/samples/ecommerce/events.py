"""The events of a synthetic day: sessions that lead from a page view towards a purchase, and mostly end before.

Belongs here: everything in events.csv. Not here: how the file is written (files.py), and what was bought (orders.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws, spread
from kpi_assets.samples.ecommerce.catalog import Product
from kpi_assets.samples.ecommerce.orders import USERS_FOR_AN_ORDER, Orders, draw_products, draw_seconds, draw_users

STEPS = ("page_view", "view_product", "add_to_cart", "checkout", "purchase")  # in the sequence of a session
WITHOUT_PRODUCT = (0, 3)  # the steps whose events name no product
PURCHASE = len(STEPS) - 1
DEPTH_SHARES = (45, 33, 15, 7)  # of sessions without a purchase that end after 1 to 4 steps
LAST_SECOND = 86_399


@dataclass(frozen=True)
class Events:
    """Equally long arrays with an entry an event, by the second of the day."""

    user: npt.NDArray[np.int32]
    product: npt.NDArray[np.int32]  # an index into the listed products, also where the event names none
    step: npt.NDArray[np.int8]  # an index into STEPS
    second: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user)


def draw_events(count: int, orders: Orders, products: Sequence[Product], draws: Draws) -> Events:
    """Draw exactly `count` events, at least as many as there are orders.

    Each order of the day itself has its purchase; the purchase of a late order was told on its own day. As long as
    events for it are left, the other steps of the session come before the purchase: some shoppers are not followed.
    """
    bought = np.flatnonzero(orders.days_late == 0)
    followed = min(len(bought), max(0, (7 * count // 10 - len(bought)) // PURCHASE))
    parts = [_sessions_of(orders, bought[:followed], draws), _purchases_of(orders, bought[followed:])]
    missing = count - sum(len(part) for part in parts)
    parts.append(_browsing(missing, USERS_FOR_AN_ORDER * len(orders), products, draws))
    user, product, step, second = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "product", "step", "second")
    )
    order = np.argsort(second * np.int32(len(STEPS)) + step, kind="stable")
    return Events(user[order], product[order], step[order], second[order])


def _purchases_of(orders: Orders, which: npt.NDArray[np.int64]) -> Events:
    """The purchase of each of these orders, without the steps before it."""
    step = np.full(len(which), PURCHASE, dtype=np.int8)
    return Events(orders.user[which], orders.product[which], step, orders.second[which])


def _sessions_of(orders: Orders, which: npt.NDArray[np.int64], draws: Draws) -> Events:
    """All steps of the sessions that ended in these orders."""
    gaps = _gaps(len(which), draws)
    before = np.cumsum(gaps[:, ::-1], axis=1)[:, ::-1]  # seconds from each step to the purchase
    second = np.hstack([orders.second[which][:, None] - before, orders.second[which][:, None]])
    return Events(
        np.repeat(orders.user[which], len(STEPS)),
        np.repeat(orders.product[which], len(STEPS)),
        np.tile(np.arange(len(STEPS), dtype=np.int8), len(which)),
        np.maximum(second, 0).ravel(),
    )


def _browsing(count: int, users: int, products: Sequence[Product], draws: Draws) -> Events:
    """Exactly `count` events of sessions that end before a purchase; the last session may be cut short."""
    depth = draws.choose(spread(np.arange(1, 5, dtype=np.int8), DEPTH_SHARES), count)
    depth = depth[: int(np.searchsorted(np.cumsum(depth, dtype=np.int64), count)) + 1]
    sessions = len(depth)
    first = draw_seconds(sessions, draws)
    since = np.cumsum(_gaps(sessions, draws), axis=1, dtype=np.int32)[:, :-1]  # seconds from the first step
    second = np.minimum(np.hstack([first[:, None], first[:, None] + since]), LAST_SECOND)
    there = np.arange(PURCHASE, dtype=np.int8) < depth[:, None]
    step = np.broadcast_to(np.arange(PURCHASE, dtype=np.int8), there.shape)
    return Events(
        np.repeat(draw_users(sessions, users, draws), depth)[:count],
        np.repeat(draw_products(sessions, products, draws), depth)[:count],
        step[there][:count],
        second[there][:count],
    )


def _gaps(sessions: int, draws: Draws) -> npt.NDArray[np.int32]:
    """The seconds between the steps of each session."""
    return (20 + draws.uint32(sessions * PURCHASE) % 280).astype(np.int32).reshape(sessions, PURCHASE)
