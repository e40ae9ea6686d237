"""At which keys a table is cut into slices, and from which table each slice is read."""

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
    """A session with a table of the keys 1 to 1000 that has been analyzed."""
    session.execute("create table builds.keys as select id, 'x' as name from generate_series(1, 1000) as id")
    session.execute("analyze builds.keys")
    return session


def ends(slices: list[Slice]) -> list[tuple[int, int | None, int | None]]:
    return [(part.number, part.low, part.high) for part in slices]


def test_slices_are_about_equal_by_the_statistics_of_the_server(keys: Connection[Any]) -> None:
    assert ends(even_slices(keys, KEYS, "id", 2)) == [(0, None, 500), (1, 500, None)]
    assert ends(even_slices(keys, KEYS, "id", 4)) == [(0, None, 250), (1, 250, 500), (2, 500, 750), (3, 750, None)]


def test_without_sufficient_statistics_there_are_no_slices(keys: Connection[Any]) -> None:
    assert even_slices(keys, KEYS, "id", 101) == [], "the statistics have fewer values than slices"
    assert len(even_slices(keys, KEYS, "id", 100)) == 100
    assert even_slices(keys, KEYS, "nothing", 2) == []
    assert even_slices(keys, Relation("builds", "nothing"), "id", 2) == []
    keys.execute("truncate builds.keys")
    keys.execute("insert into builds.keys select 7, 'x' from generate_series(1, 1000)")
    keys.execute("analyze builds.keys")
    assert even_slices(keys, KEYS, "id", 2) == [], "a single value has no histogram"


@pytest.mark.parametrize(
    ("part", "count", "lowest", "highest"),
    [(Slice(0, None, 400), 400, 1, 399), (Slice(1, 400, 700), 300, 400, 699), (Slice(2, 700, None), 301, 700, 1000)],
)
def test_a_slice_of_an_uncut_table_is_selected_by_its_key(
    keys: Connection[Any], part: Slice, count: int, lowest: int, highest: int
) -> None:
    """Columns have the names of the view, and the first slice contains the rows whose key is NULL."""
    keys.execute("insert into builds.keys values (null, 'none')")
    where = Stored(DAY, KEYS, {"thing": "id", "called": "name"}, {})
    query = "select count(*), min(thing), max(thing), min(load_date), count(called) from {} as q"
    found = keys.execute(query.format(where.read("thing", part).as_string(keys))).fetchone()
    assert found == (count, lowest, highest, DAY, count)


def test_a_slice_with_its_own_table_is_read_without_a_filter(keys: Connection[Any]) -> None:
    part = Slice(1, 400, 700)
    where = Stored(DAY, Relation("builds", "nothing"), {"thing": "id"}, {part: KEYS})
    assert where.slices == [part]
    text = where.read("thing", part).as_string(keys)
    assert keys.execute(f"select count(*) from {text} as q").fetchone() == (1000,), (
        "all rows of the table of a slice are read, because its constraint holds"
    )
