"""`kpi erase`: persons are erased from objects, tables and ops, and a receipt says what was proven."""

import sys
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer

from kpi_assets.cli.arguments import PipelineName
from kpi_assets.cli.plan import load_date_statuses
from kpi_assets.cli.quarantine import By, who
from kpi_assets.cli.run import explain
from kpi_assets.cli.runner import Result, open_runner
from kpi_assets.cli.selection import due_names, select_names
from kpi_assets.cli.terminal import grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError
from kpi_assets.instance.dagster_tables import open_tables
from kpi_assets.instance.storage import open_instance
from kpi_assets.lake_places import object_url
from kpi_assets.ledger.erasures import RecordedErasure
from kpi_assets.materialize import erase as steps
from kpi_assets.materialize import erase_proof, erase_receipt, erased_decisions, files_anew
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.erase import Asked
from kpi_assets.materialize.erased_decisions import Emptied
from kpi_assets.sources.store import open_store

_COLUMNS = ("erasure", "kind", "persons", "request", "by", "at", "through", "reason")
_REASONS = {"objects", "lost", "released", "decisions", "inputs", "window"}  # for which a load_date is built again


def erase(
    pipeline: PipelineName,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="The kind of person, as subject names it.")] = "",
    ids: Annotated[
        str, typer.Option("--ids", metavar="FILE", help="A file with one identifier on each line; - for stdin.")
    ] = "",
    request: Annotated[str, typer.Option(metavar="REF", help="What whoever asked for it calls the request.")] = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept with the erasure.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the records.")] = False,
    yes: Annotated[
        int | None, typer.Option(metavar="N", help="The number of records that --dry-run counted: erases them.")
    ] = None,
    verify: Annotated[int | None, typer.Option(metavar="N", help="Look again for the persons of an erasure.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Go on with erasures that are not through.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Print the erasures.")] = False,
    backup_days: Annotated[
        int, typer.Option(metavar="DAYS", min=0, max=36500, help="For how long backups are kept; it is in the receipt.")
    ] = 35,
    by: By = "",
) -> None:
    """Erase persons from objects, tables and ops: exit 0 if nothing of them is left, 1 if something is."""
    pipeline_of(pipeline)
    _check_words(kind, ids, verify, apply=apply, list_=list_)
    with open_workspace(pipeline) as work:
        context = _context(work)
        if list_:
            _print(pipeline, steps.bring_up_all(context))
        elif verify is not None:
            _verify(context, verify, _read(ids), work.settings.home if work.stack else None)
        elif apply:
            _go_on(work, context, backup_days)
        else:
            asked = Asked(kind, _read(ids), request, reason, who(by))
            if _begin(context, asked, yes, dry_run=dry_run):
                _go_on(work, context, backup_days)


def _check_words(kind: str, ids: str, verify: int | None, *, apply: bool, list_: bool) -> None:
    """Raise UsageError unless one thing is asked for."""
    wanted = [
        name for name, is_asked in (("--verify", verify is not None), ("--apply", apply), ("--list", list_)) if is_asked
    ]
    if kind:
        wanted.append("KIND")
    if len(wanted) != 1:
        given = " and ".join(wanted) or "nothing"
        raise UsageError(f"{given} is given: give a KIND to erase persons, or one of --verify, --apply and --list.")
    if (kind or verify is not None) and not ids:
        raise UsageError("The persons are not named: give with --ids a file with one identifier on each line, or -.")


