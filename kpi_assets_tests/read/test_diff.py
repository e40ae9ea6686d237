"""Two load_dates are compared key by key, in Postgres, for every kind of stored table."""

import pytest

from kpi_assets.errors import UserError
from kpi_assets.read.diff import Change, Difference, read_difference
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.warehouse.history_harness import Customers, day

CHANGED = b"thing_id,name,weight\n1,anvil,20.5\n2,,1.00\n3,saw,\n5,'5,7.00\n"
BEFORE = GOOD + b"3,saw,2.00\n4,axe,1.00\n"
WITH_LABEL = RAW_THINGS.replace("  weight:", "  label: {type: json, description: Label.}\n  weight:")


def compared(lab: PipelineHarness, name: str = "raw.things", limit: int | None = None, **days: object) -> Difference:
    """Compare DAY with NEXT, or the given days."""
    pipeline = lab.pipeline()
    wanted = {"before": DAY, "after": NEXT, **days}
    with lab.session() as session:
        return read_difference(session, pipeline, pipeline.table(name), **wanted, place="the test", limit=limit)  # type: ignore[arg-type]


def publish(lab: PipelineHarness, before: bytes = BEFORE, after: bytes = CHANGED) -> None:
    for load_date, body in ((DAY, before), (NEXT, after)):
        lab.put_things(body, load_date)
        assert not lab.build("raw.things", load_date).held


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_keys_that_came_went_and_changed_are_told_apart(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    publish(lab)
    found = compared(lab)
    assert found.changes == [
        Change("changed", ("2",), {"name": ("feather", None), "weight": (None, "1.00")}),
        Change("changed", ("3",), {"weight": ("2.00", None)}),
        Change("went", ("4",), {}),
        Change("came", ("5",), {}),
    ]
    assert (found.came, found.went, found.changed, found.unchanged) == (1, 1, 2, 1)
    assert found.by_column == {"name": 1, "weight": 2}
    assert (found.only_before, found.only_after) == ([], [])
    back = compared(lab, before=NEXT, after=DAY)
    assert [change.kind for change in back.changes] == ["changed", "changed", "came", "went"]
    assert back.changes[1].columns == {"weight": (None, "2.00")}


def test_a_limit_leaves_the_counts_as_they_are(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    publish(lab)
    found = compared(lab, limit=1)
    assert [change.key for change in found.changes] == [("2",)]
    assert (found.came, found.went, found.changed, found.unchanged) == (1, 1, 2, 1)
    publish(lab, BEFORE, BEFORE)
    same = compared(lab)
    assert (same.changes, same.came, same.went, same.changed, same.unchanged) == ([], 0, 0, 0, 4)


def test_columns_of_one_load_date_alone_are_named_and_json_is_compared_as_text(lab: PipelineHarness) -> None:
    origin, color = (f"  {name}: {{type: text, description: Text.}}\n  weight:" for name in ("origin", "color"))
    lab.file("raw/things.sql", WITH_LABEL.replace("  weight:", origin))
    lab.put_things(b'thing_id,name,label,origin,weight\n1,anvil,"{""a"": 1}",here,1\n2,axe,[1],here,1\n')
    lab.build("raw.things")
    lab.file("raw/things.sql", WITH_LABEL.replace("  weight:", color))
    lab.put_things(b'thing_id,name,label,color,weight\n1,anvil,"{""a"":1}",red,1\n2,axe,[1],red,1\n', NEXT)
    lab.build("raw.things", NEXT)
    found = compared(lab)
    assert found.changes == [Change("changed", ("1",), {"label": ('{"a": 1}', '{"a":1}')})]
    assert (found.only_before, found.only_after) == (["origin"], ["color"])


def test_what_is_not_published_cannot_be_compared(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(BEFORE)
    lab.build("raw.things")
    with pytest.raises(UserError, match=rf"^raw\.things of {NEXT} is not published in the test: "):
        compared(lab)
    lab.put_things(CHANGED, NEXT)
    lab.build("raw.things", NEXT)
    with lab.session() as session:
        session.execute("delete from raw.things where load_date = %s and thing_id = 1", [NEXT])
    with pytest.raises(UserError, match=r"^raw\.things of .* cannot be compared: thing_id is not unique in one"):
        compared(lab)


def test_a_history_is_compared_bit_by_bit(lab: PipelineHarness) -> None:
    customers = Customers(lab)
    customers.deliver(day(0), {"A": ("John", "NYC", "1.0"), "B": ("Ann", "", "2"), "C": ("Ann", "LA", "3")})
    customers.deliver(day(5), {"A": ("John", "NYC", "1.00"), "B": ("Ann", None, "2"), "D": ("Ann", "LA", "3")})
    customers.deliver(day(2), {"A": ("John", "LA", "1.0"), "B": ("Ann", "", "2"), "C": ("Ann", "LA", "3")})
    found = compared(lab, "marts.customers", before=day(0), after=day(5))
    assert found.changes == [
        Change("changed", ("A",), {"score": ("1.0", "1.00")}),
        Change("changed", ("B",), {"city": ("", None)}),
        Change("went", ("C",), {}),
        Change("came", ("D",), {}),
    ]
    assert (found.came, found.went, found.changed, found.unchanged) == (1, 1, 2, 0)
    assert compared(lab, "raw.customers", before=day(0), after=day(5)).by_column == {"city": 1}
    late = compared(lab, "marts.customers", before=day(2), after=day(5))
    assert late.changes[0] == Change("changed", ("A",), {"city": ("LA", "NYC"), "score": ("1.0", "1.00")})


def test_a_key_of_a_history_that_is_written_in_another_way_is_a_change(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    history = RAW_THINGS.replace("grain:", "storage: history\nhistory: {surrogate_key: sk, max_changed: 1}\ngrain:")
    columns = (
        "thing_id: {type: numeric, description: Thing.}\n@end */\nselect (case name when 'long' then 1.00 else 1.0 end)"
    )
    text = (
        history.partition("source:")[0]
        + f"columns:\n  {columns} as thing_id from raw.things where load_date = %(load_date)s\n"
    )
    lab.file("marts/things.sql", text)
    for load_date, name in ((DAY, b"short"), (NEXT, b"long")):
        lab.put_things(b"thing_id,name,weight\n1," + name + b",\n", load_date)
        for table in ("raw.things", "marts.things"):
            assert not lab.build(table, load_date).held
    assert compared(lab, "marts.things").changes == [Change("changed", ("1.0",), {"thing_id": ("1.0", "1.00")})]
