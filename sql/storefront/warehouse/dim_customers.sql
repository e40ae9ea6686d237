/* @asset
description: Customers with the history of what marketing segments by.
owner: team:analytics
grain: [customer_id]
storage: history
# The number of a version is a hash of the customer and a day. Whoever has a list of customers can compute it, so it is
# personal, here and in the facts.
history: {surrogate_key: customer_sk}
# What is selected is tracked: another value makes another version. So there is no e-mail and no telephone here, whose
# change is no other customer; production.customers has them.
columns:
  customer_id: {type: text, description: Identifier of the customer.}
  first_name: {type: text, description: "Given name, or Unknown."}
  last_name: {type: text, description: "Family name, or Unknown."}
  city: {type: text, description: "City, or Unknown."}
  state: {type: text, description: "State or region, or Unknown."}
  country: {type: text, description: "Country, or Unknown."}
  age_group: {type: text, description: "Age group, or Unknown."}
checks:
  reconcile: {source: production.customers}
@end */
select
    customer_id,
    first_name,
    last_name,
    city,
    state,
    country,
    age_group
from production.customers
where is_current
