"""The oracle of the stream: silver and KPIs, computed a second time by DuckDB from the objects of the streams.

It is written from the meaning of the tables, not from sql/: DuckDB unpacks the objects, reads each line as JSON, and
computes the rest of all load_dates together, where Postgres builds each from those before it, batch by batch. Amounts
are whole cents, and quotients are exact fractions that are rounded once. Not here: the comparison
(test_realtime_oracle.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import duckdb

from kpi_assets_tests.ecommerce_oracle import quotient

Row = tuple[Any, ...]

# The lines of all objects but the first of each, which is no event. CSV with characters that no line has is text.
LINES = """
create table lines as
select split_part(filename, '/', -4) as stream, date(regexp_extract(filename, 'load_date=([0-9-]+)', 1)) as load_date,
    cast(regexp_extract(filename, '/p([0-9]+)-', 1) as integer) as part, line
from read_csv($files, columns = {'line': 'varchar'}, header = false, delim = '\\x01', quote = '', escape = '',
    filename = true, compression = 'gzip', max_line_size = 20000000, auto_detect = false)
where not starts_with(line, '{"stream"')
"""
TOLD = """
create table told as
select stream, load_date, part, cast(line ->> 'o' as hugeint) as pos,
    make_timestamp(cast(line ->> 't' as bigint) * 1000) as received,
    json_exists(line, '$.bad') or json_exists(line, '$.why') as is_bad, json_extract(line, '$.v') as v
from lines
"""
# An event that is no JSON, of which a value is not what its column is, or that lacks what it needs, is set aside.
TYPED = """
create table {stream} as
with typed as (
    select * exclude (v), v ->> 'event_id' as id, v ->> 'event_type' as kind, v ->> 'occurred_at' as at_text,
        try_cast(v ->> 'occurred_at' as timestamp) as occurred, {fields},
        is_bad or {misfits} or (at_text is not null and occurred is null)
            or {lacking} as is_set_aside, {unknown} as is_unknown
    from told where stream = '{stream}'
)
select *, least(occurred, received) as ts from typed
"""


@dataclass(frozen=True)
class Stream:
    """What is read of a stream: field -> type."""

    name: str
    fields: dict[str, str]
    needed: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The table of its events."""
        typed = [f"try_cast(v ->> '{name}' as {type_}) as {name}" for name, type_ in self.fields.items()]
        misfits = [f"((v ->> '{name}') is not null and {name} is null)" for name in self.fields]
        known = ["event_id", "event_type", "occurred_at", *self.fields]
        unknown = f"len(list_filter(json_keys(v), lambda name: name not in ({', '.join(map(repr, known))}))) > 0"
        return (
            TYPED.replace("{fields}", ", ".join(typed))
            .replace("{misfits}", " or ".join(misfits))
            .replace("{lacking}", " or ".join(f"{name} is null" for name in ("id", "kind", "at_text", *self.needed)))
            .replace("{unknown}", unknown)
            .replace("{stream}", self.name)
        )


STREAMS = (
    Stream("clicks", {"session_id": "varchar", "user_id": "bigint", "product_id": "integer"}, ("session_id",)),
    Stream(
        "order_events",
        {
            "order_id": "varchar",
            "customer_id": "bigint",
            "channel": "varchar",
            "currency": "varchar",
            "amount": "decimal(12, 2)",
            "promised_by": "timestamp",
        },
        ("order_id",),
    ),
    Stream(
        "inventory_events",
        {"sku": "varchar", "warehouse_id": "varchar", "quantity": "bigint"},
        ("sku", "warehouse_id", "quantity"),
    ),
)
# The silver rows of a load_date: of each event the first, unless the load_date before has it.
SILVER = """
insert into silver_{0}
select * from {0} as e
where load_date = $day and not is_set_aside
    and not exists (select 1 from silver_{0} as s where s.id = e.id and s.load_date = $day::date - 1)
qualify row_number() over (partition by id order by part, pos) = 1
"""

