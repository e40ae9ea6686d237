/* @asset
description: One row per product of a transaction at a retailer.
owner: team:analytics
grain: [retailer_id, transaction_id, product_id]
storage: partitions
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: Retailer.}
  transaction_id: {type: text, description: Identifier of the transaction at the retailer.}
  product_id: {type: text, description: Identifier of the product at the retailer.}
  transaction_date: {type: date, description: "Day of the sale, in UTC."}
  customer_id: {type: text, description: "Identifier of the customer at the retailer, or unknown."}
  store_id: {type: text, description: "Identifier of the store at the retailer, or unknown."}
  quantity: {type: integer, description: Number of pieces.}
  unit_price: {type: "numeric(16,6)", description: "What one piece cost the customer: after discounts, without tax and shipping."}
  total_amount: {type: "numeric(16,2)", description: "Revenue: what all pieces cost the customer, after discounts, without tax and shipping."}
checks:
  # What a sale needs to be counted. A person may accept a sale in staging.sales that breaks a rule there, but not one
  # whose amount nobody can compute: it must be corrected or discarded.
  not_null: [transaction_date, customer_id, store_id, quantity, unit_price, total_amount]
  total_is_quantity_times_unit_price:
    description: The amount of a sale is what its pieces cost, but for a cent of rounding.
    bad_rows: select * from {this} where abs(total_amount - quantity * unit_price) > 0.01
  reconcile: {source: staging.sales, sum: total_amount}
  every_sale_is_here:
    description: Every sale of staging is a fact.
    reconcile: {source: staging.sales}
  foreign_key:
    retailer_id: warehouse.dim_retailer.retailer_id
    transaction_date: warehouse.dim_date.date_id
  # The identifiers of the other dimensions are those of a retailer, so each key is two columns. Their load_date is a
  # constant: compared with that of the sale, Postgres would read the dimensions of all load_dates.
  product_is_known:
    dimension: referential_integrity
    description: Every product is in warehouse.dim_product.
    bad_rows: |
      select * from {this} as t
      where not exists (
        select 1
        from warehouse.dim_product as d
        where d.load_date = %(load_date)s and d.retailer_id = t.retailer_id and d.product_id = t.product_id
      )
  store_is_known:
    dimension: referential_integrity
    description: Every store is in warehouse.dim_store.
    bad_rows: |
      select * from {this} as t
      where not exists (
        select 1
        from warehouse.dim_store as d
        where d.load_date = %(load_date)s and d.retailer_id = t.retailer_id and d.store_id = t.store_id
      )
  customer_is_known:
    dimension: referential_integrity
    description: Every customer is in warehouse.dim_customer.
    bad_rows: |
      select * from {this} as t
      where not exists (
        select 1
        from warehouse.dim_customer as d
        where d.load_date = %(load_date)s and d.retailer_id = t.retailer_id and d.customer_id = t.customer_id
      )
@end */
select
    retailer_id,
    transaction_id,
    product_id,
    transaction_date,
    customer_id,
    store_id,
    quantity,
    unit_price,
    total_amount
from staging.sales
where load_date = %(load_date)s
