"""A SELECT and what is known about it without a server: the tables it reads, its columns, fingerprint and lineage.

Belongs here: parsing, and queries on the syntax tree. Not here: the proof that a SELECT reads one load_date or a
window (partition_filter.py), which tables may be read in part (pushdown.py), and executing it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from sqlglot import TokenType, exp, parse, tokenize
from sqlglot.errors import OptimizeError, ParseError, SqlglotError, TokenError
from sqlglot.lineage import lineage
from sqlglot.optimizer.scope import Scope, traverse_scope

from kpi_assets.model import carry_on, growing
from kpi_assets.model.history import HistoryRead
from kpi_assets.model.joins import conjuncts
from kpi_assets.model.lookback import WINDOW_START, Key, version_part, window_rows
from kpi_assets.model.names import BATCH, LOAD_DATE, PREVIOUS, Relation
from kpi_assets.model.partition_filter import unbound_tables, window_tables
from kpi_assets.model.pushdown import Target, pushdown_targets
from kpi_assets.model.strict_yaml import ModelError, Problems
from kpi_assets.model.table_ref import THIS, TableRef, as_parsed, replaced, tables_in

_ROW_CHECK = re.compile(r"\s*select\s+\*\s+from\s+\{this\}\s+where\s+(.*)", re.DOTALL | re.IGNORECASE)
_OTHER_CLAUSES = ("joins", "laterals", "group", "having", "order", "limit", "offset", "distinct", "windows", "with_")
_ACROSS_ROWS = ("group", "having", "limit", "offset", "distinct")  # clauses that look at more than one row
_PERCENT = re.compile(r"%(?:%|\((\w+)\)s|(.|\Z))", re.DOTALL)
_NAMED = (exp.Alias, exp.Column, exp.Cast, exp.Star, exp.Dot)  # expressions that give the column its name


@dataclass(frozen=True)
class Query:
    """One SELECT: its text `sql` with %(load_date)s, its syntax `tree`, and the `line` of the file on which it begins.

    `windows` are the places at which it reads a table over a window of load_dates. Two fields depend on the headers of
    other tables: `keys` says which rows of each such table count, and `has_unknown_sums` says whether there is a sum
    whose type only Postgres knows. `itself` is the table that the SELECT makes, if it reads that too (carry_on.py).
    `histories` are those among the tables that it reads, with the subquery that is read in the place of each and its
    part of a code_version (history.py). With `grows`, it reads one batch (growing.py): it has the parameter `batch`.
    `sources` are the subqueries that a question reads in the place of tables of which readers may not read all columns.
    """

    sql: str
    tree: exp.Query
    line: int = 1
    windows: tuple[TableRef, ...] = ()
    keys: Mapping[Relation, Key] = field(default_factory=dict)
    has_unknown_sums: bool = False
    itself: Relation | None = None
    histories: Mapping[Relation, HistoryRead] = field(default_factory=dict)
    grows: bool = False
    sources: Mapping[Relation, str] = field(default_factory=dict)

    def with_neighbors(self, keys: Mapping[Relation, Key], histories: Mapping[Relation, HistoryRead]) -> "Query":
        """Return the query with what the headers of other tables say; of `histories`, those that it reads."""
        read = {relation: histories[relation] for relation in self.mentions if relation in histories}
        return replace(self, keys=keys, histories=read)

    @cached_property
    def mentions(self) -> dict[Relation, int]:
        """The other tables that the SELECT reads, sorted, each with the line of its first mention; without CTEs."""
        found: dict[Relation, int] = {}
        for scope in traverse_scope(self.tree):
            for table in tables_in(scope):
                relation, line = Relation(table.db, table.name), line_of(table, self.line)
                if table.name != THIS and relation != self.itself:
                    found[relation] = min(line, found.get(relation, line))
        return dict(sorted(found.items()))

    @cached_property
    def traced(self) -> dict[Hashable, Mapping[str, Collection[tuple[Relation, str] | None]]]:
        """What its columns are made of, by the columns of the tables that it reads, as far as it was found (pii.py)."""
        return {}

    @property
    def reads(self) -> tuple[Relation, ...]:
        """The tables that the SELECT reads, sorted; among them its own if it carries on."""
        return tuple(sorted({*self.mentions, *([self.itself] if self.itself else [])}))

    @property
    def window_reads(self) -> set[Relation]:
        """The tables that the SELECT reads over a window."""
        return {mention.relation for mention in self.windows}

    @cached_property
    def load_date_reads(self) -> frozenset[Relation]:
        """The tables that the SELECT reads at some place of its own load_date, not over a window."""
        windows, tables = set(self.windows), (each for scope in traverse_scope(self.tree) for each in tables_in(scope))
        return frozenset(
            Relation(table.db, table.name)
            for table in tables
            if table.name != THIS
            and Relation(table.db, table.name) != self.itself
            and not (windows and TableRef.of(table) in windows)
        )

    @cached_property
    def executed(self) -> str:
        """The SQL for Postgres: the text, where a subquery of the rows that count replaces each table in a window.

        Another one of the known versions replaces each history.
        """
        return self.executed_on({})

    def executed_on(self, instead: Mapping[Relation, str]) -> str:
        """Return the SQL for Postgres, with the subqueries `instead` of some tables.

        A replay of a table that grows reads `growing.as_one_batch` in the place of its input.
        """
        if not self.windows and not self.histories and not self.sources and not instead:
            return self.sql
        known = {relation: each.versions for relation, each in self.histories.items()}
        instead = {**self.sources, **known, **instead}
        windows = set(self.windows)
        found = []
        for table in self.tree.find_all(exp.Table):
            relation = Relation(table.db, table.name)
            if table.db and TableRef.of(table) in windows:
                found.append((TableRef.of(table), window_rows(relation, self.keys[relation], instead.get(relation))))
            elif relation in instead:
                found.append((TableRef.of(table), instead[relation]))
        return replaced(self.sql, found)

    @property
    def columns(self) -> list[str]:
        """The names of the returned columns, in order; empty for an expression without a name."""
        return [column.alias_or_name if isinstance(column, _NAMED) else "" for column in self.tree.selects]

    def line_at(self, node: exp.Expr) -> int:
        """Return the line of a part of the tree."""
        return line_of(node, self.line)

    def line_of(self, column: int) -> int:
        """Return the line on which the column with this number (from 0) is selected."""
        return line_of(self.tree.selects[column], self.line)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of what the SELECT computes, regardless of comments, white space and case of keywords."""
        text = self.tree.sql(dialect="postgres", comments=False, normalize=True)
        return digest(text, *self.read_versions)

    @property
    def read_versions(self) -> list[str]:
        """What windows and histories add to a code_version: which rows of each such table count."""
        windows = [version_part(relation, self.keys[relation]) for relation in sorted(self.window_reads)]
        return windows + [self.histories[relation].version_part for relation in sorted(self.histories)]

    def lineage(self, schemas: Mapping[Relation, list[str]]) -> dict[str, list[tuple[Relation, str]]]:
        """Return, for each returned column, the table columns that it is computed from, sorted.

        The result is empty for a SELECT with a column name that only Postgres can resolve.
        """
        known: dict[str, dict[str, dict[str, str]]] = {}
        for relation, columns in schemas.items():
            known.setdefault(relation.schema, {})[relation.table] = dict.fromkeys([LOAD_DATE, *columns], "unknown")
        result = {}
        try:
            plain = without_laterals(self.tree)
            roots = lineage(None, plain, schema=known, dialect="postgres", trim_selects=False, copy=False)
        except SqlglotError:
            return {}
        for column, root in roots.items():
            leaves = {
                (Relation(node.expression.db, node.expression.name), exp.to_column(node.name).name)
                for node in root.walk()
                if isinstance(node.expression, exp.Table)
            }
            result[column] = sorted(leaf for leaf in leaves if leaf[0] in schemas)
        return result

    @cached_property
    def projection(self) -> tuple[Relation, dict[str, str]] | None:
        """The table and its columns (returned name -> name there), for a SELECT that only chooses columns of one table.

        Such a SELECT returns all rows of the load_date. None for any other SELECT.
        """
        tree = self.tree
        if len(self.reads) != 1 or not isinstance(tree, exp.Select) or tree.find(exp.Subquery, exp.CTE):
            return None
        columns = [column.unalias() for column in tree.selects]
        conditions = list(conjuncts(tree.args["where"].this)) if tree.args.get("where") else []
        is_plain = (
            not self.itself
            and not any(tree.args.get(clause) for clause in _OTHER_CLAUSES)
            and all(isinstance(column, exp.Column) and not column.is_star for column in columns)
            and len(conditions) == 1
            and isinstance(conditions[0], exp.EQ)  # on load_date, as parse_query has proven
        )
        if not is_plain:
            return None
        return self.reads[0], dict(zip(self.columns, (column.name for column in columns), strict=True))

    def pushdown_targets(self, column: str) -> list[Target]:
        """Return the tables that may be read in part by the values of the returned `column`; in doubt, none."""
        if "%%" in self.sql or self.windows or self.itself or self.grows:
            return []
        found = pushdown_targets(self.tree, column)
        return [each for each in found if each.table.relation not in self.histories]

    def pushed_down(self, column: str, read: Callable[[Relation, str], str]) -> tuple[str, bool]:
        """Return the SQL with a subquery in the place of each table that may be read in part.

        `read` returns the subquery for a table and its column. The second returned value says whether the SQL returns
        only the wanted rows; if not, the caller must filter them.
        """
        targets = self.pushdown_targets(column)
        subqueries = [(each.table, read(each.table.relation, each.column)) for each in targets]
        histories = [
            (TableRef.of(table), self.histories[relation].versions)
            for table in self.tree.find_all(exp.Table)
            if (relation := Relation(table.db, table.name)) in self.histories
        ]
        return replaced(self.sql, subqueries + histories), any(each.is_origin for each in targets)

    @cached_property
    def row_predicate(self) -> str | None:
        """The condition p of a check `select * from {this} where p`, which can share a scan with others; else None."""
        match = _ROW_CHECK.fullmatch(self.sql)
        plain = (
            match is not None
            and isinstance(self.tree, exp.Select)
            and not any(self.tree.args.get(clause) for clause in _OTHER_CLAUSES)
            and not self.tree.find(exp.Subquery, exp.Exists, exp.Placeholder, exp.AggFunc)
        )
        return match.group(1) if match and plain else None

    @cached_property
    def is_row_wise(self) -> bool:
        """Whether a row of `{this}` is returned or not whatever the other rows of `{this}` are; in doubt, it is not."""
        if self.row_predicate:
            return True
        root = traverse_scope(self.tree)[-1]
        here = sum(table.name == THIS for table in tables_in(root))
        return (
            isinstance(self.tree, exp.Select)
            and here == 1 == sum(table.name == THIS for table in self.tree.find_all(exp.Table))
            and not any(self.tree.args.get(clause) for clause in _ACROSS_ROWS)
            and not any(root.find_all(exp.AggFunc, exp.Window))
        )


