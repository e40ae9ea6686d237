"""In a home where nothing runs, a command starts the servers it needs and stops them when it is done."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kpi_assets.embedded.stack import status, stop
from kpi_assets_tests.cli.command import Kpi, Output
from kpi_assets_tests.shipped import ASSETS

SECRETS = ("postgres_password", "reader_password", "s3_access_key_id", "s3_secret_access_key")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kpi]:
    folder = tmp_path_factory.mktemp("alone")
    yield Kpi(folder / "home", folder)
    stop(folder / "home")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def demo(alone: Kpi) -> Output:
    """The output of `kpi demo` as the first command in a new home."""
    return alone.process("demo", "--orders", 1000)


def processes_of(home: Path) -> list[list[str]]:
    return [
        line
        for line in (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
        if line and str(home) in " ".join(line)
    ]


def test_the_demo_publishes_one_day_holds_another_and_says_which_checks_did(demo: Output) -> None:
    out = demo.out
    assert f"published instacart, load_date 2025-06-01: {ASSETS} assets" in out
    for check in ("grain", "foreign_key__product_id", "accepted_values__reordered"):
        assert (
            demo.line(f"raw.order_products_prior {check} fail")
            == f"raw.order_products_prior {check} fail 1 0 1 bad row"
        )
    after = out.partition("What a reader sees now: still the first load_date")[2]
    assert "marts.kpi_orders_by_dow, load_date 2025-06-01" in after
    assert "2025-06-02" not in after
    first = out.partition("2. A load_date with three faults planted")[0]
    for table in ("marts.kpi_orders_by_dow", "marts.kpi_products_reorder"):
        assert f"{table}, load_date 2025-06-01" in first
    assert demo.line("raw raw.orders ").split()[:3] == ["raw", "raw.orders", "880"]  # 120 come later


def test_nothing_is_left_running_and_no_secret_was_said(alone: Kpi, demo: Output) -> None:
    assert [server.running for server in status(alone.home)] == [False, False]
    assert processes_of(alone.home) == []
    keys = json.loads((alone.home / "credentials.json").read_text())
    assert [name for name in SECRETS if keys[name] in demo.out + demo.err] == []


@pytest.mark.nightly
def test_a_later_command_finds_the_data_and_stops_the_servers_again(alone: Kpi, demo: Output) -> None:
    said = alone("show", "instacart", "marts.kpi_orders_by_dow", "--format", "csv")
    assert sum(int(line.split(",")[1]) for line in said.out.splitlines()[1:]) == 1000
    assert [server.running for server in status(alone.home)] == [False, False]
    down = alone.process("status")
    for name in ("postgres", "s3", "web UI", "daemon"):
        assert down.line(f"{name} down")
    assert down.line("2025-06-01") == "2025-06-01 published published published published"
    assert processes_of(alone.home) == []
    doctor = alone.process("doctor").out
    assert [line.split()[0] for line in doctor.splitlines()].count("ok") == 43
    assert "advice  dagster: no daemon runs" in doctor
    assert "broken" not in doctor
    assert processes_of(alone.home) == []
    assert alone.process("down").out == f"Nothing was running in {alone.home}.\n"
