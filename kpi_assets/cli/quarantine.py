"""`kpi quarantine`: lists the records and rows that builds set aside, and writes down what a person decides on them."""

import getpass
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import psycopg
import typer

from kpi_assets.cli.arguments import LoadDate, Personal, PipelineName
from kpi_assets.cli.show import TABLE_ROWS, RowFormat
from kpi_assets.cli.terminal import err, grid, out, say, styled
from kpi_assets.cli.workspace import Workspace, open_workspace, pipeline_of
from kpi_assets.errors import UsageError, UserError
from kpi_assets.lake_places import object_url
from kpi_assets.ledger import bad_rows
from kpi_assets.ledger.bad_rows import BadRow
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decide import (
    PAST,
    Asked,
    Made,
    UnreadableRowError,
    decide,
    in_force,
    key_and_values,
    made_on,
)
from kpi_assets.model.decision import RECORD, Decision, DecisionError, json_text, parse_json
from kpi_assets.model.excerpt import cut
from kpi_assets.model.pii import masked, masked_row
from kpi_assets.model.pii_tables import masked_bad_row
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.table import Table
from kpi_assets.printable import printable, strict_json
from kpi_assets.read.export import as_csv
from kpi_assets.sources.store import open_store
from kpi_assets.warehouse.connection import connect

group = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
STYLES = {"waiting": "yellow", "corrected": "green", "accepted": "green", "discarded": "dim"}
_COLUMNS = ("id", "load_date", "table", "place", "breaks", "reason", "state", "decision")
_VALUE = 80  # characters of a value in the table


class StateName(str, Enum):
    """The states of a row that was set aside."""

    waiting = "waiting"
    corrected = "corrected"
    accepted = "accepted"
    discarded = "discarded"


TableName = Annotated[str, typer.Option("--table", metavar="SCHEMA.TABLE", help="Only of this table.")]
Ids = Annotated[
    list[int], typer.Argument(metavar="ID...", help="Numbers of rows, as `kpi quarantine list` prints them.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the decision.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides; the user of this machine by default.")]
Again = Annotated[
    bool, typer.Option("--again", help="Decide anew on rows that are decided on already: the last decision counts.")
]


@group.callback()
def quarantine() -> None:
    """List the records and rows that builds set aside, and decide on them: correct, accept or discard."""


@group.command("list")
def list_(
    pipeline: PipelineName,
    load_date: LoadDate = None,
    table: TableName = "",
    state: Annotated[StateName | None, typer.Option(help="Only rows in this state.")] = None,
    format: Annotated[RowFormat, typer.Option(help="How to print the rows.")] = RowFormat.table,  # noqa: A002
    pii: Personal = False,
) -> None:
    """Print the records and rows that the latest build of each table and load_date set aside."""
    names = _tables(pipeline_of(pipeline), table)
    with _opened(pipeline) as work:
        limit = TABLE_ROWS if format is RowFormat.table else None
        found, count = _find(work, names, load_date, state, limit)
        made = _Decisions(work)
        rows = [_cells(_shown(work.pipeline, row, personal=pii), made.word(row)) for row in found]
    if format is RowFormat.json:
        typer.echo(strict_json([dict(zip(_COLUMNS, row, strict=True)) for row in rows], indent=2))
        return
    texts = [[None if cell is None else str(cell) for cell in row] for row in rows]
    if format is RowFormat.csv:
        shown = [[cell and printable(cell) for cell in row] for row in texts] if out.is_terminal else texts
        typer.echo(as_csv(_COLUMNS, shown), nl=False)
        return
    if not rows:
        which = f" of {load_date}" if load_date else ""
        say(f"{pipeline}: nothing{which} is set aside{f' and {state.value}' if state else ''}.")
        return
    styles = _COLUMNS.index("state")
    cells = [
        [styled(cell, STYLES[str(cell)]) if n == styles else cell and cut(cell, _VALUE) for n, cell in enumerate(row)]
        for row in texts
    ]
    out.print(grid(f"{pipeline}: set aside by the latest builds", _COLUMNS, cells, right=("id",)))
    if count > len(found):
        say(f"{len(found)} of {count:,} rows: --load-date, --table and --format csv show the others.")


