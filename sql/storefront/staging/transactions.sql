/* @asset
description: Transactions of the shop as exported on the day, all since it exists, one row per record.
owner: team:shop
grain: [record_number]
storage: partitions
# The export is the shop's whole table, not what is new: a transaction that is missing was deleted, and the figures of a
# load_date follow from that load_date alone.
source:
  object: staging/transactions/load_date={load_date}/transactions.csv
  format: csv
  position: record_number
# The sales of somebody who is erased have happened, so they stay, with random letters in the place of the customer.
subject: {customer: customer_id}
erase: values
quarantine: {rows: 20}
columns:
  transaction_id: {type: text, description: "Identifier of the transaction; NULL if the export has none."}
  customer_id: {type: text, description: "Identifier of the customer; NULL if it is missing.", pii: id}
  transaction_date: {type: date, description: "Day of the sale; NULL if it is missing."}
  payment_method: {type: text, description: "How it was paid, as typed; NULL if it is missing."}
  total_amount: {type: numeric, description: "Amount as exported; NULL if it is missing."}
checks:
  severity: warn
  not_null: [transaction_id, customer_id, transaction_date, payment_method, total_amount]
  unique:
    transaction: [transaction_id]
  accepted_values:
    payment_method: [Credit Card, Debit Card, PayPal, Cash, Bank Transfer]
  range:
    total_amount: [0, null]
  foreign_key:
    customer_id: staging.customers.customer_id
  min_rows: {of_previous: 0.5, severity: error}
  date_is_possible:
    severity: warn
    description: A sale happened between 2020, when the shop's calendar begins, and the load_date.
    bad_rows: select * from {this} where transaction_date < '2020-01-01' or transaction_date > load_date
quality: {at_least: 80}
@end */
