/* @asset
description: Customers with their history, as production knows them, one version for each change.
owner: team:shop
grain: [customer_id]
storage: history
history:
  surrogate_key: customer_version
  adds:
    is_active: {type: boolean, value: end_date is null, description: Whether the latest export has the customer so.}
    created_at: {type: date, value: effective_date, description: Day on which the version began.}
    updated_at:
      type: date
      value: coalesce(end_date + 1, effective_date)
      description: "Day on which the version was last touched: it began, or something else came in its place."
columns:
  customer_id: {type: text, description: Identifier of the customer.}
  first_name: {type: text, description: "Given name, or Unknown."}
  last_name: {type: text, description: "Family name, or Unknown."}
  email: {type: text, description: "Address for e-mail, or Unknown."}
  phone: {type: text, description: "Number of the telephone, or Unknown."}
  city: {type: text, description: "City, or Unknown."}
  state: {type: text, description: "State or region, or Unknown."}
  country: {type: text, description: "Country, or Unknown."}
  age_group: {type: text, description: "Age group, or Unknown."}
checks:
  reconcile: {source: production.customers_clean}
@end */
-- The natural key is the key: whatever refers to a customer does so by customer_id. A customer whom the export of a day
-- does not have ends on the day before, and begins again if the customer returns.
select
    customer_id,
    first_name,
    last_name,
    email,
    phone,
    city,
    state,
    country,
    age_group
from production.customers_clean
where load_date = %(load_date)s
