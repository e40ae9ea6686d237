"""Follows a row of a table down to the rows that it comes from, table by table, to the raw tables.

The rows of an input are found by the columns that are passed on without a change, among the publishes that the ledger
names as inputs of the publish. A version of a history comes from the rows of the load_date on which it began, and who
reads a history read the versions that were known on its own load_date. Every query nests the query of the table above,
so that Postgres compares all values and counts all rows, however many there are; only SHOWN rows of a table are read.

Belongs here: the tree of tables and rows. Not here: which columns are passed on (model/passed_on.py), and the records
of raw rows (origin.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from psycopg import Connection, sql

from kpi_assets.errors import UsageError, UserError
from kpi_assets.ledger import publishes
from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.excerpt import cut, sql_cut
from kpi_assets.model.history import EFFECTIVE
from kpi_assets.model.names import LOAD_DATE, InputName, Relation, quoted
from kpi_assets.model.passed_on import ROW, Link, Passed, Reading, passed_on
from kpi_assets.model.pii import MASKED, masked
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.read.beginnings import find_beginnings
from kpi_assets.read.lake_rows import rows_of_lake
from kpi_assets.read.origin import Origin, Watch, find_origins
from kpi_assets.read.rows import find_publish
from kpi_assets.read.typed import typed
from kpi_assets.sources.store import Store
from kpi_assets.warehouse.connection import one_snapshot
from kpi_assets.warehouse.content import find_lost, published_rows
from kpi_assets.warehouse.known_versions import is_history, known_versions, version_types

SHOWN = 20  # rows of a table
_NAMED = 3  # load_dates that a sentence names
_EXPRESSION = 200  # characters of an expression
_OF = "of load_date"  # the load_date of the row above; no column has a blank in its name
_EXACT = {"smallint", "integer", "bigint", "numeric"}
_FLOATS = {"real", "double precision"}

OnTable = Callable[[Relation], None]


@dataclass
class Row:
    """One row: its columns as PostgreSQL writes them, None for NULL; of a raw row the record that it was loaded from.

    `grain` are the whole values of the grain of a raw row, and `values` those of all columns, cut.
    """

    load_date: date
    values: Mapping[str, str | None]
    grain: Sequence[str | None] = ()
    origin: Origin | None = None


@dataclass
class Step:
    """The rows of one table that a row comes from, and the steps below it.

    `by` are the columns of the table by which the rows were found. `counts` has all rows, by load_date; `rows` has at
    most SHOWN of them. `published` are the publishes that the rows belong to. `computed` are the columns that cannot be
    followed, each with its expression.
    """

    table: Table
    published: Mapping[date, Publish]
    by: Sequence[str]
    counts: Mapping[date, int]
    rows: Sequence[Row]
    computed: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    sources: Sequence["Step"] = ()

    @property
    def count(self) -> int:
        """The number of rows."""
        return sum(self.counts.values())

    def raw(self) -> Iterator["Step"]:
        """Yield the steps of raw tables, from here down."""
        if self.table.has_object:
            yield self
        for source in self.sources:
            yield from source.raw()


def parse_key(table: Table, words: Sequence[str]) -> dict[str, str]:
    """Read `column=value`, or the values of the grain in its order. Raises UsageError."""
    named = [word.partition("=") for word in words]
    given: dict[str, str] = {}
    columns = [*table.readable_types]
    if all(column in columns and equals for column, equals, _ in named):
        for column, _, value in named:
            if column in given:
                raise UsageError(f"The column {column!r} is given twice: give it once.")
            given[column] = value
        return given
    grain = table.header.grain
    for column, equals, _ in named:
        if equals and len(words) > 1 and column.isidentifier() and column not in columns:
            raise UsageError(f"{table.relation} has no column {column!r}: it has {', '.join(columns)}.")
    if len(words) > len(grain):
        raise UsageError(
            f"{len(words)} values were given, and the grain of {table.relation} has {len(grain)} "
            f"column{'s' * (len(grain) > 1)} ({', '.join(grain)}): give at most so many, or write column=value."
        )
    return dict(zip(grain, words, strict=False))


def trace_rows(
    connection: Connection[Any],
    pipeline: Pipeline,
    table: Table,
    key: Mapping[str, str],
    load_date: date | None = None,
    *,
    place: str,
    on_table: OnTable = lambda _relation: None,
) -> Step:
    """Return the rows with these values in a load_date, by default the latest, and all that they come from.

    Of a history, these are all versions that were known on the load_date.

    `on_table` is called before a table is read. Raises UserError, which names the `place` of the data, if the load_date
    is not published or has no such row, and UsageError for a value that is none of its column.
    """
    with one_snapshot(connection, _upstream(pipeline, table)):
        publish = find_publish(connection, pipeline, table, load_date, place=place)
        conditions = [
            sql.SQL("t.{} = {}").format(
                sql.Identifier(column), typed(connection, table, column, value, table.readable_types[column])
            )
            for column, value in key.items()
        ]
        tracer = _Tracer(connection, pipeline, on_table)
        found = sql.SQL("(select t.* from {} as t where {})").format(tracer.rows_of(table, publish), _all(conditions))
        step = tracer.step(table, found, {publish.load_date: publish}, list(key))
    if not step.count:
        wanted = ", ".join(f"{column}={cut(value)}" for column, value in key.items())
        raise UserError(f"{table.relation} of {publish.load_date} has no row with {wanted}: correct the key.")
    return step


def _upstream(pipeline: Pipeline, table: Table) -> set[Relation]:
    """Return the table and all that its rows come from."""
    found, left = set[Relation](), [table.relation]
    while left:
        relation = left.pop()
        if relation in pipeline.tables and relation not in found:
            found.add(relation)
            left += pipeline.tables[relation].reads
    return found


def add_origins(connection: Connection[Any], store: Store, step: Step, watch: Watch) -> None:
    """Add to each raw row of a trace the record that it was loaded from; read each object once.

    `watch` shows the progress. Raises LakeError if S3 cannot be used.
    """
    wanted: dict[tuple[Relation, date], dict[tuple[str | None, ...], list[Row]]] = {}
    steps: dict[tuple[Relation, date], list[Step]] = {}
    for raw in step.raw():
        for row in raw.rows:
            of_object = wanted.setdefault((raw.table.relation, row.load_date), {})
            of_object.setdefault(tuple(row.grain), []).append(row)
            steps.setdefault((raw.table.relation, row.load_date), []).append(raw)
    for (name, day), rows in wanted.items():
        of = steps[name, day]
        found = find_origins(connection, store, of[0].table, of[0].published[day], list(rows), watch)
        for same, origin in zip(rows.values(), found.of_rows, strict=True):
            for row in same:
                row.origin = origin
        if found.problem:
            for raw in {id(each): each for each in of}.values():
                raw.notes = [*raw.notes, found.problem]


def mask(step: Step) -> None:
    """Mask the personal values of a trace, and the whole records of raw rows that have some."""
    pii = step.table.pii
    for row in step.rows:
        row.values = {name: masked(value) if pii.hides(name) else value for name, value in row.values.items()}
        if pii.personal and row.origin:
            row.origin = replace(row.origin, record=MASKED)
    for source in step.sources:
        mask(source)


@dataclass(frozen=True)
class _Tracer:
    """Follows the rows of tables in one snapshot."""

    connection: Connection[Any]
    pipeline: Pipeline
    on_table: OnTable
    fetched: dict[int, sql.Composable | None] = field(default_factory=dict)  # rows of the lake, by publish

    def rows_of(self, table: Table, publish: Publish) -> sql.Composable:
        """Return the rows of a publish, or the versions of a history that were known then, as a subquery for FROM."""
        if is_history(self.connection, table):
            return known_versions(table, _declared(table, [publish]), publish.load_date, ended=True)
        if publish.publish_id not in self.fetched:
            self.fetched[publish.publish_id] = rows_of_lake(table, publish)
        if (fetched := self.fetched[publish.publish_id]) is not None:
            return fetched
        return published_rows(self.connection, table, publish.load_date)

    def step(
        self,
        table: Table,
        found: sql.Composable,
        of: Mapping[date, Publish],
        by: Sequence[str],
        notes: Sequence[str] = (),
        *,
        is_end: bool = False,
    ) -> Step:
        """Return the rows of the subquery `found`, which are of the publishes `of`, and what they come from.

        What they come from is left out if `is_end`.
        """
        self.on_table(table.relation)
        counts = dict(
            self.connection.execute(
                sql.SQL("select load_date, count(*) from {} as t group by load_date order by load_date").format(found)
            ).fetchall()
        )
        made = Step(table, of, by, counts, self._rows(table, found, self._types(table, of.values())), notes=notes)
        if table.query is None or not counts or is_end:
            return made
        passed = passed_on(table.query.tree, {name: [*t.readable_types] for name, t in self.pipeline.tables.items()})
        if passed is None:
            made.notes = [*notes, "it cannot be followed: only PostgreSQL knows the tables of its columns"]
            return made
        made.computed = {column: cut(text, _EXPRESSION) for column, text in passed.computed.items()}
        there: Mapping[date, Publish] = {day: publish for day, publish in of.items() if day in counts}
        if is_history(self.connection, table):
            types = _declared(table, of.values())
            found, there, began = find_beginnings(self.connection, table.relation, found, types)
            notes = made.notes = [*notes, *began]
        if any(publish.code_version != table.code_version for publish in there.values()):
            text = "it was built by an earlier version of its file, and is followed by what the file says now"
            made.notes = [*notes, text]
        known = [each for each in passed.readings if each.relation in self.pipeline.tables]
        made.sources = [
            self._source(table, found, there, name, passed.readings)
            for name in sorted({each.relation for each in known})
        ]
        return made

    def _types(self, table: Table, of: Iterable[Publish]) -> dict[str, str]:
        """Return the columns of the rows of some publishes, or of the versions of a history, with their types."""
        found = _declared(table, of)
        return version_types(table, found) if is_history(self.connection, table) else found

    def _rows(self, table: Table, found: sql.Composable, types: Mapping[str, str]) -> list[Row]:
        grain = [name for name in table.header.grain if name in types]
        whole = grain if table.has_object else []
        order = [*grain, *(name for name in (EFFECTIVE,) if table.header.history and name in types)] or [*types]
        texts = [sql_cut(f't."{name}"::text') for name in types] + [f't."{name}"::text' for name in whole]
        query = sql.SQL("select t.load_date, {} from {} as t order by t.load_date, {} limit {}").format(
            sql.SQL(", ").join(map(sql.SQL, texts)),
            found,
            sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in order),
            sql.Literal(SHOWN),
        )
        return [
            Row(day, dict(zip(types, values, strict=False)), values[len(types) :])
            for day, *values in self.connection.execute(query).fetchall()
        ]

    def _source(
        self,
        table: Table,
        found: sql.Composable,
        of: Mapping[date, Publish],
        relation: Relation,
        readings: Sequence[Reading],
    ) -> Step:
        """Return the rows of one input of the rows `found`, which are of the publishes `of` of a table.

        Of a table that carries on, only its load_date before is followed: those before that may be very many.
        """
        source = self.pipeline.tables[relation]
        own = [reading for reading in readings if reading.relation == relation]
        published, notes = self._published(source, _inputs(of, relation))
        there = self._types(source, published.values())
        parts, by = [], dict[str, None]()
        for reading in own:
            condition = self._condition(table, found, of, reading, readings)
            if condition is None:
                continue
            parts.append(
                sql.SQL("select distinct {} from {} as t where {}").format(
                    sql.SQL(", ").join(
                        [
                            sql.SQL("t.{}").format(sql.Identifier(LOAD_DATE)),
                            *(_comparable_column(*each) for each in there.items()),
                        ]
                    ),
                    self._read(table, reading, of),
                    condition,
                )
            )
            columns = [each.there for each in reading.columns] or [each.there for each in reading.links]
            by.update(dict.fromkeys(name for name in columns if name in there))
        if not parts and published:
            notes.append("its rows cannot be told apart: no column of it is passed on")
        if not parts:
            return Step(source, published, (), {}, (), notes=notes)
        is_itself = relation == table.relation
        if is_itself:
            notes.append(f"what they come from is shown by `kpi trace` with --load-date {max(published)}")
        rows = sql.SQL("({})").format(sql.SQL(" union ").join(parts))
        return self.step(source, rows, published, list(by), notes, is_end=is_itself)

    def _condition(
        self,
        table: Table,
        found: sql.Composable,
        of: Mapping[date, Publish],
        reading: Reading,
        readings: Sequence[Reading],
    ) -> sql.Composable | None:
        """Return the condition that a row of a reading is one of those that the rows `found` come from.

        If none of its columns is passed on, it is joined to a row of another reading. None if it cannot be found.
        """
        source = self.pipeline.tables[reading.relation]
        published, _ = self._published(source, _inputs(of, reading.relation))
        types, there = self._types(table, of.values()), self._types(source, published.values())
        own = [sql.SQL(each) for each in reading.conditions]
        if not published:
            return None
        if passed := _comparable(reading, types, there):
            return _all([*own, _same(found, passed, table, source, types, there)])
        for number in dict.fromkeys(link.reading for link in reading.links):
            other = readings[number]
            condition = self._condition(table, found, of, other, readings) if other.columns else None
            if (
                condition is not None
                and self._published(self.pipeline.tables[other.relation], _inputs(of, other.relation))[0]
            ):
                equal = [
                    sql.SQL("t.{} = o.{}").format(sql.Identifier(link.there), sql.Identifier(link.column))
                    for link in (Link(number, _OF, _OF), *reading.links)
                    if link.reading == number
                ]
                rows = sql.SQL("(select t.* from {} as t where {})").format(self._read(table, other, of), condition)
                return _all([*own, sql.SQL("exists (select 1 from {} as o where {})").format(rows, _all(equal))])
        return None

    def _published(
        self, source: Table, inputs: Mapping[date, Mapping[date, int]]
    ) -> tuple[dict[date, Publish], list[str]]:
        """Return the publishes of a source that are there, and a sentence for each reason why others are not."""
        wanted = {day: publish_id for days in inputs.values() for day, publish_id in days.items()}
        if not wanted:
            return {}, ["none of its load_dates was read when the rows above were built"]
        between = publishes.current_between(self.connection, [source.relation], min(wanted), max(wanted))
        found = {day: of[source.relation] for day, of in between.items() if day in wanted}
        lost = find_lost(self.connection, source, [day for day, publish in found.items() if publish.rows])
        other = [day for day, publish in found.items() if publish.publish_id != wanted[day]]
        notes = [
            f"{what}: {_listed(days)}"
            for what, days in (
                ("not published any more", sorted({*wanted} - {*found})),
                ("the rows are gone from the database", sorted(lost)),
                ("published again since the rows above were built, so its rows may be others", sorted(other)),
            )
            if days
        ]
        return {day: publish for day, publish in found.items() if day not in lost}, notes

    def _read(self, table: Table, reading: Reading, of: Mapping[date, Publish]) -> sql.Composable:
        """Return the subquery of the rows that a SELECT reads at one place, each with the load_date above in _OF."""
        assert table.query is not None
        source, inputs = self.pipeline.tables[reading.relation], _inputs(of, reading.relation)
        published, _ = self._published(source, inputs)
        is_window = reading.start in {window.start for window in table.query.windows}
        key = table.query.keys[source.relation] if is_window else None
        is_of_others = is_window or source.relation == table.relation  # of other load_dates
        arms = []
        for day, days in inputs.items():
            read = [each for each in (days if is_of_others else [day]) if each in published]
            if read:
                rows = [self.rows_of(source, published[each]) for each in read]
                every = sql.SQL(" union all ").join(sql.SQL("select t.* from {} as t").format(each) for each in rows)
                arms.append(
                    sql.SQL("select {}::date as {}, r.* from {} as r").format(
                        sql.Literal(day), sql.Identifier(_OF), _that_count(every, key)
                    )
                )
        return sql.SQL("({})").format(sql.SQL(" union all ").join(arms))


def _inputs(of: Mapping[date, Publish], relation: Relation) -> dict[date, dict[date, int]]:
    """Return, for each load_date above, the load_dates of a table that it was made from, with their publish_ids."""
    return {day: _days_of(publish, relation) for day, publish in of.items()}


def _that_count(rows: sql.Composable, key: Sequence[str] | None) -> sql.Composable:
    """Return the subquery of those rows of a window that count: of each value of `key` the latest, or all."""
    if key is None:
        return sql.SQL("({})").format(rows)
    columns = sql.SQL(", ").join(map(sql.Identifier, key))
    return sql.SQL("(select distinct on ({}) * from ({}) as every_row order by {}, load_date desc)").format(
        columns, rows, columns
    )


def _days_of(publish: Publish, relation: Relation) -> dict[date, int]:
    """Return the load_dates of a table that a publish was made from, each with its publish_id."""
    names = ((InputName.parse(text), publish_id) for text, publish_id in publish.inputs.items())
    own = ((name, publish_id) for name, publish_id in names if name.relation == relation and not name.is_up_to)
    return {name.load_date or publish.load_date: publish_id for name, publish_id in own}


def _declared(table: Table, of: Iterable[Publish]) -> dict[str, str]:
    """Return the declared columns that all of the publishes have, with the types of the table."""
    have = [publish.types for publish in of if publish.types is not None]
    return {name: type_ for name, type_ in table.types.items() if all(name in types for types in have)}


def _comparable_column(name: str, type_: str) -> sql.Composable:
    """Return a column of the rows ROW as SQL: json as text, because PostgreSQL compares no values of json."""
    as_text = sql.SQL("t.{0}::text as {0}") if type_ == "json" else sql.SQL("t.{}")
    return as_text.format(sql.Identifier(name))


def _comparable(reading: Reading, types: Mapping[str, str], there: Mapping[str, str]) -> list[Passed]:
    return [each for each in reading.columns if each.column in types and each.there in there]


def _same(
    found: sql.Composable,
    passed: Sequence[Passed],
    table: Table,
    source: Table,
    types: Mapping[str, str],
    there: Mapping[str, str],
) -> sql.Composable:
    """Return the condition that one of the rows `found` has the values of the row ROW in the passed columns.

    Columns of a key are never NULL and are compared by `=`, so that Postgres can hash them. In the others NULL equals
    NULL, as arrays of one value compare, which can be hashed too.
    """
    conditions: list[sql.Composable] = [sql.SQL("t.{} = s.load_date").format(sql.Identifier(_OF))]
    for each in passed:
        above, below = types[each.column], there[each.there]
        upper = _as_common(f"s.{quoted(each.column)}", above, below)
        lower = _as_common(f"{ROW}.{quoted(each.there)}", above, below)
        is_key = each.column in table.header.grain or each.there in source.header.grain
        conditions.append(sql.SQL(f"{lower} = {upper}" if is_key else f"array[{lower}] = array[{upper}]"))
    return sql.SQL("exists (select 1 from {} as s where {})").format(found, _all(conditions))


def _as_common(value: str, above: str, below: str) -> str:
    """Return a value of one of two types as SQL of a type that has the values of both, rounded as the upper one is."""
    families = {above.split("(", maxsplit=1)[0], below.split("(", maxsplit=1)[0]}
    if above == below:
        return f"{value}::text" if above == "json" else value
    if families <= _EXACT:
        scale = above.partition(",")[2].rstrip(")")
        return f"round({value}::numeric, {scale})" if scale else f"{value}::numeric"
    return f"{value}::double precision" if families <= _EXACT | _FLOATS else f"{value}::text"


def _all(conditions: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")


def _listed(days: Sequence[date]) -> str:
    """Return load_dates as text: the first ones, and how many more there are."""
    more = f" and {len(days) - _NAMED} more" if len(days) > _NAMED else ""
    return ", ".join(map(str, days[:_NAMED])) + more
