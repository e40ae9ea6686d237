"""Forty days of a shop's files, for the guide "Your own files": `python -m kpi_assets.samples.shop exports`.

They are as a till exports them: names with capitals and blanks, semicolons, dates as month/day/year, no key, no file on
a Saturday, and from 2025-06-22 on one more column. The bytes are the same each time.
Not here: samples for tests of a shipped pipeline (instacart/).
"""

import random
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

FIRST, DAYS = date(2025, 6, 1), 40
DISCOUNT_SINCE = date(2025, 6, 22)
SATURDAY = 5
PRODUCTS = {"Coffee, 250 g": 649, 'Pan 9"': 1890, "Tea": 425, "Filter papers": 199, "Mug (blue)": 790}
NAMES = ("Order No", "Order Date", "Product Name", "Qty", "Unit Price", "Sold By")
SELLERS = ("Ann", "Bo", "")


def write(folder: Path) -> list[Path]:
    """Write the files into a folder, which is made if it is missing; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    days = [FIRST + timedelta(days=n) for n in range(DAYS)]
    written = []
    for day in days:
        if day.weekday() != SATURDAY:
            path = folder / f"Sales {day:%Y%m%d}.csv"
            path.write_text("".join(f"{line}\r\n" for line in _lines(day)), encoding="utf-8", newline="")
            written.append(path)
    return written


def _lines(day: date) -> Iterator[str]:
    draws = random.Random(day.toordinal())  # noqa: S311  the same file each time
    has_discount = day >= DISCOUNT_SINCE
    yield ";".join([*NAMES, *(["Discount %"] if has_discount else [])])
    for order in range(1, draws.randint(18, 30)):
        for _ in range(draws.randint(1, 3)):
            product, cents = draws.choice(list(PRODUCTS.items()))
            fields = [
                str(1000 * (day - FIRST).days + order),
                f"{day.month}/{day.day}/{day.year}",
                '"' + product.replace('"', '""') + '"' if '"' in product else product,
                str(draws.randint(1, 5)),
                f"{cents / 100:.2f}",
                draws.choice(SELLERS),
                *([draws.choice(["", "5", "10"])] if has_discount else []),
            ]
            yield ";".join(fields)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name the folder to write into: python -m kpi_assets.samples.shop exports")
    sys.stdout.write(f"Wrote {len(write(Path(sys.argv[1])))} files to {sys.argv[1]}.\n")
