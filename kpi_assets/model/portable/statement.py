"""Statements: a whole SELECT, from its CTEs to its UNIONs, as an engine is asked for it.

Belongs here: what a SELECT reads and which columns that has, and the clauses around the expressions. Not here: the
expressions (expressions.py, aggregates.py), and which SELECTs a pipeline has (problems.py).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from sqlglot import exp, parse_one, tokenize
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from kpi_assets.model.lookback import WINDOW_START
from kpi_assets.model.names import BATCH, LOAD_DATE, PREVIOUS, Relation
from kpi_assets.model.portable.aggregates import KINDS, Aggregates, ordered
from kpi_assets.model.portable.expressions import RULES, check_words
from kpi_assets.model.portable.refusals import REFUSALS, NotPortableError
from kpi_assets.model.portable.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    NULL,
    TEXT,
    UNKNOWN,
    Engine,
    Type,
    common,
    declared,
)
from kpi_assets.model.portable.values import Value, coerced, condition, refused, together
from kpi_assets.model.table_ref import THIS, as_parsed

AUDITED = Relation("", THIS)  # the build that the query of a check audits
_PARAMETERS = {LOAD_DATE: DATE, WINDOW_START: DATE, PREVIOUS: DATE, BATCH: BIGINT}
_NO_CLAUSES = {"limit": "limit", "offset": "limit", "fetch": "limit", "laterals": "lateral", "windows": "function"}
_GROUPINGS = ("rollup", "cube", "grouping_sets", "totals", "all")
_CLAUSES = {"kind", "hint", "operation_modifiers"} | {
    *("expressions", "from_", "joins", "where", "group", "having", "order", "distinct", "with_"),
}


@dataclass(frozen=True)
class Source:
    """What a SELECT reads: the columns with their types, and columns of which no two rows have the same values.

    The type of a column is its name in the catalog if it is not portable.
    """

    columns: Mapping[str, Type | str]
    key: frozenset[str] | None = None


@dataclass(frozen=True)
class Portable:
    """A SELECT for an engine, and the types of its columns: name -> type."""

    sql: str
    columns: Mapping[str, Type]


def source(types: Mapping[str, str], key: Collection[str] | None) -> Source:
    """Return a table whose columns have these types, by their names in Postgres' catalog."""
    return Source({name: declared(type_) or type_ for name, type_ in types.items()}, frozenset(key) if key else None)


def translate(
    sql: str, engine: Engine, tables: Mapping[Relation, Source], place: Callable[[Relation], str] | None = None
) -> Portable:
    """Return a SELECT of Postgres for an engine. Raises NotPortableError.

    `place` returns what an engine calls a table, as SQL; without it, the names are those of Postgres. Parameters stay
    parameters with their names, as `:load_date` for Spark and `$load_date` for DuckDB.
    """
    tree = parse_one(as_parsed(sql), read="postgres")
    if any(token.text.lower() == "date_part" for token in tokenize(as_parsed(sql), read="postgres")):
        raise NotPortableError("date_part", tree, "date_part is floating point: write extract(... from ...)")
    named = _numbered(tree, tables)
    schema: dict[str, object] = {
        name: dict.fromkeys(tables[relation].columns, "unknown") for name, relation in named.items()
    }
    try:
        query = qualify(tree, schema=schema, dialect="postgres", quote_identifiers=False)
    except SqlglotError as error:
        why = f"its names cannot be followed ({error}): write table.column"
        raise NotPortableError("function", tree, why) from None
    assert isinstance(query, exp.Query)
    made, found = _Statement(engine, {name: tables[relation] for name, relation in named.items()}).query(query)
    for name, type_ in found.columns.items():
        if isinstance(type_, Type) and type_.is_quotient:
            raise NotPortableError("quotient", next(each for each in query.selects if each.alias_or_name == name))
    _name_tables(made, named, place or _as_on_postgres, engine)
    columns = {name: TEXT if each == NULL else each for name, each in found.columns.items() if isinstance(each, Type)}
    return Portable(made.sql(dialect=engine), columns)


def _numbered(tree: exp.Expr, tables: Mapping[Relation, Source]) -> dict[str, Relation]:
    """Give each known table in the tree a name without a schema, and return these names."""
    numbered: dict[Relation, str] = {}
    for table in list(tree.find_all(exp.Table)):
        relation = Relation(table.db, table.name) if table.db else AUDITED
        if relation in tables and (table.db or table.name == THIS):
            alias = table.args.get("alias") or exp.TableAlias(this=table.this.copy())
            table.set("alias", alias)
            table.set("db", None)
            name = numbered.setdefault(relation, f"table_{len(numbered)}_of_kpi_assets")
            table.set("this", exp.to_identifier(name))
    for column in tree.find_all(exp.Column):
        column.set("db", None)
    return {name: relation for relation, name in numbered.items()}