@group.command()
def show(
    pipeline: PipelineName,
    id_: Annotated[int, typer.Argument(metavar="ID", help="Number of the row, as `kpi quarantine list` prints it.")],
    pii: Personal = False,
) -> None:
    """Print one row with all its values, why it was set aside, and every decision on it."""
    found = pipeline_of(pipeline)
    with _opened(pipeline) as work:
        with connect(work.server, pipeline, "quarantine", read_only=True) as connection:
            row = bad_rows.of_ids(connection, [id_]).get(id_)
            old = bad_rows.outdated(connection, [id_]).get(id_)
        if row is None:
            which = (
                f"is of an earlier build of {old[0]} of {old[1]}" if old else "is not among those that were set aside"
            )
            raise UserError(f"Row {id_} {which}: `kpi quarantine list {pipeline}` prints the latest ones.")
        made = _Decisions(work)
        every = made.on(row)
        last = made.last(row)
    hides = not pii and _hides(found, row)
    row = _shown(found, row, personal=pii)
    say(styled(f"{row.table_name} of {row.load_date}, row {row.id}: ", "bold"), styled(row.state, STYLES[row.state]))
    say("place     ", row.place)
    say("reason    ", row.reason)
    if row.broken:
        say("breaks    ", row.broken)
    if row.value is not None:
        say("value     ", row.value)
    say("record    ", row.record)
    if row.corrected is not None:
        say("corrected ", row.corrected)
    for decision in every:
        changes = (
            f", set {json_text(_set_of(found, row, decision.set) if hides else decision.set)}" if decision.set else ""
        )
        say(f"{PAST[decision.kind]:9} ", f"by {decision.by} on {_minute(decision)}: {decision.reason}{changes}")
        say("          ", decision.place)
    if last and last.place != row.decision:
        say(f"No build has read the last decision yet: {_next(found, row.table_name, row.load_date)}")


@group.command()
def export(
    pipeline: PipelineName,
    path: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write, one row a line.")],
    load_date: LoadDate = None,
    table: TableName = "",
    state: Annotated[StateName, typer.Option(help="Only rows in this state.")] = StateName.waiting,
    pii: Personal = False,
) -> None:
    """Write rows as lines of JSON, each with an empty `set` for the corrected values that `correct` reads."""
    found = pipeline_of(pipeline)
    names = _tables(found, table)
    if path.exists():
        raise UsageError(f"{path} exists already, and may have values that somebody filled in: name another file.")
    with _opened(pipeline) as work:
        rows, _ = _find(work, names, load_date, state, None)
    lines, left = [], []
    for row in rows:
        try:
            exported = _exported(found.table(row.table_name), row)
            lines.append(json_text(exported if pii else _without_personal(found, row, exported)) + "\n")
        except UnreadableRowError as error:
            left.append(f"row {row.id} of {row.table_name} of {row.load_date}: {error}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name another file.") from None
    for sentence in left:
        say(styled("left out", "yellow"), f" {sentence}.", console=err)
    rows_ = _count(len(lines), "row")
    say(
        f"{rows_} in {path}: write corrected values into `set`, then `kpi quarantine correct {pipeline} --from {path}`."
    )


@group.command()
def correct(
    pipeline: PipelineName,
    path: Annotated[Path, typer.Option("--from", metavar="FILE", help="Rows as `export` writes them, with `set`.")],
    reason: Reason,
    by: By = "",
    again: Again = False,
) -> None:
    """Correct rows: the next build puts them into the table with the values in `set`, if they break no rule then."""
    values, empty = _read(path)
    _decide(pipeline, Asked("correct", values, reason, who(by), again))
    if empty:
        say(f"{_count(empty, 'row')} of {path} without values in `set` stayed as they are.")


@group.command()
def accept(pipeline: PipelineName, ids: Ids, reason: Reason, by: By = "", again: Again = False) -> None:
    """Accept rows: the next build puts them into the table as they are, although they break a rule."""
    _decide(pipeline, Asked("accept", {id_: {} for id_ in ids}, reason, who(by), again))


