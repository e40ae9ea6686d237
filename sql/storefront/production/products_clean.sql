/* @asset
description: Products of the load_date, each once, cleansed. Each difference to the export is accounted for by a rule.
owner: team:shop
grain: [product_id]
columns:
  product_id: {type: text, description: Identifier of the product.}
  record_number: {type: bigint, description: Number of the record in the export.}
  price: {type: "numeric(18,2)", description: "Price of one piece, above 0; NULL if it is unknown."}
  stock_quantity: {type: bigint, description: "Pieces in stock, from 0; NULL if it is unknown."}
  name: {type: text, description: "Name, or Unknown."}
  category: {type: text, description: "Category, or Unknown."}
  sub_category: {type: text, description: "Category below it, or Unknown."}
  brand: {type: text, description: "Brand, or Unknown."}
  cost: {type: "numeric(18,2)", description: "What one piece costs the shop, below its price; NULL if it is unknown."}
  supplier_id: {type: text, description: "Identifier of the supplier, or Unknown."}
checks:
  range:
    cost: [0, null]
    stock_quantity: [0, null]
  cost_is_below_price:
    description: What is published of a product costs less than its price.
    bad_rows: select * from {this} where cost >= price or price <= 0
  reconcile:
    source: staging.products
    on: record_number
    dropped:
      without_id: coalesce(product_id, '') !~ '\S'
      duplicate: |
        product_id ~ '\S' and record_number not in (
          select max(last.record_number)
          from staging.products as last
          where last.load_date = %(load_date)s
          group by last.product_id
        )
    changed:
      text_missing: |
        exists (
          select 1
          from unnest(array[name, category, sub_category, brand, supplier_id]) as field (value)
          where coalesce(field.value, '') !~ '\S'
        )
      blanks_removed: |
        exists (
          select 1
          from unnest(array[name, category, sub_category, brand, supplier_id]) as field (value)
          where field.value ~ '^\s|\s$|\s\s|[\t\n\r]'
        )
      price_not_positive: round(price, 2) <= 0
      cost_negative: round(cost, 2) < 0
      cost_not_below_price: round(cost, 2) >= round(price, 2)
      amount_rounded: price <> round(price, 2) or cost <> round(cost, 2)
      stock_negative: stock_quantity < 0
@end */
-- Of a product that is there several times, the last record counts: the end of an export is its latest word.
with latest as (
    select distinct on (product_id)
        product_id,
        record_number,
        btrim(regexp_replace(name, '\s+', ' ', 'g')) as name,
        btrim(regexp_replace(category, '\s+', ' ', 'g')) as category,
        btrim(regexp_replace(sub_category, '\s+', ' ', 'g')) as sub_category,
        btrim(regexp_replace(brand, '\s+', ' ', 'g')) as brand,
        case when round(price, 2) > 0 then round(price, 2) end::numeric(18, 2) as price,
        case when round(cost, 2) >= 0 then round(cost, 2) end as cost,
        case when stock_quantity >= 0 then stock_quantity end as stock_quantity,
        btrim(regexp_replace(supplier_id, '\s+', ' ', 'g')) as supplier_id
    from staging.products
    where load_date = %(load_date)s and product_id ~ '\S'
    order by product_id asc, record_number desc
)

-- An amount that cannot be true becomes NULL, which is unknown: no figure is invented for it. Of a cost that is not below
-- the price, the price is believed, because customers have seen it. A cost beside an unknown price is believed too.
select
    product_id,
    record_number,
    price,
    stock_quantity,
    coalesce(nullif(name, ''), 'Unknown') as name,
    coalesce(nullif(category, ''), 'Unknown') as category,
    coalesce(nullif(sub_category, ''), 'Unknown') as sub_category,
    coalesce(nullif(brand, ''), 'Unknown') as brand,
    case when cost < price or price is null then cost end::numeric(18, 2) as cost,
    coalesce(nullif(supplier_id, ''), 'Unknown') as supplier_id
from latest
