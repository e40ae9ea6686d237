/* @asset
description: Transactions with their history; their amount is what their line items add up to.
owner: team:shop
grain: [transaction_id]
storage: history
history:
  surrogate_key: transaction_version
  adds:
    is_active: {type: boolean, value: end_date is null, description: Whether the latest export has the transaction so.}
    created_at: {type: date, value: effective_date, description: Day on which the version began.}
    updated_at:
      type: date
      value: coalesce(end_date + 1, effective_date)
      description: "Day on which the version was last touched: it began, or something else came in its place."
columns:
  transaction_id: {type: text, description: Identifier of the transaction.}
  customer_id: {type: text, description: "Identifier of the customer as exported; NULL if it is missing."}
  sale_date: {type: date, description: Day of the sale.}
  payment_method: {type: text, description: "How it was paid, or Unknown."}
  total_amount: {type: "numeric(30,2)", description: "Sum of line_total of its items; 0 if it has none."}
checks:
  not_null: [sale_date, payment_method, total_amount]
  # A customer whom no export ever had: the sale is kept and counted.
  foreign_key: {customer_id: production.customers.customer_id, severity: warn}
  reconcile:
    source: production.transactions_clean
    on: transaction_id
    changed:
      total_recomputed: |
        (
          (transaction_id, total_amount) in (
            select
              i.transaction_id,
              sum(i.line_total)
            from production.items_clean as i
            where i.load_date = %(load_date)s
            group by i.transaction_id
          )
        ) is not true
  all_amounts_are_here:
    description: The amounts of all line items are here.
    reconcile: {source: production.items_clean, sum: line_total, here: total_amount}
@end */
with totals as (
    select
        transaction_id,
        sum(line_total) as total_amount
    from production.items_clean
    where load_date = %(load_date)s
    group by transaction_id
)

select
    t.transaction_id,
    t.customer_id,
    t.transaction_date as sale_date,
    t.payment_method,
    coalesce(s.total_amount, 0)::numeric(30, 2) as total_amount
from production.transactions_clean as t
left join totals as s on t.transaction_id = s.transaction_id
where t.load_date = %(load_date)s
