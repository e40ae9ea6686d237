"""What rulings do to a build: one keeps a candidate out, another lets it be published although checks fail.

Belongs here: applying rulings to an audited candidate. Not here: reading them from S3 (decisions.py), making them
(rule.py), and what one covers (model/ruling.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import holds
from kpi_assets.materialize.fill import FillResult
from kpi_assets.materialize.inputs import Inputs
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import NOT_RULED_OUT, CandidateKey, Ruling, why_unwaivable
from kpi_assets.model.table import Table
from kpi_assets.warehouse.audit import Audit


class WaiverGoneError(Exception):
    """The waiver of a candidate was revoked, or it expired, before the candidate was published: it is to be held."""


def key_of(table: Table, filled: FillResult, audit: Audit) -> CandidateKey:
    """Return what names a candidate."""
    return CandidateKey(filled.manifest_hash, table.code_version, table.checks_version, audit.rows, audit.checksum)


def ruled_out(connection: Connection[Any], audit: Audit, candidate: CandidateKey, inputs: Inputs) -> Audit:
    """Return the audit with a result more, which fails, if somebody keeps this candidate out.

    A candidate is also kept out if it has other rows than a ruling names, only because its inputs were rolled back.
    """
    table, load_date = inputs.table, inputs.load_date
    said = next((_said(each) for each in inputs.rulings if each.keeps_out(candidate)), "")
    if not said and not table.has_object and any(each.kind == "hold" and not each.revoked for each in inputs.rulings):
        said = holds.kept_out(connection, table.relation, load_date, candidate.code_version, inputs.publish_ids)
    if not said:
        return audit
    result = CheckResult(NOT_RULED_OUT, passed=False, blocking=True, metric=1, threshold=0, message=said)
    return replace(audit, results=[*audit.results, result])


def _said(ruling: Ruling) -> str:
    return f"kept out by {ruling.by} on {ruling.at:%Y-%m-%d %H:%M} UTC: {ruling.reason}"


def find_waiver(table: Table, audit: Audit, candidate: CandidateKey, rulings: Sequence[Ruling]) -> Ruling | None:
    """Return the ruling by which a candidate that its checks hold may be published; None if it must be held."""
    failed = [result for result in audit.results if result.blocks_publish]
    if not failed or any(why_unwaivable(result, table.checks) for result in failed):
        return None
    names, now = {result.name for result in failed}, datetime.now(timezone.utc)
    return next((each for each in rulings if each.lets_through(candidate, names, now)), None)
