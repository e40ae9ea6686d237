/* @asset
description: Revenue by day and category, of the orders that the load_date delivered.
owner: team:shop
grain: [order_date, category]
kpi:
  title: Revenue by category
  chart: {x: category, y: paid_revenue}
  measures:
    revenue:
      title: Revenue
      value: sum(paid_revenue)
      description: Amount of the paid orders that the load_date delivered, late ones among them.
      format: decimal2
      better: up
      alert: {change: {more_than: 0.5}}
    orders:
      title: Orders
      value: sum(orders)
      description: Orders that the load_date delivered, whatever their status.
      unit: orders
      better: up
    order_value:
      title: Value of an order
      value: sum(gross_revenue) / sum(orders)
      description: Amount of all orders by their number, whatever their status.
      format: decimal2
      better: up
    paid_share:
      title: Paid
      value: sum(paid_revenue) / sum(gross_revenue)
      description: Share of the amount of all orders that is paid.
      format: percent1
      unit: of the amount
      better: up
      alert: {below: 0.5, for: 2 load_dates}
    refunded_share:
      title: Refunded
      value: sum(refunded_revenue) / sum(gross_revenue)
      description: Share of the amount of all orders that was refunded.
      format: percent1
      unit: of the amount
      better: down
    late_share:
      title: Late orders
      value: coalesce(sum(orders) filter (where order_date < load_date), 0) / sum(orders)
      description: Share of the orders that were placed on a day before the load_date that delivered them.
      format: percent1
      unit: of orders
      better: down
time_limit: {minutes: 30}
columns:
  order_date: {type: date, description: "Day on which the orders were placed, in UTC. Late orders have a row of their own day."}
  category: {type: text, description: "Category of the product; unknown for accepted orders of a product that no list has."}
  orders: {type: bigint, description: "Number of orders, whatever their status."}
  gross_revenue: {type: "numeric(30,2)", description: Amount of all orders as ordered.}
  paid_revenue: {type: "numeric(30,2)", description: "Revenue: the amount of the paid orders."}
  cancelled_revenue: {type: "numeric(30,2)", description: Amount of the cancelled orders.}
  refunded_revenue: {type: "numeric(30,2)", description: Amount of the refunded orders.}
  pending_revenue: {type: "numeric(30,2)", description: Amount of the orders that are not paid yet.}
  avg_order_value: {type: "numeric(22,2)", description: Mean amount of the paid orders; NULL if there is none.}
checks:
  reconcile: {source: warehouse.fact_orders, counted: sum(orders)}
  gross_revenue_is_all_revenue:
    description: The amounts of all orders are here.
    reconcile: {source: warehouse.fact_orders, sum: revenue, here: gross_revenue}
  paid_revenue_is_all_paid_revenue:
    description: The amounts of all paid orders are here.
    reconcile: {source: warehouse.fact_orders, sum: paid_revenue}
  gross_revenue_is_the_sum_of_its_parts:
    description: An order is in one of four states. One that was accepted in another state has no column here.
    bad_rows: |
      select * from {this}
      where gross_revenue <> paid_revenue + cancelled_revenue + refunded_revenue + pending_revenue
@end */
-- Left join: an order of a product that no list has is here only if a person accepted it, and then it counts.
select
    o.order_date,
    coalesce(p.category, 'unknown') as category,
    count(*) as orders,
    sum(o.revenue)::numeric(30, 2) as gross_revenue,
    sum(o.paid_revenue)::numeric(30, 2) as paid_revenue,
    coalesce(sum(o.revenue) filter (where o.status = 'cancelled'), 0)::numeric(30, 2) as cancelled_revenue,
    coalesce(sum(o.revenue) filter (where o.status = 'refunded'), 0)::numeric(30, 2) as refunded_revenue,
    coalesce(sum(o.revenue) filter (where o.status = 'pending'), 0)::numeric(30, 2) as pending_revenue,
    avg(o.revenue) filter (where o.status = 'paid')::numeric(22, 2) as avg_order_value
from warehouse.fact_orders as o
left join warehouse.dim_product as p using (load_date, product_id)
where o.load_date = %(load_date)s
group by o.order_date, coalesce(p.category, 'unknown')
