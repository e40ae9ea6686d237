"""The slices of a SELECT are planned from the stored slices of its sources, without a server."""

import pytest

from kpi_assets.materialize.transform import SlicePlan, plan_slices
from kpi_assets.model.names import Relation
from kpi_assets.model.slices import Slice, slices_at
from kpi_assets.warehouse.slices import Stored
from kpi_assets_tests.pipeline_harness import DAY

LINES, ORDERS, VISITS = Relation("raw", "lines"), Relation("raw", "orders"), Relation("raw", "visits")
COLUMNS = {"order_no": "order_id", "note": "note"}


def stored(relation: Relation, *cuts: int) -> Stored:
    """Return a table with slices cut at these keys, or in one piece without cuts."""
    whole = Relation("builds", relation.table)
    leaves = {part: Relation("builds", f"{relation.table}_{part.number}") for part in slices_at(cuts)} if cuts else {}
    return Stored(DAY, whole, COLUMNS, leaves)


def no_statistics(relation: Relation) -> list[Slice]:
    pytest.fail(f"{relation} was cut by its statistics")


def test_without_sources_the_select_is_run_as_a_whole() -> None:
    assert plan_slices({}, [], no_statistics) == SlicePlan([], {})


def test_a_small_source_in_one_piece_is_read_as_a_whole() -> None:
    assert plan_slices({LINES: stored(LINES)}, [], no_statistics).slices == []


def test_the_slices_are_those_of_the_source_with_the_most_slices() -> None:
    sources = {ORDERS: stored(ORDERS, 50), LINES: stored(LINES, 40, 80), VISITS: stored(VISITS)}
    assert plan_slices(sources, list(sources), no_statistics) == SlicePlan(slices_at([40, 80]), sources)


def test_of_sources_with_equally_many_slices_the_first_is_used() -> None:
    sources = {ORDERS: stored(ORDERS, 50), LINES: stored(LINES, 40)}
    assert plan_slices(sources, [], no_statistics).slices == slices_at([50])


def test_a_large_source_in_one_piece_is_cut_by_its_statistics() -> None:
    sources = {ORDERS: stored(ORDERS), LINES: stored(LINES)}
    plan = plan_slices(
        sources, [LINES], lambda relation: slices_at([7]) if relation == LINES else no_statistics(relation)
    )
    assert plan == SlicePlan(slices_at([7]), sources)


def test_the_first_large_source_that_can_be_cut_is_used() -> None:
    """The statistics of the other sources are not read, because each takes a query."""
    sources = {name: stored(name) for name in (ORDERS, LINES, VISITS)}
    cuts = {ORDERS: list[Slice](), LINES: slices_at([7])}
    assert plan_slices(sources, list(sources), cuts.__getitem__).slices == slices_at([7])


def test_a_large_source_that_cannot_be_cut_is_read_as_a_whole() -> None:
    assert plan_slices({LINES: stored(LINES)}, [LINES], lambda _: []).slices == []


UNDER_VIEWS_NAMES = f'select \'{DAY}\'::date as "load_date", "order_id" as "order_no", "note" as "note"'


@pytest.mark.parametrize(
    ("relation", "text"),
    [
        (LINES, f'({UNDER_VIEWS_NAMES} from "builds"."lines_1")'),
        (ORDERS, f'({UNDER_VIEWS_NAMES} from "builds"."orders" where "order_id" >= 40)'),
        (VISITS, '(select * from "raw"."visits" where "order_no" >= 40)'),
    ],
    ids=["a slice that is a table", "a source in one piece", "a table that is no source"],
)
def test_a_slice_is_read_from_its_table_or_by_a_filter(relation: Relation, text: str) -> None:
    plan = plan_slices({LINES: stored(LINES, 40), ORDERS: stored(ORDERS)}, [], no_statistics)
    assert plan.read(relation, "order_no", plan.slices[1]).as_string() == text
