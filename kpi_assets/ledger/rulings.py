"""Rulings in the ledger, ops.rulings: what lies on S3 about single builds, beside the publishes that they let through.

Who builds may not write there, and does it by functions of the schema, which repeat what S3 says.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from kpi_assets.ledger.publishes import Publish
from kpi_assets.model.names import Relation
from kpi_assets.model.ruling import Ruling, RulingKind


@dataclass(frozen=True)
class RecordedRuling:
    """A row of ops.rulings, whose columns say what each field means."""

    ruling_id: int
    kind: RulingKind
    asset: str
    load_date: date
    checks: dict[str, float | None]
    reason: str
    ruled_by: str
    ruled_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    revoke_reason: str | None
    object_key: str
    checksum: str

    @property
    def sentence(self) -> str:
        """What it says about the rows that readers see."""
        checks, until = ", ".join(self.checks), f"{self.expires_at:%Y-%m-%d %H:%M} UTC" if self.expires_at else ""
        taken_back = f"; {self.revoked_by or 'somebody'} revoked that: {self.revoke_reason}" if self.revoked_at else ""
        what = f"{self.asset} of {self.load_date} is published although {checks} failed"
        return f"{what}: waived by {self.ruled_by} until {until} ({self.reason}){taken_back}"

    def state(self, now: datetime) -> str:
        """Return in one word what has become of it."""
        if self.revoked_at is not None:
            return "revoked"
        if self.used_at is not None:
            return "used"
        return "open" if self.expires_at is None or now < self.expires_at else "expired"


_COLUMNS = (
    "ruling_id, kind, asset, load_date, checks, reason, ruled_by, ruled_at, expires_at, used_at, revoked_at, "
    "revoked_by, revoke_reason, object_key, checksum"
)


def every(connection: Connection[Any]) -> list[RecordedRuling]:
    """All rulings, the latest load_date first."""
    return _read(connection, "order by load_date desc, asset, object_key")


def of_id(connection: Connection[Any], ruling_id: int) -> RecordedRuling | None:
    """The ruling with this number; None if there is none."""
    return next(iter(_read(connection, "where ruling_id = %s", ruling_id)), None)


def of_key(connection: Connection[Any], object_key: str) -> RecordedRuling | None:
    """The ruling of this object; None if it is not recorded."""
    return next(iter(_read(connection, "where object_key = %s", object_key)), None)


def keeping_out(connection: Connection[Any], publish: Publish) -> RecordedRuling | None:
    """The ruling that keeps the build of a publish out; None if nobody does."""
    found = _read(
        connection,
        "where kind = 'hold' and revoked_at is null "
        "and (asset, load_date, manifest_hash, code_version, rows, checksum) = (%s, %s, %s, %s, %s, %s) "
        "order by object_key limit 1",
        *(publish.asset, publish.load_date, publish.manifest_hash, publish.code_version),
        *(publish.rows, publish.checksum),
    )
    return next(iter(found), None)


def revoked(connection: Connection[Any], publish: Publish) -> RecordedRuling | None:
    """A ruling by which a publish, or what it was made from, was published and which was revoked since; None if none.

    It is the table's own, if that was revoked.
    """
    found = _read(
        connection,
        "where ruling_id = any(%s) and revoked_at is not null order by asset = %s desc, object_key limit 1",
        *(publish.rulings, publish.asset),
    )
    return next(iter(found), None)


def shown(connection: Connection[Any], first: date, last: date) -> list[RecordedRuling]:
    """The rulings by which the tables of a range of load_dates are published now, without those that they inherit."""
    return _read(
        connection,
        "where r.load_date between %s and %s and exists (select 1 from ops.publishes as p "
        "where p.asset = r.asset and p.load_date = r.load_date and p.superseded_at is null "
        "and r.ruling_id = any(p.rulings)) order by load_date, asset, object_key",
        *(first, last),
    )


def expired_unused(connection: Connection[Any], within: timedelta) -> list[RecordedRuling]:
    """The waivers that expired within this time up to now, and by which nothing was ever published."""
    return _read(
        connection,
        "where kind = 'waive' and used_at is null and revoked_at is null and expires_at <= clock_timestamp() "
        "and expires_at > clock_timestamp() - %s order by load_date, asset, object_key",
        within,
    )


def of_publish(connection: Connection[Any], table: Relation, load_date: date) -> list[RecordedRuling]:
    """The rulings by which a table of a load_date, or what it was made from, is published now."""
    return _read(
        connection,
        "where ruling_id in (select unnest(p.rulings) from ops.publishes as p "
        "where p.asset = %s and p.load_date = %s and p.superseded_at is null) order by load_date, asset, object_key",
        *(str(table), load_date),
    )


def _read(connection: Connection[Any], which: str, *values: object) -> list[RecordedRuling]:
    """Return rows of ops.rulings, which is `r` in `which`."""
    with connection.cursor(row_factory=class_row(RecordedRuling)) as cursor:
        return cursor.execute(f"select {_COLUMNS} from ops.rulings as r {which}", values).fetchall()  # noqa: S608


def used(connection: Connection[Any], table: Relation, load_date: date) -> frozenset[str]:
    """The keys of the rulings on a table and load_date by which a build was published."""
    rows = connection.execute(
        "select object_key from ops.rulings where asset = %s and load_date = %s and used_at is not null",
        [str(table), load_date],
    ).fetchall()
    return frozenset(key for (key,) in rows)


def record(
    connection: Connection[Any], table: Relation, load_date: date, rulings: Iterable[Ruling], at: datetime
) -> None:
    """Record the rulings on a table and load_date as they stand on S3; those that are gone there hold no longer.

    `at` stands for the time of a use that only S3 knows of.
    """
    said = [
        {
            "kind": each.kind,
            "manifest_hash": each.candidate.manifest_hash,
            "code_version": each.candidate.code_version,
            "checks_version": each.candidate.checks_version,
            "rows": each.candidate.rows,
            "checksum": each.candidate.checksum,
            "checks": dict(each.checks),
            "reason": each.reason,
            "ruled_by": each.by,
            "ruled_at": each.at.isoformat(),
            "expires_at": each.until and each.until.isoformat(),
            "used_at": at.isoformat() if each.was_used else None,
            "revoked_at": each.revoked and each.revoked.at.isoformat(),
            "revoked_by": each.revoked and each.revoked.by,
            "revoke_reason": each.revoked and each.revoked.reason,
            "object_key": each.key,
        }
        for each in rulings
    ]
    connection.execute("select ops.record_rulings(%s, %s, %s)", [str(table), load_date, Jsonb(said)])


def take(connection: Connection[Any], object_key: str) -> int | None:
    """Take a ruling for a publish, in its transaction: it cannot be revoked before that ends. Return its number.

    None if it may not be used: it was revoked, or has expired and was never used.
    """
    row = connection.execute("select ops.take_ruling(%s)", [object_key]).fetchone()
    assert row is not None
    found: int | None = row[0]
    return found


def mark_waived(connection: Connection[Any], build_id: int, checks: Collection[str], ruling_id: int) -> None:
    """Record by which ruling a build is published although these checks failed."""
    connection.execute(
        "update ops.data_quality_results set ruling_id = %s "
        "where build_id = %s and check_name = any(%s) and subject = 'candidate'",
        [ruling_id, build_id, [*checks]],
    )
