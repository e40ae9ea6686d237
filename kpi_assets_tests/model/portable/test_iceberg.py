"""Spark by Spark Connect with Iceberg, its catalog in Postgres and its files on S3: what a lake needs of them.

Seen here: which statements of write-audit-publish hold, and the traps that they have.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets_tests.lake.server import catalog_settings, needed
from kpi_assets_tests.model.portable.spark import OnSpark

pytestmark = pytest.mark.nightly
FIRST, SECOND, THIRD = (date(2025, 1, day) for day in (1, 2, 3))


@pytest.fixture(scope="module")
def lake(stack: Stack) -> Iterator[OnSpark]:
    """A Spark whose catalog `k` has an empty table `k.m.t` with one row of the first load_date."""
    needed()
    with OnSpark.open(catalog_settings(), by_connect=True) as spark:
        spark.all_rows("create namespace k.m")
        columns = "load_date date, id smallint, x decimal(10,2)"
        spark.all_rows(f"create table k.m.t ({columns}) using iceberg partitioned by (load_date)")
        spark.all_rows(f"insert into k.m.t values (date '{FIRST}', 1, 1.5)")
        yield spark


def test_the_steps_of_a_publish_hold_and_their_traps_are_as_known(lake: OnSpark) -> None:
    def count(of: str) -> int:
        return int(lake.all_rows(f"select count(*) from k.m.t{of}")[0][0])

    assert dict(each[:2] for each in lake.all_rows("describe k.m.t"))["id"] == "int", "Iceberg has no smallint"
    for name, day in (("c1", SECOND), ("c2", THIRD)):
        lake.all_rows(f"alter table k.m.t create branch {name}")
        lake.all_rows(f"insert into k.m.t.branch_{name} values (date '{day}', 2, 2.5)")
    assert (count(""), count(" version as of 'c1'")) == (1, 2), "readers of main see no candidate"
    snapshots = dict(lake.all_rows("select name, snapshot_id from k.m.t.refs"))
    for name in ("c2", "c1"):  # in any order
        lake.all_rows(f"alter table k.m.t create tag p_{name} as of version {snapshots[name]}")
        lake.all_rows(f"call k.system.cherrypick_snapshot('m.t', {snapshots[name]})")
    assert lake.all_rows("select load_date, x from k.m.t order by 1") == [
        (FIRST, Decimal("1.50")),
        (SECOND, Decimal("2.50")),
        (THIRD, Decimal("2.50")),
    ]
    lake.rows("call k.system.fast_forward('m.t', 'main', 'c1')")
    assert "main is not an ancestor of c1" in lake.failure
    lake.all_rows("alter table k.m.t create branch z")
    lake.all_rows(f"delete from k.m.t.branch_z where load_date = date '{SECOND}'")
    assert count(" version as of 'z'") == 2
    lake.all_rows("insert overwrite k.m.t.branch_z select * from k.m.t where false")
    assert count(" version as of 'z'") == 0, "an overwrite empties every load_date, unless it is said to be dynamic"
    snapshots = dict(lake.all_rows("select name, snapshot_id from k.m.t.refs"))
    lake.rows(f"call k.system.cherrypick_snapshot('m.t', {snapshots['z']})")
    assert "not append, dynamic overwrite, or fast-forward" in lake.failure, "a delete cannot be cherry-picked"
    assert (count(""), count(" version as of 'p_c1'")) == (3, 2), "a tag reads on"
