/* @asset
description: Lines that were cancelled on the day; on some days a few, on others many.
owner: team:shop
grain: [line_no]
source:
  object: raw/cancellations/load_date={load_date}/cancellations.csv
  format: csv
columns:
  line_no: {type: integer, description: Number of the line within the day's file.}
  invoice_no: {type: text, description: "Credit note, C and a number."}
  stock_code: {type: text, description: Product.}
  quantity: {type: integer, description: "Pieces that came back, below 0."}
  unit_price: {type: "numeric(10,3)", description: Pounds for a piece.}
  country: {type: text, description: Country of the customer.}
checks:
  not_null: [invoice_no, stock_code, quantity, unit_price, country]
  range:
    quantity: [null, -1]
@end */
