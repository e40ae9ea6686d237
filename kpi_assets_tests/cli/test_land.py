"""`kpi land` uploads the files of a folder to their keys."""

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import BUCKET, OBJECTS, CliHarness, key


def landed(kpi: CliHarness, day: date) -> dict[str, bytes]:
    found = kpi.s3.list_objects_v2(Bucket=BUCKET, Prefix="raw/").get("Contents", [])
    keys = {key(file, day): file for file in OBJECTS}
    return {
        keys[each["Key"]]: kpi.s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read()
        for each in found
        if each["Key"] in keys
    }


def test_files_land_once_and_are_replaced_only_with_the_option(kpi: CliHarness) -> None:
    day = date(2025, 1, 2)
    files, corrected = kpi.sample(day, 300), kpi.sample(day, 300, seed=2)
    content = {file: (files / file).read_bytes() for file in OBJECTS}
    size = {file: f"({len(content[file]):,} bytes)" for file in OBJECTS}

    first = kpi("land", "instacart", "--load-date", day, "--from", files)
    assert landed(kpi, day) == content
    heads = [kpi.s3.head_object(Bucket=BUCKET, Key=key(file, day)) for file in OBJECTS]
    assert {head["ContentType"] for head in heads} == {"text/csv"}
    for file in OBJECTS:
        assert first.line(file) == f"landed s3://{BUCKET}/{key(file, day)} {size[file]}"

    again = kpi.process("land", "instacart", "--load-date", day, "--from", files)
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


def test_a_file_that_is_not_there_is_reported_as_absent(kpi: CliHarness, tmp_path: Path) -> None:
    day = date(2025, 1, 3)
    (tmp_path / "aisles.csv").write_bytes(b"aisle_id,aisle\n1,tea\n")
    (tmp_path / "products.csv").mkdir()
    os.mkfifo(tmp_path / "departments.csv")
    said = kpi("land", "instacart", "--load-date", day, "--from", tmp_path)
    for name in ("products.csv", "departments.csv"):
        assert said.line(name) == (
            f"absent {tmp_path}/{name} is not a regular file: s3://{BUCKET}/{key(name, day)} was not landed"
        )
    assert said.line("orders.csv") == (
        f"absent {tmp_path}/orders.csv is not there: s3://{BUCKET}/{key('orders.csv', day)} was not landed"
    )
    assert landed(kpi, day) == {"aisles.csv": b"aisle_id,aisle\n1,tea\n"}


def test_a_folder_without_any_of_the_files_is_an_error(kpi: CliHarness, tmp_path: Path) -> None:
    kpi.fails(
        f"The folder {tmp_path} holds none of instacart's files (aisles.csv, departments.csv, orders.csv, "
        "products.csv, order_products__prior.csv): name another with --from.",
        *("land", "instacart", "--load-date", "2025-01-04", "--from", tmp_path),
        code=2,
    )


# ---- keys that end in the same file name

STORES = {
    "pipeline.yaml": "description: Two stores.\nbucket: kpi-stores\nstart_date: 2025-01-01\nlayers: {raw: raw}\n",
    **{
        f"raw/sales_{store}.sql": f"""\
/* @asset
description: Sales of a store.
owner: team:tests
grain: [receipt]
source: {{object: "{store}/load_date={{load_date}}/sales.csv", format: csv}}
columns:
  receipt: {{type: integer, description: Receipt.}}
@end */
"""
        for store in ("north", "south")
    },
}
NORTH, SOUTH = b"receipt\n1\n", b"receipt\n2\n"


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    """A sql tree with the pipeline, for KPI_SQL_DIR; files are landed from the folder beside it."""
    for name, text in STORES.items():
        path = tmp_path / "sql" / "stores" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "sql"


def lay(folder: Path, **files: bytes) -> None:
    for name, body in files.items():
        path = folder / name.replace("__", "/") / "sales.csv" if name != "here" else folder / "sales.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def at_stores(kpi: CliHarness, day: date) -> dict[str, bytes]:
    found = kpi.s3.list_objects_v2(Bucket="kpi-stores").get("Contents", [])
    keys = [each["Key"] for each in found if f"load_date={day}/" in each["Key"]]
    return {key.split("/")[0]: kpi.s3.get_object(Bucket="kpi-stores", Key=key)["Body"].read() for key in keys}


def test_files_with_the_same_name_are_told_apart_by_the_folder_of_their_table(
    kpi: CliHarness, stores: Path, tmp_path: Path
) -> None:
    day, files = date(2025, 1, 5), tmp_path / "files"
    lay(files, sales_north=NORTH, sales_south=SOUTH, here=b"receipt\n3\n")
    kpi("land", "stores", "--load-date", day, "--from", files, KPI_SQL_DIR=str(stores))
    assert at_stores(kpi, day) == {"north": NORTH, "south": SOUTH}


