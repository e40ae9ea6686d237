/* @asset
description: Every session of which the load_date had a click, as far as it is known from this load_date and the one before.
owner: team:analytics
grain: [session_id]
storage: partitions
versions: latest
lookback: {days: 2, rows: all}
refresh: {minutes: 5}
time_limit: {minutes: 30}
columns:
  session_id: {type: text, description: Session.}
  user_id: {type: bigint, description: "Customer who was logged in last; NULL if nobody was."}
  started_at: {type: timestamp with time zone, description: When its first click happened.}
  last_at: {type: timestamp with time zone, description: When its last click happened.}
  user_last_at: {type: timestamp with time zone, description: "When the last click of a customer happened who was logged in; NULL if nobody was.", pii: none}
  page_views: {type: bigint, description: Number of pages that were viewed.}
  adds_to_cart: {type: bigint, description: How often something was put into the cart.}
  checkouts: {type: bigint, description: How often the checkout was begun.}
checks:
  every_session_is_here:
    description: Every session of which the load_date had a click is here.
    bad_rows: |
      select e.session_id
      from stg.clicks as e
      where
        e.load_date = %(load_date)s
        and e.event_type in ('page_view', 'add_to_cart', 'checkout')
        and not exists (select 1 from {this} as t where t.session_id = e.session_id)
      group by e.session_id
@end */
with touched as (
    select distinct session_id
    from stg.clicks
    where load_date = %(load_date)s
)

select
    c.session_id,
    (array_agg(c.user_id order by c.event_at desc, c.event_id desc) filter (where c.user_id is not null))[1] as user_id,
    min(c.event_at) as started_at,
    max(c.event_at) as last_at,
    max(c.event_at) filter (where c.user_id is not null) as user_last_at,
    count(*) filter (where c.event_type = 'page_view') as page_views,
    count(*) filter (where c.event_type = 'add_to_cart') as adds_to_cart,
    count(*) filter (where c.event_type = 'checkout') as checkouts
from stg.clicks as c
inner join touched as t on c.session_id = t.session_id
where
    c.load_date between %(window_start)s and %(load_date)s
    and c.event_type in ('page_view', 'add_to_cart', 'checkout')
group by c.session_id
