"""Names: what may be called what in a pipeline, and the relation every other module speaks of."""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from kpi_assets.model import excerpt

IDENTIFIER = r"[a-z_][a-z0-9_]*"
LOAD_DATE = "load_date"  # the partition column, which every table has and no file declares
LOW_VOLUME = "is_low_volume"  # marks the rows of a KPI that rest on too little: min_volume makes it

LONGEST = 40  # letters of a name: what is made of it, such as schema__table__20250301__7, has 63 at most
AS_PUBLISHED = "as_published"  # the check that a recheck makes, which no file asks for
# Every table of Postgres has these columns already.
SYSTEM_COLUMNS = frozenset({"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})


def name_problem(text: str) -> str:
    """Why a text is no name here, and what to write instead; empty where it is one."""
    if re.fullmatch(IDENTIFIER, text):
        return f"{text!r} is longer than {LONGEST} letters: shorten it" if len(text) > LONGEST else ""
    better = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:LONGEST]
    instead = f", as in {better!r}" if re.fullmatch(IDENTIFIER, better) else ""
    shown = excerpt.cut(repr(text), 2 * LONGEST)
    return f"{shown} is no name here: write lower case letters a to z, digits and _, a letter first{instead}"


def quoted(*names: str) -> str:
    """A name as SQL, with its schema: each part in quotes, since it may be called `user` or `order`."""
    return ".".join(f'"{name}"' for name in names)


def _named(value: str) -> str:
    if problem := name_problem(value):
        raise ValueError(problem)
    return value


Identifier = Annotated[str, AfterValidator(_named)]


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
            raise ValueError(f"{text!r} is not of the form schema.table: write both, in lower case")
        return cls(*text.split("."))