SHOWN = {
    "clicks": "id, kind, ts, occurred, received, session_id, user_id, product_id, part, pos::bigint",
    "order_events": "id, kind, ts, occurred, received, order_id, customer_id, channel, currency, amount, promised_by, "
    "part, pos::bigint",
    "inventory_events": "id, kind, ts, occurred, received, sku, warehouse_id, quantity, part, pos::bigint",
}
KINDS = "('placed', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded')"
# An order as it is known at the end of a load_date: all events that had come, each once, of 28 load_dates.
KNOWN = f"""
with known as (
    select order_id, id, any_value(kind) as kind, any_value(ts) as ts, any_value(customer_id) as customer,
        any_value(channel) as channel, any_value(currency) as currency, any_value(amount) as amount,
        any_value(promised_by) as promise, min(received) as received,
    from silver_order_events
    where load_date between $day::date - 27 and $day and kind in {KINDS}
    group by order_id, id
)

select order_id,
    coalesce(arg_min(customer, (ts, id)) filter (kind = 'placed'), max(customer)) as customer,
    coalesce(arg_min(channel, (ts, id)) filter (kind = 'placed'), max(channel)) as channel,
    coalesce(arg_min(currency, (ts, id)) filter (kind = 'placed'), max(currency)) as currency,
    arg_max(kind, (ts, list_position(['placed', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded'], kind), id))
        as status,
    min(ts) filter (kind = 'placed') as placed,
    arg_min(amount, (ts, id)) filter (kind = 'placed') as amount,
    arg_min(promise, (ts, id)) filter (kind = 'placed') as promise,
    min(ts) filter (kind = 'paid') as paid, min(ts) filter (kind = 'shipped') as shipped,
    min(ts) filter (kind = 'delivered') as delivered, min(ts) filter (kind = 'cancelled') as cancelled,
    coalesce(sum(amount) filter (kind = 'refunded'), 0)::decimal(16, 2) as refunded,
    max(ts) as last_at, max(received) as last_received
from known group by order_id
"""
TOUCHED = f"""(
    select distinct order_id from silver_order_events where load_date = $day and kind in {KINDS}
)"""
FACT_ORDERS = f"""
select order_id, customer, channel, currency, status, placed::date, placed, amount, promise, paid, shipped, delivered,
    cancelled, refunded, last_at, last_received
from ({KNOWN}) where order_id in {TOUCHED} order by all
"""
REVENUE_DAILY = f"""
select placed::date as day, coalesce(currency, 'unknown') as currency, count(*), count(cancelled),
    coalesce(sum(amount), 0), coalesce(sum(amount) filter (cancelled is not null), 0),
    coalesce(sum(refunded) filter (cancelled is null), 0)
from ({KNOWN}) where placed::date >= $day::date - 27 group by all order by all
"""
DELIVERY = f"""
select promise::date as day, coalesce(channel, 'unknown') as channel, count(*),
    count(*) filter (delivered <= promise), count(*) filter (delivered is null)
from ({KNOWN})
where cancelled is null and promise::date > $day::date - 14
    and promise <= (select max(received) from silver_order_events where load_date = $day and kind in {KINDS})
group by all order by all
"""
CLOCK = """(
    select date_trunc('minute', max(ts)) from (
        select max(received) as ts from silver_clicks where load_date = $day
        union all
        select max(ts) as ts from silver_order_events
        where load_date between $day::date - 1 and $day and kind = 'placed'
    )
)"""
REVENUE_BY_MINUTE = f"""
select date_trunc('minute', ts) as minute, coalesce(currency, 'unknown') as currency, count(*),
    coalesce(sum(amount), 0), date_diff('minute', minute, {CLOCK})
from silver_order_events
where kind = 'placed' and load_date between $day::date - 1 and $day
    and date_trunc('minute', ts) > {CLOCK} - interval 24 hour
group by all order by all
"""
NEWEST_CLICK = "(select date_trunc('minute', max(received)) from silver_clicks where load_date = $day)"
PACE = f"""
with near as (
    select coalesce(currency, 'unknown') as currency, amount, date_diff('minute', {NEWEST_CLICK}, ts) as m
    from (select * replace (date_trunc('minute', ts) as ts) from silver_order_events)
    where kind = 'placed' and load_date between $day::date - 8 and $day
)

select currency, count(*) filter (m >= -30), coalesce(sum(amount) filter (m >= -30), 0)::decimal(20, 2),
    count(*) filter (m < -30), coalesce(sum(amount) filter (m < -30), 0)::decimal(20, 2)
from near where m between -30 and -1 or m between -10110 and -10081 group by all order by all
"""
# A session as it is known at the end of a load_date, of two load_dates.
SESSIONS = """
select session_id, arg_max(user_id, (ts, id)) filter (user_id is not null) as customer, min(ts) as began,
    max(ts) as ended, max(ts) filter (user_id is not null) as customer_at,
    count(*) filter (kind = 'page_view') as views,
    count(*) filter (kind = 'add_to_cart') as carts, count(*) filter (kind = 'checkout') as checkouts
from silver_clicks
where load_date between $day::date - 1 and $day and kind in ('page_view', 'add_to_cart', 'checkout')
group by session_id
"""
OF_DAY = """(
    select session_id from silver_clicks
    where load_date = $day and kind in ('page_view', 'add_to_cart', 'checkout')
)"""
FACT_SESSIONS = f"select * from ({SESSIONS}) where session_id in {OF_DAY} order by all"
CONVERSION = f"""
with sessions as ({SESSIONS}), hours as (
    select unnest(range(h - interval 23 hour, h + interval 1 hour, interval 1 hour)) as hour
    from (select date_trunc('hour', max(ended)) as h from sessions where session_id in {OF_DAY})
)

select hour, count(session_id), count(*) filter (carts > 0), count(*) filter (checkouts > 0)
from hours left join sessions on date_trunc('hour', began) = hour group by hour order by hour
"""
CUSTOMERS = """
with orders as (
    select customer, min(placed) as first_at, max(placed) as last_at, count(*) as orders, count(cancelled) as cancelled,
        if(count(distinct coalesce(currency, '?')) = 1, min(currency), null) as currency,
        coalesce(sum(amount - refunded) filter (cancelled is null), 0) as net
    from known_orders where placed is not null and customer is not null group by customer
), seen as (
    select customer, count(distinct session_id) as sessions, max(customer_at) as last_at
    from known_sessions where customer is not null group by customer
)

select customer, o.first_at, o.last_at, coalesce(orders, 0), coalesce(o.cancelled, 0), currency,
    if(currency is null, null, net)::decimal(20, 2), coalesce(sessions, 0),
    list_max(list_filter([o.last_at, s.last_at], lambda ts: ts is not null))
from orders as o full join seen as s using (customer) order by customer
"""
STOCK = """
with told as (
    select id, any_value(kind) as kind, any_value(ts) as ts, any_value(sku) as sku, any_value(warehouse_id) as place,
        any_value(case kind when 'sold' then -quantity else quantity end) as pieces
    from silver_inventory_events
    where load_date between $day::date - 6 and $day and kind in ('counted', 'received', 'sold', 'adjusted') group by id
), counts as (
    select sku, place, max(ts) as counted, arg_max(pieces, (ts, id)) as there
    from told where kind = 'counted' group by all
), newest as (
    select max(received) as ts from silver_inventory_events where load_date between $day::date - 6 and $day
        and kind in ('counted', 'received', 'sold', 'adjusted')
)

select sku, place, any_value(counted),
    any_value(there) + coalesce(sum(pieces) filter (kind <> 'counted' and t.ts > counted), 0)::bigint as quantity,
    quantity <= 0,
    coalesce(-sum(pieces) filter (kind = 'sold' and t.ts > n.ts - interval 1 hour), 0)::bigint
from told as t cross join newest as n left join counts using (sku, place) group by all order by all
"""
TRUST = """
select '{0}', date_trunc('hour', received) as hour, count(*),
    count(*) - count(*) filter ((part, pos) in (select (part, pos) from silver_{0} where load_date = $day)),
    count(*) filter (received - occurred > interval 5 minute),
    count(*) filter (occurred - received > interval 5 minute), count(*) filter (is_unknown)
from {0} where load_date = $day and not is_set_aside group by hour
"""


