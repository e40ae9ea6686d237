"""A column is read from what the SELECT names; the name of a relation that is nowhere in it is refused."""

from pathlib import Path

import pytest

from kpi_assets.model.column_reads import unknown_columns
from kpi_assets.model.query import parse_query


@pytest.mark.parametrize(
    "query",
    [
        "select * from {this} as this where this.id is null",
        "select * from {this} where {this}.id is null",
        "select T.id from {this} as t",
        "select b.id from a.b where load_date = %(load_date)s",
        "select a.b.id from a.b where load_date = %(load_date)s",
        "with a as (select 1 as id) select a.id from a",
        "select t.* from {this} as t where exists (select 1 from (select 2 as n) as s where s.n = t.id)",
        "select v.id from (values (1)) as v (id)",
        "select (t.part).id from {this} as t",
        "select g.n, k.n from {this} as t, generate_series(1, 3) as g (n), unnest(t.ids) with ordinality as k (id, n)",
        "select each.value from {this} as t, jsonb_each(t.more) as each",
        "select generate_series.generate_series from generate_series(1, 3)",
        "select now.now from now()",
    ],
)
def test_a_column_of_what_is_read_is_known(query: str) -> None:
    assert list(unknown_columns(parse_query(query, Path("f.sql")), {})) == []


def test_a_column_of_what_is_not_read_is_refused_on_its_line() -> None:
    query = parse_query("select t.id,\n    s.id\nfrom {this} as t\nwhere {this}.id > 0", Path("f.sql"), 5)
    [(line, problem)] = unknown_columns(query, {})
    assert line == 6
    assert problem.startswith("reads s.id, and nothing that it reads is called 's': correct the name, or ")
