"""`kpi demo retail` plays two days: a retailer is down and comes back, and another one corrects what was published."""

import csv
import io
import shutil
from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import stop
from kpi_assets_tests.cli.command import Kpi, Output

pytestmark = pytest.mark.nightly

DAILY = "warehouse.kpi_sales_day"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kpi]:
    folder = tmp_path_factory.mktemp("apis")
    yield Kpi(folder / "home", folder)
    stop(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def demo(alone: Kpi) -> Output:
    """The output of `kpi demo retail` as the first command in a new home."""
    return alone.process("demo", "retail")


def part(demo: Output, start: str) -> str:
    """The part of the output below the headline that begins so."""
    [found] = [each for each in f"\n{demo.out}".split("\n\n") if each.startswith(start)]
    return found


def test_one_retailer_that_is_down_holds_back_the_star_and_no_other_raw_table(demo: Output) -> None:
    assert "published retail, load_date 2025-07-01: 20 assets" in part(demo, "1. ")
    down = part(demo, "2. ")
    assert "failed s3.retailer_2_sales: API retailer_2 of retail, GET http://127.0.0.1:" in down
    # Sales name customers, so what a retailer answers is not quoted.
    assert "its answer is no document with the list 'transactions' (masked): look at what it answers" in down
    assert "\npublished raw.retailer_1_sales, raw.retailer_3_sales\nwaiting 12 tables" in down
    assert f"{DAILY}, load_date 2025-07-01" in part(demo, "What a reader sees now")


def test_the_next_run_asks_for_what_lacks_and_publishes_all(demo: Output) -> None:
    assert "published retail, load_date 2025-07-02: 20 assets" in part(demo, "3. ")
    assert "load_date 2025-07-02 has recovered: it is published" in demo.err


def test_a_correction_is_fetched_and_makes_stale_what_reads_it(demo: Output) -> None:
    corrected = part(demo, "4. ").splitlines()
    assert corrected[1].startswith("replaced  s3://kpi-retail/raw/retailer_1/year=2025/month=07/day=01/sales_data.json")
    assert [line.partition(":")[0] for line in corrected[-2:]] == ["stale 2025-07-01", "published 2025-07-02"]
    built = part(demo, "5. ")
    assert "published retail, load_date 2025-07-01: 20 assets" in built
    assert "stale 2025-07-02: Built from rows that were replaced since: " in built
    assert [line.partition(":")[0] for line in built.splitlines()[-2:]] == [
        "published 2025-07-01",
        "published 2025-07-02",
    ]


def test_the_correction_is_in_the_sales_of_its_day_and_of_the_month(alone: Kpi, demo: Output) -> None:
    before = part(demo, "1. ")
    assert "2025-07-01   retailer_1             300     522        846 " in before
    assert "2025-07-01   retailer_1             300     522        856 " in part(demo, "What a reader sees of")
    shown = alone("show", "retail", "warehouse.kpi_sales_month", "--format", "csv").out
    months = {row["retailer_id"]: row for row in csv.DictReader(io.StringIO(shown))}
    assert [(row["days"], row["sales"]) for row in months.values()] == [("2", "1041"), ("2", "1046"), ("2", "1062")]
    assert months["retailer_1"]["quantity"] == "1691"
