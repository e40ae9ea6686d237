"""A tree below sql/ that a test writes, and the files with which it begins."""

from pathlib import Path

import pytest

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines

YAML = """\
description: A shop of one test.
bucket: kpi-shop
start_date: 2025-01-01
layers: {raw: raw, marts: marts}
readers: [marts]
"""
RAW = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
@end */
"""
MART = """\
/* @asset
description: Things that were sold.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
checks:
  min_rows: {at_least: 2}
@end */
select
    thing_id,
    name
from raw.things
where load_date = %(load_date)s
"""


class Tree:
    """A folder of pipelines that a test writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("shop/pipeline.yaml", YAML)
        self.write("shop/raw/things.sql", RAW)
        self.write("shop/marts/sold.sql", MART)

    def write(self, name: str, text: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def edit(self, name: str, old: str, new: str) -> None:
        """Put `new` in the place of `old`, which the file has once."""
        text = (self.root / name).read_text()
        assert text.count(old) == 1, f"{name} has {text.count(old)} times {old!r}"
        self.write(name, text.replace(old, new))

    def load(self, minimum: dict[str, int] | None = None) -> Pipeline:
        return load_pipelines(self.root, minimum)["shop"]

    def error(self) -> str:
        """Return the error of loading the tree, without the name of its folder."""
        with pytest.raises(ModelError) as caught:
            self.load()
        return str(caught.value).removeprefix(f"{self.root}/shop/")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "sql")
