"""The customers of `bench.versions`: rows that are a function of the customer and the number of the load_date.

Of every hundred customers one moves to another city on each load_date. So the versions are known without a fold, and
a long history can be made by one statement.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from psycopg import Connection, sql

FIRST = date(2020, 1, 1)
EVERY = 100  # load_dates after which a customer moves
COLUMNS = ("customer_id", "first_name", "last_name", "city", "state", "country", "age_group")
TYPES = ", ".join(f"{name} text" for name in COLUMNS)
# The versions of `customers` after the load_dates 0 to `last`, of which those in `absent` were never published. The key
# of a version is computed as by the fold.
VERSIONS = """
select
    (('x' || encode(substring(sha256(convert_to(
        json_build_array(customer_id, effective_date)::text, 'UTF8'
    )) for 8), 'hex'))::bit(64) >> 1)::bigint as customer_sk,
    customer_id, first_name, last_name, city, state, country, age_group, effective_date,
    lead(effective_date) over (partition by customer_id order by effective_date) - 1 as end_date
from (
    select
        'C' || lpad(k::text, 7, '0') as customer_id, 'First' || k % 1000 as first_name, 'Last' || k % 9000 as last_name,
        'City ' || (k + move) % 977 as city, 'State ' || k % 50 as state, 'Country ' || k % 7 as country,
        '2' || k % 6 || '-3' || k % 6 as age_group,
        %(first)s::date + start + (start = any(%(absent)s))::integer as effective_date
    from generate_series(1, %(customers)s) as k
    cross join lateral generate_series(0, (%(last)s + k % %(every)s) / %(every)s) as move
    cross join lateral (select greatest(0, %(every)s * move - k % %(every)s) as start) as s
) as moves
"""


def day_of(number: int) -> date:
    """Return the load_date with this number."""
    return FIRST + timedelta(days=number)


def rows(customers: int, number: int) -> Iterator[str]:
    """Yield the lines of the file of a load_date."""
    yield ",".join(COLUMNS)
    for k in range(1, customers + 1):
        city = (k + (number + k % EVERY) // EVERY) % 977
        yield (f"C{k:07d},First{k % 1000},Last{k % 9000},City {city},State {k % 50},Country {k % 7},2{k % 6}-3{k % 6}")


def write(path: Path, customers: int, number: int) -> None:
    """Write the file of a load_date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in rows(customers, number))


def versions(customers: int, last: int, absent: list[int]) -> tuple[str, dict[str, Any]]:
    """Return the query of the versions after the load_dates up to `last` without those `absent`, and its parameters."""
    text = VERSIONS.replace("% ", "%% ")
    return text, {"customers": customers, "last": last, "absent": absent, "first": FIRST, "every": EVERY}


def make_long(connection: Connection[Any], relation: str, customers: int, last: int, absent: list[int]) -> None:
    """Put the versions into a history of which load_date 0 is published, and its load_dates into the ledger."""
    query, parameters = versions(customers, last, absent)
    name = sql.Identifier(*relation.split("."))
    connection.execute(sql.SQL("truncate {}").format(name))
    columns = sql.SQL(", ").join(map(sql.Identifier, ("customer_sk", *COLUMNS, "effective_date", "end_date")))
    # In the order in which folds write: a version again on the day on which it ends.
    written = sql.SQL(" order by coalesce(end_date + 1, effective_date), customer_id")
    statement = sql.SQL("insert into {} ({}) select {} from ({}) as v").format(name, columns, columns, sql.SQL(query))
    connection.execute(statement + written, parameters)
    connection.execute(
        "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, "
        "size_bytes, inputs, columns) select asset, load_date + n, build_id, run_id, manifest_hash, code_version, "
        "rows, checksum, size_bytes, inputs, columns from ops.publishes cross join generate_series(1, %(last)s) as n "
        "where asset = %(asset)s and n <> all(%(absent)s)",
        {"asset": relation, "last": last, "absent": absent},
    )
    connection.commit()
    connection.autocommit = True
    connection.execute(sql.SQL("vacuum analyze {}").format(name))
    connection.execute("analyze ops.publishes")
