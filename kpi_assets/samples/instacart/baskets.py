"""The baskets of the prior orders of a synthetic Instacart day, with bestsellers, favorites and habits.

Belongs here: everything in order_products__prior.csv. Not here: the orders (orders.py), how lines are written
(files.py). Baskets are drawn in blocks of users; a line is kept in 4 bytes.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.draws import Draws, spread
from kpi_assets.samples.instacart.orders import PRIOR, Orders

MEAN_BASKET = 10.925  # that is aimed at: 10.09 come out, since some orders run out of candidates
LARGEST_BASKET = 145
BLOCK = 1 << 18  # candidates drawn at a time, for arrays that stay near the processor
SLOT_BITS = 22  # of a table of products: the least popular of 49,688 keep a few of its slots

# What the users of a block buy, in one integer that sorts: user << 40 | product << 24 | candidate.
USER, PRODUCT, CANDIDATE = np.uint64(40), np.uint64(24), np.uint64((1 << 24) - 1)


@dataclass
class Baskets:
    """Sizes by order, in the sequence of Orders; their lines one after another, each order's in cart order."""

    size: npt.NDArray[np.uint8]  # 0 for train and test
    first: npt.NDArray[np.int64]  # where in `lines` an order begins
    lines: npt.NDArray[np.int32]  # product_id * 2 + reordered


@dataclass(frozen=True)
class Shoppers:
    """What tells one user from another, by user_id - 1; and the products all of them buy."""

    basket: npt.NDArray[np.float64]  # mean size of the user's baskets
    taste: npt.NDArray[np.float64]  # width: a narrow taste buys the same again
    key: npt.NDArray[np.uint64]
    products: npt.NDArray[np.uint16]  # two tables of product ids: what is bought by habit, and what now and then


def draw_baskets(
    orders: Orders, products: npt.NDArray[np.uint16], draws: Draws, progress: Callable[[int], None]
) -> Baskets:
    """The baskets of all prior orders, each of at least one line, out of the tables that `product_tables` made.

    `progress` is called with the orders done.
    """
    shoppers = draw_shoppers(orders.users, products, draws)
    basket = shoppers.basket[orders.user_id - 1] * draws.choose(gamma(4.8), len(orders))
    wanted = np.clip(np.rint(basket), 1, LARGEST_BASKET).astype(np.uint8)
    wanted[orders.eval_set != PRIOR] = 0

    size = np.zeros(len(orders), dtype=np.uint8)
    lines = np.empty(int(wanted.sum(dtype=np.int64)), dtype=np.int32)  # what stays unused takes no memory
    filled = 0
    for block in blocks_of_users(orders, wanted):
        drawn, size[block] = draw_block(orders.user_id[block] - 1, wanted[block], shoppers, draws)
        lines[filled : filled + len(drawn)] = drawn
        filled += len(drawn)
        progress(block.stop)
    return Baskets(size=size, first=np.cumsum(size, dtype=np.int64) - size, lines=lines[:filled])


def product_tables(products: int, draws: Draws) -> npt.NDArray[np.uint16]:
    """The ids 1 to `products` as often as they sell, in two tables of 2 ** SLOT_BITS entries, one behind the other.

    Few products sell very well and most hardly at all; each has its own share of being bought by habit.
    """
    rank = np.arange(products)
    head, tail = rank + 3.0, rank / 6000.0
    sells = 1.0 / np.sqrt(head * np.sqrt(head)) / (1.0 + tail * np.sqrt(tail))  # head ** -0.75 / (1 + tail ** 1.5)
    habit = 0.15 + 0.7 * draws.uniform(products)
    ids = (draws.permutation(products) + 1).astype(np.uint16)
    return np.concatenate([spread(ids, sells * share, 1 << SLOT_BITS) for share in (habit, 1.0 - habit)])


