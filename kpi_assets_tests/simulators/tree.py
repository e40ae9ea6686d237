"""A tree of pipelines whose APIs are simulated: the words of each API, and a raw table of one."""

from pathlib import Path

PIPELINES = {
    "retail": """
description: The sales of three retailers.
bucket: kpi-retail
start_date: 2025-07-01
layers: {raw: raw}
apis:
  retailer_1: {headers: {Authorization: "Bearer {secret:retailer_1}"}}
  retailer_2: {headers: {X-API-Key: "{secret:retailer_2}"}}
  retailer_3: {body: {apikey: "{secret:retailer_3}"}}
""",
    "ecommerce": """
description: The products of a shop.
bucket: kpi-ecommerce
start_date: 2025-06-01
layers: {raw: raw}
apis: {products: {headers: {X-API-Key: "{secret:products}"}}}
""",
}
FILES = {
    "retail/raw/retailer_1_sales": """/* @asset
description: The sales of a retailer as they were received.
owner: team:analytics
grain: [record_no]
source:
  object: raw/retailer_1/{load_date:year=%Y/month=%m/day=%d}/sales_data.json
  format: json
  records: data
  position: record_no
  api: retailer_1
  call:
    path: /sales
    query: {start_date: "{load_date}", end_date: "{load_date}"}
    pages: {by: page, parameter: page, size: {limit: 500}}
    total: total
columns:
  order_id: {type: text, description: Sale.}
@end */
""",
    "ecommerce/raw/products_json": """/* @asset
description: The products as they were received.
owner: team:analytics
grain: [record_no]
source:
  object: products/{load_date}/products.json
  format: json
  records: products
  position: record_no
  api: products
  call: {path: /products, query: {date: "{load_date}"}, total: total}
columns:
  product_id: {type: integer, description: Product.}
@end */
""",
}


def write_tree(sql: Path) -> Path:
    """Write the tree below a folder, and return the folder."""
    texts = {f"{name}/pipeline.yaml": text for name, text in PIPELINES.items()}
    texts |= {f"{name}.sql": text for name, text in FILES.items()}
    for name, text in texts.items():
        path = sql / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sql
