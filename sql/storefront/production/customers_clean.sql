/* @asset
description: Customers of the load_date, each once, cleansed. Each difference to the export is accounted for by a rule.
owner: team:shop
grain: [customer_id]
columns:
  customer_id: {type: text, description: Identifier of the customer.}
  record_number: {type: bigint, description: Number of the record in the export.}
  first_name: {type: text, description: "Given name with a capital, or Unknown."}
  last_name: {type: text, description: "Family name with a capital, or Unknown."}
  email: {type: text, description: "Address for e-mail in lower case, or Unknown."}
  phone: {type: text, description: "Number of the telephone, or Unknown."}
  city: {type: text, description: "City with a capital, or Unknown."}
  state: {type: text, description: "State or region, or Unknown."}
  country: {type: text, description: "Country, or Unknown."}
  age_group: {type: text, description: "Age group, or Unknown."}
checks:
  reconcile:
    source: staging.customers
    on: record_number
    dropped:
      without_id: coalesce(customer_id, '') !~ '\S'
      duplicate: |
        customer_id ~ '\S' and record_number not in (
          select max(last.record_number)
          from staging.customers as last
          where last.load_date = %(load_date)s
          group by last.customer_id
        )
    changed:
      text_missing: |
        exists (
          select 1
          from unnest(array[first_name, last_name, email, phone, city, state, country, age_group]) as field (value)
          where coalesce(field.value, '') !~ '\S'
        )
      blanks_removed: |
        exists (
          select 1
          from unnest(array[first_name, last_name, email, phone, city, state, country, age_group]) as field (value)
          where field.value ~ '^\s|\s$|\s\s|[\t\n\r]'
        )
      name_standardised: first_name <> initcap(first_name) or last_name <> initcap(last_name)
      city_standardised: city <> initcap(city)
      email_in_lower_case: email <> lower(email)
@end */
-- Of a customer that is there several times, the last record counts: the end of an export is its latest word.
with latest as (
    select distinct on (customer_id)
        customer_id,
        record_number,
        btrim(regexp_replace(first_name, '\s+', ' ', 'g')) as first_name,
        btrim(regexp_replace(last_name, '\s+', ' ', 'g')) as last_name,
        btrim(regexp_replace(email, '\s+', ' ', 'g')) as email,
        btrim(regexp_replace(phone, '\s+', ' ', 'g')) as phone,
        btrim(regexp_replace(city, '\s+', ' ', 'g')) as city,
        btrim(regexp_replace(state, '\s+', ' ', 'g')) as state,
        btrim(regexp_replace(country, '\s+', ' ', 'g')) as country,
        btrim(regexp_replace(age_group, '\s+', ' ', 'g')) as age_group
    from staging.customers
    where load_date = %(load_date)s and customer_id ~ '\S'
    order by customer_id asc, record_number desc
)

-- Names and cities get their capitals. States and countries keep their letters, because CA and USA are written so.
select
    customer_id,
    record_number,
    coalesce(initcap(nullif(first_name, '')), 'Unknown') as first_name,
    coalesce(initcap(nullif(last_name, '')), 'Unknown') as last_name,
    coalesce(lower(nullif(email, '')), 'Unknown') as email,
    coalesce(nullif(phone, ''), 'Unknown') as phone,
    coalesce(initcap(nullif(city, '')), 'Unknown') as city,
    coalesce(nullif(state, ''), 'Unknown') as state,
    coalesce(nullif(country, ''), 'Unknown') as country,
    coalesce(nullif(age_group, ''), 'Unknown') as age_group
from latest
