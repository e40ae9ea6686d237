/* @asset
description: Transactions of the load_date, each once, cleansed. Each difference to the export is accounted for by a rule.
owner: team:shop
grain: [transaction_id]
columns:
  transaction_id: {type: text, description: Identifier of the transaction.}
  record_number: {type: bigint, description: Number of the record in the export.}
  customer_id: {type: text, description: "Identifier of the customer as exported; NULL if it is missing."}
  transaction_date: {type: date, description: Day of the sale.}
  total_amount: {type: numeric, description: "Amount as exported; NULL if it is missing. Its items say what counts."}
  payment_method: {type: text, description: "How it was paid: one of the five known methods, or Unknown."}
checks:
  not_null: [transaction_date]
  accepted_values:
    payment_method: [Credit Card, Debit Card, PayPal, Cash, Bank Transfer, Unknown]
  reconcile:
    source: staging.transactions
    on: record_number
    dropped:
      without_id: coalesce(transaction_id, '') !~ '\S'
      duplicate: |
        transaction_id ~ '\S' and record_number not in (
          select max(last.record_number)
          from staging.transactions as last
          where last.load_date = %(load_date)s
          group by last.transaction_id
        )
      date_impossible: |
        transaction_id ~ '\S'
        and (transaction_date between '2020-01-01' and %(load_date)s) is not true
        and record_number in (
          select max(last.record_number)
          from staging.transactions as last
          where last.load_date = %(load_date)s
          group by last.transaction_id
        )
    changed:
      payment_method_unknown: |
        coalesce(lower(btrim(payment_method)), '')
        not in ('credit card', 'debit card', 'paypal', 'cash', 'bank transfer')
      payment_method_standardised: payment_method not in ('Credit Card', 'Debit Card', 'PayPal', 'Cash', 'Bank Transfer')
@end */
-- Of a transaction that is there several times, the last record counts, even if it is the one without a date.
with latest as (
    select distinct on (transaction_id)
        transaction_id,
        record_number,
        customer_id,
        transaction_date,
        payment_method,
        total_amount
    from staging.transactions
    where load_date = %(load_date)s and transaction_id ~ '\S'
    order by transaction_id asc, record_number desc
)

-- A sale without a day cannot be counted on any, one of tomorrow has not happened, and before 2020, when the calendar of
-- warehouse.dim_date begins, there was no shop: such a date is a mistake, and a rule accounts for what is dropped. That
-- nobody knows the customer is no reason to drop a sale, because its revenue is real.
select
    transaction_id,
    record_number,
    customer_id,
    transaction_date,
    total_amount,
    case lower(btrim(payment_method))
        when 'credit card' then 'Credit Card'
        when 'debit card' then 'Debit Card'
        when 'paypal' then 'PayPal'
        when 'cash' then 'Cash'
        when 'bank transfer' then 'Bank Transfer'
        else 'Unknown'
    end as payment_method
from latest
where transaction_date between '2020-01-01' and %(load_date)s
