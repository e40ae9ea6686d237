"""One home for all tests of the command; its servers stay up, so that no call has to start them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.cli.command import SQL, CliHarness, Output
from kpi_assets_tests.template import give_up_durability

DAY = date(2025, 6, 10)
ORDERS = 2000
# Names that a spreadsheet would execute as formulas, and one that it would not.
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1", "@SUM(A1)", "\tx", "  =1+1", "\r=1", "\uff1d1+1"]
HOSTILE = [*FORMULAS, "harmless, 'quoted' and = inside"]


@pytest.fixture(scope="package")
def kpi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHarness]:
    """The command in the home that the tests of this folder share."""
    folder = tmp_path_factory.mktemp("cli")
    with Stack(folder / "home") as stack:
        give_up_durability(SecretStr(stack.environment()["KPI_POSTGRES_URL"]))
        yield CliHarness(stack, folder)
    shutil.rmtree(folder)


@dataclass(frozen=True)
class Published:
    """A published load_date: its files, the output of its run, and the publish ids of its tables."""

    day: date
    files: Path
    said: Output
    tables: dict[str, int]


@pytest.fixture(scope="package")
def published(kpi: CliHarness) -> Published:
    """DAY, with 2,000 orders and hostile names of aisles, published by `kpi run`; no test changes it."""
    files = kpi.sample(DAY, ORDERS)
    aisles = (files / "aisles.csv").read_bytes().splitlines(keepends=True)
    for number, name in enumerate(HOSTILE, start=1):
        aisles[number] = f'{number},"{name}"\n'.encode()
    (files / "aisles.csv").write_bytes(b"".join(aisles))
    kpi.upload(DAY, files)
    said = kpi.process("run", "instacart", "--load-date", DAY)
    return Published(DAY, files, said, kpi.published(DAY))


@pytest.fixture
def sql(tmp_path: Path) -> Path:
    """A copy of the product's sql tree, for KPI_SQL_DIR."""
    return Path(shutil.copytree(SQL, tmp_path / "sql"))