def draw_shoppers(users: int, products: npt.NDArray[np.uint16], draws: Draws) -> Shoppers:
    """Users with small and large baskets, narrow and wide tastes."""
    basket = MEAN_BASKET * draws.choose(gamma(3.3), users)
    taste = 0.15 * (basket + 3.0) * (draws.choose(gamma(1.2), users) + 0.1)
    return Shoppers(basket, taste, draws.uint64(users), products)


def gamma(shape: float) -> npt.NDArray[np.float64]:
    """A table of choices that follow the gamma distribution of mean 1."""
    values = (np.arange(8 * 64) + 0.5) / 64
    return spread(values, [math.exp((shape - 1) * math.log(x) - shape * x) for x in values.tolist()])


def candidates(wanted: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How many lines are drawn for orders that want so many: some turn out to be in the basket already."""
    return np.where(wanted > 0, wanted.astype(np.int64) * 3 // 2 + 3, 0)


def blocks_of_users(orders: Orders, wanted: npt.NDArray[np.uint8]) -> Iterator[slice]:
    """Slices of the orders that hold whole users and about BLOCK candidates each."""
    starts = np.append(np.flatnonzero(orders.order_number == 1), len(orders))
    before = np.append(0, np.cumsum(candidates(wanted)))[starts]
    cuts = np.searchsorted(before, np.arange(0, before[-1], BLOCK))
    edges = starts[np.unique(np.append(cuts, len(starts) - 1))].tolist()
    return (slice(start, stop) for start, stop in itertools.pairwise(edges))


def draw_block(
    user: npt.NDArray[np.int32], wanted: npt.NDArray[np.uint8], shoppers: Shoppers, draws: Draws
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The lines of a block of whole users, and how many of them each order has; `user` and `wanted` are by order.

    Of the candidates drawn, those that the order has already are dropped, and those beyond its size.
    """
    drawn = candidates(wanted)
    order = np.repeat(np.arange(len(user)), drawn)
    product = draw_products(user[order], shoppers, draws)

    # Sorted by user and product, what a user buys again stands side by side, in the sequence of purchase.
    key = (user - user[0])[order].astype(np.uint64) << USER
    key |= product.astype(np.uint64) << PRODUCT
    key |= np.arange(len(order), dtype=np.uint64)
    key.sort()
    candidate = (key & CANDIDATE).astype(np.int64)
    bought = key >> PRODUCT

    kept = np.ones(len(order), dtype=bool)
    in_basket = (bought[1:] == bought[:-1]) & (np.diff(order[candidate]) == 0)
    kept[candidate[1:][in_basket]] = False
    count = np.append(0, np.cumsum(kept))
    begin = np.cumsum(drawn) - drawn
    kept &= count[1:] - count[begin][order] <= wanted[order]

    # Of the lines that are left, those are reorders before which the user has the same product.
    left = kept[candidate]
    bought, candidate = bought[left], candidate[left]
    reordered = np.zeros(len(order), dtype=np.int32)
    reordered[candidate[1:]] = bought[1:] == bought[:-1]
    lines = (product.astype(np.int32) << 1) | reordered
    return lines[kept], np.bincount(order[kept], minlength=len(user))


def draw_products(user: npt.NDArray[np.int32], shoppers: Shoppers, draws: Draws) -> npt.NDArray[np.uint16]:
    """A product for each candidate, given its user.

    A user's favourites are an endless list, of which place n is drawn with a probability that falls as
    (1 + n / taste) ** -1.5: so new products become rarer from order to order in the way they do in the real data.
    What stands in a place is a hash of user and place, so that no list is kept.
    """
    chance = draws.uniform(len(user))
    odds = 1.0 / (chance * chance) - 1.0
    taste = shoppers.taste[user]
    place = (taste * odds).astype(np.uint64)
    rare = place >= 3.0 * taste  # half of the draws: those of the first places are habits

    mixed = shoppers.key[user] + place * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    slot = (mixed >> np.uint64(64 - SLOT_BITS)).astype(np.int64)
    product: npt.NDArray[np.uint16] = shoppers.products[slot + (rare.astype(np.int64) << SLOT_BITS)]
    return product
