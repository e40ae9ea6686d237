"""A comparison of two sides equals what Python finds out about the same rows, whatever keys and values they have."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import Connection, sql

from kpi_assets.read.diff import Difference, compare
from kpi_assets.read.sides import Side
from kpi_assets_tests.examples import examples
from kpi_assets_tests.pipeline_harness import PipelineHarness

TABLE = """\
/* @asset
description: Rows that are compared.
owner: team:tests
grain: [code, number]
source: {object: "raw/rows/{load_date}.csv", format: csv}
columns:
  code: {type: text, description: One half of the key.}
  number: {type: numeric, description: The other half.}
  label: {type: text, description: Text.}
  amount: {type: numeric, description: Number of any scale.}
  share: {type: double precision, description: Floating-point number.}
  document: {type: json, description: Text that is JSON.}
@end */
"""
TYPES = {
    "code": "text",
    "number": "numeric",
    "label": "text",
    "amount": "numeric",
    "share": "double precision",
    "document": "json",
}
VALUES = [*TYPES][2:]
Row = tuple[str | None, ...]
EXACT = Context(prec=10_000, traps=[])
# Few keys, so that both sides have most of them. Each is written in more than one way: 1.0 is 1.00.
KEYS = st.tuples(
    st.sampled_from(["a", "A", "", " ", "ä", "a\u0308", "'", '"', "\\", "NULL", "{}"]),
    st.sampled_from(["1", "1.0", "1.00", "-1", "1e2", "100", "NaN", "0.1"]),
)
REST = st.tuples(
    st.sampled_from([None, "", "x", "X", "x ", "ß"]),
    st.sampled_from([None, "0", "-0.00", "0.10", "0.1", "1e30", "-1e-20", "NaN"]),
    st.sampled_from([None, "0", "-0", "0.1", "1e300", "NaN", "Infinity", "-Infinity"]),
    st.sampled_from([None, "1", "1.0", '{"a": 1}', '{"a":1}', "null"]),
)
ROWS = st.lists(st.builds(lambda key, rest: (*key, *rest), KEYS, REST), max_size=30)


def key_of(row: Row) -> tuple[str | None, object]:
    """The key as a value that is equal to others as Postgres says."""
    return row[0], same_number(row[1])


def same_number(text: str | None) -> object:
    if text is None or Decimal(text).is_nan():
        return text
    return Decimal(text)


def values_of(row: Row) -> dict[str, object]:
    label, amount, share, document = row[2:]
    number = share if share is None or share == "NaN" else float(share)
    return {"label": label, "amount": same_number(amount), "share": number, "document": document}


def once(rows: Sequence[Row]) -> list[Row]:
    """The rows without those whose key came before."""
    return list({key_of(row): row for row in reversed(rows)}.values())


def side_of(rows: Sequence[Row], name: str, **known: Any) -> Side:
    """A side with these rows, none of which is stored."""

    def select(row: Row) -> sql.Composable:
        values = (
            sql.SQL("{}::{} as {}").format(sql.Literal(value), sql.SQL(type_), sql.Identifier(column))
            for (column, type_), value in zip(TYPES.items(), row, strict=True)
        )
        return sql.SQL("select '2025-03-01'::date as load_date, {}").format(sql.SQL(", ").join(values))

    no_row = select((None,) * len(TYPES)) + sql.SQL(" where false")
    return Side(name, sql.SQL("({})").format(sql.SQL(" union all ").join([no_row, *map(select, rows)])), TYPES, **known)


def check_sums(found: Difference, before: Sequence[Row], after: Sequence[Row]) -> None:
    for name, column in (("amount", 3), ("share", 4)):
        for shown, rows in ((found.sums[name].before, before), (found.sums[name].after, after)):
            given = [Decimal(value) for row in rows if (value := row[column]) is not None]
            total = None if not given else given[0]
            for number in given[1:]:
                total = EXACT.add(total, number)
            assert same_number(shown) == (None if total is None else same_number(str(total))), (name, rows)


def check(found: Difference, before: Sequence[Row], after: Sequence[Row], *, is_added: bool = False) -> None:
    """Assert that the comparison says what follows from the rows; `before` has each key once."""
    old, new = ({key_of(row): values_of(row) for row in rows} for rows in (before, after))
    copies = Counter(map(key_of, after))
    repeated = {key: n for key, n in copies.items() if n > 1 or (is_added and key in old)}
    kinds: dict[Any, str] = dict.fromkeys(repeated, "repeated")
    changed: dict[Any, set[str]] = {}
    for key in {*old, *new} - {*repeated}:
        if key not in old:
            kinds[key] = "came"
        elif key not in new:
            if not is_added:
                kinds[key] = "went"
        elif differing := {name for name in VALUES if old[key][name] != new[key][name]}:
            kinds[key], changed[key] = "changed", differing
    shown = {key_of((*change.key, *[None] * 4)): change for change in found.changes}
    assert {key: change.kind for key, change in shown.items()} == kinds
    assert len(found.changes) == len(kinds) == found.differing
    assert {key: {*change.columns} for key, change in shown.items() if change.columns} == changed
    for key, differing in changed.items():
        for name in differing:
            was, now = shown[key].columns[name]
            place = [*TYPES].index(name)
            pairs = ((was, old[key][name], before), (now, new[key][name], after))
            for text, value, rows in pairs:
                row = next(row for row in rows if key_of(row) == key)
                assert values_of((*row[:place], text, *row[place + 1 :]))[name] == value
    counted = Counter(kinds.values())
    assert (found.came, found.went, found.changed, found.repeated) == tuple(
        counted[kind] for kind in ("came", "went", "changed", "repeated")
    )
    assert found.by_column == Counter(name for names in changed.values() for name in names)
    there = {*old} - {*repeated}
    assert found.unchanged == len(there) - counted["went"] - counted["changed"]
    assert {key: shown[key].copies for key in repeated} == {key: copies[key] for key in repeated}
    check_sums(found, before, [*before, *after] if is_added else after)


def test_a_comparison_says_what_python_says(lab: PipelineHarness) -> None:
    lab.file("raw/rows.sql", TABLE)
    table = lab.prepared().pipeline.table("raw.rows")

    def compared(session: Connection[Any], before: Sequence[Row], after: Sequence[Row], **known: Any) -> Difference:
        return compare(session, table, side_of(before, "one"), side_of(after, "other", **known))

    with lab.session() as session:

        @settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(ROWS, ROWS)
        def run(some: Sequence[Row], others: Sequence[Row]) -> None:
            one, other = once(some), once(others)
            there, back = compared(session, one, other), compared(session, other, one)
            check(there, one, other)
            check(back, other, one)
            assert (there.came, there.went) == (back.went, back.came)
            check(compared(session, one, others, is_unique=False), one, others)
            added = {"is_added": True, "is_unique": False}
            check(compared(session, one, others, **added), one, others, is_added=True)
            check(compared(session, one, other, is_added=True), one, other, is_added=True)

        run()


def test_columns_of_any_type_are_compared_with_those_of_another(lab: PipelineHarness) -> None:
    """No pair of types makes the comparison fail; a number is the same number, and any other value the same text."""
    lab.file("raw/rows.sql", TABLE)
    table = lab.prepared().pipeline.table("raw.rows")
    texts: Mapping[str, str] = {
        "smallint": "1",
        "bigint": "1",
        "numeric(6,2)": "1.00",
        "real": "1",
        "double precision": "1",
        "text": "1",
        "character varying(3)": "1",
        "boolean": "true",
        "date": "2025-03-01",
        "timestamp without time zone": "2025-03-01 00:00:00",
        "timestamp with time zone": "2025-03-01 00:00:00+00",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "json": "1",
        "jsonb": "1",
        "integer[]": "{1}",
        "text[]": "{1}",
    }
    numbers = {"smallint", "bigint", "numeric(6,2)", "real", "double precision"}
    days = {"date", "timestamp without time zone"}

    def side(name: str, type_: str) -> Side:
        value = sql.SQL("{}::{}").format(sql.Literal(texts[type_]), sql.SQL(type_))
        query = sql.SQL("(select '2025-03-01'::date as load_date, 'k' as code, 1::numeric as number, {} as label)")
        return Side(name, query.format(value), {"code": "text", "number": "numeric", "label": type_})

    with lab.session() as session:
        for was in texts:
            for now in texts:
                found = compare(session, table, side("one", was), side("other", now))
                alike = {was, now} <= numbers or {was, now} <= days
                same = alike or texts[was] == texts[now]
                assert (found.changed, found.unchanged) == (int(not same), int(same)), (was, now)
                assert bool(found.sums) == ({was, now} <= numbers)
