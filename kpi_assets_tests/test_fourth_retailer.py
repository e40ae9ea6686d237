"""A fourth retailer costs files alone: a raw table, a branch, a line, words for its API; and a secret.

It calls everything otherwise, and gives its receipts by pages of its own kind. Addresses and secrets are those of the
environment.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import Settings, settings
from kpi_assets_tests.pipeline_harness import failed
from kpi_assets_tests.retail_apis import RETAIL, Retailers, RetailPipeline

BEFORE, DAY = date(2025, 7, 1), date(2025, 7, 2)  # it opened on DAY
SECRET = "secret-of-retailer-4-a9c2"
RAW = """\
/* @asset
description: Receipts of retailer 4 as its API told them, one row per record.
owner: team:shop
grain: [record_no]
storage: partitions
source:
  object: raw/retailer_4/{load_date:year=%Y/month=%m/day=%d}/sales_data.json
  format: json
  records: receipts
  position: record_no
  whole: raw_data
  null: [""]
  api: retailer_4
  call:
    path: /receipts
    query: {day: "{load_date:%Y%m%d}"}
    pages: {by: offset, parameter: skip, size: {take: 2}}
    total: found
columns:
  receipt_no: {type: text, field: receiptNo, description: Number of the receipt.}
  sold_at: {type: timestamp with time zone, field: soldAt, description: When it was sold.}
  card: {type: text, description: "Number of the customer's card; NULL without one."}
  branch: {type: text, description: Branch that sold it.}
  ean: {type: text, description: Number of the article.}
  title: {type: text, description: Name of the article.}
  kind: {type: text, description: Kind of the article.}
  pieces: {type: integer, description: Number of pieces.}
  each: {type: "numeric(12,2)", description: Price of one piece.}
  sum: {type: "numeric(16,2)", description: Price of all pieces.}
checks:
  not_null: [receipt_no, ean]
  min_rows: {at_least: 0}
  sales_since_it_opened:
    description: From its first day on, a day without sales is held.
    bad_rows: select 1 where %(load_date)s::date >= '2025-07-02' and not exists (select 1 from {this})
@end */
"""
BRANCH = """
    union all

    select
        'retailer_4' as retailer_id,
        receipt_no as transaction_id,
        ean as product_id,
        title as product_name,
        kind as category,
        pieces as quantity,
        each::numeric(16, 6) as unit_price,
        sum as total_amount,
        (sold_at at time zone 'UTC')::date as transaction_date,
        coalesce(card, 'unknown') as customer_id,
        coalesce(branch, 'unknown') as store_id,
        record_no,
        raw_data
    from raw.retailer_4_sales
    where load_date = %(load_date)s
)
"""
RECEIPTS = [
    {"receiptNo": number, "soldAt": f"{DAY}T{hour:02}:30:00+02:00", "card": card, "branch": "Oslo", "ean": ean}
    | {"title": title, "kind": "Fun", "pieces": pieces, "each": 2.50, "sum": pieces * 2.50}
    for number, hour, card, ean, title, pieces in (
        (501, 9, "K-1", "40001", "Kite", 1),
        (501, 9, "K-1", "40002", "Ball", 2),
        (502, 2, "", "40001", "Kite", 3),
        (503, 23, "K-2", "40001", "Kite", 4),
        (503, 23, "K-2", "40001", "Kite", 4),
    )
]


class Receipts(BaseHTTPRequestHandler):
    """Gives the receipts, to those who know the secret."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        found = RECEIPTS if asked.get("day") == f"{DAY:%Y%m%d}" else []
        skip, take = int(asked["skip"]), int(asked["take"])
        answer = {"receipts": found[skip : skip + take], "found": len(found)}
        is_known = parts.path == "/shop/receipts" and self.headers["X-Token"] == SECRET
        self.send_response(200 if is_known else 403)
        self.end_headers()
        self.wfile.write(json.dumps(answer if is_known else {}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    """The address of the fourth retailer, who answers until the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receipts)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/shop"
    server.shutdown()
    server.server_close()


class FourRetailers(RetailPipeline):
    """The pipeline, which finds addresses and secrets in the environment alone."""

    def named(self) -> Settings:
        return settings()


def add(folder: Path) -> None:
    """Add the fourth retailer to the files of the pipeline."""
    (folder / "raw/retailer_4_sales.sql").write_text(RAW)
    for name, before, after in (
        ("pipeline.yaml", "  retailer_3:", '  retailer_4: {headers: {X-Token: "{secret:retailer_4}"}}\n  retailer_3:'),
        ("warehouse/dim_retailer.sql", "'Retailer 3')\n", "'Retailer 3'),\n    ('retailer_4', 'Retailer 4')\n"),
        ("staging/sales.sql", "\n)\n\n-- Of records", f"\n{BRANCH}\n-- Of records"),
        ("staging/sales.sql", "@end */", check_of(folder) + "@end */"),
    ):
        text = (folder / name).read_text()
        assert text.count(before) == 1, (name, before)
        (folder / name).write_text(text.replace(before, after))


def check_of(folder: Path) -> str:
    """The check that counts its records, made of that of retailer 3."""
    text = (folder / "staging/sales.sql").read_text()
    check = text[text.index("  every_sale_of_retailer_3:") : text.index("@end */")]
    words = {"retailer_3": "retailer_4", "retailer 3": "retailer 4", "sale_id": "receipt_no", "product_code": "ean"}
    for word, other in words.items():
        check = check.replace(word, other)
    return check


@pytest.fixture
def four(stack: Stack, retailers: Retailers, tmp_path: Path, url: str) -> Iterator[RetailPipeline]:
    """The pipeline with the fourth retailer, and two days of sales of the others."""
    files = shutil.copytree(RETAIL, tmp_path / "retail")
    add(files)
    with FourRetailers.open(stack, tmp_path / "lab", files) as lab, pytest.MonkeyPatch.context() as patch:
        found = {name: (f"{retailers.url}/{name}", retailers.secrets[name]) for name in retailers.sessions}
        for name, (address, secret) in {**found, "retailer_4": (url, SECRET)}.items():
            patch.setenv(f"KPI_API_URLS__{lab.name}__{name}", address)
            patch.setenv(f"KPI_API_SECRETS__{lab.name}__{name}", secret)
        settings.cache_clear()
        for day in (BEFORE, DAY):
            retailers.fill(day, orders=5)
        assert isinstance(lab, RetailPipeline)
        yield lab
    settings.cache_clear()


@pytest.mark.nightly
def test_its_sales_are_in_the_star_and_the_summaries(four: RetailPipeline) -> None:
    four.run(BEFORE)
    four.run(DAY)

    of_four = "where retailer_id = 'retailer_4'"
    assert four.rows(
        "select transaction_id, product_id, transaction_date, customer_id, store_id, quantity, unit_price, "
        f"total_amount from warehouse.fact_sales {of_four} order by 1, 2"
    ) == [
        ("501", "40001", DAY, "K-1", "Oslo", 1, Decimal("2.5000"), Decimal("2.50")),
        ("501", "40002", DAY, "K-1", "Oslo", 2, Decimal("2.5000"), Decimal("5.00")),
        ("502", "40001", DAY, "unknown", "Oslo", 3, Decimal("2.5000"), Decimal("7.50")),
        ("503", "40001", DAY, "K-2", "Oslo", 4, Decimal("2.5000"), Decimal("10.00")),
    ]
    for period in ("day", "week", "month", "quarter"):
        table = f"warehouse.kpi_sales_{period}"
        assert four.rows(f"select transactions, sales, quantity, revenue from {table} {of_four}") == [
            (3, 4, 10, Decimal("25.00"))
        ], period
        assert four.rows(f"select load_date, count(*) from {table} group by 1 order by 1") == [(BEFORE, 3), (DAY, 4)]
    assert four.rows(f"select product_name, quantity from warehouse.kpi_top_products {of_four} order by 1") == [
        ("Ball", 2),
        ("Kite", 8),
    ]
    assert four.rows("select retailers, quantity from warehouse.kpi_sales_by_category where category = 'Fun'") == [
        (1, 10)
    ]
    assert four.rows(f"select distinct retailer_name from warehouse.dim_retailer {of_four}") == [("Retailer 4",)]


def test_before_it_opened_it_has_no_sales_and_later_that_is_held(four: RetailPipeline) -> None:
    four.run(BEFORE)
    outcome = four.build("raw.retailer_4_sales", DAY + timedelta(days=1))
    assert set(failed(outcome.results)) == {"sales_since_it_opened"}
    assert outcome.held