def without_laterals(tree: exp.Query) -> exp.Query:
    """Return a SELECT whose lateral subqueries are plain ones: sqlglot follows no column into a lateral one.

    One that returns columns of the tables before it stays, and its columns then come from all that these pass to it.
    """
    plain = tree.copy()
    for lateral in list(plain.find_all(exp.Lateral)):
        select = lateral.this.this if isinstance(lateral.this, exp.Subquery) else None
        if isinstance(select, exp.Select):
            own = {"", *(source.alias_or_name for source in select.find_all(exp.Table, exp.Subquery))}
            if all(column.table in own for each in select.selects for column in each.find_all(exp.Column)):
                lateral.replace(exp.Subquery(this=select, alias=lateral.args.get("alias")))
    return plain


def digest(*parts: str) -> str:
    """Return 16 hex digits that differ when any part differs."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]


def parse_query(
    sql: str,
    path: Path,
    line: int = 1,
    *,
    lookback: bool = False,
    has_load_date: bool = True,
    itself: Relation | None = None,
    histories: Collection[Relation] = (),
    grows: bool = False,
) -> Query:
    """Parse one SELECT and prove that it reads one load_date only, or with `lookback` a window that ends there.

    With `grows`, prove as well that it reads one batch of the load_date; such a SELECT has no window. Without a
    load_date, it has no parameters, and the tables that it reads have no load_dates that could bind them. `line` is the
    line of the file on which `sql` begins. `itself` is the table that the SELECT makes, of which it may read the
    load_date before; the query of a check makes none. `histories` need no condition. Raises ModelError for a syntax
    error, for anything but one SELECT, for a table without its schema, an unknown parameter, and a table that is not
    bound to the load_date.
    """
    itself = itself if has_load_date else None
    lookback = lookback and not grows
    known = {LOAD_DATE: has_load_date, WINDOW_START: lookback, PREVIOUS: bool(itself) and not grows, BATCH: grows}
    _check_parameters(sql, path, line, [name for name, is_known in known.items() if is_known and has_load_date])
    line += sql[: len(sql) - len(sql.lstrip())].count("\n")
    tree = _parse(as_parsed(sql), path, line)
    windows: set[TableRef] = set()
    problems = Problems()
    own = itself if itself and carry_on.reads_itself(tree, itself) else None
    for scope in _scopes(tree, path, line):
        nameless = [table for table in tables_in(scope) if table.catalog or not (table.db or table.name == THIS)]
        for table in nameless:
            at = line_of(table, line)
            problems.add(path, at, f"the table {table.sql()!r} must be written as schema.table")
        wrong = dict(carry_on.problems(scope, itself)) if itself else {}
        for table, problem in wrong.items():
            relation = Relation(table.db, table.name)
            is_history = relation == itself and relation in histories
            problems.add(path, line_of(table, line), carry_on.of_history(relation) if is_history else problem)
        proven = [*nameless, *wrong, *(table for table in tables_in(scope) if Relation(table.db, table.name) == own)]
        unbound = unbound_tables(scope, histories, carries_on=bool(own)) if has_load_date else []
        for table in (each for each in unbound if each not in proven):
            problems.add(
                path,
                line_of(table, line),
                f"{table.db}.{table.name} is read for all load_dates at once: limit it by "
                f"`{LOAD_DATE} = %({LOAD_DATE})s` or by a join using ({LOAD_DATE}, ...)"
                + (f", or to the window by `{LOAD_DATE} between %({WINDOW_START})s and %({LOAD_DATE})s`" * lookback),
            )
        for table, problem in growing.problems(scope) if grows else ():
            if table not in [*proven, *unbound]:
                problems.add(path, line_of(table, line), problem)
        if lookback and not nameless:
            found = map(TableRef.of, window_tables(scope, histories))
            windows.update(table for table in found if table.relation != own)
    if itself and not problems.found and (problem := carry_on.unused(tree, itself)):
        problems.add(path, line, problem)
    if (
        windows
        or own
        or grows
        or any(Relation(table.db, table.name) in histories for table in tree.find_all(exp.Table))
    ):
        _check_names(tree, path, line, problems)
    problems.raise_any()
    return Query(sql, tree, line, tuple(sorted(windows)), itself=own, grows=grows)


def parse_statement(sql: str, path: Path, known: Collection[str]) -> Query:
    """Parse one SELECT with these parameters, which proves nothing of what it reads.

    Raises ModelError as parse_query does, and for a parameter in quotes or in a comment, where its value would not be
    a value.
    """
    _check_parameters(sql, path, 1, known)
    line = 1 + sql[: len(sql) - len(sql.lstrip())].count("\n")
    tree = _parse(as_parsed(sql), path, line)
    problems = Problems()
    for scope in _scopes(tree, path, line):
        for table in (each for each in tables_in(scope) if each.catalog or not each.db):
            problems.add(path, line_of(table, line), f"the table {table.sql()!r} must be written as schema.table")
    parsed = Counter(each.name for each in tree.find_all(exp.Placeholder))
    for name, count in Counter(match[1] for match in _PERCENT.finditer(sql) if match[1]).items():
        if count > parsed[name]:
            problems.add(path, line, f"%({name})s stands in quotes or in a comment, where it is no value: take it out")
    problems.raise_any()
    return Query(sql, tree, line)


def check_replaced(query: Query, path: Path, problems: Problems) -> None:
    """Add a problem for what cannot be said of a table in the place of which a subquery is read."""
    _check_names(query.tree, path, query.line, problems)


def _parse(text: str, path: Path, line: int) -> exp.Query:
    try:
        tree = parse(text, read="postgres")[0]
        ended = any(token.token_type == TokenType.SEMICOLON for token in tokenize(text, read="postgres"))
    except ParseError as error:
        found = error.errors[0]
        at = line + int(found["line"]) - 1
        raise ModelError(path, at, f"this SQL cannot be parsed, at {found['highlight']!r}: correct it there") from None
    except TokenError:
        raise ModelError(path, line, "this SQL cannot be parsed: a quote or comment is never closed") from None
    except RecursionError:
        raise ModelError(path, line, "this SQL is nested too deeply to be parsed: write it in steps (WITH)") from None
    if ended or not isinstance(tree, exp.Query) or tree.find(exp.DML, exp.Into):
        raise ModelError(path, line, "the SQL must be exactly one SELECT, without a semicolon after it")
    return tree


def _scopes(tree: exp.Query, path: Path, line: int) -> list[Scope]:
    try:
        scopes = list(traverse_scope(tree))
        for scope in scopes:
            _ = scope.selected_sources  # raises if two sources have one name
    except OptimizeError as error:
        raise ModelError(path, line, f"this SQL cannot be read ({error}): correct its names") from None
    return scopes


def _check_names(tree: exp.Query, path: Path, line: int, problems: Problems) -> None:
    """Add a problem for what cannot be said of a subquery that replaces a table: ONLY, and a schema of its columns."""
    for table in (each for each in tree.find_all(exp.Table) if each.args.get("only")):
        text = f"take `only` out before {table.db}.{table.name}: a subquery is read in its place"
        problems.add(path, line_of(table, line), text)
    for column in tree.find_all(exp.Column):
        if column.args.get("db"):
            name = f"{column.table}.{column.name}"
            reason = "a subquery is read in the place of its table"
            problems.add(path, line_of(column, line), f"write {column.sql()} as {name}: {reason}")


def line_of(node: exp.Expr, line: int) -> int:
    """Return the line of a part of SQL that begins on `line`: the line of the first name in the part or around it."""
    names = [name.meta["line"] for name in node.find_all(exp.Identifier) if "line" in name.meta]
    if not names and node.parent is not None and not isinstance(node.parent, exp.Query):
        return line_of(node.parent, line)
    return line + min(names, default=1) - 1


def _check_parameters(sql: str, path: Path, line: int, known: Collection[str]) -> None:
    problems = Problems()
    for match in _PERCENT.finditer(sql):
        at = line + sql.count("\n", 0, match.start())
        if match.group(1) is not None and not known:
            problems.add(path, at, f"{match.group(0)} has no value in a live view, which has no load_date: take it out")
        elif match.group(1) in (WINDOW_START, PREVIOUS) and BATCH in known:
            problems.add(
                path,
                at,
                f"{match.group(0)} is not for a table that grows, which reads one batch (%({BATCH})s): take it out",
            )
        elif match.group(1) == BATCH and BATCH not in known:
            problems.add(path, at, f"%({BATCH})s is for a SELECT that grows and for its checks: take it out")
        elif match.group(1) == WINDOW_START and WINDOW_START not in known:
            problems.add(path, at, f"%({WINDOW_START})s needs the word lookback in the header: add it")
        elif match.group(1) == PREVIOUS and PREVIOUS not in known:
            problems.add(path, at, f"%({PREVIOUS})s is for the SELECT of a table, not for its checks: take it out")
        elif match.group(1) is not None and match.group(1) not in known:
            names = " and ".join(f"%({name})s" for name in known)
            problems.add(path, at, f"unknown parameter {match.group(0)}: known is {names}")
        elif match.group(2) is not None:
            problems.add(path, at, "a percent sign must be doubled (%%): a single one begins a parameter")
    problems.raise_any()
