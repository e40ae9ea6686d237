"""Bad data: each fault of the sample generator, and each missing object, is named by the gate that holds it.

One backfill runs over a load_date for each fault; its output is split by load_date.
"""

import json
from datetime import date, timedelta
from typing import Any

import pytest

from kpi_assets.model import written
from kpi_assets.samples import GENERATORS
from kpi_assets_tests.cli.command import CliHarness, key

FIRST = date(2025, 2, 1)
# Faults that do not hide each other share a load_date.
PLANTED = [
    ["dow_9", "duplicate_order", "bad_utf8"],
    ["bad_number", "missing_column"],
    ["swapped_header"],
    ["byte_order_mark"],
    ["header_only"],
    ["empty_object"],
    ["missing_object"],
    ["duplicate_line", "orphan_product", "orphan_order", "reordered_7"],
    ["short_row", "backslash_dot"],
]
WARNS = "prior_order_without_lines"  # this fault is published with a warning: test_backfill.py
DAYS = {fault: FIRST + timedelta(days=n) for n, faults in enumerate(PLANTED) for fault in faults}
ORDERS, LINES, PRODUCTS = "raw.orders", "raw.order_products_prior", "raw.products"
FILES = {ORDERS: "orders.csv", LINES: "order_products__prior.csv", PRODUCTS: "products.csv"}


class BackfillOutput:
    """The output of the backfill, by load_date."""

    def __init__(self, kpi: CliHarness) -> None:
        self.kpi = kpi
        self.content: dict[tuple[date, str], list[bytes]] = {}
        for number, faults in enumerate(PLANTED):
            day = FIRST + timedelta(days=number)
            folder = kpi.sample(day, 300, faults)
            kpi.upload(day, folder)
            for path in folder.iterdir():
                self.content[day, path.name] = path.read_bytes().split(b"\n")
        last = FIRST + timedelta(days=len(PLANTED) - 1)
        words = ["--from", FIRST, "--to", last, "--select", "+raw.order_products_prior"]
        self.said = kpi("backfill", "instacart", *words, code=3)
        self.by_day: dict[date, list[str]] = {}
        for line in self.said.out.splitlines():
            if ": checks" in line:
                day = date.fromisoformat(line.split()[2].rstrip(":"))
            elif line.startswith("missing s3."):
                day = date.fromisoformat(line.partition("load_date=")[2][:10])
            elif line.startswith("instacart: "):
                break
            self.by_day.setdefault(day, []).append(" ".join(line.split()))

    def line(self, fault: str, *words: str) -> str:
        [found] = [line for line in self.by_day[DAYS[fault]] if all(word in line for word in words)]
        return found

    def samples(self, fault: str, of: str) -> list[dict[str, Any]]:
        """Return the printed bad rows of a check, `schema.table check`."""
        found = self.by_day[DAYS[fault]]
        start = found.index(f"{of}: the first of the bad rows") + 1
        rows = []
        for line in found[start:]:
            if not line.startswith("{"):
                break
            rows.append(json.loads(line))
        return rows

    def numbered(self, fault: str, file: str, part: bytes) -> int:
        """Return the number of the only line of a file that contains `part`."""
        [number] = [n for n, line in enumerate(self.content[DAYS[fault], file], start=1) if part in line]
        return number


@pytest.fixture(scope="module")
def backfill(kpi: CliHarness) -> BackfillOutput:
    return BackfillOutput(kpi)


def held(fault: str, table: str, *checks: str) -> str:
    """Return the line of a held build of a raw table, without the number of the candidate."""
    day = DAYS[fault]
    return (
        f"held {table}: held by {', '.join(checks)}; read from s3://kpi-instacart/{key(FILES[table], day)}; "
        f"the candidate is kept as builds.{table.replace('.', '__')}__{day:%Y%m%d}__"
    )


