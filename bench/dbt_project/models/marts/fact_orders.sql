with baskets as (
    select order_id, count(*) as items_in_order, sum(reordered) as reordered_items_in_order
    from {{ ref('stg_order_products_prior') }}
    group by order_id
)

select
    o.order_id, o.user_id, o.order_number, o.order_dow, o.order_hour_of_day, o.days_since_prior_order,
    b.items_in_order, b.reordered_items_in_order,
    b.reordered_items_in_order::numeric / b.items_in_order as reorder_item_rate,
    b.reordered_items_in_order > 0 as has_any_reorder
from {{ ref('stg_orders') }} as o
left join baskets as b using (order_id)
