"""Where a table is cut by its key, and where its slices are read."""

from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.model.names import Relation
from kpi_assets.model.slices import Slice
from kpi_assets.warehouse.slices import Stored, even_slices
from kpi_assets_tests.pipeline_harness import DAY

KEYS = Relation("builds", "keys")


@pytest.fixture
def keys(session: Connection[Any]) -> Connection[Any]:
    """A table of the keys 1 to 1000, of which the server has statistics."""
    session.execute("create table builds.keys as select id, 'x' as name from generate_series(1, 1000) as id")
    session.execute("analyze builds.keys")
    return session


def ends(slices: list[Slice]) -> list[tuple[int, int | None, int | None]]:
    return [(part.number, part.low, part.high) for part in slices]


def test_slices_are_about_equal_as_far_as_statistics_know(keys: Connection[Any]) -> None:
    assert ends(even_slices(keys, KEYS, "id", 2)) == [(0, None, 500), (1, 500, None)]
    assert ends(even_slices(keys, KEYS, "id", 4)) == [(0, None, 250), (1, 250, 500), (2, 500, 750), (3, 750, None)]


def test_where_the_server_knows_too_little_nothing_is_cut(keys: Connection[Any]) -> None:
    assert even_slices(keys, KEYS, "id", 101) == [], "as many slices as it knows values"
    assert len(even_slices(keys, KEYS, "id", 100)) == 100
    assert even_slices(keys, KEYS, "nothing", 2) == []
    assert even_slices(keys, Relation("builds", "nothing"), "id", 2) == []
    keys.execute("truncate builds.keys")
    keys.execute("insert into builds.keys select 7, 'x' from generate_series(1, 1000)")
    keys.execute("analyze builds.keys")
    assert even_slices(keys, KEYS, "id", 2) == [], "of one value there is no histogram"


@pytest.mark.parametrize(
    ("part", "count", "lowest", "highest"),
    [(Slice(0, None, 400), 400, 1, 399), (Slice(1, 400, 700), 300, 400, 699), (Slice(2, 700, None), 301, 700, 1000)],
)
def test_of_a_table_that_is_not_cut_a_slice_is_looked_for(
    keys: Connection[Any], part: Slice, count: int, lowest: int, highest: int
) -> None:
    """Under the names that a view gives its columns, and with the rows without a key in the first."""
    keys.execute("insert into builds.keys values (null, 'none')")
    where = Stored(DAY, KEYS, {"thing": "id", "called": "name"}, {})
    query = "select count(*), min(thing), max(thing), min(load_date), count(called) from {} as q"
    found = keys.execute(query.format(where.read("thing", part).as_string(keys))).fetchone()
    assert found == (count, lowest, highest, DAY, count)


def test_a_slice_of_its_own_is_read_as_it_is(keys: Connection[Any]) -> None:
    part = Slice(1, 400, 700)
    where = Stored(DAY, Relation("builds", "nothing"), {"thing": "id"}, {part: KEYS})
    assert where.slices == [part]
    text = where.read("thing", part).as_string(keys)
    assert keys.execute(f"select count(*) from {text} as q").fetchone() == (1000,), "its rows were proven before"