def test_every_fault_of_the_generator_has_a_test() -> None:
    assert {*DAYS, WARNS} == {*GENERATORS["instacart"].faults}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("fault", "table", "check", "sample"),
    [
        ("dow_9", ORDERS, "range__order_dow", {"order_dow": 9}),
        ("duplicate_order", ORDERS, "grain", {"rows": 2}),
        ("duplicate_line", LINES, "grain", {"rows": 2}),
        ("orphan_product", LINES, "foreign_key__product_id", {"product_id": 2000000000}),
        ("orphan_order", LINES, "foreign_key__order_id", {"order_id": 2000000000}),
        ("reordered_7", LINES, "accepted_values__reordered", {"reordered": 7}),
    ],
)
def test_a_row_that_breaks_a_rule_is_shown_and_held(
    backfill: BackfillOutput, fault: str, table: str, check: str, sample: dict[str, int]
) -> None:
    assert backfill.line(fault, f"{table} {check} fail") == f"{table} {check} fail 1 0 1 bad row"
    [row] = backfill.samples(fault, f"{table} {check}")
    assert {name: row[name] for name in sample} == sample
    assert check in backfill.line(fault, f"held {table}: held by")


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("fault", "table", "part", "where", "column", "value", "reason"),
    [
        (
            "bad_number",
            ORDERS,
            b",monday,",
            ", order_dow 'monday'",
            "order_dow",
            "monday",
            written.problem("smallint", "monday"),
        ),
        ("bad_utf8", PRODUCTS, b"\xff", "", None, None, "is not UTF-8"),
        ("backslash_dot", LINES, b"\\.", "", None, None, "it has 1 field, not 4"),
    ],
)
def test_a_record_that_cannot_be_read_is_quarantined_with_line_and_reason(
    backfill: BackfillOutput,
    fault: str,
    table: str,
    part: bytes,
    where: str,
    column: str | None,
    value: str | None,
    reason: str,
) -> None:
    line = backfill.numbered(fault, FILES[table], part)
    [row] = [row for row in backfill.samples(fault, f"{table} quarantine") if row["line"] == line]
    assert (row["column"], row["value"]) == (column, value)
    assert row["reason"].endswith(reason)
    assert backfill.line(fault, "held by quarantine", table).startswith(held(fault, table, "quarantine"))
    if len(backfill.samples(fault, f"{table} quarantine")) == 1:
        assert f"1 unreadable record, first on line {line}{where}: " in backfill.line(fault, f"{table} quarantine fail")
    [(recorded,)] = backfill.kpi.rows(
        "select record from ops.quarantine where table_name = %s and load_date = %s and line = %s",
        *(table, DAYS[fault], line),
    )
    assert recorded == backfill.content[DAYS[fault], FILES[table]][line - 1].decode(errors="backslashreplace")


@pytest.mark.nightly
def test_a_record_that_is_too_short_is_quarantined(backfill: BackfillOutput) -> None:
    [line] = [
        number
        for number, text in enumerate(backfill.content[DAYS["short_row"], FILES[LINES]], start=1)
        if text.count(b",") == 2
    ]
    first, second = backfill.samples("short_row", f"{LINES} quarantine")
    assert first == {"line": line, "column": None, "value": None, "reason": "it has 3 fields, not 4"}
    assert backfill.line("short_row", f"{LINES} quarantine fail 2 0").endswith(
        f"2 unreadable records, first on line {line}: it has 3 fields, not 4"
    )
    assert second["line"] > line


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("fault", "name", "file", "problem"),
    [
        (
            "missing_column",
            "s3.products",
            "products.csv",
            ": its header is 'product_id,product_name,aisle_id', not 'product_id,product_name,aisle_id,department_id' "
            "(missing 'department_id')",
        ),
        (
            "byte_order_mark",
            "s3.orders",
            "orders.csv",
            ": it is text in UTF-16, not in UTF-8: write encoding: utf-16",
        ),
        ("empty_object", "s3.orders", "orders.csv", " has 0 bytes"),
        ("missing_object", "s3.orders", "orders.csv", " is not there"),
    ],
)
def test_an_object_that_is_missing_or_malformed_is_named(
    backfill: BackfillOutput, fault: str, name: str, file: str, problem: str
) -> None:
    state = "missing" if fault == "missing_object" else "held"
    assert (
        backfill.line(fault, f"{state} {name}:")
        == f"{state} {name}: s3://kpi-instacart/{key(file, DAYS[fault])}{problem}"
    )


@pytest.mark.nightly
def test_an_object_with_only_its_header_is_held(backfill: BackfillOutput) -> None:
    assert backfill.line("header_only", f"{ORDERS} min_rows") == (
        f"{ORDERS} min_rows fail 0 1 0 rows, at least 1 are wanted"
    )
    assert backfill.line("header_only", f"held {ORDERS}").startswith(held("header_only", ORDERS, "min_rows"))


@pytest.mark.nightly
@pytest.mark.usefixtures("published")  # another load_date, so that each table exists
def test_nothing_of_a_held_load_date_is_published(backfill: BackfillOutput) -> None:
    published = {day: set(backfill.kpi.published(day)) for day in DAYS.values()}
    small = {"raw.aisles", "raw.departments"}
    assert published[DAYS["dow_9"]] == small
    assert published[DAYS["bad_number"]] == small
    for fault in ("swapped_header", "byte_order_mark", "header_only", "empty_object", "missing_object"):
        assert published[DAYS[fault]] == {*small, PRODUCTS}
    for fault in ("duplicate_line", "short_row"):
        assert published[DAYS[fault]] == {*small, PRODUCTS, ORDERS}
    for table in (ORDERS, LINES, PRODUCTS):
        days = {
            day for (day,) in backfill.kpi.rows(f"select distinct load_date from {table}") if day < date(2025, 3, 1)
        }
        assert {day for day in days if day >= FIRST} == {day for day, names in published.items() if table in names}


@pytest.mark.nightly
def test_the_summary_has_a_line_for_each_load_date(backfill: BackfillOutput) -> None:
    summary = [
        " ".join(line.split()) for line in backfill.said.out.partition("instacart: 2025-02-01 to")[2].splitlines()
    ]
    assert f"{DAYS['dow_9']} held 7 {PRODUCTS} (held), {ORDERS} (held)" in summary or (
        f"{DAYS['dow_9']} held 7 {ORDERS} (held), {PRODUCTS} (held)" in summary
    )
    assert summary[-1] == "9 load_dates run, 0 not landed"
