select p.product_id, p.product_name, p.aisle_id, a.aisle, p.department_id, d.department
from {{ source('raw', 'products') }} as p
left join {{ source('raw', 'aisles') }} as a using (aisle_id)
left join {{ source('raw', 'departments') }} as d using (department_id)
