"""Iceberg tables on a real Spark: candidates, publishes in any order, the mirror, and what is swept."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import count

import pytest

from kpi_assets.lake.session import Engine, EngineError
from kpi_assets.lake.tables import LakeTable, Tables, branch_of, checksum_of
from kpi_assets_tests.lake.server import CATALOG, LakeServer

pytestmark = pytest.mark.nightly
FIRST, SECOND = date(2025, 1, 1), date(2025, 1, 2)
TYPES = {"id": "smallint", "x": "numeric(10,2)", "name": "text", "at": "timestamp without time zone", "ok": "boolean"}
_numbers = count(1)


@pytest.fixture(scope="module")
def shared(server: LakeServer) -> Iterator[Engine]:
    with server.connect() as connected:
        yield connected


@pytest.fixture
def table(shared: Engine) -> Iterator[LakeTable]:
    """A table without rows, which is dropped at the end."""
    made = LakeTable(CATALOG, "shop_stg", f"t{next(_numbers)}", TYPES, "It's a table of tests.")
    tables = Tables(shared, "shop of 2025")
    tables.ensure(made)
    yield made
    tables.drop(made)


@pytest.fixture
def tables(shared: Engine) -> Tables:
    return Tables(shared, "shop of 2025")


def _select(*ids: int) -> str:
    rows = ", ".join(f"({each})" for each in ids)
    return (
        "select cast(id as smallint) as id, cast(id + 0.5 as decimal(10,2)) as x, "
        "nullif('n', concat('n', id)) as name, "
        f"timestamp_ntz '2025-01-01 00:00:00' as at, true as ok from values {rows} as v(id)"
    )


NOTHING = _select(1) + " where false"


def _ids(engine: Engine, source: str) -> list[int]:
    return sorted(row[0] for row in engine.rows(f"select id from {source}"))


def _published(engine: Engine, table: LakeTable, day: date, snapshot: int) -> list[int]:
    return _ids(engine, f"({table.rows(day, snapshot)})")


def test_candidates_are_seen_by_nobody_and_are_published_in_any_order(
    shared: Engine, tables: Tables, table: LakeTable
) -> None:
    one = tables.fill(table, FIRST, 1, _select(1, 2))
    other = tables.fill(table, SECOND, 2, _select(3))
    assert _ids(shared, table.sql) == []
    assert (_published(shared, table, FIRST, one), _published(shared, table, SECOND, one)) == ([1, 2], [])
    for build, day, snapshot in ((2, SECOND, other), (1, FIRST, one)):
        tables.tag(table, build, snapshot)
        tables.mirror(table, day, snapshot)
        tables.drop_branch(table, build)
    assert _ids(shared, table.sql) == [1, 2, 3]
    assert [ref[:2] for ref in tables.refs(table)] == [("p1", "TAG"), ("p2", "TAG")]
    assert tables.size(table, FIRST, one)[1] >= 1
    assert tables.size(table, FIRST, one)[0] > 500


def test_what_is_read_has_the_declared_types(shared: Engine, tables: Tables, table: LakeTable) -> None:
    snapshot = tables.fill(table, FIRST, 1, _select(1))
    assert dict(row[:2] for row in shared.rows(f"describe table {table.sql}"))["id"] == "int", "as Iceberg stores it"
    names = ", ".join(f"typeof({name})" for name in TYPES)
    [types] = shared.rows(f"select {names} from ({table.rows(FIRST, snapshot)}) as q")
    assert types == ("smallint", "decimal(10,2)", "string", "timestamp_ntz", "boolean")
    assert shared.rows(table.rows(FIRST, snapshot)) == [
        (FIRST, 1, Decimal("1.50"), "n", datetime.fromisoformat("2025-01-01"), True)
    ]


def test_a_load_date_is_replaced_and_the_mirror_follows(shared: Engine, tables: Tables, table: LakeTable) -> None:
    first = tables.fill(table, FIRST, 1, _select(1, 2))
    tables.mirror(table, FIRST, first)
    other = tables.fill(table, SECOND, 2, _select(9))  # cut before the first is replaced
    again = tables.fill(table, FIRST, 3, _select(2, 5))
    assert _published(shared, table, FIRST, again) == [2, 5], "not the rows before, nor both"
    tables.mirror(table, FIRST, again)
    tables.mirror(table, SECOND, other)
    assert _ids(shared, table.sql) == [2, 5, 9]
    tables.mirror(table, FIRST, first)  # rows that main had before: a snapshot is picked once only
    assert _ids(shared, table.sql) == [1, 2, 9]
    assert _published(shared, table, FIRST, again) == [2, 5]


def test_a_load_date_without_rows(shared: Engine, tables: Tables, table: LakeTable) -> None:
    empty = tables.fill(table, FIRST, 1, NOTHING)
    assert tables.rows_and_checksum(table, FIRST, empty) == (0, "0")
    tables.mirror(table, FIRST, empty)
    full = tables.fill(table, FIRST, 2, _select(1))
    tables.mirror(table, FIRST, full)
    again = tables.fill(table, FIRST, 3, NOTHING)
    assert _published(shared, table, FIRST, again) == [], "an overwrite would have kept the row"
    tables.mirror(table, FIRST, again)
    assert _ids(shared, table.sql) == []
    assert tables.size(table, FIRST, again) == (0, 0)


def test_what_the_mirror_lacks_is_found(shared: Engine, tables: Tables, table: LakeTable) -> None:
    one, other = tables.fill(table, FIRST, 1, _select(1)), tables.fill(table, SECOND, 2, _select(2))
    for day, snapshot in ((FIRST, one), (SECOND, other)):
        tables.mirror(table, day, snapshot)
    again = tables.fill(table, FIRST, 3, _select(7))
    published = {FIRST: again, SECOND: other}
    assert tables.differing(table, published) == [FIRST]
    tables.mirror(table, FIRST, again)
    assert tables.differing(table, published) == []
    shared.execute(f"delete from {table.sql} where load_date = date '{FIRST}'")  # as between two commits
    assert tables.differing(table, published) == [FIRST]
    tables.mirror(table, FIRST, again)
    assert tables.differing(table, published) == [], "other files with the same rows are a mirror too"
    assert _ids(shared, table.sql) == [2, 7]
    assert tables.differing(table, {FIRST: again}) == [SECOND]
    tables.mirror(table, SECOND, None)
    assert _ids(shared, table.sql) == [7]
    assert tables.differing(table, {FIRST: again, SECOND: 1}) == [], "a snapshot that is gone cannot be compared"


def test_a_checksum_tells_rows_apart_and_not_their_order(shared: Engine, tables: Tables, table: LakeTable) -> None:
    one = tables.fill(table, FIRST, 1, _select(1, 2, 3))
    two = tables.fill(table, FIRST, 2, _select(3, 1, 2))
    three = tables.fill(table, FIRST, 3, _select(3, 1, 4))
    sums = [tables.rows_and_checksum(table, FIRST, each) for each in (one, two, three)]
    assert sums[0] == sums[1]
    assert sums[0][0] == sums[2][0] == 3
    assert sums[0][1] != sums[2][1]
    nulls = replace(table, types={"id": "smallint", "x": "numeric(10,2)"})
    null_and_value = (
        "cast(1 as smallint) as id, cast(null as decimal(10,2)) as x",
        "cast(null as smallint) as id, 1.00 as x",
    )
    swapped = [
        tables.rows_and_checksum(nulls, FIRST, tables.fill(nulls, FIRST, build, f"select {values} where true"))
        for build, values in enumerate(null_and_value, 4)
    ]
    assert swapped[0] != swapped[1], "a NULL counts where it is"


def test_a_sum_of_many_hashes_does_not_overflow(shared: Engine) -> None:
    assert int(shared.value(f"select {checksum_of({'id': 'bigint'})} from range(100000)"))


def test_columns_are_added_and_widened_and_nothing_else(shared: Engine, tables: Tables, table: LakeTable) -> None:
    one = tables.fill(table, FIRST, 1, _select(1))
    tables.tag(table, 1, one)
    wider = replace(table, types={**TYPES, "id": "bigint", "x": "numeric(12,2)", "new": "text"})
    tables.ensure(wider)
    select = _select(2).replace("as ok", "as ok, 'it''s' as new").replace("cast(id as smallint)", "4000000000")
    two = tables.fill(wider, FIRST, 2, select.replace("''", "\\'"))
    assert shared.rows(wider.rows(FIRST, two))[0][-1] == "it's"
    assert _published(shared, table, FIRST, one) == [1], "a publish keeps the columns that it has"
    tables.ensure(table)  # a narrower declaration is held by what is stored
    three = tables.fill(table, FIRST, 3, _select(3))
    assert _published(shared, table, FIRST, three) == [3]
    with pytest.raises(EngineError, match=r"has the column name as string, which Iceberg cannot change to int"):
        tables.ensure(replace(table, types={**TYPES, "name": "integer"}))


def test_another_ledger_is_refused(shared: Engine, tables: Tables, table: LakeTable) -> None:
    with pytest.raises(EngineError, match=r"belongs to the ledger shop of 2025, and this one is shop of 2026"):
        Tables(shared, "shop of 2026").ensure(table)
    with pytest.raises(EngineError, match="belongs to the ledger"):
        Tables(shared, "shop of 2026").drop(table)
    foreign = replace(table, table="foreign")
    shared.execute(f"create table {foreign.sql} (load_date date) using iceberg")
    with pytest.raises(EngineError, match="was not made by kpi_assets"):
        tables.ensure(foreign)
    shared.execute(f"drop table {foreign.sql} purge")


def test_orphans_are_swept_and_what_is_named_stays(shared: Engine, tables: Tables, table: LakeTable) -> None:
    snapshots = {build: tables.fill(table, FIRST, build, _select(build)) for build in (1, 2, 3, 4)}
    for build in (1, 2):
        tables.tag(table, build, snapshots[build])
        tables.drop_branch(table, build)
    shared.execute(f"alter table {table.sql} create branch audit")  # somebody's own
    assert tables.sweep(table, tables.refs(table), [4], [2]) == ["c3", "p1"]
    assert [ref.name for ref in tables.refs(table)] == ["audit", "c4", "p2"]
    tables.expire(table, datetime.now(timezone.utc) + timedelta(days=1))
    assert _published(shared, table, FIRST, snapshots[2]) == [2]
    assert _published(shared, table, FIRST, snapshots[4]) == [4]
    with pytest.raises(EngineError):
        _published(shared, table, FIRST, snapshots[1])
    assert tables.snapshot(table, branch_of(4)) == snapshots[4]
    with pytest.raises(EngineError, match="has no branch or tag c3: somebody dropped it"):
        tables.snapshot(table, branch_of(3))


def test_a_dropped_table_is_gone(shared: Engine, tables: Tables, table: LakeTable) -> None:
    assert tables.exists(table)
    assert not tables.exists(replace(table, namespace="nowhere"))
    tables.drop(table)
    assert not tables.exists(table)
    tables.drop(table)
    tables.ensure(table)
