"""The values of a KPI's measures are recorded with each publish, from exactly the rows that readers are shown."""

from decimal import Decimal
from typing import Any

import pytest

from kpi_assets.ledger.locks import lock_publish
from kpi_assets.materialize import measures
from kpi_assets.warehouse.connection import WarehouseError
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness

KPI = """\
kpi:
  chart: {x: thing_id, y: weight}
  measures:
    things: {title: Things, value: count(*) filter (where load_date >= '2025-01-01')}
    weight: {title: Weight, value: sum(weight), format: decimal2}
@end"""
GOOD = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\n3,nail,0.01\n"
MORE = GOOD + b"4,stone,7.00\n"
NONE = b"thing_id,name,weight\n2,feather,\n"
VALUES = (
    "select p.asset, p.load_date, p.superseded_at is null, v.measure, v.value from ops.kpi_values as v "
    "inner join ops.publishes as p using (publish_id) order by p.publish_id, v.measure"
)
SHOWN = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
storage: view
kpi: {chart: {x: thing_id, y: kilograms}, measures: {kilograms: {title: Weight, value: sum(kilograms)}}}
columns:
  thing_id: {type: integer, description: Thing.}
  kilograms: {type: "numeric(6,2)", description: "Kilograms; NULL if it was not weighed."}
@end */
select
    thing_id,
    weight as kilograms
