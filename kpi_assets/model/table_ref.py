"""Table references: where the text of a SELECT names a table, and replacing it there by a subquery.

Belongs here: positions in the text. Not here: which tables are replaced (pushdown.py, query.py), and by what.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import Scope

from kpi_assets.model.names import Relation, quoted

THIS = "{this}"  # in a check's query: the build that is being audited
_SEEN_OTHERWISE = re.compile(r"%%|" + re.escape(THIS))


@dataclass(frozen=True, order=True)
class TableRef:
    """A table at the characters `start` to `end` of the text that the parser saw."""

    start: int
    end: int
    relation: Relation
    has_alias: bool

    @classmethod
    def of(cls, table: exp.Table) -> "TableRef":
        """The reference of a table that is written with its schema."""
        start, end = table.args["db"].meta["start"], table.this.meta["end"] + 1
        return cls(start, end, Relation(table.db, table.name), bool(table.alias))


def tables_in(scope: Scope) -> Iterator[exp.Table]:
    """The tables that a scope itself names, `{this}` among them; no CTE, and no function in FROM."""
    for table in scope.tables:
        is_cte = not table.db and table.name in scope.cte_sources
        if not is_cte and not isinstance(table.this, exp.Func):
            yield table


def as_parsed(sql: str) -> str:
    """The text for the parser: without the doubled percent signs, and with `{this}` as a quoted name."""
    return sql.strip().replace("%%", "%").replace(THIS, f'"{THIS}"')


def replaced(sql: str, subqueries: Iterable[tuple[TableRef, str]]) -> str:
    """`sql`, stripped, with a subquery in the place of each table, under the same name."""
    text = sql.strip()
    for mention, subquery in sorted(subqueries, reverse=True):
        alias = "" if mention.has_alias else f" as {quoted(mention.relation.table)}"
        text = text[: _place(text, mention.start)] + subquery + alias + text[_place(text, mention.end) :]
    return text


def _place(sql: str, seen: int) -> int:
    """The position in `sql` of the character that the parser saw at `seen`."""
    at = seen
    for match in _SEEN_OTHERWISE.finditer(sql):
        if match.start() >= at:
            break
        at += len(match[0]) - len(as_parsed(match[0]))
    return at
