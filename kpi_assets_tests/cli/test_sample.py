"""`kpi sample` writes synthetic files, and plants faults into them."""

from pathlib import Path

import pytest

from kpi_assets.samples import GENERATORS
from kpi_assets_tests.cli.command import OBJECTS, CliHarness

DAILY = {"orders": "orders.json", "events": "events.csv"}


def sampled(kpi: CliHarness, to: Path, *more: object) -> dict[str, bytes]:
    kpi("sample", "instacart", "--load-date", "2025-06-01", "--orders", 300, "--out", to, *more)
    return {path.name: path.read_bytes() for path in to.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(kpi: CliHarness, tmp_path: Path) -> None:
    first = sampled(kpi, tmp_path / "a", "--seed", 7)
    assert set(first) == set(OBJECTS)
    assert first["orders.csv"].count(b"\n") == 301
    assert sampled(kpi, tmp_path / "b", "--seed", 7) == first
    other = sampled(kpi, tmp_path / "c", "--seed", 8)
    assert {name for name in OBJECTS if other[name] != first[name]} >= {"orders.csv", "order_products__prior.csv"}


def test_it_says_what_it_wrote_and_which_faults_it_planted(kpi: CliHarness, tmp_path: Path) -> None:
    words = ["--load-date", "2025-06-01", "--orders", 300, "--fault", "dow_9", "--fault", "reordered_7"]
    said = kpi("sample", "instacart", *words, "--out", tmp_path)
    rows = {name: (tmp_path / name).read_bytes().count(b"\n") - 1 for name in OBJECTS}
    assert said.out.startswith(f"Wrote 2025-06-01 to {tmp_path}, with dow_9, reordered_7 planted: ")
    for name, count in rows.items():
        assert f"{name} {count:,}" in said.out
    assert (tmp_path / "orders.csv").read_text().count(",9,") >= 1


def test_days_of_the_shop_are_written_below_their_dates(kpi: CliHarness, tmp_path: Path) -> None:
    words = ["--load-date", "2025-06-08", "--days", 2, "--orders", 50, "--events", 90, "--fault", "null-user=3"]
    said = kpi("sample", "ecommerce", *words, "--out", tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    days, mondays = ("2025-06-08", "2025-06-09"), ("2025-06-02", "2025-06-09")
    of_days = {f"{name}/{day}/{file}" for day in days for name, file in DAILY.items()}
    assert files == of_days | {f"products/{monday}/products.json" for monday in mondays}
    assert said.out == (
        f"Wrote 2025-06-08 to 2025-06-09 to {tmp_path}, with null-user=3 planted: "
        "products.json 524, orders.json 100, events.csv 180.\n"
        "Filled 2025-06-08 to 2025-06-09 of the simulated APIs, with null-user=3 planted: products 524.\n"
    )
    assert (tmp_path / "orders/2025-06-08/orders.json").read_text().count("null") == 3


def test_whole_tables_are_written_for_each_of_several_days(kpi: CliHarness, tmp_path: Path) -> None:
    words = ["--load-date", "2025-01-07", "--days", 2, "--orders", 400, "--fault", "cost-above-price=5"]
    said = kpi("sample", "storefront", *words, "--out", tmp_path)
    names = ("customers", "products", "transactions", "transaction_items")
    files = {str(path.relative_to(tmp_path)): path.read_bytes().count(b"\n") - 1 for path in tmp_path.rglob("*.csv")}
    days = ("2025-01-07", "2025-01-08")
    assert set(files) == {f"staging/{name}/load_date={day}/{name}.csv" for name in names for day in days}
    sums = {name: sum(count for file, count in files.items() if file.endswith(f"/{name}.csv")) for name in names}
    assert said.out == (
        f"Wrote 2025-01-07 to 2025-01-08 to {tmp_path}, with cost-above-price=5 planted: "
        f"{', '.join(f'{name}.csv {count:,}' for name, count in sums.items())}.\n"
    )


def test_faults_are_listed_with_what_they_do(kpi: CliHarness, tmp_path: Path) -> None:
    said = kpi("sample", "instacart", "--load-date", "2025-06-01", "--out", tmp_path, "--fault", "list")
    faults = GENERATORS["instacart"].faults
    assert [line.split(maxsplit=1) for line in said.out.splitlines()] == [[name, what] for name, what in faults.items()]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["instacart", "--fault", "nonsense"],
            f"Instacart has no fault 'nonsense': choose from {', '.join(GENERATORS['instacart'].faults)}.",
        ),
        (
            ["instacart", "--fault", "missing_object", "--fault", "dow_9"],
            "The fault missing_object leaves no orders.csv for dow_9 to be planted in: choose one of them.",
        ),
        (["instacart", "--days", "2"], "The samples of instacart have no --days: leave it out."),
        (["instacart", "--events", "2"], "The samples of instacart have no --events: leave it out."),
        (["storefront", "--events", "2"], "The samples of storefront have no --events: leave it out."),
    ],
)
def test_a_sample_that_cannot_be_written_is_wrong_usage_and_writes_nothing(
    kpi: CliHarness, tmp_path: Path, words: list[str], sentence: str
) -> None:
    kpi.fails(sentence, "sample", *words, "--load-date", "2025-06-01", "--out", tmp_path, code=2)
    assert list(tmp_path.iterdir()) == []
