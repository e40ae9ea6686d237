"""Erased persons in the rows of a candidate: found by hashes, and left out.

A quick hash finds the rows that may be theirs with one join; only of those the slow hash is computed, which decides.
Belongs here: the SQL. Not here: which persons are erased (ledger/erasures.py), and when a load looks
(materialize/erasures.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.erasure import ALIAS, ErasedKey, Salted
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import digest
from kpi_assets.model.subject import Subject
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier, types_of
from kpi_assets.warehouse.input_errors import input_error
from kpi_assets.warehouse.provision import BUILDS

_IS_KEY = sql.SQL(
    "{alias}.kind = {kind} "
    "and {alias}.quick = hashtextextended({value}, {seed}::bigint) "
    "and {alias}.hash = sha256({prefix}::bytea || convert_to({value}, 'UTF8'))"
)


@dataclass(frozen=True)
class Erased:
    """The persons whom the loads of a table leave out: its subjects of which some were erased, with their salts."""

    table: Table
    salts: Mapping[str, Salted] = field(repr=False)
    keys: sql.Composable = field(default_factory=lambda: sql.SQL("ops.erased_keys"))

    @property
    def subjects(self) -> Sequence[Subject]:
        """The subjects of which some persons were erased."""
        return [each for each in self.table.header.subjects if each.kind in self.salts]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of statements that have a join: the salts, which no text of a statement may show."""
        prefixes = {f"prefix_{kind}": salt.prefix for kind, salt in self.salts.items()}
        return {**prefixes, **{f"seed_{kind}": salt.seed for kind, salt in self.salts.items()}}

    def join(self, subject: Subject, key: sql.Composable, alias: str) -> sql.Composable:
        """Return `ops.erased_keys as alias on …`, which finds the person whose key an expression gives."""
        on = self.is_key(subject, key, alias)
        return sql.SQL("{} as {} on {}").format(self.keys, sql.Identifier(alias), on)

    def is_key(self, subject: Subject, key: sql.Composable, alias: str) -> sql.Composable:
        """Return the condition that a row of `ops.erased_keys` is the person whose key an expression gives."""
        return _IS_KEY.format(
            alias=sql.Identifier(alias),
            value=key,
            kind=sql.Literal(subject.kind),
            seed=sql.Placeholder(f"seed_{subject.kind}"),
            prefix=sql.Placeholder(f"prefix_{subject.kind}"),
        )


def key_of(subject: Subject, value: sql.Composable) -> sql.Composable:
    """Return the key of a person as text, of a value of the column."""
    return sql.SQL("({})::text").format(sql.SQL(subject.of(value.as_string())))


@dataclass(frozen=True)
class Persons:
    """How many rows of a candidate are about erased persons, how many persons that are, and the kinds of these.

    `newly` counts those who were erased before their object landed, so that its source still has them.
    """

    rows: int
    newly: Mapping[str, int]


def find(connection: Connection[Any], candidate: Candidate, erased: Erased, landed: datetime) -> Persons:
    """Look for erased persons in a candidate whose newest object landed then."""
    subjects = list(erased.subjects)
    newly, rows = dict[str, int](), 0
    for subject in subjects:
        value = sql.Identifier("c", subject.column)
        query = sql.SQL(
            "select count(*), count(distinct k.hash) filter (where e.erased_at < {landed}) from {candidate} as c "
            "inner join {join} inner join ops.erasures as e using (erasure)"
        ).format(landed=landed, candidate=candidate.name, join=erased.join(subject, key_of(subject, value), "k"))
        found, new = connection.execute(query, erased.parameters).fetchone() or (0, 0)
        rows += found
        if new:
            newly[subject.kind] = new
    return Persons(rows, newly)


