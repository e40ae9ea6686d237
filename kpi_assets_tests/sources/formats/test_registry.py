"""Each format that a header may name can be read and loaded, and no other."""

from kpi_assets.model.format_kinds import FORMAT_KINDS
from kpi_assets.sources.formats import FORMATS


def test_each_declared_format_is_one_that_is_read() -> None:
    assert {name: each.kind for name, each in FORMATS.items()} == FORMAT_KINDS
    assert all(name == kind.name for name, kind in FORMAT_KINDS.items())
