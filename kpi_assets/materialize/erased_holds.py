"""Builds that somebody keeps out stay out when their object is written again without erased persons.

A ruling names one build. Its object without the persons would give another one, of the same delivery. So a mark beside
the ruling names the new state of the object, and the old one, which a source may deliver again: a load leaves the
persons out of it.
Belongs here: which rulings follow their objects, and keeping builds away meanwhile. Not here: writing objects again
(rewrite.py), and what a ruling does to a build (rulings.py).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import manifest_links
from kpi_assets.ledger.locks import build_lock, unlock
from kpi_assets.ledger.manifest_links import Link
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erasures import mask_of
from kpi_assets.materialize.retry import wait_for_lock
from kpi_assets.materialize.verify_object import find_object
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.ruling import Ruling
from kpi_assets.model.table import Table
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.decisions import may_be_ruled_on


@contextmanager
def following(context: BuildContext, connection: Connection[Any], table: Table) -> Iterator[Callable[[], None]]:
    """Yield what is to be called after each object that was written again, and once at the end.

    Load_dates of which somebody keeps a build out are not built meanwhile. Raises LakeError and DecisionError.
    """
    days = _held_days(context, table)
    with ExitStack() as locked:
        for lock in (build_lock(table.relation, day) for day in days):
            wait_for_lock(connection, lock, "waiting for a build of it", context.on_progress)
            locked.callback(unlock, connection, lock)

        def follow() -> None:
            for day in days:
                _follow(context, connection, table, day)

        yield follow


def _held_days(context: BuildContext, table: Table) -> list[date]:
    """Return the load_dates of which somebody keeps a build out."""
    if not may_be_ruled_on(table):
        return []
    found = (each.load_date for each in objects.find_of_table(context.store, table.relation))
    return [day for day in found if _holds(context, table, day)]


def _holds(context: BuildContext, table: Table, load_date: date) -> list[Ruling]:
    found = objects.find(context.store, table.relation, load_date)
    said = objects.read(context.store, table, found, only_rulings=True)
    return [each for each in said.rulings if each.kind == "hold" and each.revoked is None]


def _follow(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> None:
    """Mark the rulings whose object was written again; safe to repeat."""
    _, now = find_object(context, connection, table, load_date)
    links = _links(context, connection, now) if now else []
    if now is None or not links:
        return
    for ruling in _holds(context, table, load_date):
        states = {ruling.candidate.manifest_hash, *ruling.without}
        masked = [each for state in states for each in _masks(context, state, 1 + len(links))]
        words = now, links, str(table.relation), ruling.candidate.code_version, masked
        if now.hash not in states and manifest_links.follows(connection, *words):
            for state in (ruling.candidate.manifest_hash, now.hash):
                objects.add_without(context.store, ruling.key, state)


def _links(context: BuildContext, connection: Connection[Any], manifest: Manifest) -> list[Link]:
    """Return the links that lead to the objects as they are now, also by several erasures one after another."""
    mask, found = mask_of(context), list[Link]()
    for each in manifest.objects:
        links = manifest_links.of_object(connection, each.bucket, each.key)
        reached = [link for link in links if (link.new_etag or "").strip('"') == each.etag.strip('"')]
        for link in reached:  # which grows meanwhile
            reached += [other for other in links if mask(other.new_sha256) == link.old_digest and other not in reached]
        found += reached
    return found


def _masks(context: BuildContext, state: str, times: int) -> Iterator[str]:
    """Yield what the ledger may have in the place of a hash: that of several objects is masked again with each."""
    mask = mask_of(context)
    for _ in range(times):
        state = mask(state)[:16]
        yield state