def _read(ids: str) -> list[str]:
    """Return the identifiers of a file, each once. No message shows one."""
    try:
        body = sys.stdin.buffer.read() if ids == "-" else Path(ids).read_bytes()
        lines = [line.strip() for line in body.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UsageError(
            f"What --ids names is not UTF-8: write it as text, one identifier on each line ({ids})."
        ) from None
    except OSError as error:
        raise UsageError(f"The file of --ids cannot be read ({error.strerror}): {ids}.") from None
    return list(dict.fromkeys(filter(None, lines)))


def _context(work: Workspace) -> BuildContext:
    store = open_store(work.pipeline, work.settings)
    return BuildContext(work.pipeline, work.ready().server, store, str(uuid.uuid4()), settings=work.settings)


def _begin(context: BuildContext, asked: Asked, yes: int | None, *, dry_run: bool) -> bool:
    """Count the records, and write the erasure if that number was given; return whether it was written."""
    steps.check(asked)
    keys = steps.keys_of(context, asked.kind, asked.values)
    counted = steps.count(context, asked.kind, keys)
    total = sum(each.records for each in counted)
    for each in counted:
        say(f"{each.table}: {each.records:,} records in {each.objects:,} objects")
    if dry_run:
        say(f"Nothing was erased. `--yes {total}` in place of --dry-run erases them; nobody can bring them back.")
        return False
    if yes != total:
        given = "no number was given" if yes is None else f"--yes {yes} is another number"
        raise UsageError(
            f"{total:,} records are about {len(asked.values):,} identifiers, and {given}: nothing was erased; give "
            f"--yes {total} if they are to be erased for good."
        )
    number = steps.write(context, asked, keys)
    say(styled("erased", "yellow"), f" erasure {number}: from now on no load has these persons")
    return True


def _go_on(work: Workspace, context: BuildContext, backup_days: int) -> None:
    """Do what is not done yet of every erasure. Raises typer.Exit if a load_date was not built, or somebody is left."""
    name = work.pipeline.name
    left = [each for each in steps.bring_up_all(context) if each.applied_at is None]
    if not left:
        say(f"{name}: every erasure is through.")
        return
    decisions: dict[int, Emptied] = {}
    for each in left:
        links = steps.rewrite_objects(context, each, lambda _key, _erased: None)
        erased = sum(link.records_erased for link in links)
        say(f"erasure {each.erasure}: {erased:,} records are gone from {len(links):,} objects")
        decisions[each.erasure] = emptied = erased_decisions.take_out(context, each.erasure, was_behind=each.was_behind)
        if emptied.decisions:
            say(f"erasure {each.erasure}: {emptied.decisions:,} decisions on records or rows are gone")
        for sentence in emptied.kept:
            say(styled("warning:", "yellow"), f" {sentence}")
    results = _build_again(work)
    for each in left:
        steps.empty(context, each.erasure)
    refused = _delete_runs(context, {each.erasure for each in left})
    wiped = steps.write_files_anew(context)
    vacuumed = work.stack is not None and work.stack.vacuum(context.store.bucket)
    for table in [*refused, *wiped.refused]:
        say(
            styled("warning:", "yellow"),
            f" {table} could not be written anew by this user: have its owner vacuum it full",
        )
    # A load_date that was held before, and is held again, shows nobody.
    failed = steps.still_shown(context, left, [each.load_date for each in results if each.outcome != "published"])
    found = erase_proof.prove(context)
    for sentence in found:
        say(styled("left", "bold red"), f" {sentence}")
    if found or failed:
        days = ", ".join(map(str, failed))
        why = f"load_dates that are not published without the persons: {days}" if failed else "rows are left"
        say(f"Not through ({why}): mend that, and give `kpi erase {name} --apply`.")
        raise typer.Exit(1)
    for each in left:
        kept_until = datetime.now(timezone.utc).date() + timedelta(days=backup_days)
        key = erase_receipt.receipt(
            context,
            each,
            replace(wiped, refused=[*refused, *wiped.refused]),
            kept_until,
            decisions[each.erasure].kept,
            store_is_vacuumed=vacuumed,
        )
        say(styled("through", "green"), f" erasure {each.erasure}: {object_url(context.store.bucket, key)}")


def _build_again(work: Workspace) -> list[Result]:
    """Build the load_dates again whose objects were written again, and what is made of them."""
    pipeline, results = work.pipeline, list[Result]()
    first, last = pipeline.config.start_date, datetime.now(timezone.utc).date()
    names = select_names(pipeline, "")
    with open_runner(work, erases=True) as materialize:
        for planned in load_date_statuses(work, first, last):
            if not planned.landed:  # most days of years may be so, and each look at one takes as long as many
                continue
            status = planned
            if results:
                [status] = load_date_statuses(work, planned.load_date, planned.load_date) or [planned]
            if status.stale_reason in _REASONS:
                due = due_names(pipeline, names, status.load_date)
                result = materialize(status.load_date, [name for name in due if name in status.tables_to_build] or due)
                explain(work, result)
                results.append(result)
    return results


def _delete_runs(context: BuildContext, numbers: Collection[int]) -> list[str]:
    """Delete from Dagster the runs that saw the persons of some erasures; ops keeps what happened.

    Return the tables of Dagster whose files this user may not write anew.
    """
    every = steps.bring_up_all(context)
    with open_instance() as instance:
        for run in {run for each in every for run in each.runs}:
            if instance.has_run(run):
                with suppress(KeyError):  # somebody else has deleted it
                    instance.delete_run(run)
    if not any(each.runs for each in every if each.erasure in numbers):
        return []
    with open_tables() as (connection, tables):
        files_anew.wait_for_rows(connection, context.on_progress, context.publish_timeout)
        refused = files_anew.write_anew(connection, tables, context.on_progress, context.publish_timeout)
        refused += files_anew.write_statistics_anew(connection, context.on_progress, context.publish_timeout)
    return [f"{each} of Dagster" for each in refused]


def _verify(context: BuildContext, number: int, values: Sequence[str], folder: Path | None) -> None:
    """Look for the persons again, with their identifiers at hand; `folder` is that of the embedded servers, if any.

    Raises typer.Exit if somebody is left.
    """
    every = steps.bring_up_all(context)
    erasure = next((each for each in every if each.erasure == number), None)
    if erasure is None:
        raise UsageError(f"There is no erasure {number}: `kpi erase {context.pipeline.name} --list` prints them.")
    found = erase_proof.verify(context, erasure, values, folder)
    found += erase_receipt.broken_receipts(context, every)
    for sentence in found:
        say(styled("left", "bold red"), f" {sentence}")
    if found:
        raise typer.Exit(1)
    say(
        styled("nobody", "green"),
        f" is left of the {len(values):,} identifiers, and the receipts are as they were written",
    )


def _print(pipeline: str, found: Sequence[RecordedErasure]) -> None:
    if not found:
        say(f"{pipeline}: nobody was erased.")
        return
    rows = [
        (
            *(each.erasure, each.kind, each.keys, each.request, each.erased_by, f"{each.erased_at:%Y-%m-%d %H:%M}"),
            f"{each.applied_at:%Y-%m-%d %H:%M}" if each.applied_at else styled("not yet", "yellow"),
            each.reason,
        )
        for each in found
    ]
    out.print(grid(f"{pipeline}: erasures", _COLUMNS, rows, right=("erasure", "persons")))
