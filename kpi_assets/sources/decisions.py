"""The objects of decisions on S3, `decisions/<schema>.<table>/load_date=D/NNNN.jsonl`: listed, read, and added to.

What is decided later stands in an object with a higher number. Only an erasure writes an object again, with nothing on
the lines that quote erased persons. An object has decisions on rows, or one ruling. An empty object `NNNN.used` says
that a build was published by the ruling of that number, and `NNNN.without-MANIFEST` that the object which the ruling
names was written again without erased persons. Neither is a part of the state of the decisions.
Belongs here: the objects. Not here: the content of a line (model/decision.py, model/ruling.py), and the lock that keeps
two people from adding at once (materialize/decisions.py).
"""

import re
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from io import BytesIO
from typing import Protocol

from kpi_assets.lake_places import object_url
from kpi_assets.model.decision import Decision, DecisionError, read_lines
from kpi_assets.model.manifest import etag_of_parts
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.ruling import Ruling, read_ruling, standing
from kpi_assets.model.table import Table
from kpi_assets.sources.objects import ChangedError, Entry, OldVersions, TakenError
from kpi_assets.sources.refusals import LakeError
from kpi_assets.sources.store import Store

FOLDER = "decisions/"
AT_ONCE = 5  # objects that are read at the same time
MOST_OBJECTS = 2_000  # of one table and load_date
MOST_BYTES = 32 << 20  # of these together; as Python objects they take some ten times as much memory
_KEY = re.compile(rf"{FOLDER}([a-z0-9_]+\.[a-z0-9_]+)/load_date=([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})/(.+)")
_NAME = re.compile(r"([0-9]{4})\.jsonl")
_USED = ".used"
_WITHOUT = re.compile(r"(.+/[0-9]{4})\.without-([0-9a-f]{16})")


class Line(Protocol):
    """A decision, ruling or revocation."""

    def line(self) -> str:
        """Return it as its line of JSON, with the line's end."""


@dataclass(frozen=True)
class DecisionObjects:
    """The objects of the decisions on one table and load_date, in the order of their numbers, as a listing shows them.

    Nothing is known of their content. `used` are the keys of those whose ruling was used, and `without` those with the
    manifests that their rulings follow.
    """

    table: Relation
    load_date: date
    entries: tuple[Entry, ...] = ()
    used: frozenset[str] = frozenset()
    without: frozenset[tuple[str, str]] = frozenset()

    @property
    def hash(self) -> str:
        """16 hex digits that differ when any of the objects differs."""
        return etag_of_parts(self.entries)

    @property
    def size_bytes(self) -> int:
        """The bytes of all objects."""
        return sum(entry.size_bytes for entry in self.entries)

    def key(self, name: str) -> str:
        """Return the key of the object of that name."""
        return f"{_prefix(self.table, self.load_date)}{name}"

    def next_key(self, size: int) -> str:
        """Return the key of a further object of that size. Raises DecisionError if it would be one too many."""
        _check_bounds(self, more=1, more_bytes=size)
        numbers = [_number(entry.key) for entry in self.entries]
        return self.key(f"{max(numbers, default=0) + 1:04}.jsonl")


def may_be_decided(table: Table) -> bool:
    """Whether there may be decisions on records or rows of a table that were set aside: not on events of a stream."""
    return table.has_object or (table.header.quarantine is not None and not table.stream)


def may_be_ruled_on(table: Table) -> bool:
    """Whether there may be rulings on builds of a table: not on what has no checks, nor on batches of what grows."""
    return table.storage.has_checks and not table.grows


@dataclass(frozen=True)
class Said:
    """What the objects of one table and load_date say: the decisions on rows, and the rulings as they stand."""

    decisions: tuple[Decision, ...] = ()
    rulings: tuple[Ruling, ...] = ()
    hash_of_decisions: str = ""  # of the objects that have decisions on rows


def find(store: Store, table: Relation, load_date: date) -> DecisionObjects:
    """Return the objects of the decisions on a table and load_date. Raises LakeError."""
    entries = [entry for entry in store.entries(_prefix(table, load_date)) if not entry.key.endswith("/")]
    used = frozenset(entry.key.removesuffix(_USED) + ".jsonl" for entry in entries if entry.key.endswith(_USED))
    marks = (_WITHOUT.fullmatch(entry.key) for entry in entries)
    without = frozenset((f"{mark[1]}.jsonl", mark[2]) for mark in marks if mark)
    said = tuple(entry for entry in entries if not _is_beside(entry.key))
    return DecisionObjects(table, load_date, said, used, without)


def find_of_table(store: Store, table: Relation) -> list[DecisionObjects]:
    """Return the objects of the decisions on a table, of each load_date that has some. Raises LakeError."""
    found: dict[date, list[Entry]] = {}
    for entry in store.entries(f"{FOLDER}{table}/"):
        there = _KEY.fullmatch(entry.key)
        day = _date(there[2]) if there else None
        if day is not None and not entry.key.endswith("/") and not _is_beside(entry.key):
            found.setdefault(day, []).append(entry)
    return [DecisionObjects(table, day, tuple(entries)) for day, entries in sorted(found.items())]


def find_all(store: Store, pipeline: Pipeline, first: date, last: date) -> dict[date, dict[str, str]]:
    """Return the hash of what is decided of each load_date of a range, by load_date and table (`schema.table`).

    It is one listing; a pipeline without a table that may have decisions or rulings needs none. Raises LakeError.
    """
    tables = {
        str(relation): relation
        for relation, table in pipeline.tables.items()
        if may_be_decided(table) or may_be_ruled_on(table)
    }
    found: dict[tuple[date, str], list[Entry]] = {}
    for entry in store.entries(FOLDER) if tables else ():
        there = _KEY.fullmatch(entry.key)
        if there is None or there[1] not in tables or entry.key.endswith("/") or _is_beside(entry.key):
            continue
        day = _date(there[2])
        if day is not None and first <= day <= last:
            found.setdefault((day, there[1]), []).append(entry)
    by_load_date: dict[date, dict[str, str]] = {}
    for (day, name), entries in found.items():
        by_load_date.setdefault(day, {})[name] = DecisionObjects(tables[name], day, tuple(entries)).hash
    return by_load_date


