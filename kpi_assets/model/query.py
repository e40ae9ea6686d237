"""A SELECT and what can be known of it without a server: what it reads, what it returns, its hash, its lineage.

Belongs here: everything that is asked of SQL's syntax tree. Not here: executing it.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqlglot import exp, parse
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.scope import Scope, traverse_scope

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.strict_yaml import ModelError

THIS = "{this}"  # in a check's query: the build that is being audited
PARAMETERS = {LOAD_DATE}
_ROW_CHECK = re.compile(r"\s*select\s+\*\s+from\s+\{this\}\s+where\s+(.*)", re.DOTALL | re.IGNORECASE)
_OTHER_CLAUSES = ("joins", "laterals", "group", "having", "order", "limit", "offset", "distinct", "windows", "with_")
_PERCENT = re.compile(r"%(?:%|\((\w+)\)s|(.|\Z))", re.DOTALL)
_PARAMETER = "the load_date parameter"  # a node of the equality graph in _ties


@dataclass(frozen=True)
class Query:
    """One SELECT: `sql` as it stands in the file, with %(load_date)s, and `tree`, its syntax."""

    sql: str
    tree: exp.Query

    @cached_property
    def reads(self) -> tuple[Relation, ...]:
        """The tables it reads, sorted; names of CTEs are not tables."""
        tables = (table for scope in traverse_scope(self.tree) for table in _tables(scope))
        return tuple(sorted({Relation(table.db, table.name) for table in tables if table.name != THIS}))

    @property
    def columns(self) -> list[str]:
        """The names of the columns it returns, in order."""
        return list(self.tree.named_selects)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of what it computes: equal across comments, white space and letter case of keywords."""
        return digest(self.tree.sql(dialect="postgres", comments=False, normalize=True))

    def lineage(self, schemas: Mapping[Relation, list[str]]) -> dict[str, list[tuple[Relation, str]]]:
        """For each returned column, the columns of tables that it is computed from, sorted."""
        known: dict[str, dict[str, dict[str, str]]] = {}
        for relation, columns in schemas.items():
            known.setdefault(relation.schema, {})[relation.table] = dict.fromkeys([LOAD_DATE, *columns], "unknown")
        result = {}
        for column in self.columns:
            leaves = {
                (Relation(node.expression.db, node.expression.name), exp.to_column(node.name).name)
                for node in lineage(column, self.tree, schema=known, dialect="postgres").walk()
                if isinstance(node.expression, exp.Table)
            }
            result[column] = sorted(leaf for leaf in leaves if leaf[0] in schemas)
        return result

    @cached_property
    def row_predicate(self) -> str | None:
        """For a check of the form `select * from {this} where p`: p as written, which can share a scan; else None."""
        match = _ROW_CHECK.fullmatch(self.sql)
        plain = (
            match is not None
            and isinstance(self.tree, exp.Select)
            and not any(self.tree.args.get(clause) for clause in _OTHER_CLAUSES)
            and not self.tree.find(exp.Subquery, exp.Exists, exp.Placeholder, exp.AggFunc)
        )
        return match.group(1) if match and plain else None


