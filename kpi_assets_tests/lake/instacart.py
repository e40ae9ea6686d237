"""Instacart with raw, staging and facts on the lake, made from the shipped files: words of headers, and no SQL."""

import re
import shutil
from pathlib import Path

from kpi_assets.settings import default_sql_dir
from kpi_assets_tests.lake.server import CATALOG

SHIPPED = default_sql_dir() / "instacart"


def write(folder: Path) -> Path:
    """Write the files of the pipeline below a folder, and return where they are.

    Questions are left out: they are asked in Postgres, which does not have the rows.
    """
    files = folder / "files"
    shutil.copytree(SHIPPED, files, ignore=shutil.ignore_patterns("questions"))
    words = files / "pipeline.yaml"
    words.write_text(words.read_text() + f"\nlake: {{engine: spark, catalog: {CATALOG}}}\n")
    for path in sorted(files.glob("*/*.sql")):
        if not path.name.startswith("kpi_"):
            path.write_text(on_lake(path.read_text()))
    return files


def on_lake(text: str) -> str:
    """Return a file whose header says `storage: lake`, without what only Postgres has."""
    text = re.sub(r"^(storage|indexes):.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^(grain:.*\n)", r"\1storage: lake\n", text, count=1, flags=re.MULTILINE)