def rows_without(connection: Connection[Any], erased: Erased) -> dict[date, int]:
    """Return how many rows each load_date of a raw table has, of those in which no row may be about an erased person.

    The quick hash alone decides, so that a load_date may be missing that has nobody. One is missing, too, if a row has
    another key in the place of that of a person who was erased before: its object may still have the person.
    """
    table, subjects = erased.table, list(erased.subjects)
    if not {each.column for each in subjects} <= types_of(connection, table.relation).keys():
        return {}
    joins, nobody = list[sql.Composable](), list[sql.Composable]()
    for number, each in enumerate(subjects):
        column, alias = sql.Identifier("c", each.column), sql.Identifier(f"k{number}")
        joins.append(
            sql.SQL(
                "left join (select distinct quick from {keys} where kind = {kind}) as {alias} "
                "on {alias}.quick = hashtextextended({value}, {seed}::bigint)"
            ).format(
                keys=erased.keys,
                kind=sql.Literal(each.kind),
                alias=alias,
                value=key_of(each, column),
                seed=sql.Placeholder(f"seed_{each.kind}"),
            )
        )
        nobody.append(sql.SQL("count({}.quick) = 0").format(alias))
        nobody.append(
            sql.SQL("count(*) filter (where starts_with({}::text, {})) = 0").format(column, sql.Literal(ALIAS))
        )
    query = sql.SQL("select c.{day}, count(*) from {table} as c {joins} group by c.{day} having {nobody}").format(
        day=sql.Identifier(LOAD_DATE),
        table=identifier(table.relation),
        joins=sql.SQL(" ").join(joins),
        nobody=sql.SQL(" and ").join(nobody),
    )
    return dict(connection.execute(query, erased.parameters).fetchall())


def make_again(connection: Connection[Any], candidate: Candidate, erased: Erased) -> int:
    """Make a candidate again without the erased persons, in the caller's transaction; return how many rows it has.

    The rows are copied and not deleted, so that no dead row of a person is left. It has no index afterwards.
    """
    aside = Relation(BUILDS, f"{digest(candidate.relation.table)}_erased")
    connection.execute(sql.SQL("alter table {} rename to {}").format(candidate.name, sql.Identifier(aside.table)))
    candidates.create_empty(connection, candidate)
    candidates.add_partition_check(connection, candidate)
    subjects = list(erased.subjects)
    joins = [
        sql.SQL("left join {}").format(erased.join(each, key_of(each, sql.Identifier("c", each.column)), f"k{number}"))
        for number, each in enumerate(subjects)
    ]
    nobody = sql.SQL(" and ").join(
        sql.SQL("{}.hash is null").format(sql.Identifier(f"k{n}")) for n in range(len(subjects))
    )
    columns = [LOAD_DATE, *candidate.table.columns]
    keeps_rows = candidate.table.header.erase == "values"
    values = [
        _kept(candidate.table, name, subjects, nobody) if keeps_rows else sql.Identifier("c", name) for name in columns
    ]
    rows = connection.execute(
        sql.SQL("insert into {} ({}) select {} from {} as c {} {}").format(
            candidate.name,
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(values),
            identifier(aside),
            sql.SQL(" ").join(joins),
            sql.SQL("") if keeps_rows else sql.SQL("where {}").format(nobody),
        ),
        erased.parameters,
    ).rowcount
    connection.execute(sql.SQL("drop table {}").format(identifier(aside)))
    return rows


def _kept(table: Table, name: str, subjects: Sequence[Subject], nobody: sql.Composable) -> sql.Composable:
    """Return what stays of a column in a row of an erased person: nothing personal, and another key."""
    column = sql.Identifier("c", name)
    keys = [number for number, each in enumerate(subjects) if each.column == name]
    if keys:
        others = [sql.SQL("{}.replacement").format(sql.Identifier(f"k{number}")) for number in keys]
        return sql.SQL("coalesce({}, {})").format(sql.SQL(", ").join(others), column)
    if name in table.pii.personal:
        return sql.SQL("case when {} then {} end").format(nobody, column)
    return column


def find_keys(
    connection: Connection[Any], subject: Subject, type_: str, salted: Salted, values: Sequence[str]
) -> dict[int, tuple[str, int]]:
    """Return the key and the quick hash of each value that a column can hold, by its place among the values."""
    value = sql.Identifier("v", "value")
    wrong = sql.SQL("null") if type_ == "text" else input_error(connection, value, sql.Literal(type_))
    typed = sql.SQL("{}::{}").format(value, sql.SQL(type_))
    rows = connection.execute(
        sql.SQL(
            "select n, key, hashtextextended(key, {seed}::bigint) from ("
            "select v.n, case when {wrong} is null then {key} end as key "
            "from unnest({values}::text[]) with ordinality as v (value, n)) as found where key is not null"
        ).format(
            seed=sql.Placeholder("seed"), wrong=wrong, key=key_of(subject, typed), values=sql.Placeholder("values")
        ),
        {"seed": salted.seed, "values": list(values)},
    ).fetchall()
    return {number - 1: (key, quick) for number, key, quick in rows}


