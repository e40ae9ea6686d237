"""What a format has to offer, so that its objects can be verified, loaded and read record by record.

Belongs here: the interface, and the errors by which a copy mode refuses bytes. Not here: any format (csv/ and whatever
stands beside it), and the order in which the ways of loading are tried (materialize/load.py).
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
    """The bytes are not of the kind that a copy mode takes; a more tolerant mode may take them."""


class UnprovenError(Exception):
    """A record breaks the rules of its format, or holds a value that is not written as its type is."""


class CopyStream(Protocol):
    """Bytes on their way to COPY."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes. Raises ModeMismatchError or UnprovenError before the end, so that COPY does not commit."""

    @property
    def records(self) -> int:
        """How many records have passed. The count is independent of COPY's, so that rows lost by COPY are noticed."""


class CopyMode(ABC):
    """One way to have COPY load an object, or a part of it."""

    @abstractmethod
    def options(self, *, at_start: bool) -> str:
        """The options of COPY … WITH (…) that describe the bytes; `at_start` is whether the part begins the object."""

    @abstractmethod
    def stream(self, blocks: Iterable[bytes], types: Types, *, at_start: bool) -> CopyStream:
        """What COPY is given for a part of the object; a mode may rewrite the bytes."""


class Format(ABC):
    """One format of objects."""

    kind: ClassVar[FormatKind]
    start_size: ClassVar[int] = 1 << 20  # bytes; as many are given to check_start
    # From the fastest to the most tolerant; empty if COPY cannot load the format. Slices are loaded by the first.
    copy_modes: ClassVar[Sequence[CopyMode]] = ()

    @abstractmethod
    def check_start(self, start: bytes, types: Types) -> str:
        """What is wrong with an object that begins with these bytes, and what to do; empty if nothing is."""

    @abstractmethod
    def records(self, blocks: Iterable[bytes], types: Types) -> Iterator[Record]:
        """The records of an object, one by one: each with its fields as texts, or with what is wrong with it."""

    def find_cuts(self, store: Store, manifest: Manifest, column: int, count: int) -> list[Cut] | None:  # noqa: ARG002
        """The `count - 1` places where an object can be cut between two keys; None if it cannot be cut so.

        `column` is the number of the column that holds the key, from 0. Whether the keys rise all through need not be
        proven here: loading the parts proves it.
        """
        return None
