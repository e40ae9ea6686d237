/* @asset
description: Line items of transactions with their history.
owner: team:shop
grain: [item_id]
storage: history
history:
  surrogate_key: item_version
  adds:
    is_active: {type: boolean, value: end_date is null, description: Whether the latest export has the line item so.}
    created_at: {type: date, value: effective_date, description: Day on which the version began.}
    updated_at:
      type: date
      value: coalesce(end_date + 1, effective_date)
      description: "Day on which the version was last touched: it began, or something else came in its place."
columns:
  item_id: {type: text, description: Identifier of the line item.}
  transaction_id: {type: text, description: Identifier of its transaction.}
  product_id: {type: text, description: "Identifier of the product as exported; NULL if it is missing."}
  quantity: {type: bigint, description: "Number of pieces, at least 1."}
  unit_price: {type: "numeric(18,2)", description: Price of one piece when it was sold.}
  discount_percentage: {type: "numeric(5,2)", description: "Discount in percent, 0 to 100."}
  line_total: {type: "numeric(24,2)", description: "quantity * unit_price, less the discount."}
checks:
  reconcile: {source: production.items_clean}
  foreign_key:
    transaction_id: production.transactions.transaction_id
  # A product that no export ever had: the sale is kept and counted.
  product_is_known:
    severity: warn
    dimension: referential_integrity
    description: Each product was exported on this load_date or an earlier one.
    bad_rows: |
      select t.*
      from {this} as t
      where not exists (select 1 from production.products as p where p.product_id = t.product_id)
@end */
select
    item_id,
    transaction_id,
    product_id,
    quantity,
    unit_price,
    discount_percentage,
    line_total
from production.items_clean
where load_date = %(load_date)s
