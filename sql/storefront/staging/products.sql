/* @asset
description: Products as the shop exported them on the day, all of them, one row per record.
owner: team:shop
grain: [record_number]
source:
  object: staging/products/load_date={load_date}/products.csv
  format: csv
  position: record_number
quarantine: {rows: 20}
columns:
  product_id: {type: text, description: "Identifier of the product; NULL if the export has none."}
  name: {type: text, description: "Name as typed; NULL if it is missing."}
  category: {type: text, description: "Category as typed; NULL if it is missing."}
  sub_category: {type: text, description: "Category below it, as typed; NULL if it is missing."}
  brand: {type: text, description: "Brand as typed; NULL if it is missing."}
  price: {type: numeric, description: "Price of one piece as exported; NULL if it is missing."}
  cost: {type: numeric, description: "What one piece costs the shop, as exported; NULL if it is missing."}
  stock_quantity: {type: bigint, description: "Pieces in stock; NULL if it is missing."}
  supplier_id: {type: text, description: "Identifier of the supplier; NULL if it is missing."}
checks:
  severity: warn
  not_null: [product_id, name, category, sub_category, brand, price, cost, stock_quantity, supplier_id]
  unique:
    product: [product_id]
  range:
    price: [0.01, null]
    cost: [0, null]
    stock_quantity: [0, null]
  min_rows: {of_previous: 0.5, severity: error}
  cost_is_below_price:
    severity: warn
    dimension: consistency
    description: A product costs the shop less than its price.
    bad_rows: select * from {this} where cost >= price
quality: {at_least: 80}
@end */
