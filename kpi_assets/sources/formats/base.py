"""The interface of a format, by which its objects are opened, verified, loaded, and read record by record.

Belongs here: the interface, and the errors with which a copy mode refuses bytes. Not here: any single format (csv/),
and the order in which the ways of loading are tried (materialize/load.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from types import TracebackType
from typing import ClassVar, Protocol

from kpi_assets.model.format_kinds import FormatKind
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.model.table import Table
from kpi_assets.sources.object_bytes import ObjectBytes
from kpi_assets.sources.store import Store

Cut = tuple[int, int]  # the place where a record begins, and its key
NO_SETTINGS: Mapping[str, str] = {}
Instead = Mapping[int, Mapping[str, str | None]]  # number of a record -> values that take the place of those of columns
NOTHING: Instead = {}


class ModeMismatchError(Exception):
    """A copy mode cannot load these bytes; a more tolerant mode may."""


class UnprovenError(Exception):
    """A record breaks the rules of its format, or has a value that is not written in a form of its type."""


class UnreadableError(Exception):
    """An object cannot be read to its end. The message says what is wrong and what to do, without naming the object."""


class CopyStream(Protocol):
    """Bytes on their way to COPY, made from a part of an object."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the table that the bytes fill, in the order of their fields."""

    @property
    def options(self) -> str:
        """The options of COPY … WITH (…) for the bytes; from code, not from data."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of the session under which Postgres reads the values, such as DateStyle."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes.

        Raises ModeMismatchError, UnprovenError or UnreadableError before the end, so that COPY does not commit.
        """

    @property
    def records(self) -> int:
        """The number of records so far. It is independent of COPY's count, so that rows lost by COPY are noticed."""

    @property
    def done(self) -> int:
        """How much of the part was read so far, in the unit of the part."""

    @property
    def waited(self) -> float:
        """Seconds spent waiting for S3."""


class CopyMode(ABC):
    """One way to have COPY load an object, or a part of it."""

    @abstractmethod
    def stream(self, start: int, end: int) -> CopyStream:
        """Return the bytes for COPY from the part between two places of the object."""


class OpenObject(ABC):
    """One object of a table and load_date whose first bytes were read. It is a context manager.

    If its first bytes are not as declared, `problem` says what is wrong and what to do, and nothing else may be called.
    """

    problem: str = ""
    # From the fastest to the most tolerant; empty if COPY cannot load the format. The first one loads slices.
    copy_modes: Sequence[CopyMode] = ()

    def __init__(self, content: ObjectBytes) -> None:
        self.bytes = content

    @property
    def manifest(self) -> Manifest:
        """The manifest of the object."""
        return self.bytes.manifest

    @property
    def size(self) -> int:
        """The place after its last record. Places are in a unit of the format; they begin with 0."""
        return self.bytes.size

    @property
    def text_size(self) -> int:
        """About how many bytes its records have as CSV: it says into how many slices they are cut."""
        return self.bytes.size

    @property
    def field_counts(self) -> Mapping[str, int] | None:
        """The number of records that have each field, in the last pass over the object; None if all have the same."""
        return None

    def prepare(self, on_bytes: Callable[[int], None]) -> None:  # noqa: B027
        """Do what takes time before the records can be read, such as unpacking; called once, before the object is read.

        `on_bytes` is called with the bytes of the object that were used so far. Raises UnreadableError and LakeError.
        """

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Yield the records of the object, each with a text for every column of the table, or with its problem.

        Raises UnreadableError.
        """

    def read_again(self, text: str) -> Record:
        """Return a record whose text was corrected by decision, or its problem; the object was read before."""
        return Record(0, text, None, "records of this format cannot be corrected")

    def without(self, gone: Collection[int], instead: Instead = NOTHING) -> Iterator[bytes]:  # noqa: ARG002
        """Yield the bytes of the object without the records of these numbers, in the order of `records` from 1.

        Other records get other values in some columns; None is NULL. Every other byte is as it was, and that is proven.
        Raises UnreadableError if it cannot be.
        """
        raise UnreadableError("no record can be taken out of an object of this format: land it again without it")

    def find_cuts(self, key: str, count: int) -> list[Cut] | None:  # noqa: ARG002
        """Return the `count - 1` places where the object can be cut between two keys, or None if there are none.

        `key` is the column of the keys. This method need not prove that the keys are in ascending order: loading the
        parts proves it.
        """
        return None

    def may_be_cut_off(self) -> bool:
        """Return whether the end of the object looks as if its last record had been cut off."""
        return False

    def close(self) -> None:
        """Give back what the object uses."""
        self.bytes.close()

    def __enter__(self) -> "OpenObject":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Format(ABC):
    """One format of objects."""

    kind: ClassVar[FormatKind]

    @abstractmethod
    def open(self, store: Store, manifest: Manifest, table: Table, load_date: date) -> OpenObject:
        """Open an object. Raises LakeError."""
