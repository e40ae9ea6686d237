"""The lab of tests that build on what is published, or beside it."""

import pytest

from kpi_assets_tests.lab import GOOD, RAW_THINGS, Lab


@pytest.fixture
def things(lab: Lab) -> Lab:
    """A lab whose raw.things is published with GOOD_ROWS: 1 weighs 20.50, 2 was not weighed."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(GOOD)
    lab.build("raw.things")
    return lab
