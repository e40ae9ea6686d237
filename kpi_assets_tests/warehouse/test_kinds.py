"""Storage kinds have two registries, and no other module depends on the name of a kind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kpi_assets
from kpi_assets.model.kinds import STORAGES
from kpi_assets.warehouse.kinds import STRATEGIES

PRODUCT = Path(kpi_assets.__file__).parent
REGISTRIES = ("model/kinds.py", "warehouse/kinds/")


def test_each_storage_kind_has_traits_and_a_strategy() -> None:
    with_load_dates = {name: kind for name, kind in STORAGES.items() if kind.has_load_date and not kind.in_lake}
    assert list(with_load_dates) == list(STRATEGIES)
    assert {name: kind.name for name, kind in STORAGES.items()} == {name: name for name in STORAGES}
    assert {name: strategy.name for name, strategy in STRATEGIES.items()} == {name: name for name in with_load_dates}
    assert all(STRATEGIES[name].kind is kind for name, kind in with_load_dates.items())


def lines_that_distinguish_kinds(source: str) -> Iterator[int]:
    """Yield the lines on which a module distinguishes storage kinds by name, by class, or by relkind."""
    for node in ast.walk(ast.parse(source)):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        constants = {each.value for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)}
        about = ast.unparse(node).lower() if sides else ""
        is_name = constants & {*STORAGES} and any(word in about for word in ("storage", "kind"))
        is_relkind = "relkind" in about and constants & {kind.relkind for kind in STORAGES.values() if kind.relkind}
        is_import = isinstance(node, ast.ImportFrom) and str(node.module).startswith("kpi_assets.warehouse.kinds")
        is_class = is_import and {"Rows", "Partitions", "View", "History"} & {each.name for each in node.names}
        if is_name or is_relkind or is_class:
            yield getattr(node, "lineno", 0)


@pytest.mark.parametrize(
    "line",
    [
        "table.header.storage == 'view'",
        "table.storage.name in ('rows', 'partitions')",
        "'view' if kind != 'view' else ''",
        "relkind == 'v'",
        "from kpi_assets.warehouse.kinds.rows import Rows",
    ],
)
def test_a_line_that_distinguishes_kinds_is_found(line: str) -> None:
    assert list(lines_that_distinguish_kinds(line)) == [1]


def test_only_the_registries_distinguish_kinds() -> None:
    files = {path.relative_to(PRODUCT).as_posix(): path for path in PRODUCT.rglob("*.py")}
    others = {name: path for name, path in files.items() if not name.startswith(REGISTRIES)}
    assert len(files) > len(others) > 100
    found = {name: list(lines_that_distinguish_kinds(path.read_text())) for name, path in others.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
