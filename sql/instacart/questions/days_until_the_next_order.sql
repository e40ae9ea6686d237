/* @question
title: After how many days do people order again?
description: Orders by the days since the order before, as a share of all orders that had one.
owner: team:analytics
columns:
  days: {title: Days, labels: {"30": 30 or more}}
  orders: {title: Orders, format: integer}
  share: {title: Share, format: percent1, bar: true}
  share_so_far: {title: Within so many days, format: percent1}
@end */
-- The source counts no further than 30 days: that row has everybody who came back later too. First orders have no order
-- before, and users who never came back are in no row, so this says nothing about how many are lost.
select
    days_since_prior_order as days,
    count(*) as orders,
    count(*) / sum(count(*)) over () as share,
    sum(count(*)) over (order by days_since_prior_order) / sum(count(*)) over () as share_so_far
from marts.fact_orders
where load_date = %(load_date)s and days_since_prior_order is not null
group by days_since_prior_order
order by days asc
