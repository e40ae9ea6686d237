select * from {{ source('raw', 'order_products_prior') }}
