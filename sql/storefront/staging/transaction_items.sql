/* @asset
description: Line items of transactions as exported on the day, all since the shop exists, one row per record.
owner: team:shop
grain: [record_number]
storage: partitions
source:
  object: staging/transaction_items/load_date={load_date}/transaction_items.csv
  format: csv
  position: record_number
quarantine: {rows: 20}
columns:
  item_id: {type: text, description: "Identifier of the line item; NULL if the export has none."}
  transaction_id: {type: text, description: "Identifier of its transaction; NULL if it is missing."}
  product_id: {type: text, description: "Identifier of the product; NULL if it is missing."}
  quantity: {type: bigint, description: "Number of pieces; NULL if it is missing."}
  unit_price: {type: numeric, description: "Price of one piece when it was sold; NULL if it is missing."}
  discount_percentage: {type: numeric, description: "Discount in percent; NULL if it is missing."}
  line_total: {type: numeric, description: "Amount of the line as exported; NULL if it is missing."}
checks:
  severity: warn
  not_null: [item_id, transaction_id, product_id, quantity, unit_price, discount_percentage, line_total]
  unique:
    item: [item_id]
  range:
    quantity: [1, null]
    unit_price: [0, null]
    discount_percentage: [0, 100]
  foreign_key:
    transaction_id: staging.transactions.transaction_id
    product_id: staging.products.product_id
  min_rows: {of_previous: 0.5, severity: error}
  line_total_is_right:
    severity: warn
    dimension: consistency
    description: The amount of a line is its quantity times its price, less the discount.
    bad_rows: |
      select * from {this}
      where line_total <> round(quantity * unit_price * (100 - discount_percentage) / 100, 2)
  total_amount_is_right:
    severity: warn
    dimension: consistency
    description: The line items of a transaction add up to its amount.
    bad_rows: |
      select t.*
      from {this} as t
      inner join (
        select
          transaction_id,
          sum(line_total) as line_totals
        from {this}
        group by transaction_id
      ) as s on t.transaction_id = s.transaction_id
      where exists (
        select 1
        from staging.transactions as o
        where o.load_date = %(load_date)s and o.transaction_id = t.transaction_id and o.total_amount <> s.line_totals
      )
quality: {at_least: 80}
@end */
