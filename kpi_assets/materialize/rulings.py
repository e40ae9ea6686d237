"""What rulings do to a build: one keeps a candidate out, another lets it be published although checks fail.

Belongs here: applying rulings to an audited candidate. Not here: reading them from S3 (decisions.py), making them
(rule.py), and what one covers (model/ruling.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from kpi_assets.materialize.fill import FillResult
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import NOT_RULED_OUT, CandidateKey, Ruling, why_unwaivable
from kpi_assets.model.table import Table
from kpi_assets.warehouse.audit import Audit


class WaiverGoneError(Exception):
    """The waiver of a candidate was revoked, or it expired, before the candidate was published: it is to be held."""


def key_of(table: Table, filled: FillResult, audit: Audit) -> CandidateKey:
    """Return what names a candidate."""
    return CandidateKey(filled.manifest_hash, table.code_version, table.checks_version, audit.rows, audit.checksum)


def ruled_out(audit: Audit, candidate: CandidateKey, rulings: Sequence[Ruling]) -> Audit:
    """Return the audit with a result more, which fails, if somebody keeps this candidate out."""
    found = next((each for each in rulings if each.keeps_out(candidate)), None)
    if found is None:
        return audit
    result = CheckResult(
        NOT_RULED_OUT,
        passed=False,
        blocking=True,
        metric=1,
        threshold=0,
        message=f"kept out by {found.by} on {found.at:%Y-%m-%d %H:%M} UTC: {found.reason}",
    )
    return replace(audit, results=[*audit.results, result])


def find_waiver(table: Table, audit: Audit, candidate: CandidateKey, rulings: Sequence[Ruling]) -> Ruling | None:
    """Return the ruling by which a candidate that its checks hold may be published; None if it must be held."""
    failed = [result for result in audit.results if result.blocks_publish]
    if not failed or any(why_unwaivable(result, table.checks) for result in failed):
        return None
    names, now = {result.name for result in failed}, datetime.now(timezone.utc)
    return next((each for each in rulings if each.lets_through(candidate, names, now)), None)
