"""A load_date of a history is compared with its versions once, for the check and for the fold, if nothing changes."""

from collections.abc import Callable
from typing import Any

import pytest

from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.model.checks import changed_keys
from kpi_assets.warehouse.kinds.history import History
from kpi_assets.warehouse.versions import VersionChanges, Versions
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_harness import CUSTOMERS, Customers, Row, day

ANN: Row = ("Ann", "LA", "1.0")
JOHN: Row = ("John", "NYC", None)
TEN = {f"C{number}": ANN for number in range(10)}


@pytest.fixture
def customers(lab: PipelineHarness) -> Customers:
    found = Customers(lab)
    lab.file("marts/customers.sql", CUSTOMERS.replace("  max_changed: 1\n", ""))
    return found


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who joined a candidate with the versions."""
    found: list[str] = []
    find, count = Versions._find_touched, changed_keys.count_keys

    def find_touched(versions: Versions, *arguments: Any) -> VersionChanges:
        found.append("fold")
        return find(versions, *arguments)

    def count_changed(*arguments: Any) -> str:
        found.append("check")
        return count(*arguments)

    monkeypatch.setattr(Versions, "_find_touched", find_touched)
    monkeypatch.setattr(changed_keys, "count_keys", count_changed)
    return found


def message_of(outcome: BuildOutcome) -> str:
    return next(result.message for result in outcome.results if result.name == "max_changed")


def test_a_new_load_date_is_joined_with_the_versions_once(customers: Customers, joins: list[str]) -> None:
    customers.deliver(day(1), TEN)
    customers.deliver(day(5), {**TEN, "C1": JOHN})
    assert joins == ["fold"]
    outcome = customers.deliver(day(3), {**TEN, "C2": JOHN, "N1": ANN})
    assert joins == ["fold", "fold"]
    assert outcome.versions == VersionChanges(new=1, changed=1)
    assert message_of(outcome) == "1 of 10 keys of 2025-01-02 (10.0%): 1 changed, 0 absent"
    customers.check()


def test_a_load_date_that_is_published_is_compared_with_the_one_before_and_with_itself(
    customers: Customers, joins: list[str]
) -> None:
    customers.deliver(day(1), TEN)
    customers.deliver(day(2), {**TEN, "C1": JOHN})
    joins.clear()
    outcome = customers.deliver(day(2), {**TEN, "C1": JOHN, "C2": JOHN})
    assert joins == ["check", "fold"]
    assert message_of(outcome) == "2 of 10 keys of 2025-01-02 (20.0%): 2 changed, 0 absent"
    assert outcome.versions == VersionChanges(changed=1)
    customers.check()


def test_a_history_without_the_check_is_compared_by_its_fold(customers: Customers, joins: list[str]) -> None:
    customers.lab.file("marts/customers.sql", CUSTOMERS)
    customers.deliver(day(1), TEN)
    customers.deliver(day(2), {**TEN, "C1": JOHN})
    assert joins == ["fold"]
    customers.check()


@pytest.mark.parametrize("is_first", [True, False], ids=["before it is compared", "after it was compared"])
def test_what_is_published_while_a_candidate_is_compared_is_noticed(
    customers: Customers, joins: list[str], monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    customers.deliver(day(1), TEN)
    compare: Callable[..., Any] = History.compare

    def compare_beside_a_publish(*arguments: Any) -> Any:
        monkeypatch.setattr(History, "compare", compare)
        if is_first:
            customers.deliver(day(2), {**TEN, "C1": JOHN})
        found = compare(*arguments)
        if not is_first:
            customers.deliver(day(2), {**TEN, "C1": JOHN})
        return found

    monkeypatch.setattr(History, "compare", compare_beside_a_publish)
    outcome = customers.deliver(day(3), TEN)
    assert joins.count("fold") == 3
    assert outcome.versions == VersionChanges(changed=1)
    # The candidate was compared with another load_date than the one that is now before it.
    assert message_of(outcome) == "1 of 10 keys of 2025-01-03 (10.0%): 1 changed, 0 absent"
    customers.check()
