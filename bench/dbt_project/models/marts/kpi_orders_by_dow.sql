select
    order_dow, count(*) as total_orders, avg(items_in_order) as avg_items_per_order,
    avg(has_any_reorder::integer) as pct_orders_with_any_reorder, avg(reorder_item_rate) as avg_reorder_item_rate
from {{ ref('fact_orders') }}
group by order_dow
