"""The five files of a synthetic Instacart day: orders, baskets and products as CSV, in the formats of the real ones.

Belongs here: columns, formats, the sequence of the records. Not here: what happened in the shop (orders.py,
baskets.py, catalog.py), and planted faults (faults.py).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kpi_assets.samples.csv_file import write_csv
from kpi_assets.samples.draws import Draws
from kpi_assets.samples.instacart import catalog
from kpi_assets.samples.instacart.baskets import LARGEST_BASKET, Baskets, draw_baskets, product_tables
from kpi_assets.samples.instacart.faults import LINES, ORDERS, PRODUCTS, edits, header, without_last_field
from kpi_assets.samples.instacart.orders import EVAL_SETS, FIRST_ORDER, MOST_ORDERS, PRIOR, Orders, draw_orders
from kpi_assets.samples.text_columns import Texts, records, texts

AISLES, DEPARTMENTS = "aisles.csv", "departments.csv"
COLUMNS = {
    ORDERS: "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order",
    LINES: "order_id,product_id,add_to_cart_order,reordered",
    PRODUCTS: "product_id,product_name,aisle_id,department_id",
    AISLES: "aisle_id,aisle",
    DEPARTMENTS: "department_id,department",
}
BLOCK = 1 << 15  # orders written at a time

# The streams of random numbers: the shop's are the same on every load_date, the others are the day's own.
CATALOG, POPULARITY, ORDERING, SHOPPING = range(4)


@dataclass(frozen=True)
class Delivery:
    """A folder being filled, and the faults planted on the way."""

    folder: Path
    faults: frozenset[str]

    def write(self, file: str, blocks: Iterable[bytes], places: Sequence[int] | npt.NDArray[np.int64]) -> int:
        """Write a file; return its records. `places` are the numbers of the records fit for a fault."""
        planted = {int(places[n]): edit for n, edit in edits(file, len(places), self.faults).items()}
        return write_csv(self.folder / file, header(file, COLUMNS[file], self.faults), blocks, planted)


def write_files(
    folder: Path,
    *,
    load_date: date,
    count: int,
    seed: int,
    faults: frozenset[str],
    progress: Callable[[int, int], None],
) -> dict[str, int]:
    """Write the five files, with faults, into an existing folder; return file name -> records written.

    For `progress`, drawing the baskets is the first half of the work, and writing the lines the second.
    """
    day = load_date.toordinal()
    products = catalog.product_count(count)
    orders = draw_orders(count, Draws(seed, ORDERING, day))
    baskets = draw_baskets(
        orders,
        product_tables(products, Draws(seed, POPULARITY)),
        Draws(seed, SHOPPING, day),
        lambda done: progress(done // 2, count),
    )
    if "prior_order_without_lines" in faults:
        lose_lines(orders, baskets)

    delivery = Delivery(folder, faults)
    order_ids = np.arange(count + 1).astype("S8")
    rows = write_dimensions(delivery, catalog.products(products, Draws(seed, CATALOG)))
    if "missing_object" not in faults:
        emptied = not faults.isdisjoint(("header_only", "empty_object"))
        rows[ORDERS] = delivery.write(ORDERS, () if emptied else order_blocks(orders, order_ids), range(count))

    by_id = np.argsort(orders.order_id)
    size = baskets.size[by_id]
    last_lines = np.cumsum(size, dtype=np.int64)[size > 0] - 1
    lines = line_blocks(baskets, by_id, order_ids, products, lambda done: progress((count + done) // 2, count))
    rows[LINES] = delivery.write(LINES, lines, last_lines)
    return rows


def lose_lines(orders: Orders, baskets: Baskets) -> None:
    """Empty the last prior basket of a user in the middle: no later line is a reorder because of it."""
    prior = np.flatnonzero(orders.eval_set == PRIOR)
    last = prior[np.append(np.diff(orders.user_id[prior]) > 0, True)]
    baskets.size[last[len(last) // 2]] = 0


def write_dimensions(delivery: Delivery, products: list[tuple[int, str, int, int]]) -> dict[str, int]:
    """Write departments.csv, aisles.csv and products.csv; return file name -> records written."""
    stock = catalog.csv_records(products)
    if "missing_column" in delivery.faults:
        stock = [without_last_field(record) for record in stock]
    dimensions = {
        DEPARTMENTS: catalog.csv_records(catalog.departments()),
        AISLES: catalog.csv_records((number, aisle) for number, aisle, _ in catalog.aisles()),
        PRODUCTS: stock,
    }
    return {
        file: delivery.write(file, [b"".join(record + b"\n" for record in rows)], range(len(rows)))
        for file, rows in dimensions.items()
    }


def order_blocks(orders: Orders, order_ids: Texts) -> Iterator[bytes]:
    """The records of orders.csv, by user_id and order_number; `order_ids` are the texts of 0 and of each order_id."""
    users = texts(",%d,", range(orders.users + 1))
    numbers = texts("%s,%d,", [(name, number) for name in EVAL_SETS for number in range(MOST_ORDERS + 1)])
    times = texts("%d,%02d,", [(dow, hour) for dow in range(7) for hour in range(24)])
    days = np.append(texts("%d.0\n", range(FIRST_ORDER)), b"\n")
    for start in range(0, len(orders), BLOCK):
        some = slice(start, start + BLOCK)
        yield records(
            order_ids[orders.order_id[some]],
            users[orders.user_id[some]],
            numbers[orders.eval_set[some] * np.int64(MOST_ORDERS + 1) + orders.order_number[some]],
            times[orders.dow[some] * np.int64(24) + orders.hour[some]],
            days[orders.days[some]],
        )


def line_blocks(
    baskets: Baskets,
    by_id: npt.NDArray[np.int64],
    order_ids: Texts,
    products: int,
    progress: Callable[[int], None],
) -> Iterator[bytes]:
    """The records of order_products__prior.csv, by order_id and add_to_cart_order.

    `by_id` says which basket belongs to order_id 1, 2, ...; `order_ids` are the texts of 0 and of each order_id.
    `progress` is called with the orders done.
    """
    product_ids = texts(",%d,", range(products + 1))
    ends = texts("%d,%d\n", [(place, flag) for place in range(LARGEST_BASKET + 1) for flag in (0, 1)])
    for start in range(0, len(by_id), BLOCK):
        some = by_id[start : start + BLOCK]
        size = baskets.size[some]
        before = np.cumsum(size, dtype=np.int64) - size
        place = np.arange(size.sum(dtype=np.int64)) - np.repeat(before, size)  # in the cart, from 0
        line = baskets.lines[np.repeat(baskets.first[some], size) + place]
        yield records(
            np.repeat(order_ids[start + 1 : start + 1 + len(some)], size),
            product_ids[line >> 1],
            ends[(place + 1) * 2 + (line & 1)],
        )
        progress(start + len(some))
