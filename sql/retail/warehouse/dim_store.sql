/* @asset
description: Every store in which a retailer ever sold something, and the member unknown. Stores of two retailers are two stores.
owner: team:analytics
grain: [retailer_id, store_id]
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: Retailer.}
  store_id: {type: text, description: "Identifier of the store at the retailer; unknown for sales without one."}
  first_sale_on: {type: date, description: Day of the first sale.}
  last_sale_on: {type: date, description: Day of the last sale.}
checks:
  # No store is ever lost: each load_date has at least those of the one before.
  min_rows: {of_previous: 1.0}
  not_null: [first_sale_on, last_sale_on]
@end */
-- The table carries on: the stores of the load_date before, and those of this load_date's sales.
with seen as (
    select
        retailer_id,
        store_id,
        first_sale_on,
        last_sale_on
    from warehouse.dim_store
    where load_date = %(previous_load_date)s

    union all

    select
        retailer_id,
        store_id,
        transaction_date as first_sale_on,
        transaction_date as last_sale_on
    from staging.sales
    where load_date = %(load_date)s
)

select
    retailer_id,
    store_id,
    min(first_sale_on) as first_sale_on,
    max(last_sale_on) as last_sale_on
from seen
group by retailer_id, store_id
