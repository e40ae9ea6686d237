/* @asset
description: One row per line item that was sold, with the customer and the product as they were on the day of the sale.
owner: team:analytics
grain: [item_id]
storage: history
history: {surrogate_key: sales_key}
columns:
  item_id: {type: text, description: Identifier of the line item.}
  transaction_id: {type: text, description: Identifier of its transaction.}
  date_sk: {type: integer, description: "Day of the sale, yyyymmdd."}
  customer_sk: {type: bigint, description: "Version of the customer; NULL if no export ever had the customer."}
  product_sk: {type: bigint, description: "Version of the product; NULL if no export ever had the product."}
  payment_method_sk: {type: bigint, description: How it was paid.}
  quantity: {type: bigint, description: "Number of pieces, at least 1."}
  unit_price: {type: "numeric(18,2)", description: Price of one piece when it was sold.}
  discount_percentage: {type: "numeric(5,2)", description: "Discount in percent, 0 to 100."}
  line_total: {type: "numeric(24,2)", description: "Revenue: quantity * unit_price, less the discount."}
  cost: {type: "numeric(24,2)", description: "What the pieces cost the shop, by that version of the product; NULL if it is unknown."}
  profit: {type: "numeric(24,2)", description: "line_total less cost; NULL if the cost is unknown."}
checks:
  not_null: [transaction_id, date_sk, payment_method_sk, quantity, unit_price, discount_percentage, line_total]
  foreign_key:
    date_sk: warehouse.dim_date.date_sk
    customer_sk: warehouse.dim_customers.customer_sk
    product_sk: warehouse.dim_products.product_sk
    payment_method_sk: warehouse.dim_payment_method.payment_method_sk
  reconcile: {source: production.transaction_items, sum: line_total}
  every_item_is_here:
    description: Every line item is a sale.
    reconcile: {source: production.transaction_items}
  customer_and_product_are_known:
    severity: warn
    dimension: referential_integrity
    description: The customer and the product of a sale are known.
    bad_rows: select * from {this} where customer_sk is null or product_sk is null
indexes:
  by_date: [date_sk]
  by_customer: [customer_sk]
  by_product: [product_sk]
@end */
-- A sale takes the version of its customer that was current on its day: the last one that had begun by then. So a sale in
-- a gap, while the customer was deleted, takes the version before the gap. Versions begin on the load_date that first
-- delivered them, so a sale of the years before the first load_date takes the first version there is. Products alike.
-- A sale whose customer or product no export ever had is kept without it, because dropping it would lose its revenue in
-- silence; a check counts such sales.
-- All this is as known on the load_date: a correction of an earlier one makes this one stale, and it is built again.
select
    i.item_id,
    i.transaction_id,
    d.date_sk,
    c.customer_sk,
    p.product_sk,
    m.payment_method_sk,
    i.quantity,
    i.unit_price,
    i.discount_percentage,
    i.line_total,
    (i.quantity * p.cost)::numeric(24, 2) as cost,
    (i.line_total - i.quantity * p.cost)::numeric(24, 2) as profit
from production.transaction_items as i
inner join production.transactions as t on i.transaction_id = t.transaction_id and t.is_current
inner join warehouse.dim_date as d on t.sale_date = d.date and d.is_current
inner join warehouse.dim_payment_method as m on t.payment_method = m.payment_method and m.is_current
left join lateral (
    select v.customer_sk
    from warehouse.dim_customers as v
    where v.customer_id = t.customer_id
    order by
        v.effective_date <= t.sale_date desc,
        case when v.effective_date <= t.sale_date then v.effective_date end desc,
        v.effective_date asc
    limit 1
) as c on true
left join lateral (
    select
        v.product_sk,
        v.cost
    from warehouse.dim_products as v
    where v.product_id = i.product_id
    order by
        v.effective_date <= t.sale_date desc,
        case when v.effective_date <= t.sale_date then v.effective_date end desc,
        v.effective_date asc
    limit 1
) as p on true
where i.is_current
