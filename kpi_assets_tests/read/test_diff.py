"""Two load_dates, or a load_date and its held candidate, are compared key by key for every kind of stored table."""

from datetime import date

import pytest

from kpi_assets.errors import UserError
from kpi_assets.materialize.grow import grow
from kpi_assets.read.diff import Change, Difference, Sums, read_difference
from kpi_assets.read.sides import Asked, Held, Published
from kpi_assets.stream import links
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.streams import STG_CLICKS, StreamLab, click, write_files
from kpi_assets_tests.warehouse.history_harness import CUSTOMERS, Customers, day

CHANGED = b"thing_id,name,weight\n1,anvil,20.5\n2,,1.00\n3,saw,\n5,'5,7.00\n"
BEFORE = GOOD + b"3,saw,2.00\n4,axe,1.00\n"
WITH_LABEL = RAW_THINGS.replace("  weight:", "  label: {type: json, description: Label.}\n  weight:")


NAMES = "checks:\n  accepted_values: {name: [anvil, feather, saw, axe]}\n@end"  # holds CHANGED


def compared(
    lab: PipelineHarness,
    name: str = "raw.things",
    limit: int | None = None,
    *,
    before: date = DAY,
    after: date | Asked = NEXT,
    each: int | None = None,
) -> Difference:
    """Compare DAY with NEXT, or the given load_dates, or a load_date with a candidate."""
    pipeline = lab.pipeline()
    new = Published(after) if isinstance(after, date) else after
    with lab.session() as session:
        return read_difference(
            session,
            pipeline,
            pipeline.table(name),
            Published(before),
            new,
            place="the test",
            limit=limit,
            each=each,
        )


def would_change(lab: PipelineHarness, name: str = "raw.things", load_date: date = DAY) -> Difference:
    """Compare what is published of a load_date with its held candidate."""
    return compared(lab, name, before=load_date, after=Held(load_date))


def hold(lab: PipelineHarness, body: bytes, load_date: date = DAY) -> str:
    """Build raw.things from an object that its checks hold; return the name of the candidate."""
    lab.put_things(body, load_date)
    outcome = lab.build("raw.things", load_date)
    assert outcome.held
    return str(outcome.candidate)


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
    assert found.sums == {"weight": Sums("23.50", "28.50")}
    assert found.sums["weight"].change == "5.00"
    back = compared(lab, before=NEXT, after=DAY)
    assert [change.kind for change in back.changes] == ["changed", "changed", "came", "went"]
    assert back.changes[1].columns == {"weight": (None, "2.00")}


