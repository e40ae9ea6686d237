"""Keeps what readers saw before: when others take the place of rows, these are set aside as long as the files say.

A content that is published again is never kept twice, nor kept while readers see it.
Belongs here: which rows are set aside, and which of them are dropped. Not here: how a storage kind sets rows aside
(warehouse/kinds/), and showing them again (rollback.py).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.ledger import growth, kept, publishes
from kpi_assets.ledger.kept import KeptRows
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.retry import LOCK_TIMEOUT
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.warehouse import candidates
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.content import find_lost
from kpi_assets.warehouse.ddl import types_of
from kpi_assets.warehouse.kinds import strategy_of
from kpi_assets.warehouse.provision import role_of
from kpi_assets.warehouse.tables import check_storage


@dataclass(frozen=True)
class Content:
    """What tells the rows of two publishes of a load_date apart: their checksum and their columns."""

    checksum: str
    columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, publish: Publish) -> "Content":
        """Return the content of a publish, as it was published."""
        return cls(publish.checksum, tuple((name, type_) for name, type_ in publish.columns or ()))


def set_aside(
    connection: Connection[Any], pipeline: Pipeline, table: Table, load_date: date, replaced_by: Content
) -> None:
    """Set the published rows of a load_date aside if they are to be kept, before others replace them.

    Call it in the transaction of a publish, which has the lock of the table. Nothing is kept that has the content that
    replaces it, and nothing of a load_date that still grows: each tick replaces it.
    """
    publish = publishes.current(connection, [table.relation], load_date).get(table.relation)
    if publish and pipeline.kept_of(table).keep and not (pipeline.stream_tables and is_growing(connection, load_date)):
        set_publish_aside(connection, pipeline, table, publish, replaced_by)


def set_publish_aside(
    connection: Connection[Any], pipeline: Pipeline, table: Table, publish: Publish, replaced_by: Content
) -> None:
    """Set the rows of a publish that readers see aside, as `set_aside` does."""
    load_date = publish.load_date
    if not pipeline.kept_of(table).keep or Content.of(publish) == replaced_by:
        return
    if not _is_there(connection, table, publish):
        return
    version = Candidate(table, load_date, publish.build_id, version=kept.version_of(connection, publish))
    assert version.version is not None
    size_bytes = strategy_of(table).keep(connection, version, publish.types or {})
    kept.record(connection, version.version, version.relation, size_bytes)


def forget_shown(connection: Connection[Any], table: Table, load_date: date) -> None:
    """Drop the kept rows that readers see now, in the transaction that has published them again."""
    if not table.storage.stores_rows or table.grows:
        return
    if found := kept.find_shown(connection, table.relation, load_date):
        candidates.drop(connection, Relation.parse(found.relation))
        kept.record_shown(connection, found.version_id)


def drop_all(connection: Connection[Any], relations: Iterable[Relation], load_date: date | None, why: str) -> None:
    """Drop all kept rows of tables, or of one load_date of them, in the transaction that drops the published ones."""
    for each in kept.every(connection, relations, load_date):
        candidates.drop(connection, Relation.parse(each.relation))
        kept.record_dropped(connection, each.version_id, why)


def find_due(pipeline: Pipeline, found: Sequence[KeptRows], now: datetime) -> dict[int, str]:
    """Return those of all kept rows, by the number of the version, that are to be dropped, each with the reason.

    They are more or older than `rollback` says of their table, or the largest where all together take too many bytes.
    """
    due: dict[int, str] = {}
    numbers: Counter[tuple[str, date]] = Counter()
    for each in found:  # the latest of each load_date first
        table = pipeline.tables.get(each.table)
        words = pipeline.kept_of(table) if table else None
        numbers[each.asset, each.load_date] += 1
        if words is None:
            due[each.version_id] = "no file describes the table"
        elif numbers[each.asset, each.load_date] > words.keep:
            due[each.version_id] = f"rollback: keep: {words.keep}"
        elif each.kept_since < now - timedelta(days=words.days):
            due[each.version_id] = f"rollback: days: {words.days}"
    most = pipeline.config.rollback.most_bytes
    left = sorted((each for each in found if each.version_id not in due), key=lambda each: (each.size_bytes, each.rows))
    while most is not None and sum(each.size_bytes for each in left) > most:
        due[left.pop().version_id] = f"rollback: most_bytes: {most}"
    return due


def drop_due(context: BuildContext, connection: Connection[Any], table: Table) -> list[KeptRows]:
    """Drop what is kept longer than `rollback` says, of all tables that the role of a table's layer owns; return it.

    What another session is about to show again is left.
    """
    everything = kept.every(connection)
    due = find_due(context.pipeline, everything, datetime.now(timezone.utc))
    layers = context.pipeline.config.layers
    roles = {each.version_id: role_of(layers[each.table.schema]) for each in everything if each.table.schema in layers}
    own = [number for number in due if roles.get(number) == role_of(context.pipeline.layer(table.relation))]
    return _drop(connection, own, due.__getitem__) if own else []


def drop_due_quietly(context: BuildContext, connection: Connection[Any], table: Table) -> None:
    """Drop as `drop_due` does, after a publish: if it fails, the next publish or `kpi retention` does it."""
    if context.pipeline.kept_of(table).keep:
        with suppress(psycopg.Error):
            drop_due(context, connection, table)


def _drop(connection: Connection[Any], versions: Sequence[int], why: Callable[[int], str]) -> list[KeptRows]:
    with connection.transaction():
        connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        found = kept.lock_free(connection, versions)
        for each in found:
            candidates.drop(connection, Relation.parse(each.relation))
            kept.record_dropped(connection, each.version_id, why(each.version_id))
    return [*found]


def bytes_by_table(found: Iterable[KeptRows]) -> Mapping[str, tuple[int, int]]:
    """Return how many versions are kept of each table, and the bytes of all of them."""
    counts: dict[str, tuple[int, int]] = {}
    for each in found:
        number, size = counts.get(each.asset, (0, 0))
        counts[each.asset] = (number + 1, size + each.size_bytes)
    return counts


def _is_there(connection: Connection[Any], table: Table, publish: Publish) -> bool:
    """Return whether the rows of a publish are stored with the columns that they were published with."""
    check_storage(connection, table)
    if publish.types is None or not {*publish.types} <= {*types_of(connection, table.relation)}:
        return False
    return not (publish.rows and find_lost(connection, table, [publish.load_date]))


def is_growing(connection: Connection[Any], load_date: date) -> bool:
    """Return whether a load_date still grows, so that each tick replaces what is published of it."""
    grown = growth.between(connection, load_date, load_date).get(load_date)
    return grown is not None and grown.finished_at is None
