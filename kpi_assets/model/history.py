"""Histories: the word `history` of a header, the columns of a version, and which versions a SELECT reads.

A table with `storage: history` keeps what stays the same from one load_date to the next as one row, a *version*: the
values of a key, with the first and the last day on which load_dates delivered them. A build is still the rows of one
load_date, and its checks see these; the publish puts them into the versions (warehouse/kinds/history.py).

A SELECT reads the versions of a history as they were known on its own load_date: one that began later is not there, and
one that ended later has not ended. So what is built of a load_date never depends on a later one, and the author need
not limit a history to the load_date.

Belongs here: these words, columns and rules. Not here: how versions are stored, and when a reader of a history is
stale (ledger/marks.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from kpi_assets.model.affects import Affects
from kpi_assets.model.clock import is_chance, is_clock
from kpi_assets.model.column import Column
from kpi_assets.model.column_types import catalog_name
from kpi_assets.model.field_types import Sentence
from kpi_assets.model.names import LOAD_DATE, Identifier, Relation, quoted
from kpi_assets.model.sentences import Loc
from kpi_assets.model.strict_yaml import Strict

EFFECTIVE, END, CURRENT = "effective_date", "end_date", "is_current"
_DATES = (EFFECTIVE, END)
_MORE = (exp.Query, exp.AggFunc, exp.Window, exp.Alias, exp.Star)  # what an expression of two dates does not have


class AddedColumn(Strict):
    """A column that is computed from the dates of a version."""

    type: Annotated[str, AfterValidator(catalog_name), Affects.ROWS] = Field(
        description="The type of Postgres, as of any column.", examples=["type: boolean"]
    )
    description: Annotated[Sentence, Affects.NOTHING] = Field(description="What the column holds.")
    value: Annotated[str, Affects.ROWS] = Field(
        min_length=1,
        description=f"An expression over {EFFECTIVE} and {END}, which is NULL as long as the version holds.",
        examples=["value: end_date is null"],
    )

    @field_validator("value")
    @classmethod
    def _is_of_the_dates(cls, value: str) -> str:
        try:
            tree = parse_one(f"select ({value}\n)", read="postgres")
        except SqlglotError:
            raise ValueError("cannot be parsed as one expression: write one expression of SQL, and no more") from None
        given = tree.selects if isinstance(tree, exp.Select) else []
        is_one = [name for name, part in tree.args.items() if part] == ["expressions"] and len(given) == 1
        if not (is_one and isinstance(given[0], exp.Paren)) or given[0].find(*_MORE):
            raise ValueError(f"is more than one expression over {EFFECTIVE} and {END}: take the rest out")
        other = [column.sql() for column in tree.find_all(exp.Column) if column.name not in _DATES or column.table]
        if other:
            raise ValueError(f"reads {other[0]!r}: it may read {EFFECTIVE} and {END}, of which it is computed")
        if any(node.comments for node in tree.walk()):
            raise ValueError("has a comment, which could hide what comes after it: put it into the description")
        if any(is_clock(node) or is_chance(node) for node in tree.walk()):
            raise ValueError(f"gives another result each time: compute it from {EFFECTIVE} and {END} alone")
        if "%" in value or tree.find(exp.Placeholder):
            raise ValueError("has a percent sign, which is for parameters: an expression of two dates needs none")
        return value


class HistorySpec(Strict):
    """What a history adds to the rows of its load_dates."""

    surrogate_key: Annotated[Identifier, Affects.NOTHING] = Field(
        description="The column of type bigint that the history adds as its primary key. Its value follows from the "
        f"grain and {EFFECTIVE} alone, so that it is the same in whatever order load_dates are published.",
        examples=["surrogate_key: customer_sk"],
    )
    adds: Annotated[dict[Identifier, AddedColumn], Affects.ROWS] = Field(
        default={},
        description="More columns that the history adds, each computed from the dates of a version.",
        examples=["adds: {is_active: {type: boolean, value: end_date is null, description: Whether it is delivered.}}"],
    )
    max_changed: Annotated[float, Affects.CHECKS] = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Which share of the keys of the load_date before may be changed or absent, from 0 to 1, before "
        "the load_date is held. 1 lets every change through.",
        examples=["max_changed: 0.2"],
    )


def version_columns(spec: HistorySpec, grain: Sequence[str]) -> dict[str, Column]:
    """Return the columns that a history adds, in order: name -> column; the first is added before the others."""
    key = ", ".join([*grain, EFFECTIVE])
    last = f"Last day on which it held; NULL: it holds in the latest load_date. Another value or none came after {END}."
    return {
        spec.surrogate_key: Column(type="bigint", description=f"Number of the version, made of {key}."),
        EFFECTIVE: Column(type="date", description="First load_date that delivered the row so."),
        END: Column(type="date", description=last),
        CURRENT: Column(type="boolean", description=f"Whether the version holds in the latest load_date: no {END}."),
        **{name: Column(type=each.type, description=each.description) for name, each in spec.adds.items()},
    }


def history_problems(
    spec: HistorySpec | None, *, is_history: bool, columns: Mapping[str, Column]
) -> Iterator[tuple[Loc, str]]:
    """Yield what the word says that a header cannot have, each with its place in the header."""
    if is_history and spec is None:
        yield ("storage",), "a history needs a name for its key: add `history: {surrogate_key: NAME}`"
    if spec is None:
        return
    if not is_history:
        yield ("history",), "is for `storage: history`: write that, or take it out"
    made = [spec.surrogate_key, *_DATES, CURRENT, *spec.adds]
    for name in made:
        if name in columns:
            named_here = name == spec.surrogate_key or name in spec.adds
            also = ", or give that of `history` another name" if named_here else ""
            yield ("columns", name), f"the history makes this column: take it out{also}"
        if made.count(name) > 1 or name == LOAD_DATE:
            place = ("history", "adds", name) if name in spec.adds else ("history", "surrogate_key")
            yield place, f"{name!r} is a column of every history already: give it another name"


@dataclass(frozen=True)
class HistoryRead:
    """How a history is read in the place of its table.

    `versions` is the subquery of those that were known on the load_date, for a SELECT, and `rows` that of the rows of
    the load_date, for a check that accounts for them. `version_part` is the part of a code_version.
    """

    versions: str
    rows: str
    version_part: str

    @classmethod
    def of(
        cls,
        relation: Relation,
        spec: HistorySpec,
        grain: Sequence[str],
        columns: Mapping[str, Column],
        source: str | None = None,
    ) -> "HistoryRead":
        """Return how a history with these columns of its rows, without those that it adds, is read.

        `source` is a subquery that is read in the place of the table. The values of the surrogate key follow from the
        grain, so it belongs to the version too.
        """
        versions = _known_versions(source or quoted(*relation), spec, columns)
        rows = f"(select * from {versions} as known where {CURRENT})"  # noqa: S608
        key = f"{spec.surrogate_key} of {', '.join(grain)}"
        added = [f"{name} {each.type} {each.value}" for name, each in spec.adds.items()]
        return cls(versions, rows, " ".join([f"{relation}: history {key}", *added]))


def _known_versions(source: str, spec: HistorySpec, columns: Mapping[str, Column]) -> str:
    """Return the subquery of the versions that were known on the load_date, which is a column of it too."""
    day = f"%({LOAD_DATE})s::date"
    own = [f"{quoted(name)}::{column.type} as {quoted(name)}" for name, column in columns.items()]
    known = (
        f"select {day} as {LOAD_DATE}, {quoted(spec.surrogate_key)}, {', '.join(own)}, {EFFECTIVE}, "  # noqa: S608
        f"case when {END} < {day} then {END} end as {END}, coalesce({END} >= {day}, true) as {CURRENT} "
        f"from {source} as stored where {EFFECTIVE} <= {day}"
    )
    if not spec.adds:
        return f"({known})"
    added = ", ".join(f"({each.value}\n)::{each.type} as {quoted(name)}" for name, each in spec.adds.items())
    return f"(select known.*, {added} from ({known}) as known)"  # noqa: S608
