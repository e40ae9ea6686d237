"""Checks with a name of the user's choice: a query for bad rows, or a further reconciliation.

Not here: which names are allowed (declared.py).
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.checks.bad_rows import BadRows
from kpi_assets.model.checks.base import TableCheck
from kpi_assets.model.checks.options import (
    FOR_MEANING,
    SEVERITY_MEANING,
    WAIVABLE_MEANING,
    Severity,
    alert_of,
    check_for,
)
from kpi_assets.model.checks.reconcile import ReconcileSpec, reconcile_check
from kpi_assets.model.checks.word import TableDeclaration
from kpi_assets.model.field_types import Expression, Sentence
from kpi_assets.model.quality import Dimension
from kpi_assets.model.query import parse_query
from kpi_assets.model.strict_yaml import Strict
from kpi_assets.model.wait import For


class CustomCheck(Strict):
    """A query that returns bad rows and reads the audited build as `{this}`, or a further reconciliation."""

    bad_rows: Annotated[Expression | None, Affects.CHECKS] = Field(
        default=None,
        description="A query that returns the bad rows. It reads the candidate as `{this}`.",
        examples=["bad_rows: select * from {this} where ends_at < starts_at"],
    )
    reconcile: Annotated[ReconcileSpec | None, Affects.CHECKS] = Field(
        default=None,
        description="One more reconciliation, with another source.",
        examples=["reconcile: {source: stg.lines, counted: sum(lines)}"],
    )
    severity: Annotated[Severity, Affects.CHECKS] = Field(
        default="error", description=SEVERITY_MEANING, examples=["severity: alert"]
    )
    for_: Annotated[For | None, Affects.NOTHING] = Field(
        default=None, alias="for", description=FOR_MEANING, examples=["for: 10 minutes"]
    )
    dimension: Annotated[Dimension | None, Affects.CHECKS] = Field(
        default=None,
        description="The dimension of the quality score to which the check belongs. Without this word it is "
        "`validity`, and `consistency` for a reconciliation; with `severity: alert` the check belongs to none.",
    )
    waivable: Annotated[bool, Affects.NOTHING] = Field(
        default=True, description=WAIVABLE_MEANING, examples=["waivable: false"]
    )
    description: Annotated[Sentence | None, Affects.CHECKS] = Field(
        default=None, description="What the check demands. People read it in the UI and in alerts."
    )

    @model_validator(mode="after")
    def _has_one_of_two_words(self) -> "CustomCheck":
        if (self.bad_rows is None) == (self.reconcile is None):
            raise ValueError("a check has either bad_rows or reconcile: give one of them")
        check_for(self.severity, self.for_)
        return self


def custom_check(name: str, spec: CustomCheck, table: TableDeclaration) -> TableCheck:
    """Return the check with this name. Raises ModelError."""
    place = ("checks", "custom", name)
    if spec.reconcile:
        found: TableCheck = reconcile_check(spec.reconcile, table, (*place, "reconcile"))
    else:
        assert spec.bad_rows
        line = table.lines.of_text(*place, "bad_rows")
        query = parse_query(
            spec.bad_rows,
            table.path,
            line,
            lookback=table.has_lookback,
            histories=table.histories,
            grows=table.grows,
        )
        found = BadRows(name, "", query=query)
    usual: Dimension | None = "consistency" if spec.reconcile else "validity"
    usual = None if spec.severity == "alert" else usual  # a threshold of business is no fault of the data
    return replace(
        found,
        name=name,
        description=spec.description or found.description or name.replace("_", " ").capitalize() + ".",
        blocking=spec.severity == "error",
        dimension=spec.dimension or usual,
        alert=alert_of(spec.severity, spec.for_),
        waivable=spec.waivable,
        line=table.lines.of(*place),
    )