@dataclass(frozen=True)
class Realtime:
    """The tables of one load_date, each sorted by its key."""

    quarantined: dict[str, int]  # by stream
    repeats: dict[str, int]
    clicks: list[Row]
    order_events: list[Row]
    inventory_events: list[Row]
    fact_orders: list[Row]
    fact_sessions: list[Row]
    kpi_revenue_daily: list[Row]
    kpi_sla_delivery: list[Row]
    kpi_revenue_by_minute: list[Row]
    kpi_revenue_pace: list[Row]
    kpi_conversion_hourly: list[Row]
    customer_360: list[Row]
    kpi_stock: list[Row]
    kpi_trust: list[Row]
    accepted_share: list[Row]


def computed(folder: Path, days: Sequence[date]) -> dict[date, Realtime]:
    """Return the tables of each of successive load_dates whose objects lie below a folder, when there are no others."""
    with duckdb.connect(config={"threads": 1}) as database:
        read(database, folder, days)
        return {day: of_day(database, day) for day in days}


def read(database: duckdb.DuckDBPyConnection, folder: Path, days: Sequence[date]) -> None:
    """Make a table of the silver of each stream, `silver_<stream>`, from the objects below a folder."""
    database.execute(LINES, {"files": str(folder / "raw" / "*" / "*" / "*" / "*.ndjson.gz")})
    database.execute(TOLD)
    for stream in STREAMS:
        database.execute(stream.sql)
        database.execute(f"create table silver_{stream.name} as from {stream.name} limit 0")
        for day in days:
            database.execute(SILVER.format(stream.name), {"day": day})


