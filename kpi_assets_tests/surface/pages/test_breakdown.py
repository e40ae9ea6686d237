"""What bars are called, and what they show."""

from typing import Any

import pytest

from kpi_assets.model.kpi import Chart
from kpi_assets.model.measure import Measure
from kpi_assets.surface.pages.breakdown import label_of, title_of


@pytest.mark.parametrize(
    ("labels", "value", "type_", "expected"),
    [
        (["Sunday", "Monday"], "1", "smallint", "Monday"),
        (["Sunday", "Monday"], "7", "smallint", "7"),
        ({"de": "Germany"}, "de", "text", "Germany"),
        ({"de": "Germany"}, "fr", "text", "fr"),
        ([], "2026-11-24", "date", "Tue 24 Nov 2026"),
        ([], "infinity", "date", "infinity"),
        ([], None, "date", "–"),
        ([], "<b>", "text", "<b>"),
    ],
)
def test_labels(labels: Any, value: str | None, type_: str, expected: str) -> None:
    assert label_of(Chart(x="a", y="b", **({"labels": labels} if labels else {})), value, type_) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("sum(orders_of_day)", "Orders"), ("max(orders_of_day)", "orders of day")]
)
def test_only_a_sum_gives_the_bars_its_title(value: str, expected: str) -> None:
    assert title_of({"orders": Measure(title="Orders", value=value)}, "orders_of_day") == expected