def _as_on_postgres(relation: Relation) -> str:
    return exp.table_(relation.table, db=relation.schema or None, quoted=True).sql()


def _name_tables(
    made: exp.Expr, named: Mapping[str, Relation], place: Callable[[Relation], str], engine: Engine
) -> None:
    """Put the engine's names in the places of tables, and quote all names."""
    for table in list(made.find_all(exp.Table)):
        if table.name in named:
            there = exp.to_table(place(named[table.name]), dialect="postgres" if place is _as_on_postgres else engine)
            there.set("alias", table.args.get("alias"))
            table.replace(there)
    of_parameters = {id(each.this) for each in made.find_all(exp.Placeholder)}
    for identifier in made.find_all(exp.Identifier):
        identifier.set("quoted", id(identifier) not in of_parameters)


@dataclass
class _Statement:
    """The translation of one query; those inside of it have statements of their own."""

    engine: Engine
    named: Mapping[str, Source]  # tables and CTEs
    around: "_Statement | None" = None
    sources: dict[str, Source] = field(default_factory=dict)
    is_correlated: bool = False
    in_where: bool = False

    # Queries

    def query(self, node: exp.Expr) -> tuple[exp.Expr, Source]:
        """Return a SELECT or a UNION, and its columns."""
        if isinstance(node, exp.Subquery) and not node.args.get("alias"):
            return self.query(node.this)
        for name, key in _NO_CLAUSES.items():
            if node.args.get(name):
                raise NotPortableError(key, node)
        made_with = self._with(node)
        if isinstance(node, exp.SetOperation):
            made, found = self._set_operation(node)
        elif isinstance(node, exp.Select):
            made, found = self._select(node)
        else:
            raise refused(node)
        if made_with is not None:
            made.set("with_", made_with)
        return made, found

    def _inner(self) -> "_Statement":
        return _Statement(self.engine, self.named, self)

    def _with(self, node: exp.Expr) -> exp.With | None:
        found = node.args.get("with_")
        if not found:
            return None
        if found.args.get("recursive"):
            raise NotPortableError("recursive", node)
        made = []
        for each in found.expressions:
            query, of = _Statement(self.engine, self.named).query(each.this)
            named = each.args["alias"].args.get("columns") or []
            of = _renamed(of, [column.name for column in named])
            self.named = {**self.named, each.alias: of}
            alias = exp.TableAlias(this=exp.to_identifier(each.alias), columns=[each.copy() for each in named])
            made.append(exp.CTE(this=query, alias=alias))
        return exp.With(expressions=made)

    def _set_operation(self, node: exp.Expr) -> tuple[exp.Expr, Source]:
        if node.args.get("by_name") or node.args.get("side") or node.args.get("on"):
            raise NotPortableError("function", node)
        (left, one), (right, other) = self._part(node.this), self._part(node.expression)
        columns: dict[str, Type | str] = {}
        if len(one.columns) != len(other.columns):
            raise NotPortableError("operands", node)
        for (name, first), second in zip(one.columns.items(), other.columns.values(), strict=False):
            type_ = common(first, second) if isinstance(first, Type) and isinstance(second, Type) else None
            if type_ is None or type_.is_quotient:
                raise NotPortableError("operands", node)
            columns[name] = TEXT if type_ in (UNKNOWN, NULL) else type_
        parts = [self._as(query, of, columns) for query, of in ((left, one), (right, other))]
        return type(node)(this=parts[0], expression=parts[1], distinct=node.args.get("distinct")), Source(columns)

    def _part(self, node: exp.Expr) -> tuple[exp.Expr, Source]:
        return _Statement(self.engine, self.named, self.around).query(node)

    def _as(self, query: exp.Expr, of: Source, to: Mapping[str, Type | str]) -> exp.Expr:
        """Return a query whose columns have other types and names."""
        if list(of.columns.items()) == list(to.items()):
            return exp.Subquery(this=query) if isinstance(query, exp.SetOperation) else query
        chosen = []
        for (name, type_), (new, wanted) in zip(of.columns.items(), to.items(), strict=True):
            assert isinstance(type_, Type)
            assert isinstance(wanted, Type)
            column = Value(exp.column(name, table="part"), type_)
            if type_ == UNKNOWN and wanted != TEXT:
                raise NotPortableError("quoted", query)
            chosen.append(exp.alias_(coerced(column, wanted, self, query), new))
        return exp.select(*chosen).from_(exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier("part"))))

    def _select(self, node: exp.Select) -> tuple[exp.Expr, Source]:
        unknown = [name for name, value in node.args.items() if value and name not in _CLAUSES]
        if unknown or node.args.get("kind"):
            raise refused(node)
        made = exp.Select()
        if found := node.args.get("from_"):
            made.set("from_", exp.From(this=self._source(found.this)))
        for join in node.args.get("joins") or []:
            made.append("joins", self._join(join))
        if where := node.args.get("where"):
            self.in_where = True
            made.set("where", exp.Where(this=condition(where.this, self)))
            self.in_where = False
        if group := node.args.get("group"):
            made.set("group", self._group(group))
        if having := node.args.get("having"):
            made.set("having", exp.Having(this=condition(having.this, self)))
        columns: dict[str, Type | str] = {}
        for each in node.selects:
            value = self.value(each.unalias())
            if value.type in (UNKNOWN, NULL):
                value = Value(coerced(value, TEXT, self, each), TEXT if value.type == UNKNOWN else NULL)
            name = each.alias_or_name
            columns[name] = value.type
            made.append("expressions", exp.alias_(value.sql, name))
        key = self._distinct(node, made) or self._key_of(node)
        return made, Source(columns, key)

    def _group(self, group: exp.Expr) -> exp.Group:
        if any(group.args.get(each) for each in _GROUPINGS):
            raise NotPortableError("lateral", group)
        return exp.Group(expressions=[self.value(each).sql for each in group.expressions])

    def _distinct(self, node: exp.Select, made: exp.Select) -> frozenset[str] | None:
        """Add DISTINCT to a SELECT, and return the columns that are then its key."""
        distinct = node.args.get("distinct")
        if not distinct:
            return None
        on = distinct.args.get("on")
        if on is None:
            made.set("distinct", exp.Distinct())
            return frozenset(each.alias_or_name for each in node.selects)
        order = node.args.get("order")
        terms = order.expressions if order else []
        if not self.has_key([*on.expressions, *(each.this for each in terms)]):
            raise NotPortableError("row_order", node)
        made.set("distinct", exp.Distinct(on=exp.Tuple(expressions=[self.value(each).sql for each in on.expressions])))
        wanted = {each.sql() for each in on.expressions}
        sorted_: list[exp.Expr] = []
        for term in terms:
            if term.this.sql() in wanted:  # only says which rows are compared
                sorted_.append(exp.Ordered(this=self.value(term.this).sql, desc=False, nulls_first=False))
            else:
                sorted_.append(ordered(term, self))
        made.set("order", exp.Order(expressions=sorted_) if sorted_ else None)
        return self._names_of(node, on.expressions)

    def _key_of(self, node: exp.Select) -> frozenset[str] | None:
        if group := node.args.get("group"):
            return self._names_of(node, group.expressions)
        if node.args.get("joins") or len(self.sources) != 1:
            return None
        [of] = self.sources.values()
        columns = [exp.column(name, table=next(iter(self.sources))) for name in of.key or ()]
        return self._names_of(node, columns) if columns else None

    def _names_of(self, node: exp.Select, expressions: Collection[exp.Expr]) -> frozenset[str] | None:
        """Return the names under which expressions are returned; None if one is not."""
        names = {each.unalias().sql(): each.alias_or_name for each in node.selects}
        found = [names.get(each.sql()) for each in expressions]
        return frozenset(each for each in found if each) if found and all(found) else None

    def _source(self, node: exp.Expr) -> exp.Expr:
        if node.args.get("joins") or node.args.get("sample") or node.args.get("laterals"):
            raise NotPortableError("lateral", node)
        alias = node.alias
        if isinstance(node, exp.Table) and node.name in self.named and not node.args.get("db"):
            if {name for name, value in node.args.items() if value} - {"this", "alias"}:
                raise NotPortableError("lateral", node)
            self.sources[alias or node.name] = self.named[node.name]
            return node.copy()
        columns = (
            [each.name for each in (node.args["alias"].args.get("columns") or [])] if node.args.get("alias") else []
        )
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            query, of = _Statement(self.engine, self.named).query(node.this)
        elif isinstance(node, exp.Values) and columns:
            query, of = self._values(node, columns)
        else:
            raise NotPortableError("lateral", node)
        self.sources[alias] = _renamed(of, columns)
        made = exp.TableAlias(this=exp.to_identifier(alias), columns=[exp.to_identifier(each) for each in columns])
        return exp.Subquery(this=query, alias=made)

    def _values(self, node: exp.Expr, columns: list[str]) -> tuple[exp.Expr, Source]:
        """Return VALUES as a UNION of SELECTs."""
        rows = [[self.value(each) for each in row.expressions] for row in node.expressions]
        typed = [together([row[number] for row in rows], self, node) for number in range(len(columns))]
        selects = [
            exp.select(*(exp.alias_(values[0][number], name) for values, name in zip(typed, columns, strict=True)))
            for number in range(len(rows))
        ]
        made: exp.Expr = selects[0]
        for each in selects[1:]:
            made = exp.Union(this=made, expression=each, distinct=False)
        return made, Source({name: values[1] for values, name in zip(typed, columns, strict=True)})

    def _join(self, node: exp.Expr) -> exp.Join:
        if {name for name, value in node.args.items() if value} - {"this", "side", "kind", "on"}:
            raise NotPortableError("lateral", node)
        kind, side = (node.args.get("kind") or ""), (node.args.get("side") or "")
        if kind.upper() not in ("", "INNER", "OUTER", "CROSS") or side.upper() not in ("", "LEFT", "RIGHT", "FULL"):
            raise NotPortableError("lateral", node)
        source = self._source(node.this)
        on = node.args.get("on")
        is_cross = on is None
        return exp.Join(
            this=source, side=side, kind="CROSS" if is_cross else kind, on=condition(on, self) if on else None
        )

    # What the rules of expressions ask for

    def value(self, node: exp.Expr) -> Value:
        """Apply the rule for a node."""
        check_words(node)
        if isinstance(node, KINDS):
            return Aggregates(self).value(node)
        if rule := RULES.get(type(node)):
            return rule(node, self)
        raise refused(node)

    def column(self, node: exp.Column) -> Value:
        """Return the column of a source of this query, or of one around it."""
        of = self.sources.get(node.table)
        if of is None and self.around is not None:
            self.is_correlated = True
            if not (self.in_where and node.table in self.around.sources):
                raise NotPortableError("correlated", node)
            return self.around.column(node)
        type_ = of.columns.get(node.name) if of else None
        if type_ is None:
            raise NotPortableError("function", node, f"{node.sql()} is no column that is known here")
        if isinstance(type_, str):
            raise NotPortableError("type", node, f"its type is {type_}: {REFUSALS['type'].why}")
        return Value(exp.column(node.name, table=node.table), type_)

    def parameter(self, node: exp.Placeholder) -> Value:
        """Return a parameter of the product."""
        if node.name not in _PARAMETERS:
            raise NotPortableError("function", node)
        type_ = _PARAMETERS[node.name]
        return Value(exp.Cast(this=node.copy(), to=type_.on(self.engine)), type_)

    def subquery(self, node: exp.Expr) -> Value:
        """Return the value of a subquery, which may not read the rows around it."""
        inner = self._inner()
        query, of = inner.query(node.this)
        if inner.is_correlated or len(of.columns) != 1:
            raise NotPortableError("correlated", node)
        [type_] = of.columns.values()
        assert isinstance(type_, Type)
        return Value(exp.Subquery(this=query), type_)

    def is_in_rows(self, node: exp.Expr, query: exp.Expr, value: Value) -> Value:
        """Return whether a value is one of those that a subquery returns."""
        if not self.in_where:
            raise NotPortableError("subquery", node)
        made, of = self._rows(query)
        [type_] = of.columns.values()
        assert isinstance(type_, Type)
        to = common(value.type, type_)
        if to is None or UNKNOWN in (value.type, type_):
            raise NotPortableError("operands", node)
        rows = self._as(made, of, dict.fromkeys(of.columns, to))
        found = exp.In(this=coerced(value, to, self, node), query=exp.Subquery(this=rows))
        return Value(exp.Paren(this=found), BOOLEAN)

    def exists(self, node: exp.Expr) -> Value:
        """Return whether a subquery returns a row; it may read the rows around it."""
        if not self.in_where:
            raise NotPortableError("subquery", node)
        query, _ = self._rows(node.this)
        return Value(exp.Exists(this=query), BOOLEAN)

    def _rows(self, node: exp.Expr) -> tuple[exp.Expr, Source]:
        """Return the rows of a subquery, which may read the rows around it if it is no more than a WHERE."""
        inner = self._inner()
        made, of = inner.query(node.this if isinstance(node, exp.Subquery) else node)
        plain = isinstance(made, exp.Select) and not any(
            made.args.get(each) for each in ("group", "having", "distinct")
        )
        if inner.is_correlated and not (plain and not made.find(exp.AggFunc, exp.Window)):
            raise NotPortableError("correlated", node)
        return made, of

    def has_key(self, columns: Collection[exp.Expr]) -> bool:
        """Whether no two rows have the same values in these expressions: they have the key of the only source."""
        if len(self.sources) != 1:
            return False
        [of] = self.sources.values()
        plain = (each.this if isinstance(each, exp.Collate) else each for each in columns)
        names = {each.name for each in plain if isinstance(each, exp.Column)}
        return of.key is not None and of.key <= names

    def without_subqueries(self) -> "_Statement":
        """Return the scope for a place where no subquery may stand."""
        return replace(self, in_where=False)


def _renamed(of: Source, names: list[str]) -> Source:
    """Return a source whose first columns have other names."""
    if not names:
        return of
    new = dict(zip(of.columns, names, strict=False))
    key = frozenset(new.get(each, each) for each in of.key) if of.key else None
    return Source({new.get(name, name): type_ for name, type_ in of.columns.items()}, key)
