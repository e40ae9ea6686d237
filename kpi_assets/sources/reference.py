"""Reference objects: one object that is overwritten from time to time, and which state of it belongs to a load_date.

A load_date has the state that landed last on or before it, in UTC; one before all known states has the first of them,
so that a past can be filled. The known states are those that builds have seen, and the present one. If the bucket keeps
versions, an earlier state can still be read; else it is gone once it was overwritten.

Belongs here: choosing the state, and whether it can be read. Not here: the record of the states (ledger/manifests.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone

from kpi_assets.model.manifest import Manifest
from kpi_assets.sources.store import Store

_WAY_OUT = (
    "to build it, land that file once more, run the load_date, and land the new file again, or let the bucket keep "
    "versions from now on"
)
NO_VERSION = (None, "null")  # "null": an object from before the bucket kept versions, or since it ceased to


@dataclass(frozen=True)
class ReferenceState:
    """The state of a reference object that belongs to a load_date."""

    manifest: Manifest
    gone: str = ""  # why it cannot be read any more, and what to do: one sentence


def state_of(known: Sequence[Manifest], present: Manifest | None, load_date: date) -> ReferenceState | None:
    """Return the state that belongs to a load_date, of those that are `known` and the present one; None without any."""
    landed = sorted([*known, *([present] if present else [])], key=lambda each: each.last_modified)
    if not landed:
        return None
    before = [each for each in landed if each.last_modified.astimezone(timezone.utc).date() <= load_date]
    chosen = replace((before or landed[:1])[-1], load_date=load_date)
    if _can_be_read(chosen, present):
        return ReferenceState(chosen)
    later = (each for each in landed if each.last_modified > chosen.last_modified and not _is_same(each, chosen))
    return ReferenceState(chosen, _gone(chosen, next(later, None)))


def exists(store: Store, state: ReferenceState, present: Manifest | None) -> ReferenceState:
    """Return a state after looking whether its version is still there. Raises LakeError."""
    wanted = state.manifest
    if state.gone or (present and _is_same(wanted, present)):
        return state
    if store.manifest(wanted.object, wanted.load_date, wanted.key, wanted.version_id):
        return state
    return ReferenceState(wanted, _gone(wanted, present))


def lost_by_replacing(store: Store, key: str) -> str:
    """Return what replacing a reference object has lost, and what to do: one sentence; empty if its bucket has both."""
    present = store.manifest("", date.min, key)
    if present is None or present.version_id not in NO_VERSION:
        return ""
    return (
        f"the bucket keeps no versions of {present.url}: a load_date before today that is not published, and that "
        f"needs what the object was before, can no longer be built; {_WAY_OUT}"
    )


def _can_be_read(wanted: Manifest, present: Manifest | None) -> bool:
    return wanted.version_id not in NO_VERSION or (present is not None and _is_same(wanted, present))


def _is_same(one: Manifest, other: Manifest) -> bool:
    """Whether two states have the same bytes and version, as far as S3 says."""
    return one.hash == other.hash


def _gone(wanted: Manifest, later: Manifest | None) -> str:
    since = f"overwritten at {_minute(later.last_modified)}" if later else "removed"
    return (
        f"{wanted.url} was {since}, and {wanted.load_date} needs its state of {_minute(wanted.last_modified)}, which "
        f"is gone: what was published from it stays; {_WAY_OUT}"
    )


def _minute(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
