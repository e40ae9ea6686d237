"""Loads without the persons who were erased.

Each load of a table that names persons brings the ledger up to the erasures on S3, so that nobody is loaded whom any
installation erased. After the rows are there, one join finds erased persons; only if it finds some, the candidate is
made again without them.
Belongs here: when a load looks, and what is told. Not here: the SQL (warehouse/erased.py), and erasing somebody.
"""

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UsageError
from kpi_assets.ledger import erasures as ledger
from kpi_assets.ledger import incidents
from kpi_assets.materialize.context import BuildContext, Stopwatch
from kpi_assets.materialize.fill import FillResult, analyze_and_index
from kpi_assets.model.erasure import Erasure, ErasureError, Salted, mark_of
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.table import Table
from kpi_assets.settings import Settings, settings
from kpi_assets.sources import erasures as objects
from kpi_assets.warehouse import erased as rows
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.erased import Erased


def salt_of(words: Settings) -> str:
    """Return the salt of the installation. Raises UsageError if it is not set."""
    if words.erasure_salt is None:
        raise UsageError(
            "The setting KPI_ERASURE_SALT is missing, without which erased persons cannot be recognized: set it to "
            "what it was when the first one was erased, or, if nobody was yet, to 32 random letters or more."
        )
    return words.erasure_salt.get_secret_value()


def salted_of(context: BuildContext, kinds: Collection[str]) -> dict[str, Salted]:
    """Return the salts of some kinds of persons. Raises UsageError without that of the installation."""
    salt = salt_of(context.settings or settings())
    return {kind: Salted.of(salt, context.pipeline.name, kind) for kind in kinds}


def mask_of(context: BuildContext) -> Callable[[str], str]:
    """Return what makes of a digest its HMAC, which confirms no guess to who lacks the salt."""
    salt = salt_of(context.settings or settings()).encode()
    return lambda digest: hmac.digest(salt, f"digest\0{digest}".encode(), "sha256").hex()


def erased_of(context: BuildContext, connection: Connection[Any], table: Table) -> Erased | None:
    """Return the persons whom a load of a table leaves out; None if nobody was erased whom it could name.

    The ledger has all erasures of S3 afterwards. Raises ErasureError, LakeError, and UsageError without the salt.
    """
    if not table.header.subject:
        return None
    bring_up(context, connection)
    found = ledger.kinds(connection) & table.header.subject.keys()
    if not found:
        return None
    return Erased(table, salted_of(context, found))


def bring_up(
    context: BuildContext, connection: Connection[Any], *, made_here: Collection[str] = ()
) -> Mapping[str, Erasure]:
    """Record the erasures of the pipeline that lie on S3 and that the ledger lacks; return them by their keys.

    The ledger is behind each of them that is not `made_here`, by its key.
    """
    known = ledger.recorded(connection)
    new = {}
    for number, entry in objects.find(context.store):
        if entry.key not in known:
            found = objects.read(context.store, number, entry)
            if found.pipeline == context.pipeline.name:
                new[entry.key] = found
    if new:
        mark = mark_of(salt_of(context.settings or settings()))
        for key, each in new.items():
            if each.salt != mark:
                raise ErasureError(
                    f"{key} was made with another salt than KPI_ERASURE_SALT, so that its persons cannot be "
                    "recognized: set that to what it was then."
                )
    if new or made_here:
        ledger.record(connection, new, made_here=made_here)
    return new


def leave_out(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    filled: FillResult,
    erased: Erased,
    manifest: Manifest,
    watch: Stopwatch,
) -> FillResult:
    """Leave erased persons out of a candidate that was filled from an object, and tell if its source still has them."""
    found = rows.find(connection, candidate, erased, manifest.last_modified)
    if not found.rows:
        return filled
    before = filled.counts.loaded or 0
    with connection.transaction():
        after = rows.make_again(connection, candidate, erased)
        proven = analyze_and_index(context, connection, candidate, watch)
    if found.newly:
        _tell(context, connection, candidate, found.newly, manifest)
    counts = replace(filled.counts, loaded=after, erased=(filled.counts.erased or 0) + before - after)
    return replace(filled, counts=counts, grain_is_proven=proven)


def _tell(
    context: BuildContext,
    connection: Connection[Any],
    candidate: Candidate,
    newly: Mapping[str, int],
    manifest: Manifest,
) -> None:
    persons = ", ".join(f"{count} erased {kind}" for kind, count in sorted(newly.items()))
    sentence = (
        f"{candidate.table.relation}: the source still delivers {persons} in {manifest.url}: they were left out; have "
        "them taken out where the file is made"
    )
    incidents.report_erased(
        connection, context.pipeline.name, str(candidate.table.relation), candidate.load_date, context.run_id, sentence
    )
