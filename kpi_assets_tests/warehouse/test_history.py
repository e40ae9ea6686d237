"""storage: history: whatever the order, and however often, the versions are those of the load_dates' rows."""

import pytest

from kpi_assets.warehouse.versions import VersionChanges
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.warehouse.history_harness import Customers, day

A, B = ("John", "NYC", "1.0"), ("John", "LA", "1.0")


@pytest.fixture
def customers(lab: PipelineHarness) -> Customers:
    return Customers(lab)


def test_a_change_ends_a_version_and_begins_another(customers: Customers) -> None:
    assert customers.deliver(day(0), {"CUST001": A}).versions == VersionChanges(new=1)
    assert customers.deliver(day(5), {"CUST001": B}).versions == VersionChanges(changed=1)
    customers.check()
    assert [row[1:] for row in customers.versions()] == [
        ("CUST001", *A, day(0), day(4)),
        ("CUST001", *B, day(5), None),
    ]
    made = "select is_current, is_active, updated_at from marts.customers order by effective_date"
    assert customers.lab.rows(made) == [(False, False, day(5)), (True, True, day(5))]
