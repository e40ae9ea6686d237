"""The files of a synthetic day of the shop: orders as a JSON array, events as CSV, products as a JSON document.

Belongs here: fields, formats, keys of the files. Not here: what happened in the shop (catalog.py, orders.py,
events.py), and planted faults (faults.py).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np

from kpi_assets.samples.csv_file import Edit, edit_records, write_csv
from kpi_assets.samples.draws import Draws
from kpi_assets.samples.ecommerce.catalog import Product, listed, monday_of
from kpi_assets.samples.ecommerce.events import STEPS, WITHOUT_PRODUCT, Events, draw_events
from kpi_assets.samples.ecommerce.faults import EVENTS, ORDERS, PRODUCTS, Planted, without_field
from kpi_assets.samples.ecommerce.orders import MOST_DAYS_LATE, STATUSES, Orders, draw_orders
from kpi_assets.samples.json_file import cut_off, write_array
from kpi_assets.samples.text_columns import Texts, records, texts

EVENTS_HEADER = b"event_id,user_id,product_id,event_type,event_ts\n"
BLOCK = 1 << 15  # records written at a time
ORDERS_A_DAY, EVENTS_A_DAY = 10**6, 10**7  # ids are the load_date as YYYYMMDD, and a number below these

# The streams of random numbers of a day; those of the catalog depend on the seed alone.
ORDERING, BROWSING = 10, 11


@dataclass(frozen=True)
class Day:
    """One load_date to be written: how much of it, and the faults in it."""

    load_date: date
    orders: int
    events: int
    seed: int
    planted: Planted


def key_of(file: str, load_date: date) -> str:
    """The path of a file below the folder, which is the key of its object."""
    return f"{file.partition('.')[0]}/{load_date}/{file}"


def write_products(folder: Path, monday: date, seed: int, planted: Planted) -> dict[str, int]:
    """Write the products file of a Monday into a folder; return its path below it -> records written."""
    if "missing-products" in planted:
        return {}
    key = key_of(PRODUCTS, monday)
    block, edits = _products(monday, seed, planted)
    return {key: write_array(_made(folder, key), [block], edits, head=b'{"products": [\n', tail=b"\n]}\n")}


def product_lines(monday: date, seed: int, planted: Planted) -> Iterator[bytes]:
    """The records of a Monday's products file in the text format of COPY, with the Monday in front."""
    if "missing-products" in planted:
        return
    block, edits = _products(monday, seed, planted)
    for record in edit_records(block, edits).splitlines():
        values = json.loads(record, parse_int=str, parse_float=str).values()
        fields = ("\\N" if value is None else value.replace("\\", "\\\\") for value in values)
        yield ("\t".join([str(monday), *fields]) + "\n").encode()


def _products(monday: date, seed: int, planted: Planted) -> tuple[bytes, dict[int, Edit]]:
    """The records of a Monday's products, and which of them have a fault."""
    products = listed(monday, seed)
    block = b"".join(product.record + b"\n" for product in products)
    return block, planted.edits(PRODUCTS, len(products))


def write_day(folder: Path, day: Day) -> dict[str, int]:
    """Write the orders and events of a load_date into a folder; return their paths below it -> records written."""
    products = listed(monday_of(day.load_date), day.seed)
    name = (day.seed, day.load_date.toordinal())
    orders = draw_orders(day.orders, products, Draws(*name, ORDERING))
    rows = {}
    if "missing-orders" not in day.planted:
        rows[key_of(ORDERS, day.load_date)] = _write_orders(folder, day, orders, products)
    if "missing-events" not in day.planted:
        events = draw_events(day.events, orders, products, Draws(*name, BROWSING))
        edits = day.planted.edits(EVENTS, len(events))
        key = key_of(EVENTS, day.load_date)
        rows[key] = write_csv(_made(folder, key), EVENTS_HEADER, event_blocks(events, products, day.load_date), edits)
    return rows


def _write_orders(folder: Path, day: Day, orders: Orders, products: Sequence[Product]) -> int:
    path = _made(folder, key_of(ORDERS, day.load_date))
    empty = "no-orders" in day.planted
    blocks = iter(()) if empty else order_blocks(orders, products, day.load_date)
    if "field-gone" in day.planted:
        blocks = (without_field(block, "quantity") for block in blocks)
    written = write_array(
        path, blocks, day.planted.edits(ORDERS, len(orders)) if "no-orders" not in day.planted else {}
    )
    if "truncated-array" in day.planted:
        cut_off(path)
    return written


def _made(folder: Path, key: str) -> Path:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def order_blocks(orders: Orders, products: Sequence[Product], load_date: date) -> Iterator[bytes]:
    """The records of orders.json, each with a line feed behind it."""
    first = np.int64(f"{load_date:%Y%m%d}") * ORDERS_A_DAY + 1
    bought = texts(', "product_id": %d, "quantity": ', [product.number for product in products])
    prices = texts(', "price": %d.%02d, "timestamp": "', [divmod(product.cents, 100) for product in products])
    days = texts("%sT", [load_date - timedelta(days=late) for late in range(MOST_DAYS_LATE + 1)])
    clock, statuses = _clock(), texts('Z", "status": "%s"}\n', STATUSES)
    for start in range(0, len(orders), BLOCK):
        some = slice(start, start + BLOCK)
        count = len(orders.user[some])
        yield records(
            np.full(count, b'{"order_id": '),
            (first + np.arange(start, start + count)).astype("S16"),
            np.full(count, b', "user_id": '),
            orders.user[some].astype("S10"),
            bought[orders.product[some]],
            orders.quantity[some].astype("S1"),
            prices[orders.product[some]],
            days[orders.days_late[some]],
            clock[orders.second[some]],
            statuses[orders.status[some]],
        )


def event_blocks(events: Events, products: Sequence[Product], load_date: date) -> Iterator[bytes]:
    """The records of events.csv."""
    first = np.int64(f"{load_date:%Y%m%d}") * EVENTS_A_DAY + 1
    bought = np.append(texts(",%d,", [product.number for product in products]), b",,")
    steps, clock = texts(f"%s,{load_date}T", STEPS), _clock()
    for start in range(0, len(events), BLOCK):
        some = slice(start, start + BLOCK)
        count = len(events.user[some])
        product = np.where(np.isin(events.step[some], WITHOUT_PRODUCT), len(products), events.product[some])
        yield records(
            (first + np.arange(start, start + count)).astype("S16"),
            np.full(count, b","),
            events.user[some].astype("S10"),
            bought[product],
            steps[events.step[some]],
            clock[events.second[some]],
            np.full(count, b"Z\n"),
        )


@cache
def _clock() -> Texts:
    """The seconds of a day as HH:MM:SS."""
    return texts("%02d:%02d:%02d", [(s // 3600, s // 60 % 60, s % 60) for s in range(86_400)])
