"""Names: what may be called what in a pipeline, and the relation every other module speaks of."""

import re
from typing import Annotated, NamedTuple

from pydantic import StringConstraints

IDENTIFIER = r"[a-z_][a-z0-9_]*"
LOAD_DATE = "load_date"  # the partition column, which every table has and no file declares
LOW_VOLUME = "is_low_volume"  # marks the rows of a KPI that rest on too little: min_volume makes it

Identifier = Annotated[str, StringConstraints(pattern=f"^{IDENTIFIER}$", max_length=40)]


class Relation(NamedTuple):
    """A table of a pipeline's database; str() gives `schema.table`."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"

    @classmethod
    def parse(cls, text: str) -> "Relation":
        """Read `schema.table`. Raises ValueError on anything else."""
        if not re.fullmatch(rf"{IDENTIFIER}\.{IDENTIFIER}", text):
            raise ValueError(f"{text!r} is not of the form schema.table")
        return cls(*text.split("."))
