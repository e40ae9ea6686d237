"""The two registries of storage kinds, and that every other module asks them instead of knowing names."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kpi_assets
from kpi_assets.model.kinds import STORAGES
from kpi_assets.warehouse.kinds import STRATEGIES

PRODUCT = Path(kpi_assets.__file__).parent
REGISTRIES = ("model/kinds.py", "warehouse/kinds/")


def test_each_kind_has_its_traits_and_its_strategy() -> None:
    assert list(STORAGES) == list(STRATEGIES)
    assert {name: kind.name for name, kind in STORAGES.items()} == {name: name for name in STORAGES}
    assert {name: strategy.name for name, strategy in STRATEGIES.items()} == {name: name for name in STORAGES}
    assert all(STRATEGIES[name].kind is kind for name, kind in STORAGES.items())


def names_known(source: str) -> Iterator[int]:
    """The lines on which a module tells storage kinds apart by name, by class, or by what Postgres calls them."""
    for node in ast.walk(ast.parse(source)):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        constants = {each.value for side in sides for each in ast.walk(side) if isinstance(each, ast.Constant)}
        about = ast.unparse(node).lower() if sides else ""
        is_name = constants & {*STORAGES} and any(word in about for word in ("storage", "kind"))
        is_relkind = "relkind" in about and constants & {kind.relkind for kind in STORAGES.values()}
        is_import = isinstance(node, ast.ImportFrom) and str(node.module).startswith("kpi_assets.warehouse.kinds")
        is_class = is_import and {"Rows", "Partitions", "View"} & {each.name for each in node.names}
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
def test_what_knows_a_name_is_found(line: str) -> None:
    assert list(names_known(line)) == [1]


def test_no_module_but_the_registries_knows_the_name_of_a_kind() -> None:
    files = {path.relative_to(PRODUCT).as_posix(): path for path in PRODUCT.rglob("*.py")}
    others = {name: path for name, path in files.items() if not name.startswith(REGISTRIES)}
    assert len(files) > len(others) > 100
    found = {name: list(names_known(path.read_text())) for name, path in others.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
