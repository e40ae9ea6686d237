"""Realistic deliveries of a shop over 46 days: no Saturdays, quiet Sundays, Christmas, names as people type them.

Belongs here: the files, always the same for a day, and what DuckDB computes from them with its own SQL. Not here: what
is done with them (test_first_weeks.py), and the pipeline (sql/giftshop).
"""

import csv
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

FIRST, LAST = date(2010, 12, 1), date(2011, 1, 15)
DAYS = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
SATURDAY, SUNDAY = 5, 6
CLOSED = {date(2010, 12, 24), date(2010, 12, 26), date(2010, 12, 27), date(2011, 1, 2)}
OPEN = [day for day in DAYS if day.weekday() != SATURDAY and day not in CLOSED]
BEFORE_CHRISTMAS, AFTER_CHRISTMAS = date(2010, 12, 22), date(2011, 1, 3)
CUT_OFF = date(2011, 1, 13)  # its first delivery is cut off at the end of a line
KEPT = 12  # lines of that delivery

HOME = "United Kingdom"
ABROAD = ["France", "Germany", "EIRE", "Spain", "Norway", "Channel Islands", "Japan"]
NAMES = [
    'COFFIN BOX 12"',
    "CHOPPING BOARD, HEART",
    "WHITE HANGING HEART T-LIGHT HOLDER",
    "SET/5 RED RETROSPOT LID GLASS BOWLS",
    "CAKE STAND; 3 TIER",
    'HOOK, 5", ANTIQUE "IVORY"',
    "PANTRY SCRUBBING BRUSH",
]
PRODUCTS = [f"{20000 + 7 * n}{'ABGLMPSTU'[n % 9] if n % 4 == 0 else ''}" for n in range(900)]

