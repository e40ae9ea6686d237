"""The interface of a format, with which its objects are verified, loaded, and read record by record.

Belongs here: the interface, and the errors with which a copy mode refuses bytes. Not here: any single format (csv/),
and the order in which the ways of loading are tried (materialize/load.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

from kpi_assets.model.format_kinds import FormatKind
from kpi_assets.model.manifest import Manifest
from kpi_assets.model.records import Record
from kpi_assets.sources.store import Store

Cut = tuple[int, int]  # the offset of a record's first byte, and its key
Types = Mapping[str, str]  # the columns of a table in order: name -> type


class ModeMismatchError(Exception):
    """A copy mode cannot load these bytes; a more tolerant mode may."""


class UnprovenError(Exception):
    """A record breaks the rules of its format, or has a value that is not written in a form of its type."""


class CopyStream(Protocol):
    """Bytes on their way to COPY."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes. Raises ModeMismatchError or UnprovenError before the end, so that COPY does not commit."""

    @property
    def records(self) -> int:
        """The number of records so far. It is independent of COPY's count, so that rows lost by COPY are noticed."""


class CopyMode(ABC):
    """One way to have COPY load an object, or a part of it."""

    @abstractmethod
    def options(self, *, at_start: bool) -> str:
        """Return the options of COPY … WITH (…) for the bytes; `at_start` says whether the part begins the object."""

    @abstractmethod
    def stream(self, blocks: Iterable[bytes], types: Types, *, at_start: bool) -> CopyStream:
        """Return the bytes for COPY from a part of the object; a mode may rewrite them."""


class Format(ABC):
    """One format of objects."""

    kind: ClassVar[FormatKind]
    start_size: ClassVar[int] = 1 << 20  # the bytes that check_start gets
    # From the fastest to the most tolerant; empty if COPY cannot load the format. The first one loads slices.
    copy_modes: ClassVar[Sequence[CopyMode]] = ()

    @abstractmethod
    def check_start(self, start: bytes, types: Types) -> str:
        """Return what is wrong with an object that begins with these bytes, and what to do; empty if nothing is."""

    @abstractmethod
    def records(self, blocks: Iterable[bytes], types: Types) -> Iterator[Record]:
        """Yield the records of an object, each with its fields as texts, or with its problem."""

    def find_cuts(self, store: Store, manifest: Manifest, column: int, count: int) -> list[Cut] | None:  # noqa: ARG002
        """Return the `count - 1` places where an object can be cut between two keys, or None if there are none.

        `column` is the number of the key's column, from 0. This method need not prove that the keys are in ascending
        order: loading the parts proves it.
        """
        return None
