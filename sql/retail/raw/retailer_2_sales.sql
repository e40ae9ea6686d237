/* @asset
description: Transactions of retailer 2 as its API told them, one row per record. One of several items is several records.
owner: team:shop
grain: [record_no]
storage: partitions
source:
  object: raw/retailer_2/{load_date:year=%Y/month=%m/day=%d}/sales_data.json
  format: json
  records: transactions
  position: record_no
  whole: raw_data
  null: [""]
  api: retailer_2
  call:
    path: /transactions
    query: {from: "{load_date}", to: "{load_date}"}
    pages: {by: cursor, parameter: cursor, size: {limit: 500}, following: meta.next}
    total: meta.total
subject: {customer_of_retailer_2: member_id}
# Who sold it is a person too, and no subject: the rows are about what a customer bought.
quarantine: {share: 0.001}
time_limit: {minutes: 30}
columns:
  transaction_number: {type: text, description: Number of the transaction.}
  date: {type: date, description: Day of the transaction.}
  member_id: {type: text, description: "Number of the customer's membership; NULL for customers who are no members.", pii: id}
  location_id: {type: text, description: "Identifier of the location; NULL if the transaction has none."}
  item_code: {type: text, description: Code of the item.}
  item_name: {type: text, description: Name of the item.}
  department: {type: text, description: Department that sells the item.}
  qty: {type: integer, description: Number of pieces.}
  unit_cost: {type: "numeric(12,2)", description: "What one piece cost the customer, without tax."}
  amount: {type: "numeric(16,2)", description: "Amount of the record, without tax."}
  tax_amount: {type: "numeric(16,2)", description: "Tax on the amount, which is not in it."}
  loyalty_points_earned: {type: integer, description: "Points that the member earned; NULL for none."}
  promotion_code: {type: text, optional: true, description: "Code of the promotion; NULL if there was none."}
  sales_rep_id: {type: text, description: "Identifier of the person who sold it; NULL if it was nobody.", pii: id}
checks:
  # A sale without these cannot be told from others, so no decision could name it.
  not_null: [transaction_number, item_code]
  # A day without any sale is held until a person has looked at it. So is one with far fewer than its weekday usually has.
  min_rows: {at_least: 1, of_usual: 0.4}
@end */
