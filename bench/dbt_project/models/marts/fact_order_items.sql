select l.order_id, l.product_id, l.add_to_cart_order, l.reordered, o.user_id, o.order_dow, o.order_hour_of_day
from {{ ref('stg_order_products_prior') }} as l
inner join {{ ref('stg_orders') }} as o using (order_id)