def test_a_limit_leaves_the_counts_as_they_are(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    publish(lab)
    found = compared(lab, limit=1)
    assert [change.key for change in found.changes] == [("2",)]
    assert (found.came, found.went, found.changed, found.unchanged) == (1, 1, 2, 1)
    assert [change.key for change in compared(lab, each=1).changes] == [("2",), ("4",), ("5",)]
    assert [change.key for change in compared(lab, limit=2, each=1).changes] == [("2",), ("4",)]


def test_equal_checksums_are_an_answer_and_no_row_is_read(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    publish(lab, BEFORE, BEFORE)
    with lab.session() as session:
        session.execute("update raw.things set name = 'lead' where load_date = %s and thing_id = 1", [NEXT])
    same = compared(lab)
    assert (same.changes, same.came, same.went, same.changed, same.unchanged) == ([], 0, 0, 0, 4)
    assert (same.was_read, same.sums) == (False, {})
    # Nor can it of checksums of two kinds, which sum other hashes.
    with lab.session() as session:
        session.execute("update ops.publishes set checksum_kind = 'other' where load_date = %s", [NEXT])
    assert compared(lab).was_read
    # The ledger cannot say it of rows with other columns: one of them is of another type.
    lab.file("raw/things.sql", RAW_THINGS.replace("integer", "bigint"))
    assert not lab.build("raw.things", NEXT).held
    found = compared(lab)
    assert (found.was_read, found.differing, found.unchanged) == (True, 0, 4)
    assert found.types["thing_id"] == ("integer", "bigint")


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


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_what_a_held_candidate_would_change(lab: PipelineHarness, storage: str) -> None:
    text = RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:")
    lab.file("raw/things.sql", text.replace("@end", NAMES))
    lab.put_things(BEFORE)
    lab.build("raw.things")
    candidate = hold(lab, CHANGED)
    found = would_change(lab)
    assert found.changes == [
        Change("changed", ("2",), {"name": ("feather", None), "weight": (None, "1.00")}),
        Change("changed", ("3",), {"weight": ("2.00", None)}),
        Change("went", ("4",), {}),
        Change("came", ("5",), {}),
    ]
    assert (found.came, found.went, found.changed, found.repeated, found.unchanged) == (1, 1, 2, 0, 1)
    assert (found.by_column, found.sums) == ({"name": 1, "weight": 2}, {"weight": Sums("23.50", "28.50")})
    assert (found.before.name, found.after.name) == (f"{DAY}", f"the held candidate of {DAY}")
    assert "was held by accepted_values__name; read from s3://" in found.after.note
    assert found.after.note.endswith(f"the candidate is kept as {candidate}.")
    lab.put_things(CHANGED.replace(b"5,'5,7.00\n", b""), NEXT)
    assert not lab.build("raw.things", NEXT).held
    of_next = compared(lab, before=NEXT, after=Held(DAY))
    assert (of_next.changes, of_next.unchanged) == ([Change("came", ("5",), {})], 3)


@pytest.mark.parametrize("storage", ["rows", "partitions"])
def test_a_key_with_several_rows_in_a_candidate_is_named(lab: PipelineHarness, storage: str) -> None:
    lab.file("raw/things.sql", RAW_THINGS.replace("grain:", f"storage: {storage}\ngrain:"))
    lab.put_things(GOOD)
    lab.build("raw.things")
    hold(lab, DOUBLED + b"3,saw,2.00\n")
    found = would_change(lab)
    assert found.changes == [
        Change("repeated", ("1",), {}, copies=2),
        Change("went", ("2",), {}),
        Change("came", ("3",), {}),
    ]
    assert (found.came, found.went, found.changed, found.repeated, found.unchanged) == (1, 1, 0, 1, 0)
    assert (found.by_column, found.sums) == ({}, {"weight": Sums("20.50", "43.00")})
    # NULL is no key either, and three rows of it are one.
    hold(lab, GOOD + b",ghost,1.00\n,ghost,1.00\n,wraith,1.00\n")
    found = would_change(lab)
    assert found.changes == [Change("repeated", (None,), {}, copies=3)]
    assert (found.repeated, found.unchanged) == (1, 2)


def test_a_candidate_may_have_other_columns_and_types(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\n3,saw,2.00\n")
    lab.build("raw.things")
    other = RAW_THINGS.replace("integer", "text").replace('"numeric(6,2)"', "text").replace("name:", "title:")
    lab.file("raw/things.sql", other.replace("@end", "checks:\n  accepted_values: {title: [feather]}\n@end"))
    hold(lab, b"thing_id,title,weight\n1,anvil,20.5\n02,feather,\n3,saw,2.00\n")
    found = would_change(lab)
    assert found.types == {"thing_id": ("integer", "text"), "weight": ("numeric(6,2)", "text")}
    assert (found.only_before, found.only_after) == (["name"], ["title"])
    assert found.changes == [
        Change("came", ("02",), {}),
        Change("changed", ("1",), {"weight": ("20.50", "20.5")}),
        Change("went", ("2",), {}),
    ]
    assert (found.unchanged, found.sums) == (1, {})


def test_a_column_that_is_stored_with_a_wider_type_is_compared_by_that_of_each_publish(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    publish(lab)
    lab.file("raw/things.sql", RAW_THINGS.replace('"numeric(6,2)"', "text"))
    lab.put_things(b"thing_id,name,weight\n1,anvil,20.50\n2,feather,light\n", NEXT)
    assert not lab.build("raw.things", NEXT).held
    found = compared(lab)
    assert found.changes[0] == Change("changed", ("2",), {"weight": (None, "light")})
    assert (found.went, found.unchanged) == (2, 1)
    lab.file("raw/things.sql", RAW_THINGS.replace("@end", NAMES))
    hold(lab, CHANGED)
    assert would_change(lab).sums == {"weight": Sums("23.50", "28.50")}


def test_a_candidate_of_a_history_is_compared_bit_by_bit(lab: PipelineHarness) -> None:
    customers = Customers(lab)
    customers.deliver(day(0), {"A": ("John", "NYC", "1.0"), "B": ("Ann", "", "2"), "C": ("Ann", "LA", "3")})
    customers.deliver(day(2), {"A": ("John", "LA", "1.0"), "B": ("Ann", "", "2"), "C": ("Ann", "LA", "3")})
    assert customers.deliver(
        day(0), {"A": ("John", "NYC", "1.00"), "B": ("Ann", None, "2"), "D": ("Zoe", "", "5")}
    ).held
    found = would_change(lab, "marts.customers", day(0))
    assert found.changes == [
        Change("changed", ("A",), {"score": ("1.0", "1.00")}),
        Change("changed", ("B",), {"city": ("", None)}),
        Change("went", ("C",), {}),
        Change("came", ("D",), {}),
    ]
    assert (found.came, found.went, found.changed, found.unchanged) == (1, 1, 2, 0)
    assert found.sums == {"score": Sums("6.0", "8.00")}
    assert compared(lab, "marts.customers", before=day(2), after=Held(day(0))).by_column == {"city": 2, "score": 1}
    text = CUSTOMERS.replace("score: {type: numeric", "score: {type: text").replace("    score\n", "    score::text\n")
    lab.file("marts/customers.sql", text)
    rows = {"A": ("John", "NYC", "1.00"), "B": ("Ann", "", "2"), "C": ("Zoe", "LA", "3")}
    assert customers.deliver(day(0), rows).held
    assert would_change(lab, "marts.customers", day(0)).by_column == {"name": 1, "score": 1}


def test_a_held_batch_adds_to_its_load_date_and_replaces_nothing(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "SWEEP_SECONDS", 0.0)
    write_files(lab, ("raw", "stg"))
    stream = StreamLab(lab)

    def grown() -> list[bool]:
        context = lab.prepared()
        tables = [context.pipeline.table(name) for name in ("raw.clicks", "stg.clicks")]
        return [each.held for table in tables for each in grow(context, table, DAY)]

    stream.land(0, [click(n) for n in range(3)])
    assert grown() == [False, False]
    lab.file("stg/clicks.sql", STG_CLICKS.replace("  not_null:", "  range: {user_id: [1, 100]}\n  not_null:"))
    stream.land(0, [click(3, user_id=500), click(0)])
    assert grown() == [False, True]
    found = would_change(lab, "stg.clicks")
    assert [(change.kind, change.key) for change in found.changes] == [("came", ("e000003",))]
    assert (found.came, found.went, found.changed, found.unchanged) == (1, 0, 0, 3)
    assert found.sums["user_id"] == Sums("3", "503")
    # Built as a whole, the candidate has all rows of the load_date, under another number of a batch.
    assert lab.build("stg.clicks").held
    whole = would_change(lab, "stg.clicks")
    assert (whole.came, whole.went, whole.changed, whole.unchanged) == (1, 0, 0, 3)
    assert (whole.after.is_added, whole.sums["user_id"]) == (False, Sums("3", "503"))


def test_a_candidate_that_is_not_there_cannot_be_compared(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    view = MART.partition("checks:")[0].replace("grain:", "storage: view\ngrain:")
    lab.file(
        "marts/seen.sql", f"{view}@end */\nselect thing_id, weight from raw.things where load_date = %(load_date)s\n"
    )
    lab.put_things(GOOD)
    lab.build("raw.things")
    nothing = r"^No candidate of raw\.things of 2025-03-01 is held in the test"
    with pytest.raises(UserError, match=rf"{nothing}: there is nothing to compare; `kpi plan lab"):
        would_change(lab)
    hold(lab, DOUBLED)
    assert would_change(lab).repeated == 1
    lab.put_things(GOOD)
    lab.build("raw.things")
    with pytest.raises(UserError, match=rf"{nothing} \(build \d+ was held, and a later build has dropped its"):
        would_change(lab)
    with pytest.raises(UserError, match=r"^marts\.seen stores no rows, so that it has no candidates: compare raw"):
        would_change(lab, "marts.seen")
    hold(lab, DOUBLED, NEXT)
    with pytest.raises(
        UserError,
        match=rf"^raw\.things of {NEXT} is not published in the test, so that all rows of its held candidate would be "
        rf"new: `kpi diff lab\S+ raw\.things {DAY} --load-date {NEXT} --candidate` compares it with the load_date bef",
    ):
        would_change(lab, load_date=NEXT)
    assert compared(lab, after=Held(NEXT)).repeated == 1
