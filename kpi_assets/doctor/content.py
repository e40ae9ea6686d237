"""Compares the rows and objects of a pipeline with its ledger, and its tables with the files below sql/."""

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.doctor.finding import Finding, advice, broken, ok
from kpi_assets.ledger import kept, manifests, mirrors, publishes, results, schema
from kpi_assets.materialize import keep
from kpi_assets.materialize.drop import orphans
from kpi_assets.materialize.measures import find_outdated
from kpi_assets.materialize.recheck import check_as_published
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store, open_store
from kpi_assets.warehouse import live_views
from kpi_assets.warehouse.connection import connect
from kpi_assets.warehouse.content import find_lost
from kpi_assets.warehouse.ddl import relkind_of
from kpi_assets.warehouse.tables import find_mismatches


def content(connection: Connection[Any], pipeline: Pipeline, subject: str, *, deep: bool) -> Iterator[Finding]:
    """Find published rows that are gone or, if `deep`, have changed since; and tables that do not match a file."""
    published = publishes.all_current(connection)
    described = [publish for publish in published if Relation.parse(publish.asset) in pipeline.tables]
    bad = 0
    for relation, table in pipeline.tables.items():
        of_table = [publish for publish in described if publish.asset == str(relation)]
        gone = find_lost(connection, table, [publish.load_date for publish in of_table if publish.rows])
        if gone:
            first, *more = sorted(gone)
            others = f" and of {len(more)} more load_dates" if more else ""
            yield broken(
                subject,
                f"the rows of {relation} of {first}{others} are gone, although the ledger says they are published: "
                f"`kpi backfill {pipeline.name} --from {first} --to {max(gone)} --only lost` builds them again",
            )
        changed = {}
        for publish in of_table if deep else ():
            if publish.load_date not in gone and not (found := check_as_published(connection, table, publish)).passed:
                changed[publish.load_date] = found.message
        if changed:
            first, *more = sorted(changed)
            others = f"; {len(more)} more load_dates of it differ" if more else ""
            yield broken(subject, f"{relation} of {first}: {changed[first]}{others}")
        bad += len(gone) + len(changed)
    if not bad:
        what = "has the rows and checksum of the ledger" if deep else "is there; --deep compares the rows too"
        yield ok(subject, f"all that is published ({len(described)} load_dates of tables) {what}")
    live = live_views.find_mismatches(connection, pipeline)
    for mismatch in (*find_mismatches(connection, pipeline.tables.values()), *live):
        yield broken(subject, mismatch)
    yield from _lagging(connection, pipeline, subject)
    yield from _outdated_measures(connection, pipeline, subject)
    yield from _kept(connection, pipeline, subject)
    for warning in results.warned(connection):
        yield advice(subject, f"{warning} (a warning): `kpi checks {pipeline.name}` prints the rows")
    for orphan in orphans(connection, pipeline.tables):
        yield advice(
            subject,
            f"no file describes {orphan}, which readers still see: put the file back, or run "
            f"`kpi drop {pipeline.name} {orphan.asset}`",
        )


def _lagging(connection: Connection[Any], pipeline: Pipeline, subject: str) -> Iterator[Finding]:
    """Find tables of the lake whose `main` does not show what readers of the ledger see."""
    lagging = mirrors.lagging_of(connection, [table.relation for table in pipeline.lake_tables])
    for relation, days in lagging.items():
        yield advice(
            subject,
            f"main of {relation} on the lake lags behind the ledger for {len(days)} "
            f"load_date{'s' * (len(days) > 1)}, first {min(days)}: the next build of the table moves it, and so does "
            f"`kpi retention {pipeline.name} --drop`",
        )


def _kept(connection: Connection[Any], pipeline: Pipeline, subject: str) -> Iterator[Finding]:
    """Say what is kept for a rollback, and what is kept for longer than the files say or is gone."""
    found = kept.every(connection)
    gone = [each for each in found if relkind_of(connection, Relation.parse(each.relation)) is None]
    if gone:
        yield broken(
            subject,
            f"rows of {gone[0].asset} of {gone[0].load_date} that were kept for a rollback are gone from the database "
            f"({gone[0].relation}{f' and {len(gone) - 1} more' if gone[1:] else ''}): no rollback can show them again",
        )
    if not found:
        return
    counts = keep.bytes_by_table(found)
    total = sum(size for _, size in counts.values()) / 1e6
    text = ", ".join(f"{asset} {number}" for asset, (number, _) in sorted(counts.items()))
    yield ok(subject, f"{len(found)} earlier contents are kept for a rollback, {total:,.1f} MB ({text})")
    due = keep.find_due(pipeline, found, datetime.now(timezone.utc))
    if due:
        yield advice(
            subject,
            f"{len(due)} of them are kept for longer than the files say: `kpi retention {pipeline.name} --drop` drops "
            "them",
        )


def _outdated_measures(connection: Connection[Any], pipeline: Pipeline, subject: str) -> Iterator[Finding]:
    outdated = sum(len(find_outdated(connection, table)) for table in pipeline.tables.values())
    if outdated:
        yield advice(
            subject,
            f"measures of {outdated} load_dates of KPIs were added or changed since they were published: "
            f"`kpi measures {pipeline.name} --refresh` computes their values",
        )


def objects(settings: Settings, pipeline: Pipeline) -> Iterator[Finding]:
    """Read every object of a published load_date, and compare its bytes with those that were published."""
    store = open_store(pipeline, settings)
    subject, bad = f"bucket {store.bucket}", 0
    assert settings.postgres_url is not None
    with connect(settings.postgres_url, pipeline.name, "doctor", read_only=True) as connection:
        if schema.pending(connection):
            return
        found = manifests.of_published(connection, [table.relation for table in pipeline.object_tables])
    references = {t.relation.table: t.source.object for t in pipeline.object_tables if t.source.key.is_reference}
    overwritten: set[str] = set()
    for manifest, sha256 in found:
        place = manifest.url
        try:
            now = store.manifest(manifest.object, manifest.load_date, manifest.key)
            if now is not None and now.hash == manifest.hash:
                problem = _other_bytes(store, manifest, sha256)
            else:
                problem = ""
                if manifest.object in references:
                    overwritten.add(place)
                else:
                    what = "removed" if now is None else "replaced"
                    yield advice(subject, f"{place} was {what} since it was published: see `kpi plan {pipeline.name}`")
        except LakeError as error:
            problem = str(error)
        if problem:
            bad += 1
            yield broken(subject, problem)
    for place in sorted(overwritten):
        yield advice(
            subject,
            f"{place} was overwritten since load_dates were published from it: only a bucket that keeps versions can "
            "give them again",
        )
    if not bad:
        yield ok(subject, f"the {len(found)} objects of published load_dates have the bytes that were read")


def _other_bytes(store: Store, manifest: Manifest, sha256: str) -> str:
    """Read an object, and return what is wrong if it has other bytes than those that were published."""
    read = store.read(manifest)
    for _ in read:
        pass
    if store.proven(manifest, read.digests) == sha256:
        return ""
    return f"{manifest.url} does not have the bytes that were published: land it again from its source"
