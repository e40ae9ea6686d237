"""Rows as readers see them: of a load_date, as of any day, and the versions of a history as they were known then."""

from datetime import date

import pytest

from kpi_assets.errors import UserError
from kpi_assets.read.rows import Rows, read_rows
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import DAY, GOOD, NEXT, RAW_THINGS, PipelineHarness
from kpi_assets_tests.warehouse.history_harness import CUSTOMERS, Customers, day, surrogate_key

NYC, LA = ("John", "NYC", "1.0"), ("John", "LA", "1.0")
ADDED = ["effective_date", "end_date", "is_current", "is_active", "updated_at"]


def shown(lab: PipelineHarness, name: str, load_date: date | None = None, as_of: date | None = None) -> Rows:
    pipeline = lab.pipeline()
    with lab.session() as session:
        return read_rows(session, pipeline, pipeline.table(name), load_date, as_of=as_of, place="the test")


@pytest.fixture
def customers(lab: PipelineHarness) -> Customers:
    """A history of three load_dates, of which the one in the middle came last: A moves and B goes."""
    made = Customers(lab)
    made.deliver(day(0), {"A": NYC, "B": NYC})
    made.deliver(day(10), {"A": NYC})
    made.deliver(day(5), {"A": LA, "B": NYC})
    return made


def version(key: str, values: tuple[str, ...], since: date) -> tuple[str, ...]:
    """A version as it is known while it holds."""
    return (str(surrogate_key(f'"{key}"', since)), key, *values, str(since), None, "true", "true", str(since))  # type: ignore[return-value]


def test_a_history_shows_the_versions_that_held_as_they_were_known(customers: Customers) -> None:
    lab = customers.lab
    latest = shown(lab, "marts.customers")
    assert latest.columns == ["customer_sk", "customer_id", "name", "city", "score", *ADDED]
    assert latest.types == ["bigint", "text", "text", "text", "numeric", "date", "date", *["boolean"] * 2, "date"]
    assert (latest.load_date, latest.shown, latest.published) == (day(10), 1, 1)
    assert latest.rows == [version("A", NYC, day(10))]
    assert shown(lab, "marts.customers", day(5)).rows == [version("A", LA, day(5)), version("B", NYC, day(0))]
    assert shown(lab, "marts.customers", day(0)).rows == [version("A", NYC, day(0)), version("B", NYC, day(0))]


@pytest.mark.parametrize(("as_of", "load_date"), few(3, [(0, 0), (4, 0), (5, 5), (9, 5), (10, 10), (400, 10)]))
def test_any_day_shows_its_latest_load_date(customers: Customers, as_of: int, load_date: int) -> None:
    found = shown(customers.lab, "marts.customers", as_of=day(as_of))
    assert found == shown(customers.lab, "marts.customers", day(load_date))
    assert found.load_date == day(load_date)


def test_a_day_before_the_first_load_date_is_an_error(customers: Customers) -> None:
    before = day(0).replace(year=2024)
    with pytest.raises(UserError, match=rf"^No load_date of marts\.customers up to {before} is published in the test"):
        shown(customers.lab, "marts.customers", as_of=before)
    with pytest.raises(UserError, match=rf"^marts\.customers of {day(4)} is not published in the test: "):
        shown(customers.lab, "marts.customers", day(4))


def test_other_tables_have_an_as_of_too(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    for load_date, body in ((DAY, GOOD), (date(2025, 3, 5), GOOD.replace(b"anvil", b"hammer"))):
        lab.put_things(body, load_date)
        lab.build("raw.things", load_date)
    found = shown(lab, "raw.things", as_of=NEXT)
    assert (found.load_date, found.rows[0]) == (DAY, ("1", "anvil", "20.50"))
    assert shown(lab, "raw.things", as_of=date.max).rows[0] == ("1", "hammer", "20.50")
    with lab.session() as session:
        session.execute(
            "update ops.publishes set superseded_at = now(), dropped_at = now() where load_date = '2025-03-01'"
        )
    with pytest.raises(UserError, match=r"^It cannot be shown: the rows of raw\.things of 2025-03-01 were dropped by"):
        shown(lab, "raw.things", as_of=NEXT)


def test_a_column_that_the_file_added_since_is_not_shown_yet(customers: Customers) -> None:
    lab = customers.lab
    column = "  phone: {type: text, description: Phone.}\nchecks:\n  min_rows: {at_least: 0}\n  accepted_values"
    text = CUSTOMERS.replace("checks:\n  min_rows: {at_least: 0}\n  accepted_values", column)
    lab.file("marts/customers.sql", text.replace("    score\n", "    score,\n    name as phone\n"))
    assert shown(lab, "marts.customers").rows == [version("A", NYC, day(10))]
    assert not lab.build("marts.customers", day(5)).held
    assert shown(lab, "marts.customers", day(5)).columns[4:6] == ["score", "phone"]
    assert shown(lab, "marts.customers", day(10)).rows == [version("A", NYC, day(10))]
