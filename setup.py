"""Puts the `sql/` tree into the wheel, beside the code that reads it; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def sql_files() -> list[tuple[str, list[str]]]:
    """Every file below sql/, by folder, as (where it is installed below the prefix, its files)."""
    folders = {path.parent for path in (ROOT / "sql").rglob("*") if path.is_file()}
    return [
        (
            f"share/kpi_assets/{folder.relative_to(ROOT)}",
            [str(p.relative_to(ROOT)) for p in sorted(folder.iterdir()) if p.is_file()],
        )
        for folder in sorted(folders)
    ]


setup(data_files=sql_files())
