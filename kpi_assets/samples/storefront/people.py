"""The customers of the shop as a day's customers.csv lists them: they move, marry, grow older, go and come back.

Belongs here: everything in customers.csv but what is dirty in it. Not here: who buys what (sales.py).
"""

from collections.abc import Iterator

import numpy as np

from kpi_assets.samples.storefront.changes import draw, is_there, times_changed
from kpi_assets.samples.storefront.size import Numbers, Size

# The streams of random numbers that name customers and their changes.
NAMES, PLACES, MOVES, MARRIAGES, PHONES, AGES, FATES = range(100, 107)

NAME_LISTS = (
    "Anna, Ben, Clara, David, Emma, Felix, Grace, Henry, Iris, Jonas, Kate, Leo, Maria, Noah, Olga, Paul, Quentin, "
    "Rosa, Simon, Tess, Umar, Vera, William, Xenia, Yusuf, Zoe",
    "Adams, Baker, Costa, Dubois, Evans, Fischer, Garcia, Hansen, Ivanov, Jones, Kowalski, Lopez, Moreau, Nguyen, "
    "O'Brien, Patel, Rossi, Smith-Jones, Tanaka, Ueda, Vega, Weber, Young, Zhang",
)
FIRST_NAMES, LAST_NAMES = (names.split(", ") for names in NAME_LISTS)
CITIES = (
    ("Austin", "Texas", "United States"),
    ("Boston", "Massachusetts", "United States"),
    ("Chicago", "Illinois", "United States"),
    ("Denver", "Colorado", "United States"),
    ("Portland", "Maine", "United States"),
    ("Portland", "Oregon", "United States"),
    ("Seattle", "Washington", "United States"),
    ("Toronto", "Ontario", "Canada"),
    ("Québec", "Québec", "Canada"),
    ("Berlin", "Berlin", "Germany"),
    ("München", "Bayern", "Germany"),
    ("Köln", "Nordrhein-Westfalen", "Germany"),
    ("Lyon", "Rhône", "France"),
    ("Kraków", "Małopolska", "Poland"),
    ("Zürich", "Zürich", "Switzerland"),
    ("São Paulo", "São Paulo", "Brazil"),
    ("Osaka", "Osaka", "Japan"),
)
AGE_GROUPS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
MARRY_ONE_IN = 3
NEXT_CITY, NEXT_NAME = 5, 7  # coprime to the numbers of cities and of names: a change never leads to the same


def listed_customers(size: Size, day: int, seed: int) -> Numbers:
    """The numbers of the customers who are listed on a day."""
    numbers = np.arange(int(size.customers(np.array(day))))
    return numbers[is_there(day, size.day_of_customer(numbers), draw(len(numbers), seed, FATES))]


def customers(numbers: Numbers, day: int, seed: int) -> Iterator[list[str]]:
    """The fields of customers on a day."""
    count = int(numbers.max(initial=-1)) + 1

    def drawn(stream: int) -> Numbers:
        return draw(count, seed, stream)[numbers]

    name = drawn(NAMES)
    born = name // len(FIRST_NAMES) % len(LAST_NAMES)
    married = np.where(name % MARRY_ONE_IN == 0, times_changed(day, drawn(MARRIAGES), 300, 900), 0)
    columns = (
        numbers,
        name % len(FIRST_NAMES),
        born,
        (born + NEXT_NAME * married) % len(LAST_NAMES),
        (drawn(PLACES) + NEXT_CITY * times_changed(day, drawn(MOVES), 60, 240)) % len(CITIES),
        (drawn(PHONES) + 7_919 * times_changed(day, drawn(PHONES), 200, 900)) % 10_000_000,
        np.minimum(name // 1_000 % len(AGE_GROUPS) + times_changed(day, drawn(AGES), 700, 2_000), len(AGE_GROUPS) - 1),
    )
    for number, first, birth, last, place, phone, age in zip(*(each.tolist() for each in columns), strict=True):
        # An address is kept: its owner may have another name by now.
        mailbox = f"{FIRST_NAMES[first]}.{LAST_NAMES[birth]}{number + 1}".replace("'", "").lower()
        yield [
            f"C{number + 1:06}",
            FIRST_NAMES[first],
            LAST_NAMES[last],
            f"{mailbox}@example.com",
            f"555-{phone // 10_000:03}-{phone % 10_000:04}",
            *CITIES[place],
            AGE_GROUPS[age],
        ]