@group.command()
def discard(pipeline: PipelineName, ids: Ids, reason: Reason, by: By = "", again: Again = False) -> None:
    """Discard rows: they stay out of the table, and count against no budget; a later decision takes it back."""
    _decide(pipeline, Asked("discard", {id_: {} for id_ in ids}, reason, who(by), again))


def _decide(pipeline: str, asked: Asked) -> None:
    """Make the decisions, and print what each of them changes and how it is built."""
    found = pipeline_of(pipeline)
    if not asked.reason.strip():
        raise UsageError("The reason is blank: write with --reason why, for whoever reads it later.")
    made: list[Made] = []
    with _opened(pipeline) as work:
        store = open_store(found, work.settings)
        context = BuildContext(found, work.ready().server, store, str(uuid4()))
        try:
            for each in decide(context, asked):
                made.append(each)
                _say_made(found, each, store.bucket)
        except UserError:
            if made:
                say("What is written above is decided; nothing else is.", console=err)
            raise
    for each in made:
        say(_next(found, str(each.table.relation), each.load_date))


def _say_made(pipeline: Pipeline, made: Made, bucket: str) -> None:
    for row, decision in zip(made.rows, made.decisions, strict=True):
        key = _shown(pipeline, row, personal=False).place
        say(styled(PAST[decision.kind], "green"), f" row {row.id} of {row.table_name} of {row.load_date}, {key}")
        for name, value in decision.set.items():
            pii = made.table.pii
            hides = pii.hides(name) or (name == RECORD and bool(pii.personal))
            shown = [masked(each) if hides else each for each in ({**decision.was, **decision.key}.get(name), value)]
            was, becomes = (cut(json_text(each), _VALUE) for each in shown)
            say(f"  {name}: {was} becomes {becomes}")
    say(f"written {object_url(bucket, made.key)} ({_count(len(made.decisions), 'decision')})")


def _next(pipeline: Pipeline, table: str, load_date: date) -> str:
    command = f"`kpi run {pipeline.name} --load-date {load_date} --select {table}+`"
    return f"{table} of {load_date} is built by automation where it is on; {command} builds it now."


def _read(path: Path) -> tuple[dict[int, Mapping[str, Any]], int]:
    """Return the values in `set` by id, and how many lines have none. Raises UsageError with the line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a file that `export` wrote.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8: save it as UTF-8.") from None
    values: dict[int, Mapping[str, Any]] = {}
    empty = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise UsageError(f"Line {number} of {path}: {error}.") from None
        id_, corrected = (row.get("id"), row.get("set")) if isinstance(row, dict) else (None, None)
        if not isinstance(id_, int) or isinstance(id_, bool) or not isinstance(corrected, dict):
            raise UsageError(
                f'Line {number} of {path} lacks "id" or "set": write lines as `kpi quarantine export` does.'
            )
        if id_ in values:
            raise UsageError(f"Line {number} of {path} corrects row {id_} a second time: leave one of the lines out.")
        if corrected:
            values[id_] = corrected
        else:
            empty += 1
    if not values:
        raise UsageError(f"No row of {path} has values in `set`: write the corrected values there.")
    return values, empty


def _exported(table: Table, row: BadRow) -> dict[str, Any]:
    key, values = key_and_values(table, row)
    content = {RECORD: values[RECORD]} if table.has_object else {"row": {**key, **values}}
    place = key if table.has_object else {}
    broken = {"rules": row.rules} if row.rules else {"column": row.column_name}
    what = {"id": row.id, "table": row.table_name, "load_date": row.load_date.isoformat()}
    return {**what, **place, **content, **broken, "reason": row.reason, "set": {}}


def _hides(pipeline: Pipeline, row: BadRow) -> bool:
    """Whether the table of a row has personal columns."""
    return bool(pipeline.table(row.table_name).pii.personal)


def _shown(pipeline: Pipeline, row: BadRow, *, personal: bool) -> BadRow:
    """Return a row as it is shown: with its personal values masked, unless `personal` is set."""
    if personal or not _hides(pipeline, row):
        return row
    return BadRow(**masked_bad_row(pipeline.table(row.table_name), vars(row)))


def _set_of(pipeline: Pipeline, row: BadRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a decision sets with the personal ones masked; a record is masked as a whole."""
    pii = pipeline.table(row.table_name).pii
    return masked_row(values, [name for name in values if name == RECORD or pii.hides(name)])


