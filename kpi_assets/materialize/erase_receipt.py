"""The receipt of an erasure on S3: what was done and proven, with the sha256 of the receipt before.

Not here: the proof (erase_proof.py).
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from kpi_assets.ledger import erased_values, manifest_links
from kpi_assets.ledger import erasures as ledger
from kpi_assets.ledger.erasures import RecordedErasure
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import Wiped
from kpi_assets.model.subject_tables import holders_of
from kpi_assets.sources import erasures as objects
from kpi_assets.sources.objects import TakenError
from kpi_assets.sources.refusals import LakeError

_NOT_LOOKED_AT = (
    "files and numbers that left the pipeline: exports, caches of BI tools, e-mails",
    "the source that delivers the objects",
    "backups of the server from before this receipt",
)
_WAL = {
    True: "deleted",
    False: "segments from before this receipt are there until the server has deleted them or written over them",
}
_STORE = {
    True: "vacuumed: the bytes of the old objects are gone from its disk",
    False: "ask whoever runs it when the bytes of objects that were replaced are gone from its disks",
}


def receipt(
    context: BuildContext,
    erasure: RecordedErasure,
    wiped: Wiped,
    kept_until: date,
    kept: Sequence[str] = (),
    *,
    store_is_vacuumed: bool = False,
) -> str:
    """Write the receipt to S3, and note in the ledger that the erasure is through; return its key.

    `kept` are versions of decisions that nobody could delete. Backups that hold the persons are kept until
    `kept_until`, as the operator says. A receipt is written once.
    """
    with context.ledger_session("erase") as connection:
        links = manifest_links.of_erasure(connection, erasure.erasure)
        rebuilt = erased_values.rebuilt(
            connection, erasure.erasure, [str(each) for each in holders_of(context.pipeline)]
        )
        every = ledger.every(connection)
        wal = connection.execute("select pg_current_wal_lsn()::text").fetchone()
    now = next(each for each in every if each.erasure == erasure.erasure)
    before = [each for each in every if each.erasure < erasure.erasure and each.receipt_sha256]
    words = {
        "erasure": erasure.erasure,
        "pipeline": context.pipeline.name,
        "kind": erasure.kind,
        "request": erasure.request,
        "reason": erasure.reason,
        "by": erasure.erased_by,
        "at": erasure.erased_at.isoformat(),
        "persons": erasure.keys,
        "objects": [_object(each) for each in links],
        "rebuilt": [f"{asset} of {load_date}" for asset, load_date in rebuilt],
        "emptied": {"decisions": 0, **now.emptied},
        "versions_of_decisions_kept": list(kept),
        "dagster_runs_deleted": now.runs,
        "files_not_written_anew": list(wiped.refused),
        "wal": _WAL[wiped.wal],
        "object_store": _STORE[store_is_vacuumed],
        "last_wal_position": wal[0] if wal else None,
        "gone_from_backups_by": kept_until.isoformat(),
        "not_looked_at": list(_NOT_LOOKED_AT),
        "receipt_before": before[-1].receipt_sha256 if before else None,
    }
    body = (json.dumps(words, indent=1, ensure_ascii=False) + "\n").encode()
    key = objects.receipt_key(erasure.erasure)
    try:
        context.store.put(key, body, "application/json", only_new=True)
    except TakenError:  # who was interrupted had written it
        body = objects.read_receipt(context.store, erasure.erasure)
    with context.ledger_session("erase") as connection:
        ledger.finish(connection, erasure.erasure, hashlib.sha256(body).hexdigest())
    return key


def _object(link: manifest_links.Link) -> dict[str, Any]:
    return {
        "key": link.key,
        "records_before": link.records_before,
        "erased": link.records_erased,
        "records_after": link.records_after,
        "hmac_of_old_sha256": link.old_digest,
        "new_sha256": link.new_sha256,
        "versions_deleted": link.versions_deleted,
        "versions_kept": link.versions_kept,
    }


def broken_receipts(context: BuildContext, erasures: Sequence[RecordedErasure]) -> list[str]:
    """Return a sentence for each receipt that is not the one that was written, or does not follow the one before."""
    said, before = [], None
    for each in (every for every in erasures if every.receipt_sha256):
        key = objects.receipt_key(each.erasure)
        try:
            body = objects.read_receipt(context.store, each.erasure)
        except LakeError as error:
            said.append(str(error))
            continue
        if hashlib.sha256(body).hexdigest() != each.receipt_sha256:
            said.append(f"{key} is not the receipt that was written")
        elif json.loads(body).get("receipt_before") != before:
            said.append(f"{key} does not follow the receipt before it")
        before = each.receipt_sha256
    return said
