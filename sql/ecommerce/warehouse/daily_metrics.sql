/* @asset
description: One row per load_date, published or not, with what readers see of it and what its latest builds found.
owner: team:analytics
grain: [run_date]
storage: live
columns:
  run_date: {type: date, description: The load_date.}
  orders_count: {type: bigint, description: "Published rows of warehouse.fact_orders; NULL if it is not published."}
  events_count: {type: bigint, description: "Published rows of warehouse.fact_events; NULL if it is not published."}
  products_count: {type: bigint, description: "Published rows of warehouse.dim_product; NULL if it is not published."}
  users_count: {type: bigint, description: "Published rows of warehouse.dim_user; NULL if it is not published."}
  runtime_seconds: {type: numeric, description: Seconds of the latest build of each table together.}
  dq_failed_count:
    type: bigint
    description: Results other than pass of the latest build of each table, and of the latest check of each object.
@end */
with latest as (
    select distinct on (load_date, job)
        id,
        load_date,
        job,
        execution_seconds
    from ops.pipeline_runs
    where load_date is not null and status <> 'running' and job like '%%.%%' and job not like 'decisions.%%'
    order by load_date asc, job asc, id desc
),

runtimes as (
    select
        load_date,
        sum(execution_seconds) filter (where job not like 's3.%%') as runtime_seconds
    from latest
    group by load_date
),

failures as (
    select
        l.load_date,
        count(*) as failed
    from latest as l
    inner join ops.data_quality_results as r on l.id = r.build_id and l.job = r.table_name
    where r.status <> 'pass'
    group by l.load_date
),

counts as (
    select
        load_date,
        max(rows) filter (where asset = 'warehouse.fact_orders') as orders_count,
        max(rows) filter (where asset = 'warehouse.fact_events') as events_count,
        max(rows) filter (where asset = 'warehouse.dim_product') as products_count,
        max(rows) filter (where asset = 'warehouse.dim_user') as users_count
    from ops.published
    group by load_date
)

select
    t.load_date as run_date,
    c.orders_count,
    c.events_count,
    c.products_count,
    c.users_count,
    t.runtime_seconds,
    coalesce(f.failed, 0) as dq_failed_count
from runtimes as t
left join failures as f on t.load_date = f.load_date
left join counts as c on t.load_date = c.load_date
