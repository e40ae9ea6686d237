"""Cases: folders that say of one table what comes out of which inputs, and what each of its checks answers.

`<pipeline>/<schema>/<table>/<case>/` holds CSV files (an empty field is NULL, `""` an empty text):
`<schema>.<table>.csv` the rows of an input, without load_date; `<schema>.<table>@2025-03-09.csv` its rows of another
load_date, or earlier rows of the table itself; `object.csv` a raw table's object; `expect.csv` the rows of the build;
and `case.yaml` (CaseFile). A check that case.yaml does not name must pass. Not here: building them (bench.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Table
from kpi_assets.model.results import Verdict
from kpi_assets.model.strict_yaml import Strict, read
from kpi_assets.model.tree import load_pipelines

CASES = Path(__file__).parent
DAY = date(2025, 3, 10)
_INPUT = re.compile(r"(?P<relation>\w+\.\w+)(@(?P<load_date>[\d-]+))?\.csv")
_OTHERS = {"case.yaml", "expect.csv", "object.csv"}


class Expected(Strict):
    """What a check answers; no metric where it cannot be made."""

    status: Verdict
    metric: float | None = None


class Mistake(Strict):
    """A wrong edit of the table's SELECT, for a check that no data makes fail as long as the SELECT is right."""

    replace: str
    by: str


class CaseFile(Strict):
    """case.yaml, each word of which may be left out."""

    description: str = ""
    load_date: date = DAY
    mistake: Mistake | None = None
    checks: dict[str, Expected] = {}


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path

    @property
    def id(self) -> str:
        """`pipeline/schema/table/case`."""
        return self.folder.relative_to(CASES).as_posix()

    @property
    def pipeline(self) -> str:
        """The folder of the pipeline's files below sql/."""
        return self.id.split("/")[0]

    @property
    def table(self) -> str:
        """The table under test, `schema.table`."""
        return ".".join(self.id.split("/")[1:3])

    @cached_property
    def file(self) -> CaseFile:
        """What case.yaml says. Raises ModelError."""
        path = self.folder / "case.yaml"
        return read(CaseFile, path.read_text(), path)[0] if path.exists() else CaseFile()

    @property
    def object(self) -> bytes | None:
        """What lies on S3."""
        path = self.folder / "object.csv"
        return path.read_bytes() if path.exists() else None

    @property
    def rows(self) -> bytes | None:
        """The rows of the build, or None where only the checks matter, which then hold it."""
        path = self.folder / "expect.csv"
        return path.read_bytes() if path.exists() else None

    def inputs(self) -> Iterator[tuple[Relation, date, bytes]]:
        """The tables that are published before, by load_date: (table, load_date, CSV)."""
        found = []
        for path in self.folder.iterdir():
            if path.name in _OTHERS:
                continue
            match = _INPUT.fullmatch(path.name)
            assert match, f"{path}: name it <schema>.<table>.csv or <schema>.<table>@YYYY-MM-DD.csv"
            load_date = date.fromisoformat(match["load_date"]) if match["load_date"] else self.file.load_date
            found.append((load_date, Relation.parse(match["relation"]), path.read_bytes()))
        yield from ((relation, load_date, rows) for load_date, relation, rows in sorted(found))

    @property
    def failing(self) -> set[str]:
        """The checks that do not pass."""
        return {name for name, expected in self.file.checks.items() if expected.status != "pass"}

    @property
    def held(self) -> bool:
        """Whether they keep the build from being published."""
        return any(expected.status in {"fail", "error"} for expected in self.file.checks.values())


def all_cases() -> list[Case]:
    """Every folder that lies four levels deep, in order."""
    return [Case(folder) for folder in sorted(CASES.glob("*/*/*/*")) if folder.is_dir()]


def folder_of(table: Table) -> str:
    """Where the cases of a table belong, below the root of the repository."""
    return "/".join((CASES.parent.name, CASES.name, *table.key))


def has_cases(table: Table) -> bool:
    """Whether anybody has begun to write some."""
    return CASES.joinpath(*table.key).is_dir()


def missing(sql_dir: Path) -> list[str]:
    """A sentence for each file below a tree that has no case."""
    tables = [table for pipeline in load_pipelines(sql_dir).values() for table in pipeline.tables.values()]
    return [
        f"{table.path} has no fixtures, so nothing shows that its rows are right: add {folder_of(table)}/plain/, as "
        "docs/guides/authoring.md says."
        for table in tables
        if not has_cases(table)
    ]
