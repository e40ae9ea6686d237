"""Deciding on rows that were set aside: what a person asks for becomes decisions on S3, or a sentence says why not.

Belongs here: which decisions are made, and what speaks against them. Not here: the words of a decision and its checks
(model/decision.py), and the lock and the objects (decisions.py).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.ledger import bad_rows
from kpi_assets.ledger.bad_rows import BadRow
from kpi_assets.materialize.context import BuildContext
from kpi_assets.materialize.decisions import add
from kpi_assets.model.decision import RECORD, Decision, Kind, parse_json, problem_of
from kpi_assets.model.excerpt import RECORD as LONGEST
from kpi_assets.model.excerpt import is_cut
from kpi_assets.model.table import Table
from kpi_assets.sources import decisions as objects
from kpi_assets.sources.store import Store

PAST = {"correct": "corrected", "accept": "accepted", "discard": "discarded"}


class UndecidableError(UserError):
    """What a person asked for cannot be decided; nothing was written. There is a sentence for each row."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self._sentences = list(sentences)

    @property
    def sentences(self) -> list[str]:
        """The sentence about each row."""
        return self._sentences


@dataclass(frozen=True)
class Asked:
    """What a person asks for: a kind of decision on some rows, for a reason; `set` is of each row to be corrected."""

    kind: Kind
    rows: Mapping[int, Mapping[str, Any]]  # id -> the corrected values
    reason: str
    by: str
    again: bool = False  # whether rows that are decided on already may be decided on anew


@dataclass(frozen=True)
class Made:
    """The decisions that were made on one table and load_date, with the rows, and the key of their object on S3."""

    table: Table
    load_date: date
    rows: Sequence[BadRow]
    decisions: Sequence[Decision]
    key: str


class UnreadableRowError(Exception):
    """The values of a row that was set aside cannot be read. The text is the end of a sentence."""


def key_and_values(table: Table, row: BadRow) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the key by which decisions name a row, and its other values. Raises UnreadableRowError."""
    if table.stream:
        raise UnreadableRowError(
            f"it is an event of the stream {table.stream}, whose objects and batches are never changed: change "
            f"{table.path.name} so that it can be read and replay the load_date with `kpi run`, or have its producer "
            "send it again as a new event"
        )
    if table.storage.in_lake:
        raise UnreadableRowError(
            "its table is on the lake, where an engine reads whole objects: correct it at its source, and deliver the "
            "object again"
        )
    too_long = UnreadableRowError(
        f"it is longer than the {LONGEST:,} characters that are kept of a row, so that the rest is not known here: "
        "correct it at its source, and deliver the object again"
    )
    if is_cut(row.record, LONGEST):
        raise too_long
    if table.has_object:
        return {"object": row.object_key, "line": row.line}, {RECORD: row.record}
    try:
        key, values = parse_json(row.key or "{}"), parse_json(row.record)
    except ValueError as error:
        raise UnreadableRowError(
            f"it cannot be read ({error}): correct it at its source, and deliver the object again"
        ) from None
    grain = table.header.grain
    if isinstance(values, dict) and any(isinstance(each, str) and is_cut(each) for each in values.values()):
        raise too_long
    if not isinstance(values, dict) or not {*grain} <= {*key}:
        raise UnreadableRowError(
            f"it was set aside when {table.relation} had another grain: run its load_date again first"
        )
    return {name: key[name] for name in grain}, {
        name: values[name] for name in table.types if name in values and name not in grain
    }


def decide(context: BuildContext, asked: Asked) -> Iterator[Made]:
    """Make decisions, and yield those on each table and load_date once they are written.

    Nothing is written unless all can be decided, as far as that is known before. Raises UndecidableError, with a
    sentence for each row that cannot be, DecisionError, LakeError and WarehouseError.
    """
    tables = {str(relation): table for relation, table in context.pipeline.tables.items()}
    with context.session(next(iter(tables.values())), "decide") as connection:
        groups = _grouped(context.pipeline.name, tables, connection, asked)
        problems = [
            problem
            for (name, load_date), ids in groups.items()
            for problem in _judged(
                connection, tables[name], asked, ids, made_on(context.store, tables[name], load_date)
            )[2]
        ]
    if problems:
        raise UndecidableError(problems)
    for (name, load_date), ids in groups.items():
        yield _made(context, tables[name], load_date, asked, ids)


def _made(context: BuildContext, table: Table, load_date: date, asked: Asked, ids: Sequence[int]) -> Made:
    rows: list[BadRow] = []
    decisions: list[Decision] = []

    def judge(session: Connection[Any], before: Sequence[Decision]) -> Sequence[Decision]:
        found, made, problems = _judged(session, table, asked, ids, before)
        if problems:  # somebody else decided, or a build was made, since all rows were judged
            raise UndecidableError(problems)
        rows.extend(found)
        decisions.extend(made)
        return made

    key = add(context, table, load_date, judge)
    return Made(table, load_date, rows, decisions, key)


def made_on(store: Store, table: Table, load_date: date) -> list[Decision]:
    """Return the decisions on a table and load_date. Raises DecisionError and LakeError."""
    return [*objects.read(store, table, objects.find(store, table.relation, load_date)).decisions]


def _grouped(
    pipeline: str, tables: Collection[str], connection: Connection[Any], asked: Asked
) -> dict[tuple[str, date], list[int]]:
    """Return the ids by table and load_date. Raises UndecidableError if there is no such row, or an earlier build's."""
    known, old = bad_rows.of_ids(connection, [*asked.rows]), bad_rows.outdated(connection, [*asked.rows])
    problems: list[str] = []
    groups: dict[tuple[str, date], list[int]] = {}
    for id_ in asked.rows:
        if id_ in old:
            table, load_date = old[id_]
            problems.append(
                f"Row {id_} is of an earlier build of {table} of {load_date}: `kpi quarantine list {pipeline} "
                f"--table {table} --load-date {load_date}` prints the rows of the latest one."
            )
        elif id_ not in known:
            problems.append(
                f"There is no row {id_} among those of {pipeline} that were set aside: `kpi quarantine list "
                f"{pipeline}` prints them."
            )
        elif known[id_].table_name not in tables:
            problems.append(
                f"Row {id_} is of {known[id_].table_name}, which no file describes any more: nothing reads a decision."
            )
        else:
            groups.setdefault((known[id_].table_name, known[id_].load_date), []).append(id_)
    if problems:
        raise UndecidableError(problems)
    return groups


