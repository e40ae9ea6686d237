/* @asset
description: Products with their history, as production knows them, one version for each change.
owner: team:shop
grain: [product_id]
storage: history
history:
  surrogate_key: product_version
  adds:
    is_active: {type: boolean, value: end_date is null, description: Whether the latest export has the product so.}
    created_at: {type: date, value: effective_date, description: Day on which the version began.}
    updated_at:
      type: date
      value: coalesce(end_date + 1, effective_date)
      description: "Day on which the version was last touched: it began, or something else came in its place."
  # The stock changes with every sale, so on a good day most products do. warehouse.dim_products has no stock, and there
  # the usual limit holds a delivery whose columns were mixed up.
  max_changed: 1
columns:
  product_id: {type: text, description: Identifier of the product.}
  name: {type: text, description: "Name, or Unknown."}
  category: {type: text, description: "Category, or Unknown."}
  sub_category: {type: text, description: "Category below it, or Unknown."}
  brand: {type: text, description: "Brand, or Unknown."}
  price: {type: "numeric(18,2)", description: "Price of one piece, above 0; NULL if it is unknown."}
  cost: {type: "numeric(18,2)", description: "What one piece costs the shop, below its price; NULL if it is unknown."}
  stock_quantity: {type: bigint, description: "Pieces in stock, from 0; NULL if it is unknown."}
  supplier_id: {type: text, description: "Identifier of the supplier, or Unknown."}
checks:
  reconcile: {source: production.products_clean}
@end */
select
    product_id,
    name,
    category,
    sub_category,
    brand,
    price,
    cost,
    stock_quantity,
    supplier_id
from production.products_clean
where load_date = %(load_date)s
