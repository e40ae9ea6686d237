/* @asset
description: Products with the history of what sales are analysed by.
owner: team:analytics
grain: [product_id]
storage: history
history: {surrogate_key: product_sk}
# What is selected is tracked: another value makes another version. So there is no stock here; production.products has it.
columns:
  product_id: {type: text, description: Identifier of the product.}
  name: {type: text, description: "Name, or Unknown."}
  category: {type: text, description: "Category, or Unknown."}
  sub_category: {type: text, description: "Category below it, or Unknown."}
  brand: {type: text, description: "Brand, or Unknown."}
  price: {type: "numeric(18,2)", description: "Price of one piece, above 0; NULL if it is unknown."}
  cost: {type: "numeric(18,2)", description: "What one piece costs the shop, below its price; NULL if it is unknown."}
  supplier_id: {type: text, description: "Identifier of the supplier, or Unknown."}
checks:
  reconcile: {source: production.products}
@end */
select
    product_id,
    name,
    category,
    sub_category,
    brand,
    price,
    cost,
    supplier_id
from production.products
where is_current