def _judged(
    connection: Connection[Any], table: Table, asked: Asked, ids: Sequence[int], before: Sequence[Decision]
) -> tuple[list[BadRow], list[Decision], list[str]]:
    """Return the rows, the decision on each of them, and a sentence for each that cannot be decided on."""
    known, at = bad_rows.of_ids(connection, ids), datetime.now(timezone.utc)
    decisions, problems = [], []
    for id_ in ids:
        row = known.get(id_)
        if row is None:
            problems.append(f"Row {id_} of {table.relation} is no longer the latest: a build was made just now.")
            continue
        name = f"Row {id_} of {row.table_name} of {row.load_date}"
        try:
            key, values = key_and_values(table, row)
        except UnreadableRowError as error:
            problems.append(f"{name} cannot be decided on: {error}.")
            continue
        corrected = asked.rows[id_]
        decision = Decision(asked.kind, key, values, corrected, asked.reason, asked.by, at)
        if problem := problem_of(table, decision):
            problems.append(f"{name} cannot be {PAST[asked.kind]}: {problem}.")
        elif asked.kind == "correct" and all({**values, **key}.get(each) == corrected[each] for each in corrected):
            problems.append(f"{name} has these values already: set others, or leave it out.")
        elif not asked.again and (last := in_force(row, key, values, before)):
            problems.append(
                f"{name} was {PAST[last.kind]} by {last.by} on {last.at:%Y-%m-%d %H:%M} UTC ({last.reason}): --again "
                "decides on it anew, and the last decision counts."
            )
        decisions.append(decision)
    return [known[id_] for id_ in ids if id_ in known], decisions, problems


def in_force(
    row: BadRow, key: Mapping[str, Any], values: Mapping[str, Any], before: Iterable[Decision]
) -> Decision | None:
    """Return the decision on a row that counts, built or not; None if there is none, or it left the row waiting.

    The build may have found the decision on a record that was on another line when it was made.
    """
    last = next((each for each in reversed([*before]) if each.is_on(key, values) or each.place == row.decision), None)
    return None if last is None or (row.state == "waiting" and row.decision == last.place) else last
