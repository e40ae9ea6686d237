/* @asset
description: What each customer whom an export ever had has bought, over all days and all versions of the customer.
owner: team:analytics
grain: [customer_id]
storage: history
# Only who bought since the load_date before gets a version. On a good day that may be most customers.
history: {surrogate_key: customer_lifetime_sk, max_changed: 1}
columns:
  customer_id: {type: text, description: Identifier of the customer.}
  transactions: {type: bigint, description: Number of transactions with at least one line item.}
  revenue: {type: "numeric(30,2)", description: Sum of line_total.}
  first_sale: {type: date, description: "Day of the first sale; NULL without any."}
  last_sale: {type: date, description: "Day of the last sale; NULL without any."}
  average_basket: {type: "numeric(24,2)", description: "Mean revenue of a transaction; NULL without any."}
checks:
  # The sales of customers whom no export ever had are in agg_daily_sales, and here in the accounting.
  reconcile:
    source: warehouse.fact_sales
    sum: line_total
    here: revenue
    dropped:
      customer_unknown: customer_sk is null
  last_sale_is_not_before_first:
    description: No customer bought last before the first sale.
    bad_rows: select * from {this} where last_sale < first_sale
@end */
-- A customer who is deleted keeps the sales, and stays here with them.
select
    c.customer_id,
    count(distinct s.transaction_id) as transactions,
    coalesce(sum(s.line_total), 0)::numeric(30, 2) as revenue,
    min(d.date) as first_sale,
    max(d.date) as last_sale,
    (sum(s.line_total) / nullif(count(distinct s.transaction_id), 0))::numeric(24, 2) as average_basket
from warehouse.dim_customers as c
left join warehouse.fact_sales as s on c.customer_sk = s.customer_sk and s.is_current
left join warehouse.dim_date as d on s.date_sk = d.date_sk and d.is_current
group by c.customer_id
