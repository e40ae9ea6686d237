/* @question
title: Where do shoppers leave?
description: Users of the day at each step from a view to a purchase.
owner: team:shop
columns:
  step: {title: Step, labels: {"1": Viewed, "2": Put into the cart, "3": Checked out, "4": Purchased}}
  users: {title: Users, format: integer, bar: true}
  share_of_step_before: {title: Of the step before, format: percent1}
  share_of_viewers: {title: Of all who viewed, format: percent1}
@end */
-- Only events of the day itself count: users of several days cannot be added up, since one may come on two of them. Events
-- of the day that come with a later load_date are missing here. A user of a step has done all steps before it on that day.
with steps as (
    select
        s.step,
        s.users,
        f.viewed_users,
        lag(s.users) over (order by s.step) as users_before
    from warehouse.kpi_conversion_funnel as f
    cross join
        lateral (
            values
            (1, f.viewed_users),
            (2, f.carted_users),
            (3, f.checked_out_users),
            (4, f.purchased_users)
        ) as s (step, users)
    where f.load_date = %(load_date)s and f.event_date = %(load_date)s::date
)

select
    step,
    users,
    users::numeric / nullif(users_before, 0) as share_of_step_before,
    users::numeric / nullif(viewed_users, 0) as share_of_viewers
from steps
order by step asc
