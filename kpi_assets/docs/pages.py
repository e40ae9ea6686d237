"""All generated pages: writes them, and compares them with those of a folder."""

from collections.abc import Callable, Mapping
from difflib import unified_diff
from pathlib import Path

from kpi_assets.docs import checks, cli, header, ops_schema, pipeline_yaml, portable_sql, question, settings

PAGES: Mapping[str, Callable[[], str]] = {
    "header.md": header.page,
    "checks.md": checks.page,
    "question.md": question.page,
    "pipeline_yaml.md": pipeline_yaml.page,
    "cli.md": cli.page,
    "settings.md": settings.page,
    "ops_schema.md": ops_schema.page,
    "portable_sql.md": portable_sql.page,
}


def write(folder: Path) -> list[Path]:
    """Write each page whose text has changed, and return the paths of these pages."""
    written = []
    for name, page in PAGES.items():
        path, text = folder / name, page()
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
            written.append(path)
    return written


def differences(folder: Path) -> list[str]:
    """Return a unified diff for each page of the folder that differs from the code."""
    found = []
    for name, page in PAGES.items():
        path = folder / name
        there = path.read_text() if path.is_file() else ""
        lines = unified_diff(there.splitlines(True), page().splitlines(True), str(path), "the code")
        if text := "".join(lines):
            found.append(text)
    return found
