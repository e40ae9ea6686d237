"""What bars are called."""

from typing import Any

import pytest

from kpi_assets.model.kpi import Chart
from kpi_assets.surface.pages.breakdown import label_of


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
