/* @asset
description: Every payment method that a sale ever had, and Unknown.
owner: team:analytics
grain: [payment_method]
storage: history
history: {surrogate_key: payment_method_sk}
columns:
  payment_method: {type: text, description: Name of the method.}
@end */
-- All versions of all transactions count, not only the current ones: a method stays although its last sale was deleted.
select payment_method
from production.transactions

union

select 'Unknown' as payment_method
