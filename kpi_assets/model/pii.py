"""Personal columns: which columns of a table hold values about a person, and what is shown in place of such a value.

The word `pii` of a column says so. The tag follows what a SELECT computes: a column that is made of a personal column
is personal too, unless its own word says `pii: none`. What counts or sums is not: count, sum, avg, the deviations, and
what numbers rows. min and max are, because their value is that of one person. Where it is not known what a column is
made of, it is personal as soon as its SELECT reads a table that has a personal column.

A value is masked wherever people are shown what was built: previews, samples, messages, the output of commands. NULL
stays NULL, because it is no value of a person.

Belongs here: the word, how the tag is passed on, and masking. Not here: which tables a table reads (neighbors.py), and
the places that show values.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage

from kpi_assets.model.column import Column
from kpi_assets.model.column_reads import names_read
from kpi_assets.model.names import EXTRA_FIELDS, LOAD_DATE, UNEXPECTED, Relation
from kpi_assets.model.query import Query, without_laterals
from kpi_assets.model.table_ref import THIS

Kind = Literal["email", "name", "phone", "address", "id", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MASKED = "(masked)"
_MIXED: Kind = "text"  # the kind of a column that is made of columns of several kinds, or of unknown ones
# Values that hold whole records, or fields that nobody has declared.
_UNDECLARED = (EXTRA_FIELDS, UNEXPECTED)
_OF_MANY_ROWS = (
    *(exp.Count, exp.CountIf, exp.ApproxDistinct, exp.Sum, exp.Avg, exp.LogicalAnd, exp.LogicalOr, exp.Corr),
    *(exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop, exp.CovarPop, exp.CovarSamp),
)
# Over a window, a sum may be one of one row, and its value that of a person; what counts or numbers rows never is.
_NUMBERING = (exp.Count, exp.CountIf, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Ntile, exp.PercentRank, exp.CumeDist)
_HERE = "this build"  # the schema of `{this}`: no schema has a name with a blank
_Step = tuple[Relation, str] | None  # a column of a table; None for one that is not known
_BY_QUOTES = re.compile(r"[\"'].*[\"']", re.DOTALL)


@dataclass(frozen=True)
class Read:
    """A table that is read: its columns, and those of them that are personal."""

    columns: Sequence[str]
    personal: Mapping[str, Kind] = field(default_factory=dict)


@dataclass(frozen=True)
class Pii:
    """The personal columns of a table, with their kinds, and those of the tables that it reads.

    `columns` are all columns of the table, and `read` is empty unless one of the tables that it reads has a personal
    column.
    """

    personal: Mapping[str, Kind] = field(default_factory=dict)
    columns: Sequence[str] = ()
    read: Mapping[Relation, Read] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether a build of the table handles personal values: its own, or those of what it reads."""
        return bool(self.personal or self.read)

    def hides(self, column: str) -> bool:
        """Whether the values of a column are masked: a personal one, and one that the file does not declare any more.

        Of such a column nobody knows whether it was personal.
        """
        return column in self.personal or (bool(self.personal) and column not in (LOAD_DATE, *self.columns))

    @property
    def names(self) -> frozenset[str]:
        """The names of the personal columns of the table, and of those that it reads."""
        return frozenset({*self.personal, *(name for each in self.read.values() for name in each.personal)})

    def shown(self, value: str | None) -> str | None:
        """Return what is shown of a value of a record that cannot be read.

        It is masked whatever its column is, since a record that has a field too many has its values in other columns.
        """
        return masked(value) if self.personal else value

    def shown_reason(self, reason: str) -> str:
        """Return what is shown of the reason why a record or a row is set aside, which may quote a value."""
        return without_quotes(reason) if self.personal else reason

    def masked_rows(self, query: Query, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return rows that a query of the table's checks gave, with their personal values masked.

        A row is masked as a whole if a personal column of it has no name by which it could be found.
        """
        if not self or not rows:
            return [dict(row) for row in rows]
        tables = {**self.read, Relation(_HERE, THIS): Read(self.columns, self.personal)}
        names = passed_on(query, tables).keys()
        return [masked_row(row, names if names <= row.keys() else row.keys()) for row in rows]


def declared(columns: Mapping[str, Column], whole: str | None) -> dict[str, Kind]:
    """Return the personal columns that a header declares.

    Those that hold whole records (`whole`), or fields that nobody has declared, are personal beside any of them.
    """
    found: dict[str, Kind] = {
        name: each.pii for name, each in columns.items() if each.pii is not None and each.pii != "none"
    }
    holders = (*_UNDECLARED, whole) if found else ()
    return {**{name: _MIXED for name in holders if name is not None and name in columns}, **found}


def inherited(
    query: Query, columns: Mapping[str, Column], own: Mapping[str, Kind], tables: Mapping[Relation, Read]
) -> dict[str, Kind]:
    """Return the personal columns of a table with a SELECT: the declared ones, `own`, and those that it passes on.

    `tables` are those that it reads. A table that carries on passes on its own columns as well.
    """
    found = dict(own)
    silent = {name for name, column in columns.items() if column.pii is None}
    for _ in columns:  # each pass may find one more that a table passes on to itself
        itself = {query.itself: Read([*columns], found)} if query.itself else {}
        passed = passed_on(query, {**tables, **itself})
        new = {name: kind for name, kind in passed.items() if name in silent and name not in found}
        found |= new
        if not new or not itself:
            break
    return found


def passed_on(query: Query, tables: Mapping[Relation, Read]) -> dict[str, Kind]:
    """Return the returned columns that are made of personal columns of these tables, with their kinds."""
    personal = {relation: each for relation, each in tables.items() if each.personal}
    if not personal or not _may_read(query.tree, personal):
        return {}
    found: dict[str, Kind] = {}
    for column, steps in _made_of(query, tables).items():
        kinds = {kind for step in steps if (kind := _kind_of(step, tables))}
        if kinds:
            found[column] = kinds.pop() if len(kinds) == 1 else _MIXED
    return found


def _made_of(query: Query, tables: Mapping[Relation, Read]) -> Mapping[str, Collection[_Step]]:
    """Return what each returned column is made of, whichever columns are personal: it is found once for a query."""
    columns = frozenset((relation, *each.columns) for relation, each in tables.items())
    if columns not in query.traced:
        query.traced[columns] = _trace(query, tables)
    return query.traced[columns]


def _trace(query: Query, tables: Mapping[Relation, Read]) -> dict[str, frozenset[_Step]]:
    known: dict[str, dict[str, dict[str, str]]] = {}
    for relation, each in tables.items():
        known.setdefault(relation.schema, {})[relation.table] = dict.fromkeys([LOAD_DATE, *each.columns], "unknown")
    try:  # each step would have a copy of its SELECT with one column only
        plain = _without_counts(query.tree)
        roots = lineage(None, plain, schema=known, dialect="postgres", trim_selects=False, copy=False)
    except (SqlglotError, ValueError, KeyError):
        return dict.fromkeys(query.columns, frozenset([None]))
    return {column: frozenset(step for node in root.walk() for step in _steps(node)) for column, root in roots.items()}


def _steps(node: Node) -> Collection[_Step]:
    """Return the column of a table that a step of a lineage names, None if it is not known, or nothing."""
    expression = node.expression
    if isinstance(expression, exp.Table):
        return [(Relation(expression.db, expression.name), exp.to_column(node.name).name)]
    if isinstance(expression, exp.Placeholder) or expression.find(exp.TableColumn, exp.Star):
        return [None]  # a column that is not known, or a whole row
    return [None] if not node.downstream and expression.find(exp.Column) else ()


def _kind_of(step: _Step, tables: Mapping[Relation, Read]) -> Kind | None:
    """Return the kind of a personal column; the mixed one if it is not known what the column is."""
    if step is None:
        return _MIXED
    relation, name = step
    if relation not in tables:
        return None if relation.schema else _MIXED  # a table without personal columns, or a function in FROM
    read = tables[relation]
    if name in (LOAD_DATE, *read.columns):
        return read.personal.get(name)
    return _MIXED if read.personal else None  # the whole row, or a star


def _may_read(tree: exp.Query, personal: Mapping[Relation, Read]) -> bool:
    """Return whether a SELECT names a personal column of these tables, a whole row of one, or all columns."""
    names = {name for each in personal.values() for name in each.personal}
    rows = {each.alias_or_name.lower() for each in tree.find_all(exp.Table)}
    rows |= {alias.name.lower() for alias in tree.find_all(exp.TableAlias)}
    if any(name.lower() in names or name.lower() in rows for name in names_read(tree)):
        return True
    is_natural = any(join.args.get("method") for join in tree.find_all(exp.Join))
    return is_natural or any(not isinstance(star.parent, exp.Count) for star in tree.find_all(exp.Star))


def _without_counts(tree: exp.Query) -> exp.Query:
    """Return a SELECT with NULL in the place of each aggregate whose value is that of no person, and with `{this}`.

    The lineage of a column then ends there.
    """
    plain = without_laterals(tree)
    for table in plain.find_all(exp.Table):
        if table.name == THIS and not table.db:
            table.set("db", exp.to_identifier(_HERE, quoted=True))
    made = plain.transform(_without_count, copy=False)
    assert isinstance(made, exp.Query), "an aggregate stands within a SELECT"
    return made


def _without_count(node: exp.Expr) -> exp.Expr:
    inner = node.this if isinstance(node, exp.Filter) else node
    if isinstance(inner, exp.Window):
        numbers = inner.this.this if isinstance(inner.this, exp.Filter) else inner.this
        return exp.null() if isinstance(numbers, _NUMBERING) else node
    is_of_window = isinstance(node.parent, exp.Window) or (
        isinstance(node.parent, exp.Filter) and isinstance(node.parent.parent, exp.Window)
    )
    return exp.null() if isinstance(inner, _OF_MANY_ROWS) and not is_of_window else node


def masked_row(row: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a row of JSON values with the values of these columns masked.

    So are they in an object within the row, which names columns that differ.

    >>> masked_row({"id": 1, "email": "a@b.c", "differs": {"email": {"here": "a@b.c", "there": None}}}, ["email"])
    {'id': 1, 'email': '(masked)', 'differs': {'email': '(masked)'}}
    """
    return {
        name: masked(value)
        if name in names
        else {key: masked(each) if key in names else each for key, each in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in row.items()
    }


def masked(value: Any) -> Any:
    """Return what is shown in the place of a personal value: NULL stays."""
    return None if value is None else MASKED


def masked_json(text: str, pii: Pii) -> str:
    """Return a row that is written as a JSON object with its personal values masked; whole, if it cannot be read."""
    try:
        row = json.loads(text)
    except ValueError:
        return MASKED
    if not isinstance(row, dict):
        return MASKED
    return json.dumps(masked_row(row, [name for name in row if pii.hides(name)]), ensure_ascii=False)


def without_quotes(text: str) -> str:
    """Return a sentence without what it quotes, which may be a value: from its first quote to the last.

    >>> without_quotes('invalid input syntax for type integer: "a"b"')
    'invalid input syntax for type integer: (masked)'
    """
    return _BY_QUOTES.sub(MASKED, text)
