"""The oracle of the storefront: cleansed rows, versions, facts, aggregates and scores, computed from the CSV files.

It is written from the meaning of the tables, not from sql/: DuckDB reads and cleanses the files, and joins sales with
versions in an as-of join; Python makes the versions and their keys; quotients are exact fractions, rounded once.
A load_date is what its files say, and what is made of it knows no later one. Not here: the comparison
(test_storefront_oracle.py).
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from kpi_assets_tests.ecommerce_oracle import quotient

Row = tuple[Any, ...]
METHODS = ("Credit Card", "Debit Card", "PayPal", "Cash", "Bank Transfer")
AGE_GROUPS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
CALENDAR = date(2020, 1, 1)

FIELDS = {
    "customers": (
        *("customer_id", "first_name", "last_name", "email", "phone", "city", "state", "country", "age_group"),
    ),
    "products": (
        *("product_id", "name", "category", "sub_category", "brand", "price", "cost", "stock_quantity", "supplier_id"),
    ),
    "transactions": ("transaction_id", "customer_id", "transaction_date", "payment_method", "total_amount"),
    "transaction_items": (
        *("item_id", "transaction_id", "product_id", "quantity", "unit_price", "discount_percentage", "line_total"),
    ),
}
# Fields that are no text: a record in which one cannot be read is set aside.
TYPES = {
    **dict.fromkeys(("price", "cost", "total_amount", "unit_price", "line_total"), "DECIMAL(18, 4)"),
    **dict.fromkeys(("stock_quantity", "quantity"), "BIGINT"),
    "discount_percentage": "DECIMAL(18, 4)",
    "transaction_date": "DATE",
}

MACROS = (
    r"create macro tidy(value) as nullif(trim(regexp_replace(value, '\s+', ' ', 'g')), '')",
    "create macro cents(amount) as round(amount * 100)::hugeint",
    "create macro money(of_cents) as (of_cents::decimal(24, 0) * 0.01)::decimal(26, 2)",
    # Of a record that can be read: whether it has an id at all.
    r"create macro is_named(id) as regexp_matches(coalesce(id, ''), '\S')",
)
CUSTOMERS = """
create table good_customers as
select load_date, n, customer_id,
    coalesce(initcap(tidy(first_name)), 'Unknown') as first_name,
    coalesce(initcap(tidy(last_name)), 'Unknown') as last_name,
    coalesce(lower(tidy(email)), 'Unknown') as email,
    coalesce(tidy(phone), 'Unknown') as phone,
    coalesce(initcap(tidy(city)), 'Unknown') as city,
    coalesce(tidy(state), 'Unknown') as state,
    coalesce(tidy(country), 'Unknown') as country,
    coalesce(tidy(age_group), 'Unknown') as age_group
from customers
where is_named(customer_id)
qualify n = max(n) over (partition by load_date, customer_id)
"""
PRODUCTS = """
create table good_products as
with amounts as (
    select *, cents(price) as price_cents, cents(cost) as cost_cents
    from products
    where is_named(product_id)
    qualify n = max(n) over (partition by load_date, product_id)
)

select load_date, n, product_id,
    coalesce(tidy(name), 'Unknown') as name,
    coalesce(tidy(category), 'Unknown') as category,
    coalesce(tidy(sub_category), 'Unknown') as sub_category,
    coalesce(tidy(brand), 'Unknown') as brand,
    case when price_cents > 0 then money(price_cents) end as price,
    case
        when cost_cents < 0 then null
        when price_cents > 0 and cost_cents >= price_cents then null
        else money(cost_cents)
    end as cost,
    if(stock_quantity < 0, null, stock_quantity) as stock_quantity,
    coalesce(tidy(supplier_id), 'Unknown') as supplier_id
from amounts
"""
KEPT = """
create table kept as
select load_date, n, transaction_id, customer_id, transaction_date,
    coalesce(list_filter($methods, lambda each: lower(each) = lower(trim(payment_method, ' ')))[1], 'Unknown')
        as payment_method