def of_day(database: duckdb.DuckDBPyConnection, day: date, *, with_silver: bool = True) -> Realtime:
    """Return the tables of a load_date, after those of the ones before it; no rows of silver if they are too many."""
    limit = "" if with_silver else " limit 0"

    def rows(query: str) -> list[Row]:
        found = database.execute(query, {"day": day} if "$day" in query else None)
        return [tuple(map(_in_utc, row)) for row in found.fetchall()]

    def count(query: str) -> int:
        [[number]] = rows(query)
        return int(number)

    names = [stream.name for stream in STREAMS]
    # Of an order the latest load_date that knows it counts, and a customer was seen when any load_date says so.
    orders = f"select * from ({KNOWN}) where order_id in {TOUCHED} and placed is not null"
    for name, query in (("orders", orders), ("sessions", FACT_SESSIONS)):
        database.execute(f"create table if not exists known_{name} as select * from ({query}) limit 0", {"day": day})
        if name == "orders":
            database.execute(
                f"delete from known_orders where order_id in (select order_id from ({query}))", {"day": day}
            )
        database.execute(f"insert into known_{name} {query}", {"day": day})
    return Realtime(
        quarantined={
            name: count(f"select count(*) from {name} where load_date = $day and is_set_aside") for name in names
        },
        repeats={
            name: count(
                f"select (select count(*) from {name} where load_date = $day and not is_set_aside) "
                f"- (select count(*) from silver_{name} where load_date = $day)"
            )
            for name in names
        },
        **{
            name: rows(f"select {SHOWN[name]} from silver_{name} where load_date = $day order by id{limit}")
            for name in names
        },
        fact_orders=rows(FACT_ORDERS),
        fact_sessions=rows(FACT_SESSIONS),
        kpi_revenue_daily=[
            (*key, orders, cancelled, gross, lost, refunded, gross - lost - refunded, quotient(gross, orders, 2))
            for *key, orders, cancelled, gross, lost, refunded in rows(REVENUE_DAILY)
        ],
        kpi_sla_delivery=[(*each, quotient(each[3], each[2], 6)) for each in rows(DELIVERY)],
        kpi_revenue_by_minute=rows(REVENUE_BY_MINUTE),
        kpi_revenue_pace=rows(PACE),
        kpi_conversion_hourly=[
            (hour, sessions, carts, checkouts, quotient(carts, sessions, 6), quotient(checkouts, sessions, 6))
            for hour, sessions, carts, checkouts in rows(CONVERSION)
        ],
        customer_360=rows(CUSTOMERS),
        kpi_stock=rows(STOCK),
        kpi_trust=sorted(
            (*each, quotient(each[3], each[2], 6), quotient(each[4], each[2], 6))
            for name in names
            for each in rows(TRUST.format(name))
        ),
        accepted_share=[
            (name, records, accepted, records - accepted, quotient(accepted, records, 6))
            for name in sorted(names)
            for records, accepted in rows(
                f"select count(*), count(*) filter (where not is_set_aside) from {name} where load_date = $day"
            )
        ],
    )


def _in_utc(value: object) -> object:
    """Return a time as Postgres gives it; in DuckDB here they have no zone and are in UTC."""
    return value.replace(tzinfo=timezone.utc) if isinstance(value, datetime) else value