def read(store: Store, table: Table, objects: DecisionObjects, *, only_rulings: bool = False) -> Said:
    """Return what some objects say, in the order in which it was decided; of decisions on rows nothing if so asked.

    Raises DecisionError if an object or a line of it is no decision or ruling on the table, and LakeError if an object
    cannot be read as it was listed.
    """
    _check_bounds(objects)
    numbers = [_number(entry.key) for entry in objects.entries]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="decisions") as pool:
        bodies = [*pool.map(partial(_read, store), objects.entries)]
    rulings = [read_ruling(body, entry.key) for entry, body in zip(objects.entries, bodies, strict=True)]
    on_rows = [
        (entry, body)
        for entry, body, ruling in zip(objects.entries, bodies, rulings, strict=True)
        if ruling is None and not only_rulings
    ]
    return Said(
        tuple(decision for entry, body in on_rows for decision in read_lines(body, table, entry.key)),
        standing([(n, each) for n, each in zip(numbers, rulings, strict=True) if each], objects.used, objects.without),
        etag_of_parts(entry for entry, _ in on_rows),
    )


def add(store: Store, objects: DecisionObjects, lines: Sequence[Line]) -> str:
    """Write decisions, or one ruling, as one further object, and return its key.

    Call it while nobody else may add to these objects. Raises LakeError if somebody did nevertheless, where the store
    notices that, and DecisionError if there are too many objects.
    """
    body = "".join(each.line() for each in lines).encode()
    key = objects.next_key(len(body))
    try:
        store.put(key, body, "application/x-ndjson", only_new=True)
    except TakenError:
        raise LakeError(
            f"{object_url(store.bucket, key)} was written by somebody else just now, and nothing was decided here: "
            "give the command again."
        ) from None
    return key


def empty_lines(store: Store, entry: Entry, numbers: Collection[int]) -> OldVersions:
    """Write an object again with nothing on the lines of these numbers, so that all others keep their places.

    Return what became of its earlier versions. Call it while nobody else may add to these objects. Raises LakeError.
    """
    lines = _read(store, entry).split(b"\n")
    body = b"\n".join(b"" if number in numbers else line for number, line in enumerate(lines, start=1))
    store.replace(store.listed(entry), BytesIO(body), len(body), {})
    return store.objects.delete_versions(entry.key)


def add_use(store: Store, key: str) -> None:
    """Write beside the object of a ruling that a build was published by it; safe to repeat. Raises LakeError."""
    with suppress(TakenError):
        store.put(key.removesuffix(".jsonl") + _USED, b"", "application/octet-stream", only_new=True)


def add_without(store: Store, key: str, manifest_hash: str) -> None:
    """Write beside the object of a ruling that it is about this state of an object, too; safe to repeat.

    It is the delivery that the ruling names, less persons who were erased since. Raises LakeError.
    """
    with suppress(TakenError):
        mark = f"{key.removesuffix('.jsonl')}.without-{manifest_hash}"
        store.put(mark, b"", "application/octet-stream", only_new=True)


def number_of(key: str) -> int:
    """Return the number of the object of a ruling. Raises DecisionError if it has none."""
    return _number(key)


def text_of(store: Store, entry: Entry) -> str:
    """Return the text of an object. Raises LakeError."""
    return _read(store, entry).decode(errors="replace")


def places(decisions: Collection[Decision], key: str) -> list[str]:
    """Return the place of each decision in the object that `add` wrote at `key`."""
    return [f"{key}:{number}" for number in range(1, len(decisions) + 1)]


def _prefix(table: Relation, load_date: date) -> str:
    return f"{FOLDER}{table}/load_date={load_date}/"


def _is_beside(key: str) -> bool:
    """Whether an object lies beside that of a ruling, and says nothing itself."""
    return key.endswith(_USED) or _WITHOUT.fullmatch(key) is not None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _number(key: str) -> int:
    """Return the number of an object. Raises DecisionError if it has none."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    if found is None or key.count("/") != FOLDER.count("/") + 2:
        raise DecisionError(
            f"{key} lies among the decisions and has no number: rename it as the next one, such as 0001.jsonl, if its "
            "lines are decisions, or else move it elsewhere."
        )
    return int(found[1])


def _check_bounds(objects: DecisionObjects, *, more: int = 0, more_bytes: int = 0) -> None:
    """Raise DecisionError if there are more objects, or more bytes in them, than a build may read."""
    count, size = len(objects.entries) + more, objects.size_bytes + more_bytes
    if count > MOST_OBJECTS or size > MOST_BYTES:
        raise DecisionError(
            f"The decisions on {objects.table} of {objects.load_date} {'would be' if more else 'are'} {count:,} "
            f"objects of {size:,} bytes, and at most {MOST_OBJECTS:,} objects of {MOST_BYTES:,} bytes are read: "
            "correct so many rows at their source, and deliver the object again."
        )


def _read(store: Store, entry: Entry) -> bytes:
    """Return an object as it was listed. Raises LakeError."""
    try:
        return store.head(store.listed(entry), entry.size_bytes)
    except ChangedError:
        url = object_url(store.bucket, entry.key)
        raise LakeError(
            f"{url} was replaced or removed just now, while it was read: run the load_date again.", transient=True
        ) from None
