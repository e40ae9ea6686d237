"""Long values are cut before they are stored or shown, in Python and in SQL in the same way."""

from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.model.excerpt import MESSAGE, RECORD, VALUE, cut, cut_row, sql_cut, sql_cut_values


@pytest.mark.parametrize("most", [VALUE, MESSAGE, RECORD])
@pytest.mark.parametrize("letter", ["x", "é", "🙂", '"', "\n"])
def test_python_and_sql_cut_alike(session: Connection[Any], letter: str, most: int) -> None:
    for length in (0, 1, most - 1, most, most + 1, 3 * most):
        text = letter * length
        [found] = session.execute(f"select {sql_cut('t', most)} from (select %s::text as t) as one", [text]).fetchone()
        assert found == cut(text, most)
        assert len(found) == min(length, most)
        assert (found == text) == (length <= most) == (not found.endswith("… (cut)"))


@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_values_of_a_row_are_cut_on_the_server(session: Connection[Any], kind: str) -> None:
    values = "1 as b, 'x'::text as a, repeat('y', 5000) as long, null as none, true as yes"
    row = f"""select {values}, '{{"k": [1]}}'::jsonb as j"""
    [found] = session.execute(f"select {sql_cut_values(f'to_{kind}(t)', kind)} from ({row}) as t").fetchone()
    assert found == {"b": 1, "a": "x", "long": cut("y" * 5000), "none": None, "yes": True, "j": {"k": [1]}}
    if kind == "json":
        assert list(found) == ["b", "a", "long", "none", "yes", "j"]
    assert session.execute(f"select {sql_cut_values(f'to_{kind}(t)', kind)} from (select) as t").fetchone() == ({},)


def test_a_row_is_cut_in_values_and_columns() -> None:
    row = {f"c{number}": "y" * 900 for number in range(30)}
    found = cut_row(row)
    assert list(found)[:17] == list(row)[:17]
    assert found["…"] == "(cut: 13 more columns)"
    assert cut_row({"a": 1, "b": None, "c": "x", "d": [1]}) == {"a": 1, "b": None, "c": "x", "d": [1]}
    assert cut_row({"a": ["y" * 2000]}) == {"a": cut(str(["y" * 2000]))}
