"""Audit a build whose rows a test gives, without a pipeline around it."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.checks.base import AuditFacts
from kpi_assets.model.checks.expand import expand
from kpi_assets.model.header import split
from kpi_assets.model.results import CheckResult
from kpi_assets.warehouse.audit import Audit, audit
from kpi_assets_tests.pipeline_harness import DAY

PATH = Path("sql/shop/marts/things.sql")
HEADER = """\
/* @asset
description: Things of one test.
owner: team:tests
grain: {grain}
columns:
  thing_id: {{type: integer, description: Thing.}}
  name: {{type: text, description: Name.}}
  weight: {{type: "numeric(6,2)", description: Kilograms.}}
  share: {{type: double precision, description: Share of the whole.}}
  user: {{type: text, description: "Owner of the thing; the name is a reserved word."}}
  order: {{type: integer, description: "Order of the thing; the name is a reserved word."}}
checks:
  min_rows: {{at_least: 0}}
{checks}@end */
"""
Row = tuple[Any, ...]
THIS = sql.SQL("pg_temp.this")
TYPES = {"thing_id": "integer", "name": "text", "weight": "numeric(6,2)", "share": "double precision"}
TYPES |= {"user": "text", "order": "integer"}


def header_of(checks: str = "", grain: str = "[thing_id]") -> str:
    return HEADER.format(grain=grain, checks=indent(f"{checks}\n", "  ") if checks else "")


@dataclass
class AuditHarness:
    """A build with given rows, in a session that also has the tables it refers to."""

    session: Connection[Any]

    def fill(self, rows: list[Row]) -> None:
        """Replace the rows of the build by `rows` of (thing_id, name, weight, share, user, order).

        Values that are left out at the end of a row are NULL.
        """
        self.session.execute("truncate pg_temp.this")
        for row in rows:
            padded = [*row, *[None] * (6 - len(row))]
            self.session.execute("insert into pg_temp.this values (%s, %s, %s, %s, %s, %s, %s)", [DAY, *padded])

    def audit(self, checks: str, rows: list[Row], *, grain: str = "[thing_id]", **facts: Any) -> Audit:
        header, lines, _ = split(PATH, header_of(checks, grain))
        self.fill(rows)
        return audit(self.session, THIS, TYPES, expand(header, PATH, lines), AuditFacts(DAY, **facts))

    def results(self, checks: str, rows: list[Row], **facts: Any) -> dict[str, CheckResult]:
        return {result.name: result for result in self.audit(checks, rows, **facts).results}
