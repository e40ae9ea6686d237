"""Names: which names a pipeline may use, and how its tables, objects and inputs are written.

The database, the logs and the command line hold names as text. Only this module writes and parses them:

| text                      | type      | names                                                      |
|---------------------------|-----------|------------------------------------------------------------|
| `schema.table`            | Relation  | a table                                                    |
| `s3.table`                | Relation  | the object of the raw table `table`; no schema is called s3 |
| `decisions.schema__table` | Relation  | the decisions on rows of a table; no schema is called that |
| `schema.table`            | InputName | a table that a build read, of the build's own load_date    |
| `schema.table@2025-03-01` | InputName | a table that a build read, of another load_date            |
| `schema.table@..2025-03-01` | InputName | a history that a build read, up to its own load_date     |

SQL in ledger/ handles the same texts with `split_part(asset, '.', 2)` and `asset || '@' || load_date`.
"""

import re
from datetime import date
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from kpi_assets.model import excerpt

IDENTIFIER = r"[a-z_][a-z0-9_]*"
LOAD_DATE = "load_date"  # the partition column, which every table has and no file declares
PREVIOUS = "previous_load_date"  # the parameter of a table that carries on (model/carry_on.py)
LOW_VOLUME = "is_low_volume"  # the column that min_volume adds: it marks the rows of a KPI with too little volume
EXTRA_FIELDS = "extra_fields"  # the column that `extra: keep` adds: the fields of a file that are no column
BATCH = "batch"  # a parameter, and a column of every table that grows (model/growing.py)
# The columns that a raw table of a stream has without declaring them (model/growing.py).
STREAM_PARTITION, STREAM_POSITION = "stream_partition", "stream_position"
RECEIVED_AT, UNEXPECTED = "received_at", "unexpected"

LONGEST = 40  # letters of a name, so that names made of it, such as schema__table__20250301__7, have at most 63
AS_PUBLISHED = "as_published"  # the check that only a recheck makes, and no file declares
# Every table of Postgres has these columns already.
SYSTEM_COLUMNS = frozenset({"tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"})


def name_problem(text: str) -> str:
    """Return why a text is not a valid name, and what to write instead; empty if it is valid."""
    if re.fullmatch(IDENTIFIER, text):
        return f"{text!r} is longer than {LONGEST} letters: shorten it" if len(text) > LONGEST else ""
    better = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:LONGEST]
    instead = f", as in {better!r}" if re.fullmatch(IDENTIFIER, better) else ""
    shown = excerpt.cut(repr(text), 2 * LONGEST)
    return f"{shown} is not a valid name: write lower case letters a to z, digits and _, a letter first{instead}"


def quoted(*names: str) -> str:
    """Return a name as SQL, with its schema: each part in quotes, since it may be a keyword such as `user`."""
    return ".".join(f'"{name}"' for name in names)


def _named(value: str) -> str:
    if problem := name_problem(value):
        raise ValueError(problem)
    return value


Identifier = Annotated[str, AfterValidator(_named)]


OBJECTS = "s3"  # takes the place of the schema in the name of a raw table's object
DECISIONS = "decisions"  # takes the place of the schema in the name of the decisions on rows of a table


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
        """Whether this is the name of an object, not of a table."""
        return self.schema == OBJECTS

    @property
    def decisions(self) -> "Relation":
        """The name under which the ledger has the decisions on rows of this table."""
        return Relation(DECISIONS, f"{self.schema}__{self.table}")


def is_asset(text: str) -> bool:
    """Whether a text is the name of a table or object: the run log has names of jobs in the same column."""
    return bool(re.fullmatch(rf"{IDENTIFIER}\.{IDENTIFIER}", text))


def is_object(text: str) -> bool:
    """Whether a text is the name of an object."""
    return is_asset(text) and Relation.parse(text).is_object


_UP_TO = ".."


class InputName(NamedTuple):
    """An input of a build, as in ops.publishes.inputs: a table of the build's own load_date (None) or of another.

    With `is_up_to`, a history with all its load_dates up to this one. Its publish_id there is the *mark*: the last
    publish of one of them that the build may have read.
    """

    relation: Relation
    load_date: date | None = None
    is_up_to: bool = False

    def __str__(self) -> str:
        if self.load_date is None:
            return str(self.relation)
        return f"{self.relation}@{_UP_TO * self.is_up_to}{self.load_date.isoformat()}"

    @classmethod
    def parse(cls, text: str) -> "InputName":
        """Read a table, or one `@YYYY-MM-DD` or `@..YYYY-MM-DD`. Raises ValueError on anything else."""
        name, at, day = text.partition("@")
        load_date = date.fromisoformat(day.removeprefix(_UP_TO)) if at else None
        return cls(Relation.parse(name), load_date, day.startswith(_UP_TO))
