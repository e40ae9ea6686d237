/* @asset
description: One row per order, with its basket's reorder metrics.
owner: team:analytics
grain: [order_id]
storage: partitions
# Every load_date delivers the whole history of each user. So over a window an order counts once, as delivered last.
versions: latest
columns:
  order_id: {type: integer, description: Identifier of the order.}
  user_id: {type: integer, description: Identifier of the user who placed the order.}
  order_number: {type: smallint, description: "Sequence number of the order within the user's history, starting at 1."}
  order_dow: {type: smallint, description: "Day of the week of the order, 0 to 6."}
  order_hour_of_day: {type: smallint, description: "Hour of the day of the order, 0 to 23."}
  days_since_prior_order:
    {type: smallint, description: "Days since the user's previous order, at most 30; NULL for the first order of a user."}
  items_in_order: {type: integer, description: "Number of lines in the basket; NULL if the lines are not delivered."}
  reordered_items_in_order:
    {type: integer, description: "Number of lines whose product the user had ordered before; NULL if the lines are not delivered."}
  reorder_item_rate:
    {type: "numeric(13,12)", description: "reordered_items_in_order / items_in_order, 0 to 1; NULL if the lines are not delivered."}
  has_any_reorder: {type: boolean, description: "Whether any line is a reorder; NULL if the lines are not delivered."}
checks:
  reconcile: {source: stg.stg_orders}
  range:
    reorder_item_rate: [0, 1]
    items_in_order: [1, null]
  every_line_counted:
    description: The baskets' lines add up to the lines that were delivered.
    reconcile: {source: stg.stg_order_products_prior, counted: sum(items_in_order)}
  prior_orders_without_lines:
    severity: warn
    description: A prior order whose lines did not come; it counts as an order, and its basket stays unknown.
    bad_rows: |
      select o.order_id
      from {this} as t
      inner join stg.stg_orders as o using (load_date, order_id)
      where o.eval_set = 'prior' and t.items_in_order is null
@end */
-- Train and test orders have no lines in order_products_prior: their baskets are unknown, not empty. So the columns of
-- the basket are NULL for them, because a 0 would lower every average over baskets.
with baskets as (
    select
        order_id,
        count(*)::integer as items_in_order,
        sum(reordered)::integer as reordered_items_in_order
    from stg.stg_order_products_prior
    where load_date = %(load_date)s
    group by order_id
)

select
    o.order_id,
    o.user_id,
    o.order_number,
    o.order_dow,
    o.order_hour_of_day,
    o.days_since_prior_order,
    b.items_in_order,
    b.reordered_items_in_order,
    (b.reordered_items_in_order::numeric(22, 12) / b.items_in_order)::numeric(13, 12) as reorder_item_rate,
    b.reordered_items_in_order > 0 as has_any_reorder
from stg.stg_orders as o
left join baskets as b on o.order_id = b.order_id
where o.load_date = %(load_date)s
