/* @asset
description: Every product that was ever listed, with its newest values.
owner: team:shop
grain: [product_id]
time_limit: {minutes: 30}
columns:
  product_id: {type: bigint, description: Identifier of the product.}
  product_name: {type: text, description: Name in the newest list that has the product.}
  category: {type: text, description: Category in the newest list that has the product.}
  brand: {type: text, description: Brand in the newest list that has the product; NULL if it has none.}
  current_price: {type: "numeric(12,2)", description: Price in the newest list that has the product.}
  is_listed: {type: boolean, description: Whether the list of this load_date has the product.}
  first_seen: {type: date, description: First load_date whose list has the product.}
  last_seen: {type: date, description: Last load_date whose list has the product.}
checks:
  # No product is ever lost: each load_date has at least those of the one before.
  min_rows: {of_previous: 1.0}
  reconcile: {source: staging.products_clean, counted: count(*) filter (where is_listed)}
@end */
-- The table carries on: the products of the load_date before, with what this load_date's list says of them.
with known as (
    select
        product_id,
        product_name,
        category,
        brand,
        current_price,
        first_seen,
        last_seen
    from warehouse.dim_product
    where load_date = %(previous_load_date)s
),

listed as (
    select
        product_id,
        product_name,
        category,
        brand,
        current_price
    from staging.products_clean
    where load_date = %(load_date)s
)

-- What a list leaves empty is empty from then on: an old brand does not show through.
select
    coalesce(l.product_id, k.product_id) as product_id,
    case when l.product_id is null then k.product_name else l.product_name end as product_name,
    case when l.product_id is null then k.category else l.category end as category,
    case when l.product_id is null then k.brand else l.brand end as brand,
    case when l.product_id is null then k.current_price else l.current_price end as current_price,
    l.product_id is not null as is_listed,
    coalesce(k.first_seen, %(load_date)s::date) as first_seen,
    case when l.product_id is null then k.last_seen else %(load_date)s::date end as last_seen
from known as k
full outer join listed as l on k.product_id = l.product_id
