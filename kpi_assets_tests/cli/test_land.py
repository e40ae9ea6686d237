"""`kpi land`."""

from datetime import date
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import BUCKET, OBJECTS, Site, key


def landed(kpi: Site, day: date) -> dict[str, bytes]:
    found = kpi.s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/").get("Contents", [])
    keys = {key(file, day): file for file in OBJECTS}
    return {
        keys[each["Key"]]: kpi.s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read()
        for each in found
        if each["Key"] in keys
    }


def test_files_land_once_and_are_replaced_only_when_told_to(kpi: Site) -> None:
    day = date(2025, 1, 2)
    files, corrected = kpi.sample(day, 300), kpi.sample(day, 300, seed=2)
    content = {file: (files / file).read_bytes() for file in OBJECTS}
    size = {file: f"({len(content[file]):,} bytes)" for file in OBJECTS}

    first = kpi("land", "instacart", "--load-date", day, "--from", files)
    assert landed(kpi, day) == content
    for file in OBJECTS:
        assert first.line(file) == f"landed s3://{BUCKET}/{key(file, day)} {size[file]}"

    again = kpi("land", "instacart", "--load-date", day, "--from", files)
    for file in OBJECTS:
        assert again.line(file) == f"unchanged s3://{BUCKET}/{key(file, day)} {size[file]}"

    (files / "orders.csv").write_bytes((corrected / "orders.csv").read_bytes())
    refused = kpi("land", "instacart", "--load-date", day, "--from", files, code=1)
    assert refused.err == (
        f"error: s3://{BUCKET}/{key('orders.csv', day)} holds other bytes than {files}/orders.csv: "
        "raw objects are immutable; say --replace if it is a correction.\n"
    )
    assert landed(kpi, day) == content

    replaced = kpi("land", "instacart", "--from", files, "--replace", RUN_DATE=str(day))
    assert replaced.line("orders.csv").startswith(f"replaced s3://{BUCKET}/{key('orders.csv', day)} (")
    assert replaced.line("aisles.csv").startswith("unchanged ")
    assert landed(kpi, day) == {**content, "orders.csv": (corrected / "orders.csv").read_bytes()}


def test_a_file_that_is_not_there_is_said_to_be_absent(kpi: Site, tmp_path: Path) -> None:
    day = date(2025, 1, 3)
    (tmp_path / "aisles.csv").write_bytes(b"aisle_id,aisle\n1,tea\n")
    said = kpi("land", "instacart", "--load-date", day, "--from", tmp_path)
    assert said.line("orders.csv") == (
        f"absent {tmp_path}/orders.csv is not there: s3://{BUCKET}/{key('orders.csv', day)} was not landed"
    )
    assert landed(kpi, day) == {"aisles.csv": b"aisle_id,aisle\n1,tea\n"}


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_without_any_of_the_files(kpi: Site, tmp_path: Path, folder: str) -> None:
    kpi.fails(
        f"The folder {tmp_path / folder} holds none of instacart's files (aisles.csv, departments.csv, orders.csv, "
        "products.csv, order_products__prior.csv): name another with --from.",
        *("land", "instacart", "--load-date", "2025-01-04", "--from", tmp_path / folder),
        code=2,
    )
