"""Which file of a folder is landed under which key, by its path alone."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from kpi_assets.errors import UsageError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.sources.dated_files import find_dated_files

RAW = """\
/* @asset
description: Rows as delivered.
owner: team:tests
grain: [receipt]
source: {{object: "{key}", format: csv{more}}}
columns:
  receipt: {{type: integer, description: Receipt.}}
@end */
"""
VISITS = "raw/visits/load_date={load_date}/visits.csv"


def pipeline(folder: Path, *, more: str = "", **keys: str) -> Pipeline:
    """Return a pipeline with a raw table for each key."""
    path = folder / "sql" / "shop"
    (path / "raw").mkdir(parents=True)
    text = "description: A shop.\nbucket: kpi-shop\nstart_date: 2025-01-01\nlayers: {raw: raw}\n"
    (path / "pipeline.yaml").write_text(text)
    for name, key in keys.items():
        (path / "raw" / f"{name}.sql").write_text(RAW.format(key=key, more=more))
    return load_pipelines(folder / "sql")["shop"]


def landed(folder: Path, of: Pipeline, *paths: str) -> Mapping[str, str]:
    """Return the key of each file that is landed."""
    files = folder / "files"
    for path in paths:
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_text("receipt\n1\n")
    found = find_dated_files(of, files)
    assert {*found.unknown} | {each.path for each in found.files} == {files / path for path in paths}
    return {str(each.path.relative_to(files)): each.key for each in found.files}


@pytest.mark.parametrize(
    "path",
    [
        "2025-06-01/visits.csv",
        "load_date=2025-06-01/visits.csv",
        "export/raw/visits/load_date=2025-06-01/visits.csv",
        "visits_2025-06-01.csv",
        "visits.2025-06-01.csv",
        "20250601_visits.csv",
        "Visits 20250601.CSV",
        "2025_06_01/visits.csv",
        "2025/06/01/visits.csv",
        "year=2025/month=6/day=1/visits.csv",
        "visits/2025-06-01.csv",
        "visits/anything 20250601.csv",
        "whatever-20250601T0400.csv",  # the only source
    ],
)
def test_a_path_names_table_and_load_date(tmp_path: Path, path: str) -> None:
    of = pipeline(tmp_path, visits=VISITS)
    assert landed(tmp_path, of, path) == {path: "raw/visits/load_date=2025-06-01/visits.csv"}


@pytest.mark.parametrize("path", ["visits.csv", "visits_20251301.csv", "visits_120250601.csv", "visits_2025-06.csv"])
def test_a_path_without_a_date_is_not_landed(tmp_path: Path, path: str) -> None:
    of = pipeline(tmp_path, visits=VISITS)
    assert landed(tmp_path, of, path, "visits_20250602.csv") == {
        "visits_20250602.csv": "raw/visits/load_date=2025-06-02/visits.csv"
    }


def test_the_form_of_the_key_goes_before_other_dates(tmp_path: Path) -> None:
    of = pipeline(tmp_path, visits="raw/{load_date:%d.%m.%Y}.csv", sales="raw/{load_date:%Y/%m/%d}/sales.csv")
    assert landed(tmp_path, of, "01.06.2025.csv", "exported 2025-07-01/2025/06/02/sales.csv") == {
        "01.06.2025.csv": "raw/01.06.2025.csv",
        "exported 2025-07-01/2025/06/02/sales.csv": "raw/2025/06/02/sales.csv",
    }


def test_files_of_several_sources_are_told_apart(tmp_path: Path) -> None:
    of = pipeline(
        tmp_path,
        sales_north="north/load_date={load_date}/sales.csv",
        sales_south="south/load_date={load_date}/sales.csv",
        visits=VISITS,
        shops="reference/shops.csv",
    )
    found = landed(
        tmp_path,
        of,
        *("south/load_date=2025-06-01/sales.csv", "2025-06-01/sales_north/sales.csv", "visits_20250601.csv"),
        *("2025-06-01/other.csv", "shops.csv", ".git/visits_20250602.csv"[5:]),
    )
    assert found == {
        "south/load_date=2025-06-01/sales.csv": "south/load_date=2025-06-01/sales.csv",
        "2025-06-01/sales_north/sales.csv": "north/load_date=2025-06-01/sales.csv",
        "visits_20250601.csv": "raw/visits/load_date=2025-06-01/visits.csv",
        "visits_20250602.csv": "raw/visits/load_date=2025-06-02/visits.csv",
        "shops.csv": "reference/shops.csv",
    }


def test_several_objects_of_a_load_date_keep_their_names_and_the_marker_comes_last(tmp_path: Path) -> None:
    more = ', complete: {marker: "raw/lines/{load_date}/_SUCCESS"}'
    of = pipeline(tmp_path, more=more, lines="raw/lines/{load_date}/part-*.csv")
    paths = ["20250601/_SUCCESS", "20250601/part-1.csv", "20250601/part-2.csv", "20250601/other.csv"]
    assert list(landed(tmp_path, of, *paths).values()) == [
        "raw/lines/2025-06-01/part-1.csv",
        "raw/lines/2025-06-01/part-2.csv",
        "raw/lines/2025-06-01/_SUCCESS",
    ]


@pytest.mark.parametrize(
    ("paths", "sentence"),
    [
        (
            ["2025-06-01/sales.csv"],
            "The file {0} may belong to raw.sales_north or raw.sales_south (keys: north/load_date={{load_date}}/sales"
            ".csv, south/load_date={{load_date}}/sales.csv): put it into a folder with the name of its table, such as "
            "sales_north/.",
        ),
        (
            ["sales_north/2025-06-01.csv", "sales_north/20250601.csv"],
            "Two files belong to the key north/load_date=2025-06-01/sales.csv: {0} and {1}. Take one of them out of "
            "the folder.",
        ),
        (
            ["sales_north/2025-06-01/sales_20250602.csv"],
            "The path {0} has several dates (2025-06-01, 2025-06-02), so its load_date is not clear: leave only the "
            "load_date in it.",
        ),
        (
            ["2025-06-01/other.csv"],
            "No file below {folder} belongs to shop and has its load_date in its path, such as 2025-06-01/orders.csv "
            "or orders_20250601.csv (keys: north/load_date={{load_date}}/sales.csv, "
            "south/load_date={{load_date}}/sales.csv): name another folder with --from, or give --load-date.",
        ),
    ],
)
def test_what_is_not_clear_is_an_error(tmp_path: Path, paths: list[str], sentence: str) -> None:
    keys = {f"sales_{shop}": f"{shop}/load_date={{load_date}}/sales.csv" for shop in ("north", "south")}
    files = tmp_path / "files"
    expected = sentence.format(*(files / path for path in paths), folder=files)
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}$"):
        landed(tmp_path, pipeline(tmp_path, **keys), *paths)


def test_load_dates_that_the_pipeline_does_not_have_are_left_out(tmp_path: Path) -> None:
    of = pipeline(tmp_path, visits=VISITS)
    tomorrow = datetime.now(timezone.utc).date() + timedelta(days=2)
    days = [date(2024, 12, 31), date(2025, 1, 1), tomorrow]
    for day in days:
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / f"{day}.csv").touch()
    found = find_dated_files(of, tmp_path / "files")
    assert (found.load_dates, list(found.refused)) == ([days[1]], [days[0], tomorrow])
    assert found.refused[days[0]].startswith("shop has no load_date 2024-12-31: its first is 2025-01-01")


def test_an_object_of_a_day_that_is_no_load_date_is_landed_if_it_is_carried(tmp_path: Path) -> None:
    """2025-05-31 is a Saturday, 2025-08-31 a Sunday; 2024-10-31 is too long before the first load_date to be read."""
    key = "months/{load_date:%Y-%m}.csv"
    pipeline(tmp_path, more=", every: month-end, carried_days: 35", months=key, visits="visits/{load_date:%Y-%m}.csv")
    path = tmp_path / "sql" / "shop"
    visits = path / "raw" / "visits.sql"
    visits.write_text(RAW.format(key=VISITS, more=""))
    with (path / "pipeline.yaml").open("a") as file:
        file.write("calendar: {every: weekday}\n")
    of = load_pipelines(tmp_path / "sql")["shop"]
    files = tmp_path / "files"
    now = datetime.now(timezone.utc)
    months = ["2024-10", "2024-12", "2025-05", "2025-08", f"{now:%Y-%m}"]
    for each in [*(f"months/{month}.csv" for month in months), "visits/2025-08-31.csv"]:
        (files / each).parent.mkdir(parents=True, exist_ok=True)
        (files / each).touch()
    found = find_dated_files(of, files)
    landed_on = [date(2024, 12, 31), date(2025, 5, 31), date(2025, 8, 31)]
    is_end = (now + timedelta(days=1)).day == 1
    assert [each.key for each in found.files][:3] == ["months/2024-12.csv", "months/2025-05.csv", "months/2025-08.csv"]
    assert found.load_dates[:3] == landed_on
    assert len(found.files) == 3 + is_end, "that of this month is of a day in the future"
    assert [*found.refused][:2] == [date(2024, 10, 31), date(2025, 8, 31)]
    assert "shop has no load_date 2025-08-31, a Sunday: its calendar is every weekday" in found.refused[landed_on[2]]
