"""The words of the lake: what pipeline.yaml says of the engine, and what a header with `storage: lake` cannot say.

Belongs here: the word `lake`, the words of one header, and how a snapshot is named. Not here: which tables are computed
on the engine, and what they may read (lake_tables.py); what SQL an engine refuses (portable/); sessions (lake/).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from kpi_assets.model.names import IDENTIFIER, Identifier
from kpi_assets.model.portable.refusals import OF_LAKE
from kpi_assets.model.sentences import Loc
from kpi_assets.model.strict_yaml import Strict

if TYPE_CHECKING:
    from kpi_assets.model.header import Header

_PLACE = re.compile(rf"({IDENTIFIER}(?:\.{IDENTIFIER})+)@([0-9]{{1,19}})")
# Words of a header that need what only Postgres has.
_NOT_ON_THE_LAKE = ("kpi", "indexes", "readers", "subject", "rollback")


class Lake(Strict):
    """The engine that computes the tables of the lake, and the catalog that it has them in."""

    engine: Literal["spark"] = Field(
        description="`spark`: Apache Spark 4 in ANSI mode, by Spark Connect at `KPI_SPARK_URL`.",
        examples=["engine: spark"],
    )
    catalog: Identifier = Field(
        description="The catalog of Apache Iceberg tables by the name that the cluster has for it.",
        examples=["catalog: kpi"],
    )


class Snapshot(NamedTuple):
    """The rows of a table of the lake as they were written once: what `place` in the ledger names."""

    table: str  # as the engine calls it: catalog.namespace.table
    number: int

    def __str__(self) -> str:
        """The text in the ledger."""
        return f"{self.table}@{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read the text in the ledger.

        >>> Snapshot.parse("kpi.shop_raw.orders@42")
        Snapshot(table='kpi.shop_raw.orders', number=42)
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no snapshot of a table: it is written as catalog.schema.table@number")
        return cls(found[1], int(found[2]))


def lake_problems(header: "Header") -> Iterator[tuple[Loc, str]]:
    """Yield the words that a header with `storage: lake` cannot have, each with its place."""
    if header.storage_kind.in_lake:
        for word in (word for word in _NOT_ON_THE_LAKE if getattr(header, word)):
            yield (word,), f"a table on the lake cannot have it, because {OF_LAKE[word].sentence}"
