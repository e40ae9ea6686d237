"""`max_changed` holds a load_date of a history that says too many keys of the load_date before otherwise."""

from collections.abc import Callable
from datetime import date

import pytest

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.recheck import recheck
from kpi_assets.model.checks.base import AuditFacts, Earlier, RowsBefore
from kpi_assets.model.results import CheckResult
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets.warehouse.earlier_rows import rows_before
from kpi_assets_tests.examples import few
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_harness import CUSTOMERS, Customers, Row, day

ANN: Row = ("Ann", "LA", "1.0")
TEN = {f"C{number}": ANN for number in range(10)}


@pytest.fixture
def customers(lab: PipelineHarness) -> Customers:
    found = Customers(lab)
    lab.file("marts/customers.sql", CUSTOMERS.replace("  max_changed: 1\n", ""))
    return found


def of_check(outcome: BuildOutcome) -> CheckResult:
    return next(result for result in outcome.results if result.name == "max_changed")


def test_the_first_load_date_is_not_judged(customers: Customers) -> None:
    found = of_check(customers.deliver(day(1), TEN))
    assert (found.passed, found.blocking, found.metric, found.threshold) == (True, True, None, 0.5)
    assert found.message == "not judged: no earlier load_date is published"


@pytest.mark.parametrize(
    ("rows", "share", "message", "held"),
    few(
        3,
        [
            (TEN, 0, "none of 10 keys of 2025-01-02 is changed or absent", False),
            # New keys do not count.
            (
                {**TEN, **{f"N{n}": ANN for n in range(50)}},
                0,
                "none of 10 keys of 2025-01-02 is changed or absent",
                False,
            ),
            (
                {**{f"C{n}": ANN for n in range(2, 10)}, "C3": ("Ann", "NYC", "1.0"), "C4": ("Ann", "LA", None)},
                *(0.4, "4 of 10 keys of 2025-01-02 (40.0%): 2 changed, 2 absent", False),
            ),
            # Another scale and an empty text are changes, as they are for the versions.
            (
                {**TEN, **dict.fromkeys(["C1", "C2", "C3", "C4", "C5"], ("Ann", "LA", "1.00"))},
                *(0.5, "5 of 10 keys of 2025-01-02 (50.0%): 5 changed, 0 absent", False),
            ),
            (
                {**TEN, **dict.fromkeys(["C1", "C2", "C3", "C4", "C5", "C6"], ("Ann", "", "1.0"))},
                *(0.6, "6 of 10 keys of 2025-01-02 (60.0%): 6 changed, 0 absent; at most 50% may be", True),
            ),
            ({}, 1, "10 of 10 keys of 2025-01-02 (100.0%): 0 changed, 10 absent; at most 50% may be", True),
        ],
    ),
)
def test_the_share_of_changed_and_absent_keys_is_judged(
    customers: Customers, rows: dict[str, Row], share: float, message: str, held: bool
) -> None:
    customers.deliver(day(1), TEN)
    outcome = customers.deliver(day(2), rows)
    found = of_check(outcome)
    assert (found.metric, found.message, outcome.held) == (share, message, held)
    customers.check()


def test_samples_show_the_keys_and_what_they_were(customers: Customers) -> None:
    customers.deliver(day(1), {"A": ANN, "B": ANN})
    found = of_check(customers.deliver(day(2), {"B": ("Ann", "NYC", "1.00")}))
    assert sorted(found.samples, key=str) == [
        {"customer_id": "A", "differs": "absent"},
        {
            "customer_id": "B",
            "differs": {"city": {"before": "LA", "here": "NYC"}, "score": {"before": 1.0, "here": 1.0}},
        },
    ]


def test_the_limit_is_settable_and_1_turns_the_check_off(customers: Customers) -> None:
    customers.deliver(day(1), TEN)
    for limit, held in (("0.1", True), ("0.2", False)):
        customers.lab.file("marts/customers.sql", CUSTOMERS.replace("max_changed: 1", f"max_changed: {limit}"))
        rows = {**TEN, "C1": ("John", "LA", "1.0"), "C2": ("John", "LA", "1.0")}
        outcome = customers.deliver(day(2), rows)
        assert outcome.held is held
    customers.lab.file("marts/customers.sql", CUSTOMERS.replace("max_changed: 1", "max_changed: 0.125"))
    outcome = customers.deliver(day(2), {**rows, "C3": ("John", "LA", "1.0")})
    assert outcome.held
    assert of_check(outcome).message.endswith("at most 12.5% may be")
    customers.lab.file("marts/customers.sql", CUSTOMERS)
    outcome = customers.deliver(day(3), {})
    assert not outcome.held
    assert "max_changed" not in {result.name for result in outcome.results}


