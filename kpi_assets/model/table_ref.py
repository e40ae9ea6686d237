"""Table references: the places where the text of a SELECT names a table, and replacing a table by a subquery there.

Belongs here: positions in the text. Not here: which tables are replaced, and by which subquery (pushdown.py, query.py).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from kpi_assets.model.names import Relation, quoted

THIS = "{this}"  # in a check's query: the audited build
_PARSED_DIFFERENTLY = re.compile(r"%%|" + re.escape(THIS))


@dataclass(frozen=True, order=True)
class TableRef:
    """A table at the characters `start` to `end` of the text that was parsed."""

    start: int
    end: int
    relation: Relation
    has_alias: bool

    @classmethod
    def of(cls, table: exp.Table) -> "TableRef":
        """Return the reference of a table that is named with its schema."""
        start, end = table.args["db"].meta["start"], table.this.meta["end"] + 1
        return cls(start, end, Relation(table.db, table.name), bool(table.alias))


def tables_in(scope: Scope) -> Iterator[exp.Table]:
    """Yield the tables that a scope itself names, including `{this}`, but no CTE and no function in FROM."""
    for table in scope.tables:
        is_cte = not table.db and table.name in scope.cte_sources
        if not is_cte and not isinstance(table.this, exp.Func):
            yield table


def as_parsed(sql: str) -> str:
    """Return the text for the parser: percent signs are not doubled, and `{this}` is a quoted name."""
    return sql.strip().replace("%%", "%").replace(THIS, f'"{THIS}"')


def replaced(sql: str, subqueries: Iterable[tuple[TableRef, str]]) -> str:
    """Return `sql`, stripped, with a subquery in the place of each table, under the same name."""
    text = sql.strip()
    for table, subquery in sorted(subqueries, reverse=True):
        alias = "" if table.has_alias else f" as {quoted(table.relation.table)}"
        text = text[: _position(text, table.start)] + subquery + alias + text[_position(text, table.end) :]
    return text


def _position(sql: str, parsed: int) -> int:
    """Return the position in `sql` of the character that is at `parsed` in the text for the parser."""
    at = parsed
    for match in _PARSED_DIFFERENTLY.finditer(sql):
        if match.start() >= at:
            break
        at += len(match[0]) - len(as_parsed(match[0]))
    return at