def _without_personal(pipeline: Pipeline, row: BadRow, exported: dict[str, Any]) -> dict[str, Any]:
    """Return a line of an export with its personal values masked."""
    pii = pipeline.table(row.table_name).pii
    if not pii.personal:
        return exported
    shown = {**exported, "reason": pii.shown_reason(row.reason)}
    if RECORD in shown:
        shown[RECORD] = masked(shown[RECORD])
    if "row" in shown:
        shown["row"] = masked_row(shown["row"], [name for name in shown["row"] if pii.hides(name)])
    return shown


def _find(
    work: Workspace, names: Sequence[str], load_date: date | None, state: StateName | None, limit: int | None
) -> tuple[list[BadRow], int]:
    with connect(work.server, work.pipeline.name, "quarantine", read_only=True) as connection:
        which = next((each for each in bad_rows.STATES if state and each == state.value), None)
        return bad_rows.find(connection, tables=names, load_date=load_date, state=which, limit=limit)


class _Decisions:
    """The decisions of a pipeline, read from S3 once for each table and load_date."""

    def __init__(self, work: Workspace) -> None:
        self._pipeline, self._store = work.pipeline, open_store(work.pipeline, work.settings)
        self._known: dict[tuple[str, date], list[Decision]] = {}

    def of(self, row: BadRow) -> list[Decision]:
        """Return every decision on the table and load_date of a row; none, with a warning, if they cannot be read."""
        at = row.table_name, row.load_date
        if at not in self._known:
            try:
                self._known[at] = made_on(self._store, self._pipeline.table(row.table_name), row.load_date)
            except DecisionError as error:
                say(f"warning: {error}", console=err)
                self._known[at] = []
        return self._known[at]

    def on(self, row: BadRow) -> list[Decision]:
        """Return every decision on a row as it is now."""
        try:
            key, values = key_and_values(self._pipeline.table(row.table_name), row)
        except UnreadableRowError:
            return []
        return [each for each in self.of(row) if each.is_on(key, values) or each.place == row.decision]

    def last(self, row: BadRow) -> Decision | None:
        """Return the decision on a row that counts."""
        try:
            key, values = key_and_values(self._pipeline.table(row.table_name), row)
        except UnreadableRowError:
            return None
        return in_force(row, key, values, self.of(row))

    def word(self, row: BadRow) -> str | None:
        """Return the decision on a row that counts, in a few words."""
        last = self.last(row)
        if last is None:
            return None
        return f"{last.kind} by {last.by}{'' if last.place == row.decision else ', not built yet'}"


def _cells(row: BadRow, decision: str | None) -> tuple[object, ...]:
    day = row.load_date.isoformat()
    return row.id, day, row.table_name, row.place, row.broken or None, row.reason, row.state, decision


@contextmanager
def _opened(name: str) -> Iterator[Workspace]:
    """Yield the workspace of a pipeline. Raises UserError if the login may not read or decide."""
    with open_workspace(name) as work:
        work.readable()
        try:
            yield work
        except psycopg.errors.InsufficientPrivilege as error:
            what = str(error).splitlines()[0]
            raise UserError(
                f"The login of KPI_POSTGRES_URL may not do this ({what}): have an administrator grant it kpi_reviewer "
                "to look at what was set aside, and kpi_loader and kpi_builder to decide on it."
            ) from None


def _tables(pipeline: Pipeline, name: str) -> list[str]:
    """Return the name of the table that --table names, or of all tables. Raises UsageError."""
    return [str(pipeline.table(name).relation)] if name else [str(relation) for relation in pipeline.tables]


def who(by: str) -> str:
    """Return who decides: the given name, or the user of this machine. Raises UsageError if it has none."""
    if by.strip():
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("The user of this machine has no name: say with --by who decides.") from None


def _minute(decision: Decision) -> str:
    return f"{decision.at:%Y-%m-%d %H:%M} UTC"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
