"""Verifies the S3 objects of a load_date: they exist, are not empty, begin as declared, and were not cut off.

An object that an API gives is fetched first if it is not there. Mostly it is one object. Of several, each is verified,
and a message names those that are not as they should be.

Belongs here: the checks that need only S3's metadata and a few bytes. Not here: the checks that need the whole object
(load.py, audit.py), and fetching (fetch.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Any

import psycopg
from psycopg import Connection

from kpi_assets.lake_places import object_url
from kpi_assets.ledger import holds, manifests, results, runs
from kpi_assets.materialize import fetch
from kpi_assets.materialize.context import BuildContext, ObjectOutcome, run_log_message
from kpi_assets.materialize.object_checks import checks_last_record
from kpi_assets.model.calendar import named
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.results import CheckResult
from kpi_assets.model.table import Table
from kpi_assets.sources import reference
from kpi_assets.sources.deliveries import AT_ONCE, find_several, too_many
from kpi_assets.sources.formats import format_of

NAMED = 3  # objects that one message names


def asset_name(table: Table) -> str:
    """Return the name of the table's object in ops: `s3.<table>`."""
    return table.object_name


def verify(context: BuildContext, table: Table, load_date: date) -> ObjectOutcome:
    """Verify the object of a raw table and record its state and the results.

    A check that makes no sense after an earlier one failed (the header of an empty object) has no result. Raises
    LakeError, and writes it to the run log, if S3 cannot be used, and ApiError if an API gives no object; raises
    UsageError for a load_date that may not be built.
    """
    context.pipeline.check_due(table, load_date)
    with context.session(table, f"{context.run_id[:8]} {asset_name(table)}") as connection:
        row_id = runs.open_row(
            connection,
            run_id=context.run_id,
            pipeline=context.pipeline.name,
            job=asset_name(table),
            load_date=load_date,
        )
        try:
            outcome = _inspect(context, connection, table, load_date)
            _record(context, connection, table, load_date, row_id, outcome)
        except BaseException as error:
            context.on_progress("failed", 0, 0)
            with suppress(psycopg.Error):
                runs.close_build(
                    connection, row_id, "failed", layer="raw", counts=runs.Counts(), error=run_log_message(error)
                )
            raise
    context.on_progress("missing" if outcome.is_missing else "held" if outcome.held else "verified", 0, 0)
    return outcome