def keys_aside(connection: Connection[Any], kind: str, keys: Sequence[ErasedKey]) -> sql.Composable:
    """Put keys into a temporary table of the session, to look for persons who are not erased yet; return its name.

    What it has in the place of a key is the hash of that key, in hex.
    """
    connection.execute("drop table if exists pg_temp.asked_keys")
    connection.execute("create temporary table asked_keys (kind text, hash bytea, quick bigint, replacement text)")
    connection.execute(
        "insert into pg_temp.asked_keys select %s, k.hash, k.quick, encode(k.hash, 'hex') "
        "from unnest(%s::bytea[], %s::bigint[]) as k (hash, quick)",
        [kind, [each.hash for each in keys], [each.quick for each in keys]],
    )
    return sql.SQL("pg_temp.asked_keys")


def count_in(
    connection: Connection[Any],
    relation: Relation,
    columns: Sequence[str],
    erased: Erased,
    subjects: Sequence[Subject],
    besides: Sequence[bytes] = (),
) -> int:
    """Return how many rows of any table have the key of an erased person in one of its columns.

    `subjects` are those of the raw tables that it is made of. Persons with the hashes `besides` are not counted.
    """
    others = sql.SQL("and k.hash <> all(%(besides)s)") if besides else sql.SQL("")
    conditions = [
        sql.SQL("exists (select from {} as k where {} {})").format(erased.keys, condition, others)
        for column in columns
        for condition in _are_keys(sql.SQL("{}::text").format(sql.Identifier("c", column)), erased, subjects)
    ]
    found = connection.execute(
        sql.SQL("select count(*) from {} as c where {}").format(identifier(relation), sql.SQL(" or ").join(conditions)),
        {**erased.parameters, "besides": list(besides)},
    ).fetchone()
    return int(found[0]) if found else 0


def keys_in(
    connection: Connection[Any],
    relation: Relation,
    columns: Sequence[str],
    erased: Erased,
    subjects: Sequence[Subject],
) -> dict[str, list[ErasedKey]]:
    """Return the erased persons whose keys are in some columns of any table, by their kinds."""
    queries = [
        sql.SQL("select k.kind, k.hash, k.quick from {} as c inner join {} as k on {}").format(
            identifier(relation), erased.keys, condition
        )
        for column in columns
        for condition in _are_keys(sql.SQL("{}::text").format(sql.Identifier("c", column)), erased, subjects)
    ]
    found: dict[str, list[ErasedKey]] = {}
    for kind, hash_, quick in connection.execute(sql.SQL(" union ").join(queries), erased.parameters):
        found.setdefault(kind, []).append(ErasedKey(bytes(hash_), quick, ""))
    return found


def find_values(
    connection: Connection[Any], type_: str, erased: Erased, subjects: Sequence[Subject], values: Sequence[str]
) -> set[int]:
    """Return the places of those values that are the key of an erased person, as a column of this type holds them."""
    value = sql.Identifier("v", "value")
    typed = sql.SQL("{}::{}::text").format(value, sql.SQL(type_))
    wrong = sql.SQL("null") if type_ == "text" else input_error(connection, value, sql.Literal(type_))
    key = sql.SQL("(case when {} is null then {} else {} end)").format(wrong, typed, value)
    conditions = sql.SQL(" or ").join(
        sql.SQL("exists (select from {} as k where {})").format(erased.keys, condition)
        for condition in _are_keys(sql.Identifier("w", "key"), erased, subjects)
    )
    rows = connection.execute(
        sql.SQL(
            "select w.n from (select v.n, {} as key from unnest(%(values)s::text[]) with ordinality as v (value, n)) "
            "as w where {}"
        ).format(key, conditions),
        {**erased.parameters, "values": list(values)},
    )
    return {number - 1 for (number,) in rows}


def count_of_gone(connection: Connection[Any], relation: Relation, column: str, history: Relation, number: str) -> int:
    """Return how many rows of any table have in a column the number of a version that a history does not have."""
    found = connection.execute(
        sql.SQL(
            "select count(*) from {} as c where {column} is not null "
            "and not exists (select from {} as v where v.{} = {column})"
        ).format(identifier(relation), identifier(history), sql.Identifier(number), column=sql.Identifier("c", column))
    ).fetchone()
    return int(found[0]) if found else 0


def _are_keys(value: sql.Composable, erased: Erased, subjects: Sequence[Subject]) -> Iterator[sql.Composable]:
    """Yield the conditions that a text is the key of an erased person `k`, as it is, and as its kind is spelled."""
    for subject in (each for each in subjects if each.kind in erased.salts):
        yield erased.is_key(subject, value, "k")
        if not subject.is_plain:
            yield erased.is_key(subject, key_of(subject, value), "k")
