select
    i.product_id, p.product_name, count(*) as orders_with_product, sum(i.reordered) as times_reordered,
    sum(i.reordered)::numeric / count(*) as product_reorder_rate
from {{ ref('fact_order_items') }} as i
left join {{ ref('dim_products') }} as p using (product_id)
group by i.product_id, p.product_name
