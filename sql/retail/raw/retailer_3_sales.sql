/* @asset
description: Sales of retailer 3 as its API told them, one row per record. A sale of several products is several records.
owner: team:shop
grain: [record_no]
storage: partitions
source:
  object: raw/retailer_3/{load_date:year=%Y/month=%m/day=%d}/sales_data.json
  format: json
  records: results
  position: record_no
  whole: raw_data
  null: [""]
  api: retailer_3
  call:
    method: POST
    path: /sales/query
    body: {dateFrom: "{load_date}", dateTo: "{load_date}"}
    pages: {by: offset, parameter: offset, size: {limit: 500}}
    total: total
subject: {customer_of_retailer_3: buyer_id}
quarantine: {share: 0.001}
time_limit: {minutes: 30}
columns:
  sale_id: {type: text, description: Identifier of the sale.}
  timestamp: {type: timestamp with time zone, description: When it was sold.}
  buyer_id: {type: text, description: "Identifier of the buyer; NULL if the retailer does not know who it was.", pii: id}
  outlet_id: {type: text, description: "Identifier of the outlet; NULL if the sale has none."}
  product_code: {type: text, description: Code of the product.}
  name: {type: text, description: Name of the product.}
  type: {type: text, description: What kind of product it is.}
  count: {type: integer, description: Number of pieces.}
  price_per_unit: {type: "numeric(12,2)", description: "Price of one piece, without shipping."}
  revenue: {type: "numeric(16,2)", description: "Amount of the record, without shipping."}
  shipping_cost: {type: "numeric(12,2)", description: "What the shipping cost, which is not in the revenue."}
  warranty_months: {type: integer, description: "Months of warranty; NULL for none."}
  return_policy_days: {type: integer, description: "Days within which it may be returned; NULL for none."}
  supplier_id: {type: text, description: Identifier of the supplier.}
checks:
  # A sale without these cannot be told from others, so no decision could name it.
  not_null: [sale_id, product_code]
  # A day without any sale is held until a person has looked at it. So is one with far fewer than its weekday usually has.
  min_rows: {at_least: 1, of_usual: 0.4}
@end */
