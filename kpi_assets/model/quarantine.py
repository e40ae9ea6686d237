"""The word `quarantine` of a header: what is set aside, and how much may be before the load_date is held.

Not here: the words of rules (rules.py), the checks that judge the budget (checks/source_object.py for records,
checks/set_aside.py for rows), and setting them aside (warehouse/quarantine.py, warehouse/set_aside.py).
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.kinds import StorageKind
from kpi_assets.model.rules import Rules
from kpi_assets.model.sentences import Loc
from kpi_assets.model.strict_yaml import Strict


class QuarantineSpec(Strict):
    """How much of a table may be set aside, and by which rules. If both limits are given, both hold."""

    rows: Annotated[int | None, Affects.CHECKS] = Field(
        default=None, ge=0, description="How many may be set aside.", examples=["rows: 20"]
    )
    share: Annotated[float | None, Affects.CHECKS] = Field(
        default=None,
        ge=0,
        le=1,
        description="Which share of all may be set aside, from 0 to 1.",
        examples=["share: 0.01"],
    )
    rules: Annotated[Rules | None, Affects.ROWS] = Field(
        default=None,
        description="For a table with a SELECT: rows that break one of these rules are set aside. They are words of "
        "`checks`, which say there what must be true of the rows that remain.",
        examples=["rules: {not_null: [product_id], range: {quantity: [1, null]}}"],
    )

    @model_validator(mode="after")
    def _says_something(self) -> "QuarantineSpec":
        if not self.model_fields_set:
            raise ValueError("says nothing: write {rows: 20}, {share: 0.01} or both, or take it out")
        return self

    def most(self, total: int) -> int:
        """Return how many of `total` may be set aside; a share is rounded down."""
        limits = [] if self.rows is None else [self.rows]
        if self.share is not None:
            limits.append(int(Decimal(repr(self.share)) * total))
        return min(limits, default=0)

    @property
    def text(self) -> str:
        """The limits as a part of a sentence, such as `20 or 1 %`."""
        share = "" if self.share is None else f"{(Decimal(repr(self.share)) * 100).normalize():f} %"
        return " or ".join(limit for limit in ("" if self.rows is None else str(self.rows), share) if limit) or "0"


def quarantine_problems(spec: QuarantineSpec | None, kind: StorageKind, *, is_raw: bool) -> Iterator[tuple[Loc, str]]:
    """Yield what the word says that a table of this kind cannot have, each with its place in the header."""
    if spec is None:
        return
    if is_raw and spec.rules:
        where = "put rules into a table that selects from it"
        yield ("quarantine", "rules"), f"a raw table sets aside the records that cannot be read: {where}"
    elif not kind.stores_rows:
        yield ("quarantine",), f"a {kind.name} shows the rows that its table has: put it there"
    elif not is_raw and not spec.rules:
        yield ("quarantine",), "no rule sets a row aside here: add rules, or take it out"
