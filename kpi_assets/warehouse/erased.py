"""Erased persons in the rows of a candidate: found by hashes, and left out.

A quick hash finds the rows that may be theirs with one join; only of those the slow hash is computed, which decides.
Belongs here: the SQL. Not here: which persons are erased (ledger/erasures.py), and when a load looks
(materialize/erasures.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Connection, sql

from kpi_assets.model.erasure import Salted
from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.query import digest
from kpi_assets.model.subject import Subject
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import identifier
from kpi_assets.warehouse.provision import BUILDS

_JOIN = sql.SQL(
    "ops.erased_keys as {alias} on {alias}.kind = {kind} "
    "and {alias}.quick = hashtextextended({value}, {seed}::bigint) "
    "and {alias}.hash = sha256({prefix}::bytea || convert_to({value}, 'UTF8'))"
)


@dataclass(frozen=True)
class Erased:
    """The persons whom the loads of a table leave out: its subjects of which some were erased, with their salts."""

    table: Table
    salts: Mapping[str, Salted] = field(repr=False)

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
        return _JOIN.format(
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
