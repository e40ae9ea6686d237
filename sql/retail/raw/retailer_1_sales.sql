/* @asset
description: Orders of retailer 1 as its API told them, one row per record. An order of several products is several records.
owner: team:shop
grain: [record_no]
storage: partitions
source:
  object: raw/retailer_1/{load_date:year=%Y/month=%m/day=%d}/sales_data.json
  format: json
  records: data
  position: record_no
  whole: raw_data
  null: [""]
  api: retailer_1
  call:
    path: /sales
    query: {start_date: "{load_date}", end_date: "{load_date}"}
    pages: {by: page, parameter: page, size: {limit: 500}}
    total: total
# A customer of one retailer is another person than the one with the same number at another.
subject: {customer_of_retailer_1: customer_id}
quarantine: {share: 0.001}
time_limit: {minutes: 30}
columns:
  order_id: {type: text, description: Identifier of the order.}
  order_date: {type: date, description: Day of the order.}
  customer_id: {type: text, description: "Identifier of the customer; NULL if the retailer does not know who it was.", pii: id}
  store_id: {type: text, description: "Identifier of the store; NULL if the order has none."}
  sku: {type: text, description: Identifier of the product.}
  product_name: {type: text, description: Name of the product.}
  category: {type: text, description: Category of the product.}
  quantity: {type: integer, description: Number of pieces.}
  price: {type: "numeric(12,2)", description: "Price of one piece, before the discount."}
  total: {type: "numeric(16,2)", description: "Amount of the record, after the discount."}
  discount_percentage: {type: "numeric(5,2)", description: "Discount in percent, 0 to 100; NULL if there is none."}
  payment_method: {type: text, description: How it was paid.}
checks:
  # A sale without these cannot be told from others, so no decision could name it.
  not_null: [order_id, sku]
  # A day without any sale is held until a person has looked at it. So is one with far fewer than its weekday usually has.
  min_rows: {at_least: 1, of_usual: 0.4}
@end */
