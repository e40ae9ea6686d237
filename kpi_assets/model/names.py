"""Names: which names a pipeline may use, and how its tables, objects and inputs are written.

The database, the logs and the command line have names as text. They are written and read here only:

| text                      | type      | names                                                      |
|---------------------------|-----------|------------------------------------------------------------|
| `schema.table`            | Relation  | a table                                                    |
| `s3.table`                | Relation  | the object of the raw table `table`; no schema is called s3 |
| `schema.table`            | InputName | a table that a build read, of the build's own load_date    |
| `schema.table@2025-03-01` | InputName | a table that a build read, of another load_date            |

SQL in ledger/ puts the same texts together, with `split_part(asset, '.', 2)` and `asset || '@' || load_date`.
"""

import re
from datetime import date
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


OBJECTS = "s3"  # in the place of a schema, in the name of a raw table's object


class Relation(NamedTuple):
    """A table of a pipeline's database, or the object of a raw table; str() gives `schema.table` or `s3.table`."""

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

    @property
    def is_object(self) -> bool:
        """Whether it names an object, and no table."""
        return self.schema == OBJECTS


def is_asset(text: str) -> bool:
    """Whether a text names a table or an object: the run log has the names of jobs in the same column."""
    return bool(re.fullmatch(rf"{IDENTIFIER}\.{IDENTIFIER}", text))


def is_object(text: str) -> bool:
    """Whether a text names an object."""
    return is_asset(text) and Relation.parse(text).is_object


class InputName(NamedTuple):
    """A publish that a build read, as ops.publishes.inputs names it: of its own load_date (None), or of another."""

    relation: Relation
    load_date: date | None = None

    def __str__(self) -> str:
        return str(self.relation) if self.load_date is None else f"{self.relation}@{self.load_date.isoformat()}"

    @classmethod
    def parse(cls, text: str) -> "InputName":
        """Read `schema.table` or `schema.table@YYYY-MM-DD`. Raises ValueError on anything else."""
        name, at, day = text.partition("@")
        return cls(Relation.parse(name), date.fromisoformat(day) if at else None)
