/* @asset
description: Line items of the load_date, each once, cleansed. Each difference to the export is accounted for by a rule.
owner: team:shop
grain: [item_id]
columns:
  item_id: {type: text, description: Identifier of the line item.}
  record_number: {type: bigint, description: Number of the record in the export.}
  transaction_id: {type: text, description: Identifier of its transaction.}
  product_id: {type: text, description: "Identifier of the product as exported; NULL if it is missing."}
  quantity: {type: bigint, description: "Number of pieces, at least 1."}
  unit_price: {type: "numeric(18,2)", description: Price of one piece when it was sold.}
  discount_percentage: {type: "numeric(5,2)", description: "Discount in percent, 0 to 100."}
  line_total: {type: "numeric(24,2)", description: "quantity * unit_price, less the discount."}
checks:
  not_null: [quantity, unit_price, discount_percentage, line_total]
  range:
    quantity: [1, null]
    unit_price: [0, null]
    discount_percentage: [0, 100]
  reconcile:
    source: staging.transaction_items
    on: record_number
    dropped:
      without_id: coalesce(item_id, '') !~ '\S'
      duplicate: |
        item_id ~ '\S' and record_number not in (
          select max(last.record_number)
          from staging.transaction_items as last
          where last.load_date = %(load_date)s
          group by last.item_id
        )
      without_amount: |
        item_id ~ '\S'
        and (quantity > 0 and round(unit_price, 2) >= 0) is not true
        and record_number in (
          select max(last.record_number)
          from staging.transaction_items as last
          where last.load_date = %(load_date)s
          group by last.item_id
        )
      without_transaction: |
        item_id ~ '\S'
        and quantity > 0
        and round(unit_price, 2) >= 0
        and record_number in (
          select max(last.record_number)
          from staging.transaction_items as last
          where last.load_date = %(load_date)s
          group by last.item_id
        )
        and (
          transaction_id in (
            select kept.transaction_id from production.transactions_clean as kept where kept.load_date = %(load_date)s
          )
        ) is not true
    changed:
      discount_missing: discount_percentage is null
      discount_clamped: discount_percentage not between 0 and 100
      amount_rounded: unit_price <> round(unit_price, 2) or discount_percentage <> round(discount_percentage, 2)
      line_total_recomputed: |
        line_total is distinct from round(
          quantity * round(unit_price, 2)
          * (100 - least(greatest(round(coalesce(discount_percentage, 0), 2), 0), 100)) / 100,
          2
        )
@end */
-- Of an item that is there several times, the last record counts.
with latest as (
    select distinct on (item_id)
        item_id,
        record_number,
        transaction_id,
        product_id,
        quantity,
        round(unit_price, 2) as unit_price,
        -- No discount is said, so none was given; one outside of 0 to 100 is moved to the nearer end.
        least(greatest(round(coalesce(discount_percentage, 0), 2), 0), 100) as discount_percentage
    from staging.transaction_items
    where load_date = %(load_date)s and item_id ~ '\S'
    order by item_id asc, record_number desc
)

-- Without a quantity or a price there is no amount, so such a line is no sale. The amount itself is always computed, and
-- what the export says of it is believed only as far as it is the same. Items go with their transaction.
select
    l.item_id,
    l.record_number,
    l.transaction_id,
    l.product_id,
    l.quantity,
    l.unit_price::numeric(18, 2) as unit_price,
    l.discount_percentage::numeric(5, 2) as discount_percentage,
    round(l.quantity * l.unit_price * (100 - l.discount_percentage) / 100, 2)::numeric(24, 2) as line_total
from latest as l
inner join production.transactions_clean as t on l.transaction_id = t.transaction_id
where t.load_date = %(load_date)s and l.quantity > 0 and l.unit_price >= 0