def digest(*parts: str) -> str:
    """16 hex digits that differ when any part differs."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]


def parse_query(sql: str, path: Path, line: int = 1) -> Query:
    """Parse one SELECT and prove that it may be run for one load_date.

    `line` is the file's line on which `sql` begins. Raises ModelError for a syntax error, for several statements or
    another kind, a table without its schema, an unknown parameter, and a table that is not tied to the load_date.
    """
    _check_parameters(sql, path, line)
    try:
        trees = parse(sql.replace("%%", "%").replace(THIS, f'"{THIS}"'), read="postgres")
    except SqlglotError as error:
        detail = (getattr(error, "errors", None) or [{}])[0]
        at = line + int(detail.get("line") or 1) - 1
        raise ModelError(path, at, f"this SQL cannot be parsed ({detail.get('description') or error})") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise ModelError(path, line, "the SQL must be exactly one SELECT, without a semicolon after it")
    tree = trees[0]
    for scope in traverse_scope(tree):
        for table in _tables(scope):
            if table.catalog or not (table.db or table.name == THIS):
                raise ModelError(path, line, f"the table {table.sql()!r} must be written as schema.table")
        for name in _untied(scope):
            raise ModelError(
                path,
                line,
                f"{name} is read for all load_dates at once: tie it by `{LOAD_DATE} = %({LOAD_DATE})s`"
                f" or by a join using ({LOAD_DATE}, ...)",
            )
    return Query(sql, tree)


def _check_parameters(sql: str, path: Path, line: int) -> None:
    for match in _PERCENT.finditer(sql):
        at = line + sql.count("\n", 0, match.start())
        if match.group(1) is not None and match.group(1) not in PARAMETERS:
            raise ModelError(path, at, f"unknown parameter {match.group(0)}: known is %({LOAD_DATE})s")
        if match.group(2) is not None:
            raise ModelError(path, at, "a percent sign must be doubled (%%): a single one begins a parameter")


def _tables(scope: Scope) -> Iterator[exp.Table]:
    """The mentions of real tables, and of {this}, that stand in a scope itself."""
    for table in scope.tables:
        is_cte = not table.db and table.name in scope.cte_sources
        if not is_cte and not isinstance(table.this, exp.Func):
            yield table


def _untied(scope: Scope) -> Iterator[str]:
    """The tables of a scope whose load_date is not tied to the parameter there."""
    real = {table.alias_or_name: f"{table.db}.{table.name}" for table in _tables(scope) if table.name != THIS}
    tied = _ties(scope, set(real)) if real else set()
    yield from (name for alias, name in real.items() if alias not in tied)


def _ties(scope: Scope, real: set[str]) -> set[str]:
    """The sources of a scope whose load_date equals the parameter, by the scope's own AND-ed equalities.

    A source that is no real table (a CTE, a subquery, an outer query's, {this}) was tied where it was made.
    """
    groups: list[set[str]] = []

    def unite(*names: str) -> None:
        nonlocal groups
        touched = [group for group in groups if group & set(names)]
        groups = [group for group in groups if group not in touched] + [set(names).union(*touched)]

    sources = list(scope.selected_sources)
    joins = scope.expression.args.get("joins") or []
    using = [join for join in joins if LOAD_DATE in [column.name for column in join.args.get("using") or []]]
    for join in using:
        unite(*sources[: sources.index(join.alias_or_name) + 1])
    unqualified = sources if using or len(sources) == 1 else []

    def nodes(side: exp.Expr) -> list[str]:
        side = side.this if isinstance(side, exp.Cast) else side
        if isinstance(side, exp.Placeholder) and side.name == LOAD_DATE:
            return [_PARAMETER]
        if isinstance(side, exp.Column) and side.name == LOAD_DATE:
            owners = [side.table] if side.table else unqualified
            return [owner if owner in real else _PARAMETER for owner in owners]
        return []

    for condition in _conjuncts(scope.expression):
        if isinstance(condition, exp.EQ):
            left, right = nodes(condition.this), nodes(condition.expression)
            if left and right:
                unite(*left, *right)
    derived = [source for source in sources if source not in real]
    if derived:
        unite(_PARAMETER, *derived)
    return next((group for group in groups if _PARAMETER in group), set())


def _conjuncts(select: exp.Expr) -> Iterator[exp.Expr]:
    """The conditions that must all hold: WHERE and every ON, taken apart at AND."""
    where = select.args.get("where")
    conditions = [where.this] if where else []
    conditions += [join.args["on"] for join in select.args.get("joins") or [] if join.args.get("on")]
    for condition in conditions:
        yield from condition.flatten() if isinstance(condition, exp.And) else [condition]
