"""The fixtures of the shipped tables, which lie in folders beside this file: see kpi_assets/fixtures/cases.py."""

from pathlib import Path

from kpi_assets.fixtures.cases import Case, find_cases
from kpi_assets.model.table import Table
from kpi_assets.model.tree import load_pipelines

CASES = Path(__file__).parent


def all_cases() -> list[Case]:
    """Return every case, in order."""
    return find_cases(CASES)


def folder_of(table: Table) -> str:
    """Return the folder for the cases of a table, relative to the root of the repository."""
    return "/".join((CASES.parent.name, CASES.name, *table.key))


def has_cases(table: Table) -> bool:
    """Return whether the table has any case."""
    return CASES.joinpath(*table.key).is_dir()


def of_question(pipeline: str, name: str) -> list[Case]:
    """Return the cases of a question."""
    return [case for case in all_cases() if (case.pipeline, case.question) == (pipeline, name)]


def missing(sql_dir: Path) -> list[str]:
    """Return a sentence for each file below a tree that has no case."""
    tables = [table for pipeline in load_pipelines(sql_dir).values() for table in pipeline.tables.values()]
    return [
        f"{table.path} has no fixtures, so nothing shows that its rows are right: add {folder_of(table)}/plain/, as "
        "docs/guides/authoring.md says."
        for table in tables
        if not has_cases(table)
    ]
