/* @asset
description: Sales of all retailers in the same words, each once, without those that wait for a decision. A sale is one product of a transaction.
owner: team:shop
grain: [retailer_id, transaction_id, product_id]
storage: partitions
# One sale in a hundred at most, and never more than 500: beyond that a retailer has changed what its fields mean, and a
# person looks at it first.
quarantine:
  rows: 500
  share: 0.01
  rules:
    not_null: [product_name, category, quantity, unit_price, total_amount, transaction_date]
    range:
      # What a retailer takes back is no sale. Retailers that tell returns as sales below 0 would need a table for them.
      quantity: [1, null]
      unit_price: [0, null]
      total_amount: [0, null]
    # The same product twice in a transaction: records that are alike are one sale that was told twice, and one of them
    # is dropped. If they differ, nobody knows which of them is right, or whether both are, so all are set aside.
    unique:
      conflicting_key: [retailer_id, transaction_id, product_id]
    # A cent is what two roundings may differ by.
    total_is_quantity_times_unit_price:
      bad_rows: select * from {this} where abs(total_amount - quantity * unit_price) > 0.01
    # Each retailer was asked for one day. A sale of another day was told on that day too, or would have to be.
    sold_on_the_load_date:
      bad_rows: select * from {this} where transaction_date <> load_date
quality: {}
time_limit: {minutes: 30}
columns:
  retailer_id: {type: text, description: "Retailer, as in warehouse.dim_retailer."}
  transaction_id: {type: text, description: Identifier of the transaction at the retailer.}
  product_id: {type: text, description: Identifier of the product at the retailer.}
  product_name: {type: text, description: Name of the product.}
  category: {type: text, description: Category of the product.}
  quantity: {type: integer, description: "Number of pieces, at least 1."}
  unit_price: {type: "numeric(16,6)", description: "What one piece cost the customer: after discounts, without tax and shipping."}
  total_amount: {type: "numeric(16,2)", description: "Revenue: what all pieces cost the customer, after discounts, without tax and shipping."}
  transaction_date: {type: date, description: "Day of the sale, in UTC."}
  customer_id: {type: text, description: "Identifier of the customer at the retailer, or unknown."}
  store_id: {type: text, description: "Identifier of the store at the retailer, or unknown."}
  raw_data: {type: json, description: "The record as the retailer told it, letter by letter."}
checks:
  # `is true` lets Postgres compare whole records only where their keys are alike: it reads no other record as jsonb.
  every_sale_of_retailer_1:
    description: Every record of retailer 1 is here, or was told twice.
    reconcile:
      source: raw.retailer_1_sales
      counted: count(*) filter (where retailer_id = 'retailer_1')
      dropped:
        duplicate: |
          exists (
            select 1
            from raw.retailer_1_sales as earlier
            where
              earlier.load_date = %(load_date)s
              and earlier.order_id = retailer_1_sales.order_id
              and earlier.sku = retailer_1_sales.sku
              and earlier.record_no < retailer_1_sales.record_no
              and (earlier.raw_data::jsonb = retailer_1_sales.raw_data::jsonb) is true
          )
  every_sale_of_retailer_2:
    description: Every record of retailer 2 is here, or was told twice.
    reconcile:
      source: raw.retailer_2_sales
      counted: count(*) filter (where retailer_id = 'retailer_2')
      dropped:
        duplicate: |
          exists (
            select 1
            from raw.retailer_2_sales as earlier
            where
              earlier.load_date = %(load_date)s
              and earlier.transaction_number = retailer_2_sales.transaction_number
              and earlier.item_code = retailer_2_sales.item_code
              and earlier.record_no < retailer_2_sales.record_no
              and (earlier.raw_data::jsonb = retailer_2_sales.raw_data::jsonb) is true
          )
  every_sale_of_retailer_3:
    description: Every record of retailer 3 is here, or was told twice.
    reconcile:
      source: raw.retailer_3_sales
      counted: count(*) filter (where retailer_id = 'retailer_3')
      dropped:
        duplicate: |
          exists (
            select 1
            from raw.retailer_3_sales as earlier
            where
              earlier.load_date = %(load_date)s
              and earlier.sale_id = retailer_3_sales.sale_id
              and earlier.product_code = retailer_3_sales.product_code
              and earlier.record_no < retailer_3_sales.record_no
              and (earlier.raw_data::jsonb = retailer_3_sales.raw_data::jsonb) is true
          )
@end */
-- Each branch translates the words of one retailer: this is all that is done to make them alike. A sale to nobody who is
-- known, or in no store that is known, is a sale all the same: it is that of the member unknown, so no join loses it.
with told as (
    -- The price of retailer 1 is before its discount, and its total after it. Six decimals have each digit of the product,
    -- so a rounded price is not multiplied by many pieces.
    select
        'retailer_1' as retailer_id,
        order_id as transaction_id,
        sku as product_id,
        product_name,
        category,
        quantity,
        (price * (1 - coalesce(discount_percentage, 0) / 100))::numeric(16, 6) as unit_price,
        total as total_amount,
        order_date as transaction_date,
        coalesce(customer_id, 'unknown') as customer_id,
        coalesce(store_id, 'unknown') as store_id,
        record_no,
        raw_data
    from raw.retailer_1_sales
    where load_date = %(load_date)s

    union all

    -- The amount of retailer 2 is without tax.
    select
        'retailer_2' as retailer_id,
        transaction_number as transaction_id,
        item_code as product_id,
        item_name as product_name,
        department as category,
        qty as quantity,
        unit_cost::numeric(16, 6) as unit_price,
        amount as total_amount,
        date as transaction_date,
        coalesce(member_id, 'unknown') as customer_id,
        coalesce(location_id, 'unknown') as store_id,
        record_no,
        raw_data
    from raw.retailer_2_sales
    where load_date = %(load_date)s

    union all

    -- The revenue of retailer 3 is without shipping, and its day is that in UTC.
    select
        'retailer_3' as retailer_id,
        sale_id as transaction_id,
        product_code as product_id,
        name as product_name,
        type as category,
        count as quantity,
        price_per_unit::numeric(16, 6) as unit_price,
        revenue as total_amount,
        (timestamp at time zone 'UTC')::date as transaction_date,
        coalesce(buyer_id, 'unknown') as customer_id,
        coalesce(outlet_id, 'unknown') as store_id,
        record_no,
        raw_data
    from raw.retailer_3_sales
    where load_date = %(load_date)s
)

-- Of records that are alike in every field, also in those that are no column here, the first counts.
select distinct on (retailer_id, transaction_id, product_id, raw_data::jsonb)
    retailer_id,
    transaction_id,
    product_id,
    product_name,
    category,
    quantity,
    unit_price,
    total_amount,
    transaction_date,
    customer_id,
    store_id,
    raw_data
from told
order by retailer_id asc, transaction_id asc, product_id asc, raw_data::jsonb asc, record_no asc
