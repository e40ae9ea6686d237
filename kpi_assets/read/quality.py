"""Reads the quality report of a load_date: the scores of its tables, and their mean.

Belongs here: which scores count, and the shape of the report. Not here: the formula (model/quality.py), and printing
(cli/quality.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import results
from kpi_assets.ledger.results import Scored
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.quality import DIMENSIONS, Dimension, dimension_scores, report, rounded, table_score, weighted

_IN_FORCE = ("published", "rechecked")  # the states in which readers have the rows that a score is about


@dataclass(frozen=True)
class QualityReport:
    """The scores of the tables of a load_date, in the order of the pipeline. There is at least one.

    If its last run did not publish all that it scored, these are the scores of that run alone, and `left_out` are the
    tables that have one of an earlier run.
    """

    pipeline: str
    load_date: date
    tables: Sequence[Scored]
    left_out: Sequence[str] = ()

    @property
    def run_ids(self) -> list[str]:
        """The runs that made the scores, the last one first."""
        return list(dict.fromkeys(table.run_id for table in sorted(self.tables, key=_when, reverse=True)))

    @property
    def rows(self) -> int:
        """The rows of all its tables."""
        return sum(table.rows for table in self.tables)

    @property
    def score(self) -> float:
        """The mean of the tables' scores, weighted by their rows."""
        return rounded(weighted((table_score(scores_of(table)), table.rows) for table in self.tables))

    @property
    def dimensions(self) -> dict[Dimension, float | None]:
        """The same mean of each dimension, over the tables that have it; None if none has."""
        return {dimension: self._score_of(dimension) for dimension in DIMENSIONS}

    def _score_of(self, dimension: Dimension) -> float | None:
        found = [(scores[dimension], table.rows) for table in self.tables if dimension in (scores := scores_of(table))]
        return rounded(weighted(found)) if found else None

    def as_json(self) -> dict[str, Any]:
        """Return the report for programs. Its shape is documented in docs/guides/authoring.md."""
        return {
            "pipeline": self.pipeline,
            "load_date": str(self.load_date),
            "score": self.score,
            "rows": self.rows,
            "dimensions": self.dimensions,
            "left_out": [*self.left_out],
            "tables": [
                {
                    "table": table.table_name,
                    "score": rounded(table_score(scores_of(table))),
                    "at_least": table.at_least,
                    "status": table.status,
                    "state": table.state,
                    "is_held": table.state == "held",
                    "run_id": table.run_id,
                    "checked_at": table.checked_at.isoformat(),
                    "rows": table.rows,
                    "dimensions": report(table.counts),
                }
                for table in self.tables
            ],
        }


def scores_of(table: Scored) -> Mapping[Dimension, Fraction]:
    """Return the scores of a table's dimensions."""
    return dimension_scores(table.counts)


def read_quality(
    connection: Connection[Any], pipeline: Pipeline, load_date: date | None = None, *, place: str
) -> QualityReport:
    """Return the report of a load_date, by default of the one that was scored last.

    Raises UserError, which names the `place` of the data, if there is no score.
    """
    wanted = [str(relation) for relation, table in pipeline.tables.items() if table.header.quality]
    if not wanted:
        raise UserError(
            f"No table of {pipeline.name} has a quality score: write `quality: {{}}` into a header, then run one."
        )
    day = load_date or results.latest_scored(connection)
    found = {} if day is None else {scored.table_name: scored for scored in results.scored(connection, day)}
    tables = [found[name] for name in wanted if name in found]
    if day is None or not tables:
        of_day = "" if day is None else f" of {day}"
        raise UserError(
            f"No table of {pipeline.name}{of_day} has a quality score yet in {place}: run a load_date that has one of "
            f"{', '.join(wanted)}."
        )
    run_id = max(tables, key=_when).run_id
    of_run = [table for table in tables if table.run_id == run_id]
    if all(table.state in _IN_FORCE for table in of_run):
        return QualityReport(pipeline.name, day, tables)
    return QualityReport(pipeline.name, day, of_run, [each.table_name for each in tables if each.run_id != run_id])


def _when(table: Scored) -> datetime:
    return table.checked_at
