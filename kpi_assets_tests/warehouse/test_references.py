"""Foreign keys that are NOT ENFORCED: they say what the checks prove, and are in nobody's way."""

import time

import pytest

from kpi_assets.materialize.drop import drop_table
from kpi_assets.model.names import Relation
from kpi_assets.warehouse import references
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness
from kpi_assets_tests.warehouse.test_tables import execute, things

PLACES = {"place_id": "integer", "name": "text"}
SALES = {"sale_id": "integer", "place_id": "integer"}
REFERS = "checks: {foreign_key: {place_id: marts.places.place_id}}\n"
DECLARED = (
    "select conrelid::regclass::text, conname, conenforced, pg_get_constraintdef(oid) from pg_constraint "
    "where contype = 'f' and connamespace = 'marts'::regnamespace order by 1, 2"
)
BY_DAY = "FOREIGN KEY (load_date, place_id) REFERENCES marts.places(load_date, place_id) NOT ENFORCED"
SAID = [("marts.sales", "place_id by foreign_key", False, BY_DAY)]


def put(lab: PipelineHarness, name: str, text: str, day: object = DAY) -> None:
    """Write a file and build it."""
    lab.file(f"{name.replace('.', '/')}.sql", text)
    outcome = lab.build(name, day)  # type: ignore[arg-type]
    assert not outcome.held, outcome.results


def places(rows: list[str], columns: dict[str, str] = PLACES, **words: str) -> str:
    return things(columns, rows, **{"grain": "place_id", **words})


def sales(rows: list[str], more: str = REFERS, columns: dict[str, str] = SALES, **words: str) -> str:
    return things(columns, rows, more=more, **{"grain": "sale_id", **words})


@pytest.fixture
def shop(lab: PipelineHarness) -> PipelineHarness:
    for day in (DAY, NEXT):
        put(lab, "marts.places", places(["1, 'A'", "2, 'B'"]), day)
    put(lab, "marts.sales", sales(["1, 1", "2, 2", "3, null"]))
    return lab


def declared(lab: PipelineHarness) -> list[tuple[object, ...]]:
    return lab.rows(DECLARED)


def test_a_check_that_holds_is_declared_and_not_enforced(shop: PipelineHarness) -> None:
    assert declared(shop) == SAID
    oid = "select oid from pg_constraint where conname = 'place_id by foreign_key'"
    before = shop.rows(oid)
    put(shop, "marts.sales", sales(["1, 1"]), NEXT)
    assert shop.rows(oid) == before


def test_a_row_that_others_refer_to_can_be_replaced_before_them(shop: PipelineHarness) -> None:
    put(shop, "marts.places", places(["3, 'C'"]))
    assert declared(shop) == SAID
    assert shop.rows("select place_id from marts.places where load_date = '2025-03-01'") == [(3,)]
    assert shop.rows("select count(*) from marts.sales") == [(3,)]
    with shop.session() as session:  # as retention does
        session.execute("delete from marts.places where load_date = '2025-03-01'")


def test_it_follows_the_file(shop: PipelineHarness) -> None:
    put(shop, "marts.others", places(["1, 'A'", "2, 'B'"]))
    put(shop, "marts.sales", sales(["1, 1"], more=REFERS.replace("marts.places", "marts.others")))
    assert declared(shop) == [(*SAID[0][:3], BY_DAY.replace("marts.places", "marts.others"))]
    put(shop, "marts.sales", sales(["1, 1"], more=""))
    assert declared(shop) == []
    put(shop, "marts.sales", sales(["1, 1"]))
    assert declared(shop) == SAID


