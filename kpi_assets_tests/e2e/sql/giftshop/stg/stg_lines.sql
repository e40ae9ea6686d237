/* @asset
description: Lines of what was sold.
owner: team:shop
grain: [line_no]
columns:
  line_no: {type: integer, description: Number of the line within the day's file.}
  invoice_no: {type: text, description: Invoice.}
  stock_code: {type: text, description: Product.}
  quantity: {type: integer, description: Pieces.}
  country: {type: text, description: Country of the customer.}
  description: {type: text, description: Its name without blanks at the ends; NULL if none was typed in.}
  amount: {type: numeric, description: Pounds.}
checks:
  reconcile:
    source: raw.lines
    dropped: {corrections: quantity <= 0, not_sold: quantity > 0 and unit_price = 0}
@end */
select
    line_no,
    invoice_no,
    stock_code,
    quantity,
    country,
    nullif(btrim(description), '') as description,
    quantity * unit_price as amount
from raw.lines
where load_date = %(load_date)s and quantity > 0 and unit_price <> 0
