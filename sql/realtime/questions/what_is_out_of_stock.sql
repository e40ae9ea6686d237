/* @question
title: What is sold out and still asked for?
description: Products that are out of stock in a warehouse, with what was sold of them within the last hour.
owner: team:shop
parameters:
  sold_at_least: {title: With at least so many pieces sold, type: integer, default: 0, range: [0, 1000000]}
columns:
  sku: {title: Product}
  warehouse_id: {title: Warehouse}
  quantity: {title: Pieces, format: integer, description: "Below 0, more was sold than was there."}
  sold_last_hour: {title: Sold in the hour, format: integer, bar: true}
  counted_at: {title: Counted}
@end */
-- A product that was not counted for a week is unknown and not here: nobody knows that it is out. The hour ends with the
-- newest event.
select
    sku,
    warehouse_id,
    quantity,
    sold_last_hour,
    counted_at
from marts.kpi_stock
where load_date = %(load_date)s and is_out and sold_last_hour >= %(sold_at_least)s
order by sold_last_hour desc, sku asc, warehouse_id asc
limit 50
