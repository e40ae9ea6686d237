"""The formats that a header may name are exactly those that can be read and loaded."""

from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.sources.formats import FORMATS


def test_the_declared_formats_are_those_that_can_be_read() -> None:
    assert {name: each.kind for name, each in FORMATS.items()} == FORMAT_KINDS
    assert all(name == kind.name for name, kind in FORMAT_KINDS.items())
