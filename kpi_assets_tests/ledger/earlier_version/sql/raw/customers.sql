/* @asset
description: Customers as delivered.
owner: team:shop
grain: [customer_id]
versions: latest
source:
  object: raw/customers/load_date={load_date}/customers.csv
  format: csv
columns:
  customer_id: {type: integer, description: Customer.}
  country: {type: text, description: Country in which the customer lives.}
@end */