from (from transactions where is_named(transaction_id)
    qualify n = max(n) over (partition by load_date, transaction_id))
where transaction_date >= $calendar and transaction_date <= load_date
"""
ITEMS = """
create table good_items as
with lines as (
    select *,
        cents(unit_price) as piece,
        case
            when discount_percentage is null or discount_percentage < 0 then 0
            when discount_percentage > 100 then 10000
            else cents(discount_percentage)
        end as discount
    from transaction_items
    where is_named(item_id)
    qualify n = max(n) over (partition by load_date, item_id)
)

select l.load_date, l.n, l.item_id, l.transaction_id, l.product_id, l.quantity,
    money(l.piece) as unit_price,
    money(l.discount) as discount_percentage,
    money((l.quantity * l.piece * (10000 - l.discount) + 5000) // 10000) as line_total
from lines as l
semi join kept as k on k.load_date = l.load_date and k.transaction_id = l.transaction_id
where l.quantity >= 1 and l.piece >= 0
"""
TRANSACTIONS = """
create table good_transactions as
select k.*, coalesce(s.total, 0)::decimal(30, 2) as total_amount
from kept as k
left join (
    select load_date, transaction_id, sum(line_total) as total from good_items group by all
) as s on s.load_date = k.load_date and s.transaction_id = k.transaction_id
"""

# Of one load_date, $day, with the versions that are known on it.
SALES = """
create or replace temp table sales as
with sold as (
    select i.*, t.transaction_date, t.customer_id, t.payment_method
    from good_items as i
    join good_transactions as t on t.load_date = i.load_date and t.transaction_id = i.transaction_id
    where i.load_date = $day
),

buyers as (
    select s.item_id, coalesce(v.sk, f.sk) as customer_sk
    from sold as s
    asof left join known_customers as v on s.customer_id = v.id and s.transaction_date >= v.effective
    left join (select id, arg_min(sk, effective) as sk from known_customers group by id) as f on s.customer_id = f.id
),

goods as (
    select s.item_id, coalesce(v.sk, f.sk) as product_sk
    from sold as s
    asof left join known_products as v on s.product_id = v.id and s.transaction_date >= v.effective
    left join (select id, arg_min(sk, effective) as sk from known_products group by id) as f on s.product_id = f.id
)

select s.item_id, s.transaction_id, s.transaction_date, b.customer_sk, g.product_sk, m.sk as payment_method_sk,
    s.quantity, s.unit_price, s.discount_percentage, s.line_total,
    (s.quantity * p.cost)::decimal(26, 2) as cost
from sold as s
join buyers as b on b.item_id = s.item_id
join goods as g on g.item_id = s.item_id
join known_methods as m on m.id = s.payment_method
left join known_products as p on p.sk = g.product_sk
"""
FACTS = """
select item_id, transaction_id, strftime(transaction_date, '%Y%m%d')::integer,
    customer_sk, product_sk, payment_method_sk, quantity, unit_price, discount_percentage, line_total,
    cost, (line_total - cost)::decimal(26, 2)
from sales order by item_id
"""
# Each ends with the sum and the number of which the mean is made.
DAILY = """
select strftime(transaction_date, '%Y%m%d')::integer as date_sk, transaction_date, count(distinct transaction_id),
    count(*), sum(line_total)::decimal(30, 2), sum(line_total - cost)::decimal(30, 2), count(*) - count(cost),
    count(distinct customer_sk), sum(line_total)::decimal(30, 2), count(distinct transaction_id)
from sales group by transaction_date order by date_sk
"""
OF_PRODUCTS = """
select p.id, arg_max(n.name, n.effective), arg_max(n.category, n.effective), any_value(p.quantity)::bigint,
    any_value(p.revenue), any_value(p.profit), any_value(p.transactions), any_value(p.discounts), any_value(p.items)
from (
    select v.id, sum(s.quantity) as quantity, sum(s.line_total)::decimal(30, 2) as revenue,
        sum(s.line_total - s.cost)::decimal(30, 2) as profit, count(distinct s.transaction_id) as transactions,
        sum(s.discount_percentage)::decimal(30, 2) as discounts, count(*) as items
    from sales as s join known_products as v on v.sk = s.product_sk
    group by v.id
) as p
join known_products as n on n.id = p.id
group by p.id order by p.id
"""
LIFETIMES = """
select v.id, count(distinct s.transaction_id), coalesce(sum(s.line_total), 0)::decimal(30, 2), min(s.transaction_date),
    max(s.transaction_date), coalesce(sum(s.line_total), 0)::decimal(30, 2), count(distinct s.transaction_id)
from known_customers as v left join sales as s on s.customer_sk = v.sk
group by v.id order by v.id
"""


# The conditions of bad rows in a staging table, by dimension; what is missing, duplicate or set aside comes besides.
VALIDITY = {
    "customers": [f"age_group not in {AGE_GROUPS}", r"not regexp_full_match(email, '[^@\s]+@[^@\s]+\.[^@\s]+')"],
    "products": ["price < 0.01", "cost < 0", "stock_quantity < 0"],
    "transactions": [
        *(f"payment_method not in {METHODS}", "total_amount < 0"),
        f"transaction_date < date '{CALENDAR}' or transaction_date > load_date",
    ],
    "transaction_items": ["quantity < 1", "unit_price < 0", "discount_percentage < 0 or discount_percentage > 100"],
}
CONSISTENCY = {
    "customers": ["first_name <> initcap(tidy(first_name)) or last_name <> initcap(tidy(last_name))"],
    "products": ["cost >= price"],
    "transactions": [],
    "transaction_items": [
        "line_total <> amount_of(quantity, unit_price, discount_percentage)",
        """(load_date, transaction_id) in (
            select o.load_date, o.transaction_id
            from transactions as o join (
                select load_date, transaction_id, sum(line_total) as total from transaction_items group by all
            ) as s on s.load_date = o.load_date and s.transaction_id = o.transaction_id
            where o.total_amount <> s.total
        )""",
    ],
}
REFERENCES = {
    "transactions": {"customer_id": "customers"},
    "transaction_items": {"transaction_id": "transactions", "product_id": "products"},
}


@dataclass(frozen=True)
class Day:
    """What is made of one load_date with what is known on it; rows are sorted by their keys.

    `clean` has the cleansed rows by table, each behind the number of its record. `scores` are those of the staging
    tables, rounded down to two decimals.
    """

    clean: Mapping[str, list[Row]]
    sales: list[Row]
    daily: list[Row]
    of_products: list[Row]
    lifetimes: list[Row]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Storefront:
    """Each load_date, and the versions of each history: surrogate key, row, effective_date, end_date."""

    days: Mapping[date, Day]
    versions: Mapping[str, list[Row]]


def storefront(folder: Path, days: Sequence[date]) -> Storefront:
    """Return what is made of load_dates, of which `folder` has the files under their keys."""
    days = sorted(days)
    with duckdb.connect(config={"threads": 1}) as database:
        amount = "DECIMAL(18, 4)"
        database.create_function("initcap", _initcap, ["VARCHAR"], "VARCHAR")
        database.create_function("amount_of", _amount_of, ["BIGINT", amount, amount], "DECIMAL(38, 2)")
        _read(database, folder, days)
        for step in (*MACROS, CUSTOMERS, PRODUCTS):
            database.execute(step)
        database.execute(KEPT, {"methods": list(METHODS), "calendar": CALENDAR})
        for step in (ITEMS, TRANSACTIONS):
            database.execute(step)
        return _Shop(database, days).storefront()


def surrogate_key(key: Sequence[Any], effective: date) -> int:
    """Return the number of a version: 63 bits of the SHA-256 of its key and its first day."""
    text = json.dumps([*key, effective.isoformat()], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def versions(said: Mapping[date, Sequence[Row]]) -> list[Row]:
    """Return the versions of the rows of load_dates, whose first value is the key, ordered by key and first day."""
    found: list[Row] = []
    held: dict[Any, tuple[date, Row]] = {}
    for day in sorted(said):
        rows = {row[0]: row for row in said[day]}
        ended = [key for key, (_, row) in held.items() if rows.get(key) != row]
        found += [_version(*held.pop(key), day - timedelta(days=1)) for key in ended]
        held |= {key: (day, row) for key, row in rows.items() if key not in held}
    found += [_version(since, row, None) for since, row in held.values()]
    return sorted(found, key=lambda version: (version[1], version[-2]))


def _version(since: date, row: Row, end: date | None) -> Row:
    return (surrogate_key(row[:1], since), *row, since, end)


class _Shop:
    """The cleansed tables of all load_dates in DuckDB, of which one day after the other is computed."""

    def __init__(self, database: duckdb.DuckDBPyConnection, days: Sequence[date]) -> None:
        self._database, self._days = database, days
        self._said: dict[str, dict[date, list[Row]]] = {}  # history -> load_date -> rows

    def storefront(self) -> Storefront:
        days = {day: self._day(day) for day in self._days}
        return Storefront(days, {history: versions(said) for history, said in self._said.items()})

    def _rows(self, query: str, day: date) -> list[Row]:
        given = {"day": day} if "$day" in query else {}
        return self._database.execute(query, given).fetchall()

    def _say(self, history: str, day: date, rows: list[Row]) -> list[Row]:
        """Keep the rows of a load_date; return the versions that are known on it."""
        self._said.setdefault(history, {})[day] = rows
        return versions(self._said[history])

    def _day(self, day: date) -> Day:
        clean = {
            table: self._rows(f"select * exclude load_date from {table} where load_date = $day order by 2", day)
            for table in ("good_customers", "good_products", "kept", "good_items")
        }
        transactions = self._rows(
            "select transaction_id, customer_id, transaction_date, payment_method, total_amount "
            "from good_transactions where load_date = $day order by 1",
            day,
        )
        for history, rows in (
            ("production.customers", [row[1:] for row in clean["good_customers"]]),
            ("production.products", [row[1:] for row in clean["good_products"]]),
            ("production.transactions", transactions),
            ("production.transaction_items", [row[1:] for row in clean["good_items"]]),
            ("warehouse.dim_date", [*_calendar(day)]),
        ):
            self._say(history, day, rows)
        customers = [(id_, first, last, *rest) for _, id_, first, last, _, _, *rest in clean["good_customers"]]
        products = [(*row, supplier) for _, *row, _, supplier in clean["good_products"]]
        methods = {row[3] for each in self._said["production.transactions"].values() for row in each}
        self._know("customers", self._say("warehouse.dim_customers", day, customers), {})
        self._know(
            "products", self._say("warehouse.dim_products", day, products), {"name": 2, "category": 3, "cost": 7}
        )
        of_methods = self._say("warehouse.dim_payment_method", day, [(name,) for name in sorted({*methods, "Unknown"})])
        self._know("methods", of_methods, {})

        self._rows(SALES, day)
        sales = self._rows(FACTS, day)
        lifetimes = [(*row[:-2], quotient(row[-2], row[-1], 2)) for row in self._rows(LIFETIMES, day)]
        self._say("warehouse.fact_sales", day, sales)
        self._say("warehouse.agg_customer_lifetime", day, lifetimes)
        return Day(
            clean,
            sales,
            [(*row[:-2], quotient(row[-2], row[-1], 2)) for row in self._rows(DAILY, day)],
            [(*row[:-2], quotient(row[-2], row[-1], 2)) for row in self._rows(OF_PRODUCTS, day)],
            lifetimes,
            {table: self._score(table, day) for table in FIELDS},
        )

    def _know(self, name: str, known: list[Row], others: Mapping[str, int]) -> None:
        """Give DuckDB the versions that are known: their keys, first days, and other values by their place."""
        columns = {
            "id": pa.array([version[1] for version in known], pa.string()),
            "sk": pa.array([version[0] for version in known], pa.int64()),
            "effective": pa.array([version[-2] for version in known], pa.date32()),
            **{
                column: pa.array(
                    [version[place] for version in known], pa.decimal128(26, 2) if column == "cost" else pa.string()
                )
                for column, place in others.items()
            },
        }
        self._database.register("given", pa.table(columns))
        self._database.execute(f"create or replace temp table known_{name} as from given")
        self._database.unregister("given")

    def _score(self, table: str, day: date) -> float:
        """Return the score of a staging table: the mean of its dimensions, each the share of rows that are good."""
        key = FIELDS[table][0]
        missing = " or ".join(f"{field} is null" for field in FIELDS[table])
        twice = f"n in (select unnest(list(n)) from {table} where load_date = $day and {key} is not null "
        conditions = {
            "completeness": [missing],
            "uniqueness": ["false", f"{twice} group by {key} having count(*) > 1)"],
            "validity": VALIDITY[table],
            "consistency": CONSISTENCY[table],
            "referential_integrity": [
                f"{field} is not null "
                f"and {field} not in (select {field} from {other} where load_date = $day and {field} is not null)"
                for field, other in REFERENCES.get(table, {}).items()
            ],
        }
        [(aside,)] = self._rows(f"select count(*) from aside where load_date = $day and file = '{table}'", day)
        scores = []
        for dimension, of_dimension in conditions.items():
            bad, rows = (aside, aside) if dimension == "validity" else (0, 0)
            counts = ", ".join(f"count(*) filter ({each})" for each in of_dimension)
            if not of_dimension:
                continue
            [(all_rows, *found)] = self._rows(f"select count(*), {counts} from {table} where load_date = $day", day)
            # What was set aside was examined too, as one more check.
            examined = rows + all_rows * (len(of_dimension) + (dimension == "validity"))
            scores.append(1 - Fraction(bad + sum(found), examined) if examined else Fraction(1))
        return floor(sum(scores) / len(scores) * 10_000) / 100


def _read(database: duckdb.DuckDBPyConnection, folder: Path, days: Sequence[date]) -> None:
    """Read the records of each table; those with a value that cannot be read go aside."""
    database.execute("create table aside (load_date date, file varchar, n bigint)")
    for table, fields in FIELDS.items():
        texts = ", ".join(f"{name} varchar" for name in fields)
        database.execute(f"create table texts (load_date date, n bigint, {texts})")
        for day in days:
            database.execute(
                "insert into texts select ?::date, row_number() over (), * from read_csv(?, header = true, "
                "auto_detect = false, delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false, "
                f"hive_partitioning = false, columns = {dict.fromkeys(fields, 'VARCHAR')})",
                [day, str(folder / f"staging/{table}/load_date={day}/{table}.csv")],
            )
        typed = {name: TYPES[name] for name in fields if name in TYPES}
        bad = " or ".join([*(f"{n} is not null and try_cast({n} as {t}) is null" for n, t in typed.items()), "false"])
        values = ", ".join(f"try_cast({name} as {typed.get(name, 'VARCHAR')}) as {name}" for name in fields)
        database.execute(f"insert into aside select load_date, '{table}', n from texts where {bad}")
        database.execute(f"create table {table} as select load_date, n, {values} from texts where not ({bad})")
        database.execute("drop table texts")


def _calendar(day: date) -> Sequence[Row]:
    """Return the calendar of a load_date, whose key comes first."""
    end = date(day.year + 1, 1, 1)
    days = (CALENDAR + timedelta(days=number) for number in range((end - CALENDAR).days))
    return [
        (
            *(each.year * 10_000 + each.month * 100 + each.day, each, each.year, (each.month + 2) // 3, each.month),
            *(each.day, each.isoweekday(), each.isoweekday() >= 6),
        )
        for each in days
    ]


def _initcap(text: str) -> str:
    """Return a text whose words begin with a capital, and are small otherwise."""
    return re.sub(r"[^\W_]+", lambda word: word[0][0].upper() + word[0][1:].lower(), text)


def _amount_of(quantity: int, price: Decimal, discount: Decimal) -> Decimal:
    """Return the amount of a line item, rounded to cents, a half away from zero."""
    return (quantity * price * (100 - discount) / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)
