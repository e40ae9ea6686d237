"""The pipeline of bench.surface: one raw table, a KPI with a row a customer, and one with a row a weekday.

`python -m bench.shop publish DAY CUSTOMERS TIMES` builds a load_date again and again, each time from another object,
and prints the rows of each publish of the small KPI. `python -m bench.shop past DAY LOAD_DATES` makes a past of it in
the ledger alone: what a page reads of a load_date that it does not show in detail.
"""

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import connect

NAME = "readers"
LARGE, SMALL = "kpi_customers", "kpi_weekdays"
FILES = {
    "pipeline.yaml": """\
description: What the bench of pages and API reads.
bucket: kpi-readers
start_date: 2024-01-01
layers: {raw: raw, marts: marts}
readers: [marts]
""",
    "raw/sales.sql": """\
/* @asset
description: Sales as delivered.
owner: team:bench
grain: [customer_id]
source:
  object: raw/sales/load_date={load_date}/sales.csv
  format: csv
columns:
  customer_id: {type: integer, description: Customer.}
  weekday: {type: integer, description: "Day of the week, 0 to 6."}
  amount: {type: "numeric(12,2)", description: Amount.}
@end */
""",
    f"marts/{LARGE}.sql": """\
/* @asset
description: What each customer spent.
owner: team:bench
grain: [customer_id]
columns:
  customer_id: {type: integer, description: Customer.}
  amount: {type: "numeric(12,2)", description: Amount.}
kpi:
  title: Sales by customer
  chart: {x: customer_id, y: amount}
  measures:
    amount: {title: Sales, value: sum(amount), format: EUR2, better: up, target: {at_least: 1000}}
    customers: {title: Customers, value: count(*), unit: customers}
@end */
select
    customer_id,
    amount
from raw.sales
where load_date = %(load_date)s
""",
    f"marts/{SMALL}.sql": """\
/* @asset
description: Sales of each weekday.
owner: team:bench
grain: [weekday]
columns:
  weekday: {type: integer, description: "Day of the week, 0 to 6."}
  amount: {type: numeric, description: Amount.}
  sales: {type: bigint, description: Sales.}
kpi:
  title: Sales by weekday
  chart: {x: weekday, y: amount}
  measures:
    amount: {title: Sales, value: sum(amount), format: EUR2}
@end */
select
    weekday,
    sum(amount) as amount,
    count(*) as sales
from raw.sales
where load_date = %(load_date)s
group by weekday
""",
}
# The publishes, values and checks of a load_date, once more for each day before it.
_PAST = """
with days as (select %(day)s::date - n as load_date from generate_series(1, %(load_dates)s) as n),

builds as (
    insert into ops.pipeline_runs (run_id, pipeline_name, job, load_date, status, started_at, ended_at)
    select 'past', r.pipeline_name, r.job, d.load_date, r.status, r.started_at, r.ended_at
    from days as d cross join ops.published as p inner join ops.pipeline_runs as r on p.build_id = r.id
    where p.load_date = %(day)s
    returning id, job, load_date
),

publishes as (
    insert into ops.publishes (
        asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, size_bytes, inputs,
        published_at, columns
    )
    select p.asset, b.load_date, b.id, 'past', p.manifest_hash, p.code_version, p.rows, p.checksum, p.size_bytes,
        p.inputs, p.published_at, p.columns
    from builds as b inner join ops.published as p on b.job = p.asset and p.load_date = %(day)s
    order by b.load_date
    returning publish_id, asset, load_date
),

measured as (
    insert into ops.kpi_values (publish_id, measure, measure_version, value)
    select n.publish_id, v.measure, v.measure_version, round(v.value * (1 + sin(n.publish_id)::numeric / 10), 2)
    from publishes as n
    inner join ops.published as p on n.asset = p.asset and p.load_date = %(day)s
    inner join ops.kpi_values as v on p.publish_id = v.publish_id
)

insert into ops.data_quality_results (
    run_id, build_id, check_name, table_name, load_date, status, blocking, metric_value, threshold, subject
)
select 'past', b.id, q.check_name, q.table_name, b.load_date, q.status, q.blocking, q.metric_value, q.threshold,
    q.subject
from builds as b
inner join ops.published as p on b.job = p.asset and p.load_date = %(day)s
inner join ops.data_quality_results as q on p.build_id = q.build_id
"""


def write(folder: Path) -> None:
    """Write the files of the pipeline into a tree."""
    for name, text in FILES.items():
        path = folder / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def publish(day: date, customers: int, times: int) -> list[dict[str, Any]]:
    """Publish a load_date `times` times, each time with other amounts; return each publish of the small KPI."""
    pipeline = load_pipelines(settings().sql_dir)[NAME]
    server = settings().postgres_url
    assert server is not None
    prepare(pipeline, server)
    s3 = client(settings())
    context = BuildContext(pipeline, server, Store.open(settings(), pipeline.config.bucket, s3), run_id="bench")
    found = []
    for number in range(times):
        lines = (f"{customer},{customer % 7},{customer % 100 + number}.25" for customer in range(1, customers + 1))
        body = "\n".join(["customer_id,weekday,amount", *lines, ""]).encode()
        s3.put_object(Bucket=pipeline.config.bucket, Key=f"raw/sales/load_date={day}/sales.csv", Body=body)
        for table in pipeline.tables.values():
            if table.has_object:
                assert not verify(context, table, day).held
            assert not build(context, table, day).held
        with connect(server, NAME, "bench") as connection:
            query = "select publish_id from ops.published where asset = %s and load_date = %s"
            [(publish_id,)] = connection.execute(query, [f"marts.{SMALL}", day]).fetchall()
            query = f"select weekday, amount::text, sales from marts.{SMALL} where load_date = %s order by 1"
            rows = [
                {"weekday": weekday, "amount": amount, "sales": sales}
                for weekday, amount, sales in connection.execute(query.encode(), [day]).fetchall()
            ]
        found.append({"publish_id": publish_id, "rows": rows})
    return found


def past(day: date, load_dates: int) -> None:
    """Make a past of a load_date in the ledger."""
    server = settings().postgres_url
    assert server is not None
    with connect(server, NAME, "bench") as connection, connection.transaction():
        connection.execute(_PAST, {"day": day, "load_dates": load_dates})
        connection.execute("analyze")


if __name__ == "__main__":
    try:
        if sys.argv[1] == "publish":
            print(json.dumps(publish(date.fromisoformat(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
        else:
            past(date.fromisoformat(sys.argv[2]), int(sys.argv[3]))
    except psycopg.Error as error:
        sys.exit(str(error))
