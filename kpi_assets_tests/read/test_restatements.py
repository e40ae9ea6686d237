"""Each cause for which a KPI changes, by real builds: ops.restatements, as kpi_reader reads it, and what pages say."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.decide import Asked, decide
from kpi_assets.read.kpis import read_kpis
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.lookback import RECENT, labels
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness
from kpi_assets_tests.read.kpi_shop import KPI, MORE_THINGS, KpiShop
from kpi_assets_tests.read.test_windows import CITIES
from kpi_assets_tests.two_source_pipeline import THINGS, WEIGHED, TwoSourcePipeline
from kpi_assets_tests.warehouse.history_harness import Customers, day

VIEW = """
select r.measure, r.was, r."is", r.cause, r.was_publish_id, r.publish_id, r.shown_from, r.shown_until,
    array(select p.asset from unnest(r.caused_by) as c inner join ops.publishes as p on p.publish_id = c order by 1),
    r.caused_by
from ops.restatements as r where r.kpi = %s and r.load_date = %s order by r.publish_id, r.measure
"""


class Told(NamedTuple):
    """What was told of one measure that changed."""

    measure: str
    was: Decimal | None
    now: Decimal | None
    cause: str
    caused_by: list[str]
    why: str


def told(shop: PipelineHarness, load_date: date, kpi: str = "marts.heavy") -> list[Told]:
    """Return what the view and the pages, which must not differ, say of the restatements of a load_date."""
    pipeline = shop.pipeline()
    with (
        connect(shop.server, shop.name, "test", role=READER, read_only=True) as reader,
        one_snapshot(reader, LEDGER_ALONE),
    ):
        rows = reader.execute(VIEW, [kpi, load_date]).fetchall()
        now = datetime.now(timezone.utc)
        [state] = read_kpis(reader, pipeline, now=now, only=pipeline.table(kpi), first=load_date, last=load_date)
    point = state.point(load_date)
    assert point
    on_pages = [
        (name, each.was[name], each.now[name], each.cause, each.was_publish_id, each.publish_id, list(each.caused_by))
        for each in point.restated
        for name in sorted(each.was)
        if each.was[name] != each.now[name]
    ]
    assert on_pages == [(*row[:6], row[9]) for row in rows]
    published = shown(shop, load_date, kpi)
    assert [(row[6], row[7]) for row in rows] == [(published[row[4]], published[row[5]]) for row in rows]
    why = {each.publish_id: each.why for each in point.restated}
    return [Told(*row[:4], row[8], why[row[5]]) for row in rows]


def shown(shop: PipelineHarness, load_date: date, kpi: str) -> dict[int, datetime]:
    """Return since when readers were shown the rows of each publish: since the first with these rows in a row."""
    found: dict[int, datetime] = {}
    query = f"select publish_id, published_at, checksum from ops.publishes where asset = '{kpi}' "
    last, since = "", datetime.min.replace(tzinfo=timezone.utc)
    for publish_id, at, checksum in shop.rows(f"{query} and load_date = '{load_date}' order by 1"):
        if checksum != last:
            last, since = checksum, at
        found[publish_id] = since
    return found


def weight(was: str, now: str, cause: str, caused_by: list[str], why: str) -> Told:
    return Told("kilograms", Decimal(was), Decimal(now), cause, caused_by, why)


def caused(shop: PipelineHarness, load_date: date, asset: str) -> tuple[Any, Any]:
    """Return cause and caused_by of what is published of a table."""
    [found] = shop.rows(
        "select cause, caused_by from ops.publishes "
        f"where asset = '{asset}' and load_date = '{load_date}' and superseded_at is null"
    )
    return found[0], found[1]


OBJECT = "the source object of things was replaced"


def test_an_object_was_replaced(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == []
    assert caused(kpi_shop, kpi_shop.day, "marts.heavy") == (None, None), "the first publish has no cause"
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == [weight("20.50", "30.50", "objects", ["raw.things"], OBJECT)]
    [(raw,)] = kpi_shop.rows(
        f"select publish_id from ops.published where asset = 'raw.things' and load_date = '{kpi_shop.day}'"
    )
    assert caused(kpi_shop, kpi_shop.day, "marts.weighed") == ("objects", [raw])
    assert caused(kpi_shop, kpi_shop.day, "raw.things") == ("objects", [raw])
    assert caused(kpi_shop, kpi_shop.day, "raw.labels") == (None, None), "it was published once"


def test_the_same_rows_again_have_no_cause_and_count_as_shown_all_the_time(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.run()
    kpi_shop.land(things=THINGS + b"3,air,\n")
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == []
    assert caused(kpi_shop, kpi_shop.day, "raw.things")[0] == "objects"
    assert caused(kpi_shop, kpi_shop.day, "marts.weighed") == (None, None)
    assert caused(kpi_shop, kpi_shop.day, "marts.heavy") == (None, None)
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == [weight("20.50", "30.50", "objects", ["raw.things"], OBJECT)]


def test_sql_was_changed(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    one_more = "select thing_id, (weight + 1)::numeric(6, 2) as weight"
    kpi_shop.file("marts/weighed.sql", WEIGHED.replace("select thing_id, weight", one_more))
    kpi_shop.run()
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(w.weight)", "2 * sum(w.weight)"))
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == [
        weight("20.50", "21.50", "sql", ["marts.weighed"], "the SQL of weighed was changed"),
        weight("21.50", "43.00", "sql", ["marts.heavy"], "its SQL was changed"),
    ]


def test_columns_were_declared_otherwise(kpi_shop: KpiShop) -> None:
    kpi_shop.land(things=THINGS + b"3,stone,1.00\n", labels=labels(t1="heavy", t3="heavy"))
    kpi_shop.run()
    weight_of = 'weight: {type: "numeric(6,2)"'
    kpi_shop.file("raw/things.sql", RAW_THINGS.replace(weight_of, weight_of + ', null: ["", "1.00"]'))
    assert set(kpi_shop.run().values()) == {"published"}
    assert told(kpi_shop, kpi_shop.day) == [
        weight("21.50", "20.50", "sql", ["raw.things"], "the columns of things were declared otherwise")
    ]


def test_somebody_decided_on_rows(kpi_shop: KpiShop) -> None:
    kpi_shop.file("raw/things.sql", RAW_THINGS.replace("columns:", "quarantine: {rows: 1}\ncolumns:"))
    kpi_shop.land(things=THINGS + b"x,stone,1.00\n", labels=labels(t1="heavy", t3="heavy"))
    kpi_shop.run()
    [(id_,)] = kpi_shop.rows(f"select id from ops.bad_rows where load_date = '{kpi_shop.day}'")
    asked = Asked("correct", {id_: {"record": "3,stone,1.00"}}, "a number was lost", "ana")
    list(decide(kpi_shop.context(), asked))
    kpi_shop.run()
    why = "it was decided on rows of things that were set aside"
    assert told(kpi_shop, kpi_shop.day) == [weight("20.50", "21.50", "decision", ["decisions.raw__things"], why)]


def test_what_counts_most_is_the_cause(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(w.weight)", "2 * sum(w.weight)"))
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    why = f"{OBJECT} and its SQL was changed"
    assert told(kpi_shop, kpi_shop.day) == [weight("20.50", "61.00", "objects", ["marts.heavy", "raw.things"], why)]


def test_a_measure_that_was_computed_otherwise_is_no_restatement(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.file("marts/heavy.sql", KPI.replace("sum(weight)", "2 * sum(weight)"))
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == []


def test_what_retention_drops_is_no_restatement_and_what_is_built_again_may_be_one(kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.session() as session:
        session.execute(
            "update ops.publishes set superseded_at = now(), dropped_at = now() "
            "where load_date = %s and superseded_at is null",
            [kpi_shop.day],
        )
    assert told(kpi_shop, kpi_shop.day) == []
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    assert told(kpi_shop, kpi_shop.day) == [weight("20.50", "30.50", "objects", ["raw.things"], OBJECT)]


SHOWN = f"""\
{KPI[: KPI.index("kpi:")].replace("Weight by label", "It is shown")}storage: view
{KPI[KPI.index("kpi:") : KPI.index("@end")]}@end */
select label, weight from marts.heavy where load_date = %(load_date)s
"""


def test_a_view_is_restated_with_its_table(kpi_shop: KpiShop) -> None:
    kpi_shop.file("marts/shown.sql", SHOWN)
    try:
        kpi_shop.land()
        kpi_shop.run()
        kpi_shop.land(things=MORE_THINGS)
        for name in ("raw.things", "marts.weighed", "marts.heavy"):
            kpi_shop.build(name, kpi_shop.day)
        assert told(kpi_shop, kpi_shop.day, "marts.shown") == told(kpi_shop, kpi_shop.day)
        assert told(kpi_shop, kpi_shop.day) == [weight("20.50", "30.50", "objects", ["raw.things"], OBJECT)]
    finally:
        (kpi_shop.folder / "marts" / "shown.sql").unlink()


def test_a_load_date_of_the_window_came_late(stack: Stack, tmp_path: Path) -> None:
    measures = "  measures: {things: {title: Things, value: sum(things)}}\ncolumns:"
    with TwoSourcePipeline.open(stack, tmp_path) as shop:
        assert isinstance(shop, TwoSourcePipeline)
        shop.stock().prepared()
        shop.file("marts/recent.sql", RECENT.replace("columns:", measures))
        first, last = shop.day, shop.day + timedelta(days=2)
        for each, things in ((first, {"t1": "heavy"}), (last, {"t2": "heavy"})):
            shop.put(shop.key("labels", each), labels(**things))
            shop.build("raw.labels", each)
        shop.build("marts.recent", last)
        late = first + timedelta(days=1)
        shop.put(shop.key("labels", late), labels(t3="heavy"))
        shop.build("raw.labels", late)
        shop.build("marts.recent", last)
        shop.put(shop.key("labels", first), labels(t1="heavy", t4="heavy"))
        shop.build("raw.labels", first)
        shop.build("marts.recent", last)
        assert told(shop, last, "marts.recent") == [
            Told("things", Decimal(2), Decimal(3), "window", ["raw.labels"], "labels of Thu 6 Mar was published later"),
            Told(
                *("things", Decimal(3), Decimal(4), "objects", ["raw.labels"]),
                "the source object of labels of Wed 5 Mar was replaced",
            ),
        ]


def test_a_history_was_corrected(lab: PipelineHarness) -> None:
    customers = Customers(lab)
    # How many customers there ever were: their own load_date has no part in it.
    measures = "kpi: {chart: {x: city, y: customers}, measures: {customers: {title: C, value: sum(customers)}}}"
    lab.file("marts/cities.sql", CITIES.replace("kpi: {chart: {x: city, y: customers}}", measures))
    customers.deliver(day(0), {"A": ("John", "NYC", "1.0")})
    customers.deliver(day(1), {"A": ("John", "NYC", "1.0")})
    lab.build("marts.cities", day(1))
    before = lab.rows("select city, customers from marts.cities")
    customers.deliver(day(0), {"A": ("John", "SF", "1.0"), "B": ("Ann", "NYC", "1.0")})
    lab.build("marts.cities", day(1))
    assert lab.rows("select city, customers from marts.cities") != before
    found = told(lab, day(1), "marts.cities")
    assert [each[3:] for each in found] == [("inputs", ["marts.customers"], "the history customers was corrected")]
    assert caused(lab, day(0), "marts.customers")[0] == "objects", "where the history was corrected, and why"


@pytest.mark.parametrize("same", [True, False])
def test_a_load_date_that_was_taken_out_is_shown_until_then(kpi_shop: KpiShop, same: bool) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.session() as session:
        session.execute(
            "update ops.publishes set superseded_at = now(), removed_at = now() "
            "where asset = 'marts.heavy' and load_date = %s",
            [kpi_shop.day],
        )
    kpi_shop.land(things=THINGS if same else MORE_THINGS)
    kpi_shop.run()
    query = (
        "select r.shown_until = p.removed_at, r.cause from ops.restatements as r "
        "inner join ops.publishes as p on p.publish_id = r.was_publish_id "
        f"where r.load_date = '{kpi_shop.day}'"
    )
    assert kpi_shop.rows(query) == ([] if same else [(True, "objects")])
