"""Kept rows in the ledger, ops.versions: the contents of load_dates that readers saw before, and where they lie.

A version is a content: rows with the same checksum and the same columns are one, however often they were published.
While readers see it, its rows lie nowhere else.
Not here: the rows themselves (warehouse/kinds/), and which of them are kept (materialize/keep.py).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Json

from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.names import Relation

_COLUMNS = "version_id, asset, load_date, checksum, relation, rows, size_bytes, kept_since"
_HASH = "md5({}::jsonb::text)"


@dataclass(frozen=True)
class KeptRows:
    """A row of ops.versions whose rows are kept aside, in the table `relation` of the schema builds."""

    version_id: int
    asset: str
    load_date: date
    checksum: str
    relation: str
    rows: int
    size_bytes: int
    kept_since: datetime

    @property
    def table(self) -> Relation:
        """The table of which the rows are."""
        return Relation.parse(self.asset)


def find(connection: Connection[Any], publish: Publish, *, locked: bool = False) -> KeptRows | None:
    """The rows of a publish, if they are kept aside; `locked` keeps others from dropping them in this transaction."""
    with connection.cursor(row_factory=class_row(KeptRows)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.versions where relation is not null and (asset, load_date, checksum) = "  # noqa: S608
            f"(%s, %s, %s) and columns_hash = {_HASH.format('%s')} {'for update' if locked else ''}",
            [publish.asset, publish.load_date, publish.checksum, _columns(publish)],
        ).fetchone()


def find_shown(connection: Connection[Any], relation: Relation, load_date: date) -> KeptRows | None:
    """The rows that are kept aside although readers see the same; they are locked until the commit."""
    columns = ", ".join(f"v.{name}" for name in _COLUMNS.split(", "))
    with connection.cursor(row_factory=class_row(KeptRows)) as cursor:
        return cursor.execute(
            f"select {columns} from ops.versions as v inner join ops.published as p "  # noqa: S608
            f"on p.asset = v.asset and p.load_date = v.load_date and p.checksum = v.checksum "
            f"and {_HASH.format('p.columns')} = v.columns_hash "
            "where v.relation is not null and v.asset = %s and v.load_date = %s for update of v",
            [str(relation), load_date],
        ).fetchone()


def version_of(connection: Connection[Any], publish: Publish) -> int:
    """Return the number of the version of a publish, which is made if there is none; it is locked until the commit."""
    row = connection.execute(
        "insert into ops.versions (asset, load_date, checksum, columns_hash, rows, size_bytes) "  # noqa: S608
        f"values (%s, %s, %s, {_HASH.format('%s')}, %s, 0) "
        "on conflict (asset, load_date, checksum, columns_hash) do update set rows = excluded.rows "
        "returning version_id",
        [publish.asset, publish.load_date, publish.checksum, _columns(publish), publish.rows],
    ).fetchone()
    assert row is not None
    return int(row[0])


def record(connection: Connection[Any], version_id: int, relation: Relation, size_bytes: int) -> None:
    """Record that the rows of a version lie aside, in the transaction that sets them aside."""
    connection.execute(
        "update ops.versions set relation = %s, size_bytes = %s, kept_since = clock_timestamp(), dropped_at = null, "
        "dropped_why = null where version_id = %s",
        [str(relation), size_bytes, version_id],
    )


def record_shown(connection: Connection[Any], version_id: int) -> None:
    """Record that readers see a version, so that its rows lie aside no more."""
    connection.execute(
        "update ops.versions set relation = null, kept_since = null, dropped_at = null, dropped_why = null "
        "where version_id = %s",
        [version_id],
    )


def record_dropped(connection: Connection[Any], version_id: int, why: str) -> None:
    """Record that the rows of a version were dropped, in the transaction that drops them."""
    connection.execute(
        "update ops.versions set relation = null, kept_since = null, dropped_at = clock_timestamp(), dropped_why = %s "
        "where version_id = %s",
        [why, version_id],
    )


def every(
    connection: Connection[Any], relations: Iterable[Relation] | None = None, load_date: date | None = None
) -> list[KeptRows]:
    """All rows that are kept aside, of all tables or the given ones, the latest of each load_date first."""
    with connection.cursor(row_factory=class_row(KeptRows)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.versions where relation is not null "  # noqa: S608
            "and (%(assets)s::text[] is null or asset = any(%(assets)s)) "
            "and (%(load_date)s::date is null or load_date = %(load_date)s) "
            "order by asset, load_date, kept_since desc, version_id desc",
            {"assets": None if relations is None else [*map(str, relations)], "load_date": load_date},
        ).fetchall()


def lock_free(connection: Connection[Any], version_ids: Collection[int]) -> Sequence[KeptRows]:
    """Lock those of the versions that lie aside and that no other session is about to show or drop, and return them."""
    with connection.cursor(row_factory=class_row(KeptRows)) as cursor:
        return cursor.execute(
            f"select {_COLUMNS} from ops.versions where relation is not null and version_id = any(%s) "  # noqa: S608
            "for update skip locked",
            [list(version_ids)],
        ).fetchall()


def _columns(publish: Publish) -> Json:
    return Json(None if publish.columns is None else [list(each) for each in publish.columns])
