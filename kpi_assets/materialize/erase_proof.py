"""The proof that nobody who was erased is left: in objects and tables by their keys, and as text in decisions and ops.

Not here: what deletes them (erase.py), and what is said of it (erase_receipt.py).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from psycopg import Connection, sql

from kpi_assets.ledger.erasures import RecordedErasure
from kpi_assets.materialize import erased_decisions, erased_files
from kpi_assets.materialize import rewrite as rewriting
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import keys_of, subject_tables
from kpi_assets.materialize.erasures import erased_of, salted_of
from kpi_assets.model.erasure import ErasedKey
from kpi_assets.model.names import Relation
from kpi_assets.model.subject_tables import Holder, holders_of
from kpi_assets.warehouse import erased as rows
from kpi_assets.warehouse.connection import UNLOGGED, connect
from kpi_assets.warehouse.ddl import identifier
from kpi_assets.warehouse.erased import Erased
from kpi_assets.warehouse.provision import BUILDS

SHORTEST_SEARCHED = 6  # letters of an identifier that is searched as text


def prove(context: BuildContext, *, every_object: bool = False) -> list[str]:
    """Look for erased persons in every object and table; return a sentence for each place where one is left.

    An object is not read if the rows that were made of it prove that it has nobody, unless `every_object` is read.
    """
    left, holders = list[str](), holders_of(context.pipeline)
    # As the login: who builds tables may not know whom the hashes name.
    with connect(context.server, context.pipeline.name, "erase", more=UNLOGGED) as connection:
        for relation, holder in holders.items():
            left += _left_in_tables(context, connection, relation, holder)
    for table in (each.table for each in holders.values() if each.table.header.subject):
        with context.own_session(table, "erase") as connection:
            if erased := erased_of(context, connection, table):
                to_read = rewriting.objects_to_read(context, connection, table, erased)
                if every_object:
                    to_read = (manifest for _, manifest in rewriting.objects_of(context, table))
                for manifest in to_read:
                    if found := rewriting.find(context, connection, table, manifest, erased):
                        left.append(f"{manifest.url} has {len(found)} records of erased persons")
    return [*left, *erased_decisions.left(context)]


def _left_in_tables(
    context: BuildContext, connection: Connection[Any], relation: Relation, holder: Holder
) -> Iterator[str]:
    """Yield where a table, and what is kept beside it, has rows of erased persons."""
    erased = Erased(holder.table, salted_of(context, {each.kind for each in holder.subjects}))
    columns = sorted(holder.columns)
    if not (columns or holder.versions) or not holder.table.storage.stores_rows:
        return
    names = connection.execute(
        "select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace "
        "where c.relkind in ('r', 'p') and not c.relispartition and (c.oid = to_regclass(%s) or n.nspname = %s "
        "and starts_with(c.relname, %s))",
        [str(relation), BUILDS, f"{relation.schema}__{relation.table}__"],
    ).fetchall()
    for schema, name in names:
        if columns and (found := _count_in(context, connection, Relation(schema, name), holder, erased)):
            yield f"{schema}.{name} has {found} rows of erased persons"
        for column, of in holder.versions.items():
            history = context.pipeline.tables[of].header.history
            assert history is not None, "the numbers are those of its versions"
            number = history.surrogate_key
            if found := rows.count_of_gone(connection, Relation(schema, name), column, of, number):
                yield f"{schema}.{name} has {found} rows whose {column} is that of nobody in {of} any more"


def _count_in(
    context: BuildContext, connection: Connection[Any], relation: Relation, holder: Holder, erased: Erased
) -> int:
    """Return how many rows of a table are about erased persons.

    In a table of persons of several kinds, a key tells nothing if it is also that of somebody of another kind.
    """
    where = connection, relation, sorted(holder.columns), erased, holder.subjects
    found = rows.count_in(*where)
    if found and len(erased.salts) > 1:
        found = rows.count_in(*where, besides=[*_namesakes(context, holder.raw, rows.keys_in(*where))])
    return found


def _namesakes(
    context: BuildContext, tables: Collection[Relation], keys: Mapping[str, Sequence[ErasedKey]]
) -> set[bytes]:
    """Return the hashes of those erased persons whose key is that of somebody of another kind in objects of tables."""
    found = set[bytes]()
    for table in (context.pipeline.tables[each] for each in sorted(tables)):
        for subject in table.header.subjects:
            for kind, of_kind in keys.items():
                asked = [each for each in of_kind if each.hash not in found]
                if kind == subject.kind or not asked:
                    continue
                with context.own_session(table, "erase") as connection:
                    named = rows.keys_aside(connection, subject.kind, asked)
                    others = Erased(table, {subject.kind: salted_of(context, [kind])[kind]}, named)
                    for manifest in rewriting.objects_to_read(context, connection, table, others):
                        records = rewriting.find(context, connection, table, manifest, others).values()
                        found |= {bytes.fromhex(hash_) for of in records for hash_ in of.values()}
    return found


def verify(
    context: BuildContext, erasure: RecordedErasure, values: Sequence[str], folder: Path | None = None
) -> list[str]:
    """Look again for the persons of an erasure, in every object, in decisions and tables, and as text in these and ops.

    `folder` is that of the servers if they are ours: their files are searched, too. Return where the persons are left.
    A text that also names somebody of another kind tells nothing. An identifier of fewer than SHORTEST_SEARCHED letters
    is not searched as text, since it stands anywhere.
    """
    keys = {key.hash for key in keys_of(context, erasure.kind, values)}
    with context.session(subject_tables(context.pipeline, erasure.kind)[0], "erase") as connection:
        known = {
            bytes(found)
            for (found,) in connection.execute("select hash from ops.erased_keys where kind = %s", [erasure.kind])
        }
    left = [f"{len(keys - known)} identifiers were never erased"] if keys - known else []
    return [
        *left,
        *prove(context, every_object=True),
        *_texts_left(context, erasure.kind, [each for each in values if len(each) >= SHORTEST_SEARCHED], folder),
    ]


def _texts_left(context: BuildContext, kind: str, values: Sequence[str], folder: Path | None) -> list[str]:
    """Return where identifiers are left as text."""

    def found(texts: Sequence[str]) -> list[str]:
        if not texts:
            return []
        files = erased_files.files_with(folder, texts, context.on_progress) if folder else ()
        return [
            *_texts_in_ops(context, texts),
            *erased_decisions.texts_left(context, texts),
            *(
                f"the file {path} has the text of an identifier: another pipeline may have it, or a server writes the "
                "file anew later"
                for path in files
            ),
        ]

    left = found(values)
    others = [each.relation for each in context.pipeline.tables.values() if {*each.header.subject} - {kind}]
    if not left or not others:
        return left
    alone = [each for each in values if not _namesakes(context, others, {kind: keys_of(context, kind, [each])})]
    return found(alone)


def _texts_in_ops(context: BuildContext, values: Sequence[str]) -> Iterator[str]:
    with connect(context.server, context.pipeline.name, "erase", read_only=True) as connection:
        names = connection.execute(
            "select relname from pg_class where relnamespace = 'ops'::regnamespace and relkind = 'r' order by 1"
        ).fetchall()
        for (name,) in names:
            found = connection.execute(
                sql.SQL(
                    "select count(*) from {} as t where exists ("
                    "select from unnest(%s::text[]) as v where position(lower(v) in lower(t::text)) > 0)"
                ).format(identifier(Relation("ops", name))),
                [list(values)],
            ).fetchone()
            if found and found[0]:
                yield f"ops.{name} has {found[0]} rows that hold an identifier"
