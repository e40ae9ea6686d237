/* @question
title: How healthy were the last days?
description: What readers see of the last seven days, how long they took, and which checks did not pass.
owner: team:analytics
lookback: 7
columns:
  run_date: {title: Day}
  orders_count: {title: Orders, format: integer}
  events_count: {title: Events, format: integer}
  users_count: {title: Users, format: integer}
  runtime_seconds: {title: Seconds, format: decimal1, bar: true}
  dq_failed_count: {title: Checks not passed, format: integer, description: Those that warned are counted too.}
@end */
-- What is recorded at the moment of asking, not as it was on the load_date: a load_date that was held and corrected since is
-- there with what readers see now. One that is not published has no counts.
select
    run_date,
    orders_count,
    events_count,
    users_count,
    runtime_seconds,
    dq_failed_count
from warehouse.daily_metrics
where run_date between %(window_start)s and %(load_date)s
order by run_date desc
