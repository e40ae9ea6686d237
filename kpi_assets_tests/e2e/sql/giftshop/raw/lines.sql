/* @asset
description: Lines of the day's invoices; their number begins with 1 each day.
owner: team:shop
grain: [line_no]
source:
  object: raw/lines/load_date={load_date}/lines.csv
  format: csv
columns:
  line_no: {type: integer, description: Number of the line within the day's file.}
  invoice_no: {type: text, description: Invoice.}
  stock_code: {type: text, description: Product.}
  description: {type: text, description: Name of the product as it was typed in; NULL if it was not.}
  quantity: {type: integer, description: Pieces; below 0 for a correction of the stock.}
  invoiced_at: {type: timestamp without time zone, description: Time of the invoice.}
  unit_price: {type: "numeric(10,3)", description: Pounds for a piece; 0 for what was not sold.}
  customer_id: {type: integer, description: Customer; NULL if he is not known.}
  country: {type: text, description: Country of the customer.}
checks:
  min_rows: {of_usual: 0.4}
  not_null: [invoice_no, stock_code, quantity, unit_price, country]
@end */