def _inspect(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> ObjectOutcome:
    """Make the checks in order, until one fails after which the next makes no sense."""
    why_not = fetch.fetch_lacking(context, connection, table, load_date) if table.source.api else ""
    found, manifest = find_object(context, connection, table, load_date)
    if manifest is None:
        message = f"{found.message}: {why_not}" if why_not else found.message
        return ObjectOutcome(None, [replace(found, message=message)])
    results = [found]
    if table.source.carried_days:
        results.append(_result("carried", _stands_in(table, manifest, why_not), blocking=False))
    if table.source.key.is_pattern:
        results.append(_result("objects", _misplaced(table, manifest)))
    empty = (each for each in manifest.objects if not each.size_bytes)
    results.append(_result("not_empty", _some(f"{each.url} has 0 bytes" for each in empty)))
    if not any(result.blocks_publish for result in results):
        results += _inspect_starts(context, connection, table, manifest)
    return ObjectOutcome(manifest, results, context.store.metadata(manifest) if table.source.api else {})


def find_object(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date
) -> tuple[CheckResult, Manifest | None]:
    """Return the check that the objects of a load_date are there, and their state: None if nothing can be read."""
    if table.source.carried_days:
        return _find_carried(context, table, load_date)
    store, key, name = context.store, table.object_key(load_date), table.relation.table
    manifest, problem = None, f"{object_url(store.bucket, key)} is not there"
    if table.source.key.is_pattern:
        several = find_several(store, table, load_date, datetime.now(timezone.utc))
        manifest, problem = several.manifest, several.lacks
        is_absent = several.is_absent
    else:
        manifest = store.manifest(name, load_date, key)
        is_absent = manifest is None
    if table.source.key.is_reference:
        known = manifests.states(connection, name, store.bucket, key)
        state = reference.state_of(known, manifest, load_date)
        if state is not None:
            state, is_absent = reference.exists(store, state, manifest), False
            manifest, problem = (None, state.gone) if state.gone else (state.manifest, "")
    if is_absent and table.source.optional:
        return replace(_result("exists", ""), message=f"{problem}: it is optional"), None
    return _result("exists", "" if manifest else problem), manifest


def _find_carried(context: BuildContext, table: Table, load_date: date) -> tuple[CheckResult, Manifest | None]:
    """Return what find_object does, for a source of which the latest object that has landed is read."""
    store, days = context.store, table.object_days(load_date)
    for day in days:
        if table.source.key.is_pattern:
            manifest = find_several(store, table, day, datetime.now(timezone.utc)).manifest
        else:
            manifest = store.manifest(table.relation.table, day, table.object_key(day))
        if manifest is not None:
            return _result("exists", ""), manifest.of_load_date(load_date)
    keys = [object_url(store.bucket, table.object_key(day)) for day in days]
    lacking = " and ".join([", ".join(keys[:-1]), keys[-1]] if keys[1:] else keys) or "an object of an earlier day"
    verb = "are" if keys[1:] else "is"
    most = table.source.carried_days
    return _result("exists", f"{lacking} {verb} not there, and an object is carried for {most} days at most"), None


def _stands_in(table: Table, manifest: Manifest, why: str) -> str:
    """Return for which object that has not landed an older one is read, and why; empty if it is the latest due one."""
    load_date = manifest.load_date
    due, day = table.object_days(load_date)[0], table.object_day(load_date, manifest.key)
    problem = f"{manifest.url} is read, since that of {named(due)}, has not landed"
    return "" if day == due else f"{problem}: {why}" if why else problem


def _misplaced(table: Table, manifest: Manifest) -> str:
    """Return what is wrong with the number of objects, or with an object that other load_dates have too."""
    key = table.source.key
    of_several = ((each, key.load_dates(each.key)) for each in manifest.parts)
    problems = (
        f"{each.url} belongs to {' and '.join(map(str, days))}, since its key has both dates: take it away, or write "
        "source.object so that the date has one place"
        for each, days in of_several
        if len(days) > 1
    )
    return _some(problems) or too_many(table.source, len(manifest.parts))


def _inspect_starts(
    context: BuildContext, connection: Connection[Any], table: Table, manifest: Manifest
) -> Iterator[CheckResult]:
    """Yield the results of the checks that need some bytes of each object."""
    day = table.object_day(manifest.load_date, manifest.key)

    def inspect(each: Manifest) -> tuple[str, bool]:
        with format_of(table).open(context.store, each, table, day) as opened:
            problem = f"{each.url}: {opened.problem}" if opened.problem else ""
            return problem, not problem and checks_last_record(table) and opened.may_be_cut_off()

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="inspect") as pool:
        inspected = list(pool.map(inspect, manifest.objects))
    yield _result("header", _some(problem for problem, _ in inspected if problem))
    if checks_last_record(table) and not any(problem for problem, _ in inspected):
        cut_off = [each for each, (_, is_cut_off) in zip(manifest.objects, inspected, strict=True) if is_cut_off]
        yield _ends_with_line_end(connection, table, manifest, cut_off)


def _ends_with_line_end(
    connection: Connection[Any], table: Table, manifest: Manifest, cut_off: Sequence[Manifest]
) -> CheckResult:
    """Check that each object ends with a line end.

    Some programs write no line end after the last record. If the object is also smaller than the previous load_date's,
    its upload was probably cut off, and the check blocks the build whatever the header says.
    """
    blocking = table.source.ends_with_line_end == "hold"
    problem = _some(f"{each.url} ends without a line end: its last record may be cut off" for each in cut_off)
    if problem:
        earlier = manifests.before(connection, manifest.object, manifest.load_date)
        if earlier and manifest.size_bytes < earlier.size_bytes:
            blocking = True
            has = "the objects have" if manifest.parts else "it has"
            problem += (
                f", and {has} fewer bytes than that of {earlier.load_date} "
                f"({manifest.size_bytes} after {earlier.size_bytes})"
            )
    return _result("ends_with_line_end", problem, blocking=blocking)


def _some(problems: Iterable[str]) -> str:
    """Join the first few problems, and say how many more there are."""
    found = list(problems)
    more = f"; and {len(found) - NAMED} more objects" if len(found) > NAMED else ""
    return "; ".join(found[:NAMED]) + more


def _record(
    context: BuildContext,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    row_id: int,
    outcome: ObjectOutcome,
) -> None:
    if outcome.manifest is not None:
        manifests.record(connection, outcome.manifest, run_id=context.run_id)
    results.record(
        connection,
        outcome.results,
        run_id=context.run_id,
        build_id=row_id,
        table=asset_name(table),
        load_date=load_date,
        subject="object",
    )
    status: runs.Status = "missing" if outcome.is_missing else "held" if outcome.held else "success"
    problems = "; ".join(result.message for result in outcome.results if result.blocks_publish)
    if outcome.held and outcome.manifest is not None:
        holds.record(connection, row_id, manifest_hash=outcome.manifest.hash, code_version=table.object_version)
    runs.close_build(connection, row_id, status, layer="raw", counts=runs.Counts(), error=problems or None)


def _result(name: str, problem: str, *, blocking: bool = True) -> CheckResult:
    return CheckResult(
        name, passed=not problem, blocking=blocking, metric=int(bool(problem)), threshold=0, message=problem
    )
