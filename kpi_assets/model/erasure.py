"""Erasures: who must never be loaded again, as it lies on S3: `erasures/0012.json`.

An erasure names nobody. It has hashes, which only those can compare who have the salt, a secret of the installation.
Belongs here: one erasure, its words, and its hashes. Not here: the objects (sources/erasures.py), and what an erasure
does to objects, tables and ops (materialize/).
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from kpi_assets.errors import UserError

SHORTEST = 10  # characters of a reason
_WORDS = ("pipeline", "kind", "request", "reason", "by", "at", "salt", "keys")
ALIAS = "erased-"  # how what stands in the place of a key begins


class ErasureError(UserError):
    """An object of an erasure cannot be read, or was made with another salt."""


@dataclass(frozen=True)
class Salted:
    """The salt for one kind of person in one pipeline: hashes of other kinds and pipelines differ.

    `prefix` is hashed before a value, and `seed` is that of the quick hash, which Postgres computes.
    """

    prefix: bytes = field(repr=False)
    seed: int = field(repr=False)

    @classmethod
    def of(cls, salt: str, pipeline: str, kind: str) -> "Salted":
        """Derive it from the salt of the installation."""
        made = hmac.digest(salt.encode(), f"{pipeline}\0{kind}".encode(), "sha512")
        return cls(made[:32], int.from_bytes(made[32:40], "big", signed=True))

    def hash(self, value: str) -> bytes:
        """Return the hash of a key of a person."""
        return hashlib.sha256(self.prefix + value.encode()).digest()


def mark_of(salt: str) -> str:
    """Return by what it is noticed that an erasure was made with another salt."""
    return hmac.digest(salt.encode(), b"which salt", "sha256")[:8].hex()


@dataclass(frozen=True)
class ErasedKey:
    """A person by hashes, and what stands in the place of the key where rows stay."""

    hash: bytes
    quick: int  # hashtextextended of Postgres: it finds candidates quickly, and `hash` decides
    alias: str  # random letters, so that all rows of a person have the same

    @property
    def replacement(self) -> str:
        """What stands in the place of the key."""
        return ALIAS + self.alias


@dataclass(frozen=True)
class Erasure:
    """The persons of one request. `number` is that of its object."""

    pipeline: str
    kind: str
    request: str
    reason: str
    by: str
    at: datetime  # in UTC
    salt: str  # mark_of the salt
    keys: tuple[ErasedKey, ...]
    number: int = 0

    def body(self) -> bytes:
        """Return the object."""
        keys = [{"hash": each.hash.hex(), "quick": each.quick, "alias": each.alias} for each in self.keys]
        words = {**vars(self), "at": self.at.isoformat(timespec="seconds"), "keys": keys}
        return (json.dumps({word: words[word] for word in _WORDS}, ensure_ascii=False, indent=1) + "\n").encode()


def read_erasure(body: bytes, key: str, number: int) -> Erasure:
    """Read the object of an erasure. Raises ErasureError if it is none."""
    try:
        words = json.loads(body)
        if not isinstance(words, dict) or {*words} != {*_WORDS}:
            raise ValueError
        texts = {word: _text(words[word]) for word in _WORDS if word not in ("at", "keys")}
        at = datetime.fromisoformat(_text(words["at"])).astimezone(timezone.utc)
        return Erasure(**texts, at=at, keys=_keys(words["keys"]), number=number)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ErasureError(
            f"{key} is no erasure, and persons must not be loaded again: restore the object as `kpi erase` wrote it."
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _keys(value: Any) -> tuple[ErasedKey, ...]:
    if not isinstance(value, Sequence):
        raise TypeError
    found = tuple(ErasedKey(bytes.fromhex(each["hash"]), each["quick"], _text(each["alias"])) for each in value)
    if not all(len(each.hash) == 32 and -(2**63) <= each.quick < 2**63 for each in found):
        raise ValueError
    return found
