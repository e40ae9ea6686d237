/* @asset
description: The retailers whose sales are here.
owner: team:analytics
grain: [retailer_id]
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: "Identifier of the retailer, as a branch of staging.sales gives it."}
  retailer_name: {type: text, description: Name of the retailer.}
checks:
  # No retailer is ever lost: its sales of earlier load_dates are still there.
  min_rows: {of_previous: 1.0}
@end */
select
    retailer_id,
    retailer_name
from (
    values
    ('retailer_1', 'Retailer 1'),
    ('retailer_2', 'Retailer 2'),
    ('retailer_3', 'Retailer 3')
) as retailers (retailer_id, retailer_name)