from raw.things
where load_date = %(load_date)s
"""
# The same with one more column, and another measure.
NAMED = SHOWN.replace("weight as kilograms", "weight as kilograms,\n    name").replace("sum(kilograms)", "count(name)")
NAMED = NAMED.replace("@end", "  name: {type: text, description: Name.}\n@end").replace(
    "kilograms: {title", "named: {title"
)


def mart(value: str = "sum(weight)", *, more: str = "", old: str = "", new: str = "") -> str:
    return MART.replace("@end", KPI.replace("sum(weight)", value).replace("@end", f"{more}@end")).replace(old, new)


@pytest.fixture
def weighed(lab: PipelineHarness) -> PipelineHarness:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", mart())
    lab.put_things(GOOD)
    lab.build("raw.things")
    return lab


def values(lab: PipelineHarness) -> list[tuple[Any, ...]]:
    return lab.rows(VALUES)


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_each_publish_records_the_values_of_its_rows_and_keeps_those_of_the_one_before(
    weighed: PipelineHarness, storage: str
) -> None:
    weighed.file(
        "marts/weighed.sql", mart(more=f"storage: {storage}\n", old="checks:", new="checks:\n  min_rows: {at_least: 0}")
    )
    outcome = weighed.build("marts.weighed")
    assert outcome.measures == {"things": 2, "weight": Decimal("20.51")}
    assert outcome.measure_warnings == []
    weighed.put_things(MORE)
    weighed.build("raw.things")
    assert weighed.build("marts.weighed").measures == {"things": 3, "weight": Decimal("27.51")}
    weighed.put_things(NONE, NEXT)
    weighed.build("raw.things", NEXT)
    weighed.build("marts.weighed", NEXT)
    assert values(weighed) == [
        ("marts.weighed", DAY, False, "things", 2),
        ("marts.weighed", DAY, False, "weight", Decimal("20.51")),
        ("marts.weighed", DAY, True, "things", 3),
        ("marts.weighed", DAY, True, "weight", Decimal("27.51")),
        ("marts.weighed", NEXT, True, "things", 0),
        ("marts.weighed", NEXT, True, "weight", None),
    ]
    [version] = weighed.rows("select distinct measure_version from ops.kpi_values where measure = 'weight'")
    [table] = [each for each in weighed.pipeline().tables.values() if each.header.kpi]
    assert table.header.kpi
    assert version == (table.header.kpi.measures["weight"].version,)


def test_rows_that_readers_are_not_shown_do_not_count(weighed: PipelineHarness) -> None:
    weighed.file("marts/weighed.sql", mart(more="min_volume: {column: thing_id, at_least: 2}\n"))
    assert weighed.build("marts.weighed").measures == {"things": 1, "weight": Decimal("0.01")}
    assert weighed.rows("select count(*) from marts.weighed") == [(2,)]


# Each gives no number: the expression, and the column `ratio` of the table.
BROKEN = {
    "value overflows numeric format": ("sum(ratio) * sum(ratio)", "1e100000"),
    "it is not a number": ("sum(ratio)", "'NaN'"),
    "it is infinite": ("max(ratio)", "'Infinity'"),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_measure_that_cannot_be_computed_has_no_value_and_the_build_warns(
    weighed: PipelineHarness, reason: str
) -> None:
    value, ratio = BROKEN[reason]
    text = mart(value).replace("checks:", "  ratio: {type: numeric, description: Ratio.}\nchecks:")
    path = weighed.file("marts/weighed.sql", text.replace("weight\nfrom", f"weight, {ratio}::numeric as ratio\nfrom"))
    outcome = weighed.build("marts.weighed")
    assert outcome.measures == {"things": 2, "weight": None}
    assert outcome.measure_warnings == [
        f"{path}: the measure weight of marts.weighed has no value for 2025-03-01 ({reason}): "
        "correct its `value` if it should have one."
    ]
    assert not outcome.held
    assert values(weighed) == [("marts.weighed", DAY, True, "things", 2), ("marts.weighed", DAY, True, "weight", None)]
    assert weighed.rows("select count(*) from marts.weighed") == [(2,)]


def test_a_held_build_records_no_values(weighed: PipelineHarness) -> None:
    weighed.build("marts.weighed")
    weighed.file("marts/weighed.sql", mart(old="checks:", new="checks:\n  min_rows: {at_least: 9}"))
    outcome = weighed.build("marts.weighed")
    assert (outcome.held, outcome.measures) == (True, {})
    assert len(values(weighed)) == 2


def test_a_view_has_the_values_of_its_table_and_all_load_dates_those_of_a_new_definition(
    lab: PipelineHarness,
) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/shown.sql", SHOWN)
    for day, body in ((DAY, GOOD), (NEXT, MORE)):
        lab.put_things(body, day)
        lab.build("raw.things", day)
        assert lab.build("marts.shown", day).measures == {"kilograms": Decimal("20.51") + 7 * (day == NEXT)}
    lab.put_things(MORE)
    outcome = lab.build("raw.things")
    assert outcome.measures == {}, "raw.things is no KPI"
    first = [
        ("marts.shown", DAY, False, "kilograms", Decimal("20.51")),
        ("marts.shown", NEXT, True, "kilograms", Decimal("27.51")),
        ("marts.shown", DAY, True, "kilograms", Decimal("27.51")),
    ]
    assert values(lab) == first
    lab.file("marts/shown.sql", NAMED)
    lab.build("raw.things")
    assert values(lab)[2:] == [("marts.shown", DAY, False, "kilograms", Decimal("27.51"))], (
        "the view is not yet what its file says"
    )
    assert lab.build("marts.shown").measures == {"named": 4}
    assert values(lab) == [
        first[0],
        ("marts.shown", NEXT, False, "kilograms", Decimal("27.51")),
        ("marts.shown", DAY, False, "kilograms", Decimal("27.51")),
        ("marts.shown", DAY, True, "named", 4),
        ("marts.shown", NEXT, True, "named", 4),
    ]


def test_a_view_whose_measure_fails_in_another_load_date_is_published_and_warns(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace('"numeric(6,2)"', "numeric"))
    shown = SHOWN.replace('"numeric(6,2)"', "numeric")
    lab.file("marts/shown.sql", shown)
    for day, body in ((DAY, GOOD.replace(b"20.50", b"1" + b"0" * 100_000)), (NEXT, MORE)):
        lab.put_things(body, day)
        lab.build("raw.things", day)
        lab.build("marts.shown", day)
    named = NAMED.replace('"numeric(6,2)"', "numeric").replace("count(name)", "sum(kilograms) * sum(kilograms)")
    path = lab.file("marts/shown.sql", named)
    outcome = lab.build("marts.shown", NEXT)
    assert outcome.measures == {"named": Decimal("756.8001")}
    assert outcome.measure_warnings == [
        f"{path}: the measure named of marts.shown has no value for 2025-03-01 (value overflows numeric format): "
        "correct its `value` if it should have one."
    ]
    assert values(lab)[2:] == [
        ("marts.shown", NEXT, True, "named", Decimal("756.8001")),
        ("marts.shown", DAY, True, "named", None),
    ]


def test_a_table_that_is_no_kpi_and_a_kpi_without_measures_have_no_values(weighed: PipelineHarness) -> None:
    weighed.file("marts/weighed.sql", MART.replace("@end", "kpi: {chart: {x: thing_id, y: weight}}\n@end"))
    weighed.build("marts.weighed")
    assert values(weighed) == []


def test_readers_read_the_values(weighed: PipelineHarness) -> None:
    weighed.build("marts.weighed")
    with weighed.session() as session:
        session.execute("set role kpi_reader")
        found = session.execute(
            "select kpi, measure, load_date, value, was_value, restated from ops.kpi_tiles order by measure"
        ).fetchall()
    assert found == [
        ("marts.weighed", "things", DAY, 2, None, False),
        ("marts.weighed", "weight", DAY, Decimal("20.51"), None, False),
    ]


def refreshed(lab: PipelineHarness, name: str = "marts.weighed") -> list[tuple[Any, ...]]:
    context = lab.prepared()
    table = context.pipeline.table(name)
    with lab.session() as session:
        outdated = measures.find_outdated(session, table)
    found = measures.refresh(lab.server, context.pipeline, table, outdated, lambda *_: None, timeout=1)
    return [(each.load_date, each.values, [*each.warnings]) for each in found]


def test_a_refresh_computes_what_lacks_and_what_changed_of_what_readers_see(weighed: PipelineHarness) -> None:
    weighed.build("marts.weighed")
    weighed.put_things(MORE)
    weighed.put_things(GOOD, NEXT)
    for day in (DAY, NEXT):
        weighed.build("raw.things", day)
        weighed.build("marts.weighed", day)
    assert refreshed(weighed) == []
    before = values(weighed)
    weighed.file("marts/weighed.sql", mart("2 * sum(weight)"))
    assert refreshed(weighed) == [(DAY, 2, []), (NEXT, 2, [])]
    assert [row for row in values(weighed) if not row[2]] == [row for row in before if not row[2]], (
        "what was shown stays"
    )
    assert [row[1:] for row in values(weighed) if row[2]] == [
        (DAY, True, "things", 3),
        (DAY, True, "weight", Decimal("55.02")),
        (NEXT, True, "things", 2),
        (NEXT, True, "weight", Decimal("41.02")),
    ]
    assert refreshed(weighed) == []
    [_] = weighed.rows(
        "delete from ops.kpi_values as v using ops.published as p where v.publish_id = p.publish_id "
        f"and measure = 'things' and load_date = '{NEXT}' returning 1"
    )
    assert refreshed(weighed) == [(NEXT, 2, [])]


@pytest.mark.nightly
def test_a_refresh_waits_for_a_publish_and_leaves_what_was_published_meanwhile(weighed: PipelineHarness) -> None:
    weighed.build("marts.weighed")
    weighed.file("marts/weighed.sql", mart("2 * sum(weight)"))
    context = weighed.prepared()
    table = context.pipeline.table("marts.weighed")
    with weighed.session() as session:
        outdated = measures.find_outdated(session, table)
    with weighed.session() as session, session.transaction():
        lock_publish(session, table.relation)
        with pytest.raises(WarehouseError, match="so it was not refreshed"):
            refreshed(weighed)
    weighed.build("marts.weighed")
    assert values(weighed)[-1][3:] == ("weight", Decimal("41.02"))
    found = measures.refresh(weighed.server, context.pipeline, table, outdated, lambda *_: None)
    assert [(each.load_date, each.values) for each in found] == [(DAY, 0)]


def test_a_refresh_of_a_view_and_one_that_cannot_be_computed(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/shown.sql", SHOWN)
    lab.put_things(GOOD)
    lab.build("raw.things")
    lab.build("marts.shown")
    lab.file("marts/shown.sql", SHOWN.replace("sum(kilograms)", "min(kilograms)"))
    assert refreshed(lab, "marts.shown") == [(DAY, 1, [])]
    assert values(lab) == [("marts.shown", DAY, True, "kilograms", Decimal("0.01"))]
    path = lab.file(
        "marts/shown.sql",
        NAMED.replace("name\nfrom", "weight as name\nfrom").replace("type: text", 'type: "numeric(6,2)"'),
    )
    with lab.session() as session:
        session.execute("alter table raw.things rename column weight to other")
    [(day, count, [warning])] = refreshed(lab, "marts.shown")
    assert (day, count) == (DAY, 1)
    assert warning.startswith(f"{path}: the measure named of marts.shown has no value for 2025-03-01 (column o.weight ")