def test_a_check_that_only_warns_is_not_declared(shop: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    table = shop.pipeline().table("marts.sales")
    [check] = [check for check in table.checks if check.name == "foreign_key__place_id"]
    with shop.session() as session:
        assert [*references._wanted(session, table)] == ["place_id by foreign_key"]
        object.__setattr__(check, "blocking", False)
        assert references._wanted(session, table) == {}
        object.__setattr__(check, "blocking", True)


def test_a_surrogate_key_of_a_history_is_referred_to_without_a_load_date(lab: PipelineHarness) -> None:
    history = places(["1, 'A'"], storage="history", more="history: {surrogate_key: place_sk, max_changed: 1}\n")
    put(lab, "marts.places", history)
    select = "select place_id as sale_id, place_sk from marts.places where is_current\n"
    more = "checks: {foreign_key: {place_sk: marts.places.place_sk, sale_id: marts.places.place_id}}\n"
    text = sales([], more=more, columns={"sale_id": "integer", "place_sk": "bigint"}).partition("select")[0]
    put(lab, "marts.sales", text + select)
    refers = "FOREIGN KEY (place_sk) REFERENCES marts.places(place_sk) NOT ENFORCED"
    said = [("marts.sales", "place_sk by foreign_key", False, refers)]
    assert declared(lab) == said, "the grain of a history is no key of its versions"
    # The version to which the row refers is replaced by another one.
    put(lab, "marts.places", history.replace("'A'", "'Z'"))
    put(lab, "marts.places", history, NEXT)
    assert declared(lab) == said


@pytest.mark.parametrize("partitioned", ["marts.places", "marts.sales"])
def test_a_partitioned_table_neither_refers_nor_is_referred_to(lab: PipelineHarness, partitioned: str) -> None:
    storage = {"marts.places": "rows", "marts.sales": "rows", partitioned: "partitions"}
    put(lab, "marts.places", places(["1, 'A'"], storage=storage["marts.places"]))
    put(lab, "marts.sales", sales(["1, 1"], storage=storage["marts.sales"]))
    assert declared(lab) == []


def test_columns_of_unlike_types_are_not_declared(shop: PipelineHarness) -> None:
    """Postgres compares them in the check, but not in a foreign key."""
    put(shop, "marts.sales", sales(["1, 1"], columns={**SALES, "place_id": "numeric"}), NEXT)
    assert [*{row[:2] for row in declared(shop)}] in ([], [("marts.sales", "place_id by foreign_key")])


def test_a_table_that_others_refer_to_is_dropped(shop: PipelineHarness) -> None:
    drop_table(shop.server, shop.name, Relation("marts", "places"), lambda *_: None)
    assert declared(shop) == []
    assert shop.rows("select count(*) from marts.sales") == [(3,)]
    put(shop, "marts.places", places(["1, 'A'", "2, 'B'"]))
    put(shop, "marts.sales", sales(["1, 1"]))
    assert declared(shop) == SAID


def test_it_is_dropped_although_its_table_belongs_to_another_role(shop: PipelineHarness) -> None:
    execute(shop, "alter table marts.places owner to kpi_loader")
    execute(shop, "grant usage, create on schema marts to kpi_loader")
    drop_table(shop.server, shop.name, Relation("marts", "places"), lambda *_: None)
    assert declared(shop) == []


def test_a_table_that_refers_to_others_is_dropped(shop: PipelineHarness) -> None:
    drop_table(shop.server, shop.name, Relation("marts", "sales"), lambda *_: None)
    assert declared(shop) == []


@pytest.mark.parametrize("type_", ["bigint", "text"])
def test_the_types_of_both_sides_may_change(shop: PipelineHarness, type_: str) -> None:
    """First those of the table that is referred to: until the other one follows, nothing is declared."""
    put(shop, "marts.places", places(["1, 'A'"], columns={**PLACES, "place_id": type_}), NEXT)
    assert declared(shop) == []
    put(shop, "marts.sales", sales(["1, 1"], columns={**SALES, "place_id": type_}), NEXT)
    assert declared(shop) == SAID


def test_the_type_of_the_side_that_refers_may_change_first(shop: PipelineHarness) -> None:
    put(shop, "marts.sales", sales(["1, 1"], columns={**SALES, "place_id": "bigint"}), NEXT)
    assert declared(shop) == SAID


def test_the_grain_and_the_columns_of_the_other_table_may_change(shop: PipelineHarness) -> None:
    put(shop, "marts.places", places(["1, 'A'", "2, 'B'"], grain="name"), NEXT)
    assert declared(shop) == []
    shop.file("marts/sales.sql", sales(["1, 1"], more=""))
    put(shop, "marts.places", places(["'A'", "'B'"], columns={"name": "text"}, grain="name"), DAY)
    put(shop, "marts.places", places(["'A'", "'B'"], columns={"name": "text"}, grain="name"), NEXT)
    assert [
        name
        for (name,) in shop.rows(
            "select attname from pg_attribute where attrelid = 'marts.places'::regclass "
            "and attnum > 0 and not attisdropped"
        )
    ] == ["load_date", "name"]


LOCKED = "lock table marts.places in row exclusive mode"
READ = "select count(*) from marts.places"


@pytest.mark.parametrize("statement", few(1, [LOCKED, READ]))
@pytest.mark.parametrize("more", [REFERS, ""])
def test_neither_a_reader_nor_a_publish_of_the_other_table_is_waited_for(
    shop: PipelineHarness, statement: str, more: str
) -> None:
    """A constraint that cannot be declared or dropped now is declared or dropped by a later publish."""
    if more:
        put(shop, "marts.sales", sales(["1, 1"], more=""))
    before = declared(shop)
    with shop.session() as other, other.transaction():
        other.execute(statement.encode())
        start = time.monotonic()
        put(shop, "marts.sales", sales(["1, 1"], more=more))
        assert time.monotonic() - start < 10
        is_added = bool(more) and statement == READ
        assert declared(shop) == (SAID if is_added else before)
    put(shop, "marts.sales", sales(["1, 1"], more=more))
    assert declared(shop) == (SAID if more else [])


def test_a_server_without_not_enforced_has_none(shop: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "SINCE", 10**9)
    drop_table(shop.server, shop.name, Relation("marts", "sales"), lambda *_: None)
    put(shop, "marts.sales", sales(["1, 1"]))
    assert declared(shop) == []


def test_a_constraint_that_somebody_else_made_stays(shop: PipelineHarness) -> None:
    execute(
        shop,
        "alter table marts.sales add constraint own foreign key (load_date, sale_id) "
        "references marts.places (load_date, place_id) not enforced",
    )
    put(shop, "marts.sales", sales(["1, 1"], more=""))
    assert [name for _, name, *_ in declared(shop)] == ["own"]
