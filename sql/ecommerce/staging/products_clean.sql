/* @asset
description: Products of the latest list, each once.
owner: team:shop
grain: [product_id]
quarantine:
  share: 0.01
  rules:
    not_null: [product_name, category]
    range:
      current_price: [0, null]
time_limit: {minutes: 30}
columns:
  product_id: {type: bigint, description: Identifier of the product.}
  product_name: {type: text, description: Name of the product.}
  category: {type: text, description: Category of the product.}
  brand: {type: text, description: Brand of the product; NULL if it has none.}
  current_price: {type: "numeric(12,2)", description: Price of one piece on the day of the list.}
checks:
  reconcile:
    source: raw.products_json
    dropped:
      duplicate: |
        exists (
          select 1
          from raw.products_json as later
          where
            later.load_date = %(load_date)s
            and later.product_id = products_json.product_id
            and later.record_no > products_json.record_no
        )
@end */
-- Of a product that the list names twice, the last record counts.
select distinct on (product_id)
    product_id,
    product_name,
    category,
    brand,
    current_price
from raw.products_json
where load_date = %(load_date)s
order by product_id asc, record_no desc
