/* @asset
description: Every product that a retailer ever sold, with its newest name and category. Products of two retailers are two products.
owner: team:analytics
grain: [retailer_id, product_id]
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: Retailer.}
  product_id: {type: text, description: Identifier of the product at the retailer.}
  product_name: {type: text, description: "Name in the newest sale that has one, or unknown."}
  category: {type: text, description: "Category in the newest sale that has one, or unknown."}
  first_sold_on: {type: date, description: Day of its first sale.}
  last_sold_on: {type: date, description: Day of its last sale.}
checks:
  # No product is ever lost: each load_date has at least those of the one before.
  min_rows: {of_previous: 1.0}
  not_null: [product_name, category, first_sold_on, last_sold_on]
@end */
-- The table carries on: the products of the load_date before, with what this load_date's sales say of them.
with known as (
    select
        retailer_id,
        product_id,
        product_name,
        category,
        first_sold_on,
        last_sold_on
    from warehouse.dim_product
    where load_date = %(previous_load_date)s
),

-- Of several names on one day, that of the highest transaction_id counts: no retailer says more about the sequence.
sold as (
    select
        retailer_id,
        product_id,
        (
            array_agg(product_name order by transaction_date desc, transaction_id collate "C" desc)
            filter (where product_name is not null)
        )[1] as product_name,
        (
            array_agg(category order by transaction_date desc, transaction_id collate "C" desc)
            filter (where category is not null)
        )[1] as category,
        min(transaction_date) as first_sold_on,
        max(transaction_date) as last_sold_on
    from staging.sales
    where load_date = %(load_date)s
    group by retailer_id, product_id
)

-- A sale without a name is here only if a person accepted it. Then the product keeps the name that it had.
select
    coalesce(s.retailer_id, k.retailer_id) as retailer_id,
    coalesce(s.product_id, k.product_id) as product_id,
    coalesce(s.product_name, k.product_name, 'unknown') as product_name,
    coalesce(s.category, k.category, 'unknown') as category,
    least(s.first_sold_on, k.first_sold_on) as first_sold_on,
    greatest(s.last_sold_on, k.last_sold_on) as last_sold_on
from known as k
full outer join sold as s on k.retailer_id = s.retailer_id and k.product_id = s.product_id