LINES = [
    *("line_no", "invoice_no", "stock_code", "description", "quantity", "invoiced_at", "unit_price"),
    *("customer_id", "country"),
]
CANCELLATIONS = ["line_no", "invoice_no", "stock_code", "quantity", "unit_price", "country"]
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Delivery:
    """The files of one day, by raw table."""

    day: date
    files: Mapping[str, bytes]

    def write(self, folder: Path) -> Path:
        """Write the files into a folder, for `kpi land`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, body in self.files.items():
            (folder / f"{name}.csv").write_bytes(body)
        return folder


def deliver(day: date) -> Delivery:
    """Return the delivery of a day on which the shop is open."""
    draws = random.Random(day.toordinal())
    sold = [(number, *line) for number, line in enumerate(_sold(day, draws), start=1)]
    back = [(number, *line) for number, line in enumerate(_cancelled(day, draws), start=1)]
    return Delivery(day, {"lines": _csv(LINES, sold), "cancellations": _csv(CANCELLATIONS, back)})


def cut_off(delivery: Delivery) -> Delivery:
    """Return the delivery with its first lines only."""
    lines = delivery.files["lines"].splitlines(keepends=True)[: KEPT + 1]
    return Delivery(delivery.day, {**delivery.files, "lines": b"".join(lines)})


def _sold(day: date, draws: random.Random) -> Iterator[Row]:
    usual = 45 if day.weekday() == SUNDAY else 170
    quiet = 0.5 if BEFORE_CHRISTMAS <= day <= AFTER_CHRISTMAS else 1
    wanted, invoice, at = int(usual * quiet * draws.uniform(0.85, 1.25)), 1000 * (day - FIRST).days + 536000, 8 * 60
    while wanted > 0:
        invoice, at = invoice + 1, min(at + draws.randint(1, 12), 20 * 60)
        country = HOME if draws.random() < 0.9 else draws.choice(ABROAD)
        customer = None if draws.random() < 0.2 else draws.randint(12346, 18287)
        for _ in range(min(wanted, draws.randint(1, 20))):
            wanted -= 1
            yield _line(str(invoice), _minute(day, at), customer, country, draws)


def _line(invoice: str, at: datetime, customer: int | None, country: str, draws: random.Random) -> Row:
    product = PRODUCTS[min(int(draws.expovariate(1 / 180)), len(PRODUCTS) - 1)]
    name = f"{NAMES[int(product[:5]) % len(NAMES)]}{draws.choice(['', '', '', '  ', ' .'])}"
    price, quantity = Decimal(draws.randint(12, 1495)) / 100, draws.choice([1, 1, 2, 3, 6, 12, 24, 48])
    kind = draws.random()
    if kind < 0.01:  # a stock correction
        return invoice, product, draws.choice(["damaged", "?", None]), -quantity, at, Decimal("0.00"), None, HOME
    if kind < 0.02:  # a gift
        price = Decimal("0.00")
    elif kind < 0.04:
        price = price + Decimal("0.001")
    return invoice, product, None if kind > 0.98 else name, quantity, at, price, customer, country


def _cancelled(day: date, draws: random.Random) -> Iterator[Row]:
    """Return the cancelled lines: a few on most days, seventy on one and twelve on the next."""
    counts = {date(2010, 12, 6): 70, date(2010, 12, 7): 12}
    for number in range(counts.get(day, draws.randint(1, 30))):
        country = HOME if draws.random() < 0.9 else draws.choice(ABROAD)
        price = Decimal(draws.randint(12, 1495)) / 100
        invoice = f"C{1000 * (day - FIRST).days + 536900 + number}"
        yield invoice, draws.choice(PRODUCTS), -draws.randint(1, 12), price, country


def _minute(day: date, minute: int) -> datetime:
    return datetime.combine(day, time(minute // 60, minute % 60))


def _csv(header: Sequence[str], rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode()


# The meaning of each table, written a second time over all files; `day` is the day of the file.
ORACLE = {
    "marts.sales_by_country": """
        from sold select country, count(distinct invoice_no), count(*), sum(quantity * unit_price)
        where day = $day group by country""",
    "marts.sales_by_country_7d": """
        from sold select country, count(distinct day), sum(quantity * unit_price)
        where day > $day - interval 7 days and day <= $day group by country""",
    "marts.sales_beside_last_week": """
        from sold select country,
            sum(quantity * unit_price) filter (where day = $day),
            sum(quantity * unit_price) filter (where day = $day - interval 7 days)
        group by country having bool_or(day = $day)""",
    "marts.products_28d": """
        from sold select stock_code,
            arg_max(nullif(trim(description), ''), (day, line_no))
                filter (where nullif(trim(description), '') is not null),
            sum(quantity), sum(quantity * unit_price)
        where day > $day - interval 28 days and day <= $day group by stock_code""",
    "marts.returns_by_country": """
        from cancelled select country, count(*), sum(-quantity * unit_price)
        where day = $day group by country""",
}


class Oracle:
    """DuckDB over the CSV files of some days."""

    def __init__(self, folder: Path) -> None:
        """Read the files below `folder`, which has a folder for each day, named by its date."""
        self.database = duckdb.connect()
        types = {"quantity": "BIGINT", "unit_price": "DECIMAL(18,3)", "line_no": "BIGINT"}
        for view, file, where in (
            ("sold", "lines", "quantity > 0 and unit_price > 0"),
            ("cancelled", *("cancellations", "true")),
        ):
            columns = {name: types.get(name, "VARCHAR") for name in (LINES if file == "lines" else CANCELLATIONS)}
            self.database.read_csv(
                str(folder / "*" / f"{file}.csv"),
                header=True,
                columns=columns,
                quotechar='"',
                escapechar='"',
                filename=True,
            ).project("*, cast(regexp_extract(filename, '(\\d{4}-\\d\\d-\\d\\d)', 1) as date) as day").filter(
                where
            ).create(view)

    def rows(self, table: str, day: date) -> list[Row]:
        """Return the rows of a table for a load_date, in any order."""
        return self.database.execute(ORACLE[table], {"day": day}).fetchall()
