"""`kpi sample` fills the databases of simulated APIs, where they are simulated."""

import json
from datetime import date
from pathlib import Path

import pytest

from kpi_assets.samples import API_GENERATORS, GENERATORS
from kpi_assets.simulators.api import RETAILERS
from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.simulators.tree import write_tree

DAY = date(2025, 7, 1)
NOT_HERE = (
    "No API of {} is simulated here: that is done on the embedded servers, for APIs in pipeline.yaml of which neither "
    "that file nor the environment names the URL."
)


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, str]:
    """The environment that names a tree of pipelines with APIs."""
    return {"KPI_SQL_DIR": str(write_tree(tmp_path / "sql"))}


def counts(kpi: CliHarness) -> list[int]:
    """The records of DAY by retailer."""
    tables = {api.database: (api.table, api.day) for api in RETAILERS}
    return [
        kpi.rows(f"select count(*) from {table} where {day} = %s", DAY, database=database)[0][0]
        for database, (table, day) in tables.items()
    ]


def test_the_retailers_are_filled_and_filled_again(kpi: CliHarness, tree: dict[str, str]) -> None:
    said = kpi("sample", "retail", "--load-date", DAY, **tree)
    assert said.out == "Filled 2025-07-01 of the simulated APIs: retailer_1 522, retailer_2 518, retailer_3 523.\n"
    assert counts(kpi) == [522, 518, 523]
    words = [
        "--load-date",
        DAY,
        "--days",
        2,
        "--orders",
        10,
        "--fault",
        "retailer_2_down",
        "--fault",
        "duplicate-line=2",
    ]
    said = kpi("sample", "retail", *words, **tree)
    assert said.out == (
        "Filled 2025-07-01 to 2025-07-02 of the simulated APIs, with retailer_2_down, duplicate-line=2 planted: "
        "retailer_1 33, retailer_2 34, retailer_3 38.\n"
    )
    assert counts(kpi) == [16, 21, 20]
    planted = [kpi.rows("select name, number from faults", database=api.database) for api in RETAILERS]
    assert planted == [[], [("down", None)], []]
    secrets = json.loads((kpi.home / "apis.json").read_text())
    for secret in [secrets["password"], *secrets["of_apis"].values()]:
        assert secret not in said.out + said.err
        assert all(secret not in log.read_text() for log in (kpi.home / "logs").iterdir())


def test_files_and_products_of_the_shop_agree(kpi: CliHarness, tree: dict[str, str], tmp_path: Path) -> None:
    words = [
        "--load-date",
        "2025-06-04",
        "--orders",
        20,
        "--seed",
        7,
        "--fault",
        "products_slow",
        "--out",
        tmp_path / "out",
    ]
    said = kpi("sample", "ecommerce", *words, **tree)
    assert said.out == (
        f"Wrote 2025-06-04 to {tmp_path / 'out'}: products.json 265, orders.json 20, events.csv 160.\n"
        "Filled 2025-06-04 of the simulated APIs, with products_slow planted: products 265.\n"
    )
    query = "select to_jsonb(p) - 'listed_on' - 'position' from products as p where listed_on = %s order by position"
    rows = [row for (row,) in kpi.rows(query, date(2025, 6, 2), database="simulated-products")]
    file = json.loads((tmp_path / "out/products/2025-06-02/products.json").read_text())
    assert rows == file["products"]


def test_faults_of_records_and_of_apis_are_listed(kpi: CliHarness) -> None:
    said = kpi("sample", "retail", "--fault", "list")
    listed = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert listed == API_GENERATORS["retail"].faults
    said = kpi("sample", "ecommerce", "--fault", "list")
    listed = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert listed == {**GENERATORS["ecommerce"].faults, **API_GENERATORS["ecommerce"].faults}


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        (
            ["retail", "--load-date", DAY, "--out", "somewhere"],
            {},
            "The samples of retail go into the databases of its simulated APIs: leave --out out.",
        ),
        (["retail"], {}, "Give --load-date too, or only --fault list."),
        (["retail", "--load-date", DAY], {"KPI_S3_BUCKET": "theirs"}, NOT_HERE.format("retail")),
        (
            ["retail", "--load-date", DAY],
            {"KPI_API_URLS": json.dumps({"retail": {api.name: "https://example.com" for api in RETAILERS}})},
            NOT_HERE.format("retail"),
        ),
        (
            ["ecommerce", "--load-date", DAY, "--out", "unwritten", "--fault", "products_down"],
            {"KPI_POSTGRES_URL": "postgresql://nobody@127.0.0.1:9/postgres"},
            NOT_HERE.format("ecommerce"),
        ),
        (
            ["retail", "--load-date", DAY, "--fault", "nonsense"],
            {},
            "Retail has no fault 'nonsense': `kpi sample retail --fault list` lists them.",
        ),
    ],
)
def test_what_cannot_be_filled_is_wrong_usage(
    kpi: CliHarness, tree: dict[str, str], words: list[object], environment: dict[str, str], sentence: str
) -> None:
    kpi.fails(sentence, "sample", *words, code=2, **tree, **environment)
    assert not (kpi.folder / "unwritten").exists()


def test_who_enables_a_pipeline_with_simulated_apis_is_warned(kpi: CliHarness, tree: dict[str, str]) -> None:
    said = kpi("enable", "retail", **tree)
    kpi("disable", "retail", **tree)
    assert said.err == (
        "warning: retailer_1, retailer_2, retailer_3 of retail are simulated, and have no records of a load_date that "
        "`kpi sample retail` did not fill: set KPI_API_URLS__RETAIL__RETAILER_1 to the address of the real one.\n"
    )
    assert "on retail: retail_sensor" in said.out
