/* @asset
description: Customers as the shop exported them on the day, all of them, one row per record.
owner: team:shop
grain: [record_number]
source:
  object: staging/customers/load_date={load_date}/customers.csv
  format: csv
  position: record_number
# Who asks to be erased is gone from all exports, and from what production and the warehouse know of customers.
subject: {customer: customer_id}
# A record that cannot be read at all; a bad value in one that can be read is counted below and cleansed later.
quarantine: {rows: 20}
columns:
  customer_id: {type: text, description: "Identifier of the customer; NULL if the export has none.", pii: id}
  first_name: {type: text, description: "Given name as typed; NULL if it is missing.", pii: name}
  last_name: {type: text, description: "Family name as typed; NULL if it is missing.", pii: name}
  email: {type: text, description: "Address for e-mail as typed; NULL if it is missing.", pii: email}
  phone: {type: text, description: "Number of the telephone as typed; NULL if it is missing.", pii: phone}
  city: {type: text, description: "City as typed; NULL if it is missing."}
  state: {type: text, description: "State or region as typed; NULL if it is missing."}
  country: {type: text, description: "Country as typed; NULL if it is missing."}
  age_group: {type: text, description: "Age group, such as 25-34; NULL if it is missing."}
checks:
  # The words of this file measure the delivery and let it pass: production cleanses it, and accounts for each change.
  severity: warn
  not_null: [customer_id, first_name, last_name, email, phone, city, state, country, age_group]
  unique:
    customer: [customer_id]
  accepted_values:
    age_group: [18-24, 25-34, 35-44, 45-54, 55-64, 65+]
  # Each load_date delivers all customers, so one with less than half of the previous number must have lost some.
  min_rows: {of_previous: 0.5, severity: error}
  email_is_an_address:
    severity: warn
    description: An address for e-mail has a name, an @ and a domain.
    bad_rows: select * from {this} where email !~ '^[^@\s]+@[^@\s]+\.[^@\s]+$'
  names_have_one_form:
    severity: warn
    dimension: consistency
    description: Names are written with capitals as names are, without blanks around them.
    bad_rows: |
      select * from {this}
      where
        first_name <> initcap(btrim(regexp_replace(first_name, '\s+', ' ', 'g')))
        or last_name <> initcap(btrim(regexp_replace(last_name, '\s+', ' ', 'g')))
# Below this, a delivery is not dirty but wrong, and a person looks at it before anything is made of it.
quality: {at_least: 80}
@end */
