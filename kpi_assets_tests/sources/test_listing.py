"""Listings by load_date return exactly the keys of the sources in the requested range, whatever else lies there."""

from datetime import date
from pathlib import Path

import pytest

from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines
from kpi_assets.sources.listing import landed
from kpi_assets.sources.store import Store

TABLE = """\
/* @asset
description: One.
owner: team:tests
grain: [id]
source: {{object: "{key}", format: csv}}
columns:
  id: {{type: integer, description: Key.}}
@end */
"""
FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)


def sources(folder: Path, **keys: str) -> list[Table]:
    """Raw tables that read the given keys."""
    (folder / "shop" / "raw").mkdir(parents=True)
    (folder / "shop" / "pipeline.yaml").write_text(
        "description: Test.\nbucket: bucket\nstart_date: 2025-01-01\nlayers: {raw: raw}\n"
    )
    for name, key in keys.items():
        (folder / "shop" / "raw" / f"{name}.sql").write_text(TABLE.format(key=key))
    return load_pipelines(folder)["shop"].object_tables


def lay(store: Store, *keys: str) -> None:
    for key in keys:
        store.objects.s3.put_object(Bucket=store.bucket, Key=key, Body=key.encode())


def found(store: Store, tables: list[Table], first: date = FIRST, last: date = LAST) -> dict[str, dict[str, str]]:
    by_load_date = landed(store, tables, first, last)
    return {str(day): {name: entry.key for name, entry in of.items()} for day, of in sorted(by_load_date.items())}


def test_each_load_date_has_the_objects_of_its_sources(store: Store, tmp_path: Path) -> None:
    tables = sources(tmp_path, a="raw/a/load_date={load_date}/a.csv", b="raw/b/{load_date}.csv")
    lay(store, "raw/a/load_date=2025-03-01/a.csv", "raw/a/load_date=2025-03-02/a.csv", "raw/b/2025-03-02.csv")
    assert found(store, tables) == {
        "2025-03-01": {"a": "raw/a/load_date=2025-03-01/a.csv"},
        "2025-03-02": {"a": "raw/a/load_date=2025-03-02/a.csv", "b": "raw/b/2025-03-02.csv"},
    }


def test_other_keys_are_ignored(store: Store, tmp_path: Path) -> None:
    tables = sources(tmp_path, a="raw/a/load_date={load_date}/a.csv")
    good = "raw/a/load_date=2025-03-01/a.csv"
    lay(
        store,
        good,
        "raw/",  # what consoles put for a folder
        "raw/a/load_date=2025-03-06/",
        "raw/a/load_date=2025-02-30/a.csv",  # no date
        "raw/a/load_date=2025-3-01/a.csv",
        "raw/a/load_date=2025-03-01/a.csv.tmp",
        "raw/a/load_date=2025-03-01/_temporary/a.csv",
        "raw/a/load_date=2025-03-02/A.csv",
        "raw/a/load_date=2025-03-03T00/a.csv",
        "raw/a/load_date=2025-",
        "raw/a/load_date=latest/a.csv",
        "raw/a/readme.txt",
        "raw/aa/load_date=2025-03-04/a.csv",
        "2025-03-05",
    )
    assert found(store, tables) == {"2025-03-01": {"a": good}}


def test_only_load_dates_of_the_range_are_listed(store: Store, tmp_path: Path) -> None:
    tables = sources(tmp_path, a="raw/a/{load_date}")
    lay(store, *(f"raw/a/{day}" for day in ("2024-12-31", "2025-01-01", "2025-01-02", "2025-12-31", "2026-01-01")))
    assert list(found(store, tables)) == ["2025-01-01", "2025-01-02", "2025-12-31"]
    assert list(found(store, tables, date(2025, 1, 2), date(2025, 12, 30))) == ["2025-01-02"]
    assert list(found(store, tables, date(2024, 1, 1), date(2024, 12, 31))) == ["2024-12-31"]


def test_sources_that_share_a_prefix_are_listed_separately(store: Store, tmp_path: Path) -> None:
    tables = sources(tmp_path, a="raw/{load_date}/a.csv", b="raw/{load_date}/b.csv")
    lay(store, "raw/2025-03-01/a.csv", "raw/2025-03-01/b.csv")
    assert found(store, tables) == {"2025-03-01": {"a": "raw/2025-03-01/a.csv", "b": "raw/2025-03-01/b.csv"}}


@pytest.mark.nightly
def test_a_listing_of_several_pages_is_complete(store: Store, tmp_path: Path) -> None:
    tables = sources(tmp_path, a="raw/{load_date}/a.csv")
    days = [date.fromordinal(FIRST.toordinal() + n) for n in range(365)]
    lay(store, *(f"raw/{day}/{name}.csv" for day in days for name in "abc"))
    assert list(found(store, tables)) == [str(day) for day in days]


def test_keys_of_every_form_are_found(store: Store, tmp_path: Path) -> None:
    tables = sources(
        tmp_path,
        a="raw/{load_date:%Y/%m/%d}/a.csv",
        b="raw/b/{load_date:%d-%m-%Y}.csv",
        c="raw/c/{load_date}/c-*.csv",
        d="raw/d/*_{load_date:%Y%m%d}.csv",
    )
    parts = ["raw/c/2025-03-01/c-2.csv", "raw/c/2025-03-01/c-1.csv", "raw/c/2025-03-01/x-1.csv"]
    lay(store, "raw/2025/03/01/a.csv", "raw/b/01-03-2025.csv", "raw/b/01-03-2024.csv", *parts, "raw/d/x_20250302.csv")
    assert found(store, tables) == {
        "2025-03-01": {"a": "raw/2025/03/01/a.csv", "b": "raw/b/01-03-2025.csv", "c": "raw/c/2025-03-01/c-*.csv"},
        "2025-03-02": {"d": "raw/d/*_20250302.csv"},
    }
    [whole] = [of["c"] for of in landed(store, tables, FIRST, LAST).values() if "c" in of]
    assert whole.size_bytes == len("".join(parts[:2]))
    before = whole.etag
    store.objects.s3.put_object(Bucket=store.bucket, Key="raw/c/2025-03-01/c-3.csv", Body=b"")
    assert landed(store, tables, date(2025, 3, 1), date(2025, 3, 1))[date(2025, 3, 1)]["c"].etag != before


def test_the_object_of_a_month_is_that_of_the_day_on_which_it_comes(store: Store, tmp_path: Path) -> None:
    [table] = sources(tmp_path, sales='raw/{load_date:%Y-%m}.csv", every: "month-end')
    lay(store, "raw/2025-01.csv", "raw/2025-02.csv")
    assert sorted(landed(store, [table], FIRST, LAST)) == [date(2025, 1, 31), date(2025, 2, 28)]
    assert sorted(landed(store, [table], date(2025, 2, 1), date(2025, 2, 27))) == []