def test_a_file_at_the_place_of_its_key_comes_first(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    """`kpi sample ecommerce` writes files so; those of other load_dates beside them are left alone."""
    day, files = date(2025, 3, 7), tmp_path / "files"
    lay(files, sales_north=b"receipt\n3\n", sales_south=SOUTH, **{f"north__load_date={day}": NORTH})
    lay(files, **{"north__load_date=2025-03-08": b"receipt\n4\n"})
    kpi("land", "stores", "--load-date", day, "--from", files, KPI_SQL_DIR=str(stores))
    assert at_stores(kpi, day) == {"north": NORTH, "south": SOUTH}


def test_a_file_name_that_fits_two_keys_is_landed_for_neither(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    day = date(2025, 1, 6)
    for number, others in enumerate(({}, {"sales_north": NORTH}, {"north": NORTH, "south": SOUTH})):
        files = tmp_path / str(number)
        lay(files, here=NORTH, **others)
        kpi.fails(
            f"The file {files}/sales.csv may belong to raw.sales_north or raw.sales_south, whose keys end in the same "
            f"name, and not each of {files}/sales_north/sales.csv and {files}/sales_south/sales.csv is there: put each "
            "table's file at its own place.",
            *("land", "stores", "--load-date", day, "--from", files),
            code=2,
            KPI_SQL_DIR=str(stores),
        )
    assert at_stores(kpi, day) == {}


def test_one_of_two_files_with_the_same_name_is_absent(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    day, files = date(2025, 1, 7), tmp_path / "files"
    lay(files, sales_south=SOUTH)
    said = kpi("land", "stores", "--load-date", day, "--from", files, KPI_SQL_DIR=str(stores))
    assert said.line("absent") == (
        f"absent {files}/sales_north/sales.csv is not there: "
        f"s3://kpi-stores/north/load_date={day}/sales.csv was not landed"
    )
    assert at_stores(kpi, day) == {"south": SOUTH}


def test_a_folder_with_none_of_two_files_with_the_same_name_is_an_error(
    kpi: CliHarness, stores: Path, tmp_path: Path
) -> None:
    kpi.fails(
        f"The folder {tmp_path} holds none of stores's files (sales_north/sales.csv, sales_south/sales.csv): "
        "name another with --from.",
        *("land", "stores", "--load-date", "2025-01-08", "--from", tmp_path),
        code=2,
        KPI_SQL_DIR=str(stores),
    )


def test_a_file_in_the_folder_of_its_table_is_preferred(kpi: CliHarness, tmp_path: Path) -> None:
    day = date(2025, 1, 9)
    for path, name in ((tmp_path / "aisles", b"tea"), (tmp_path, b"coffee")):
        path.mkdir(exist_ok=True)
        (path / "aisles.csv").write_bytes(b"aisle_id,aisle\n1,%s\n" % name)
    kpi("land", "instacart", "--load-date", day, "--from", tmp_path)
    assert landed(kpi, day) == {"aisles.csv": b"aisle_id,aisle\n1,tea\n"}


# ---- every load_date that the paths name


def days_of(kpi: CliHarness) -> list[str]:
    found = kpi.s3.list_objects_v2(Bucket="kpi-stores").get("Contents", [])
    return sorted(each["Key"] for each in found if "2025-02" in each["Key"])


@pytest.mark.nightly
def test_every_load_date_that_the_paths_name_is_landed_in_one_start(
    kpi: CliHarness, stores: Path, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    for n in range(1, 29):
        lay(files, **{f"sales_north__2025-02-{n:02}": NORTH, f"sales_south__202502{n:02}": SOUTH})
    lay(files, **{"sales_north__2024-12-31": NORTH, "readme": NORTH})
    (files / "readme").rename(files / "notes")
    environment = {"KPI_SQL_DIR": str(stores)}
    said = kpi("land", "stores", "--from", files, code=1, **environment)
    assert said.out.splitlines() == [
        "landed 56 objects of 28 load_dates, 2025-02-01 to 2025-02-28 in s3://kpi-stores (560 bytes).",
        "not landed 1 file, since they belong to no source of the pipeline or have no load_date in their path: "
        f"{files}/notes/sales.csv",
        f"left out stores has no load_date 2024-12-31: its first is 2025-01-01 (start_date in {stores}/stores/"
        "pipeline.yaml).",
    ]
    assert days_of(kpi) == [
        f"{shop}/load_date=2025-02-{n:02}/sales.csv" for shop in ("north", "south") for n in range(1, 29)
    ]

    shutil.rmtree(files / "sales_north" / "2024-12-31")
    shutil.rmtree(files / "notes")
    (files / "sales_north" / "2025-02-03" / "sales.csv").write_bytes(SOUTH)
    said = kpi("land", "stores", "--from", files, code=1, **environment)
    key = "s3://kpi-stores/north/load_date=2025-02-03/sales.csv"
    assert said.out.splitlines() == [
        "unchanged 55 objects of 28 load_dates, 2025-02-01 to 2025-02-28 in s3://kpi-stores (550 bytes); "
        "1 of 56 files were not landed."
    ]
    assert said.err == (
        f"error: {key} holds other bytes than {files}/sales_north/2025-02-03/sales.csv: raw objects are immutable; "
        "say --replace if it is a correction.\n"
    )
    said = kpi("land", "stores", "--from", files, "--replace", **environment)
    assert said.out.startswith("replaced 1, unchanged 55 objects of 28 load_dates, ")


def test_few_load_dates_have_a_line_each(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    lay(files, **{"sales_north__2025-03-01": NORTH, "sales_south__2025-03-01": SOUTH, "sales_south__2025-03-02": SOUTH})
    said = kpi("land", "stores", "--from", files, KPI_SQL_DIR=str(stores))
    assert said.out.splitlines() == [
        "2025-03-01: landed 2 (20 bytes)",
        "2025-03-02: landed 1 (10 bytes)",
        "landed 3 objects of 2 load_dates, 2025-03-01 to 2025-03-02 in s3://kpi-stores (30 bytes).",
    ]


def test_a_reference_object_is_landed_for_all_load_dates(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    north = stores / "stores" / "raw" / "sales_north.sql"
    north.write_text(north.read_text().replace("north/load_date={load_date}/sales.csv", "reference/shops.csv"))
    lay(tmp_path / "files", sales_north=NORTH)
    said = kpi("land", "stores", "--from", tmp_path / "files", KPI_SQL_DIR=str(stores))
    assert said.out == "landed 1 object for all load_dates in s3://kpi-stores (10 bytes).\n"
    lay(tmp_path / "files", sales_north=SOUTH)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "shops.csv").write_bytes(NORTH)
    for words in (["--from", tmp_path / "files"], ["--from", tmp_path / "one", "--load-date", "2025-03-04"]):
        said = kpi("land", "stores", "--replace", *words, KPI_SQL_DIR=str(stores))
        assert said.line("replaced").startswith("replaced ")
        assert said.line("gone").startswith(
            "gone the bucket keeps no versions of s3://kpi-stores/reference/shops.csv: a load_date before today that "
        )


def test_a_file_that_no_run_reads_is_named(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    north = stores / "stores" / "raw" / "sales_north.sql"
    text = north.read_text()
    north.write_text(text.replace("format: csv", "format: csv, every: weekday"))
    lay(tmp_path / "files", **{"sales_north__2025-03-08": NORTH, "sales_south__2025-03-08": SOUTH})
    saturday = tmp_path / "files" / "sales_north" / "2025-03-08" / "sales.csv"
    reason = "raw.sales_north is not due on 2025-03-08, a Saturday: the object of raw.sales_north comes every weekday"
    said = kpi("land", "stores", "--from", tmp_path / "files", KPI_SQL_DIR=str(stores))
    assert said.line("not due").startswith(f"not due {saturday} was landed, but no run reads it: {reason} (")
    lay(tmp_path / "day", sales_north=NORTH, sales_south=SOUTH)
    words = ["--load-date", "2025-03-08", "--from", tmp_path / "day"]
    said = kpi("land", "stores", *words, KPI_SQL_DIR=str(stores))
    assert said.line("not due").startswith(f"not due {tmp_path}/day/sales_north/sales.csv was landed, but no run reads")


def test_one_file_a_month_is_landed_for_the_day_on_which_it_comes(
    kpi: CliHarness, stores: Path, tmp_path: Path
) -> None:
    north = stores / "stores" / "raw" / "sales_north.sql"
    text = north.read_text().replace("north/load_date={load_date}/sales.csv", "north/{load_date:%Y-%m}.csv")
    north.write_text(text.replace("format: csv", "format: csv, every: month-end"))
    files = tmp_path / "files" / "north"
    files.mkdir(parents=True)
    for month in ("2025-06", "2025-07"):
        (files / f"{month}.csv").write_bytes(NORTH)
    said = kpi("land", "stores", "--from", tmp_path / "files", KPI_SQL_DIR=str(stores))
    assert said.out.splitlines()[:2] == ["2025-06-30: landed 1 (10 bytes)", "2025-07-31: landed 1 (10 bytes)"]
    south = tmp_path / "files" / "sales.csv"
    south.write_bytes(SOUTH)
    (south.parent / "2025-07.csv").write_bytes(SOUTH)  # of the last day of the month, not of the 15th
    said = kpi("land", "stores", "--load-date", "2025-07-15", "--from", south.parent, KPI_SQL_DIR=str(stores))
    assert said.out == "landed    s3://kpi-stores/south/load_date=2025-07-15/sales.csv (10 bytes)\n"
    plan = kpi("plan", "stores", "--from", "2025-06-29", "--to", "2025-07-01", KPI_SQL_DIR=str(stores))
    assert "1 of its 2 objects" in plan.line("2025-06-30")


def test_what_is_not_clear_lands_nothing(kpi: CliHarness, stores: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    lay(files, **{"sales_north__2025-03-05": NORTH, "2025-03-06": NORTH})
    said = kpi("land", "stores", "--from", files, code=2, KPI_SQL_DIR=str(stores))
    assert said.err.startswith(f"error: The file {files}/2025-03-06/sales.csv may belong to raw.sales_north or ")
    assert at_stores(kpi, date(2025, 3, 5)) == {}