def test_a_table_of_rows_that_becomes_a_history_is_refused_before_it_is_judged(
    customers: Customers, lab: PipelineHarness
) -> None:
    history = (lab.folder / "marts/customers.sql").read_text()
    before, columns = history.index("storage: history"), history.index("columns:")
    lab.file("marts/customers.sql", history[:before] + history[columns:])
    assert not customers.deliver(day(1), TEN).held
    lab.file("marts/customers.sql", history)
    with pytest.raises(DefinitionError, match=r"marts\.customers was published with storage: rows; to change it, run"):
        customers.deliver(day(2), TEN)


def test_a_load_date_is_judged_by_the_one_before_it_and_not_by_the_latest(customers: Customers) -> None:
    other = dict.fromkeys(TEN, ("John", "LA", "1.0"))
    customers.deliver(day(1), TEN)
    customers.lab.file("marts/customers.sql", CUSTOMERS)
    customers.deliver(day(5), other)
    customers.lab.file("marts/customers.sql", CUSTOMERS.replace("max_changed: 1", "max_changed: 0"))
    found = of_check(customers.deliver(day(3), TEN))
    assert found.message == "none of 10 keys of 2025-01-02 is changed or absent"
    found = of_check(customers.deliver(day(5), other))
    assert found.message.startswith("10 of 10 keys of 2025-01-04 (100.0%): 10 changed, 0 absent")
    # The first one again: those after it do not count.
    assert of_check(customers.deliver(day(1), TEN)).metric is None
    customers.check()


def test_a_recheck_judges_the_published_rows(customers: Customers) -> None:
    customers.deliver(day(1), TEN)
    customers.deliver(day(2), {**TEN, "C1": ("John", "LA", "1.0")})
    customers.deliver(day(3), TEN)
    context = customers.lab.prepared()

    def again(load_date: date) -> CheckResult:
        found = recheck(context, context.pipeline.table("marts.customers"), load_date)
        return next(result for result in found if result.name == "max_changed")

    assert again(day(1)).message == "not judged: no earlier load_date is published"
    assert again(day(2)).message == "1 of 10 keys of 2025-01-02 (10.0%): 1 changed, 0 absent"
    assert again(day(3)).message == "1 of 10 keys of 2025-01-03 (10.0%): 1 changed, 0 absent"


EDITS: dict[str, Callable[[str], str]] = {
    "a column is added": lambda text: text.replace(
        "columns:\n", "columns:\n  age: {type: integer, description: Age.}\n"
    ).replace("    customer_id,\n", "    length(city) as age,\n    customer_id,\n"),
    "a column is taken out": lambda text: text.replace("  city: {type: text, description: City.}\n", "").replace(
        "    city,\n", ""
    ),
    "a type is wider": lambda text: text.replace("name: {type: text", "name: {type: varchar(9)").replace(
        "    name,", "    name::varchar(9) as name,"
    ),
}


@pytest.mark.parametrize("edit", few(1, EDITS))
def test_the_columns_that_both_load_dates_have_are_compared(customers: Customers, edit: str) -> None:
    customers.deliver(day(1), TEN)
    changed = EDITS[edit](CUSTOMERS.replace("  max_changed: 1\n", ""))
    assert changed != CUSTOMERS
    customers.lab.file("marts/customers.sql", changed)
    found = of_check(customers.deliver(day(2), {**TEN, "C1": ("John", "LA", "1.0")}))
    assert found.message == "1 of 10 keys of 2025-01-02 (10.0%): 1 changed, 0 absent"


def test_keys_of_another_grain_are_not_judged(customers: Customers) -> None:
    [check] = [each for each in customers.lab.pipeline().table("marts.customers").checks if each.name == "max_changed"]
    before = Earlier(day(1), "(select 1)", {"name": "text"})
    facts = AuditFacts(day(2), looked_up={RowsBefore(): before})
    found = check.result(None, facts)  # type: ignore[arg-type]  nothing is measured
    assert (found.passed, found.metric, found.threshold) == (True, None, 0.5)
    assert found.message == "not judged: 2025-01-02 was published without customer_id"


def test_of_a_long_history_only_the_versions_that_hold_are_read(customers: Customers) -> None:
    """The load_date before is the latest; the planner has the index of what has not ended."""
    customers.deliver(day(1), TEN)
    with customers.lab.session() as session:
        session.execute(
            "insert into marts.customers (customer_sk, customer_id, name, city, score, effective_date, end_date) "
            "select n, 'C' || mod(n, 10), 'Ann', 'LA', n, date '0001-01-01' + n, date '0001-01-01' + n "
            "from generate_series(1, 30000) as n"
        )
        session.execute("analyze marts.customers")
        table = customers.lab.pipeline().table("marts.customers")
        found = rows_before(session, table, day(1), is_latest=True)
        assert found is not None
        [(plan,)] = session.execute(f"explain (analyze, buffers, format json) select * from {found.rows} as r")  # type: ignore[arg-type]
    assert plan[0]["Plan"]["Node Type"].startswith(("Index", "Bitmap"))
    assert plan[0]["Plan"]["Actual Rows"] == 10
    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] < 20
