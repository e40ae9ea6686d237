"""The status of one load_date in the plan: its state, the reason, and whether a run should start for it."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

State = Literal[
    "missing", "incomplete", "late", "new", "stale", "lost", "held", "failed", "running", "growing", "published"
]
STATES: tuple[State, ...] = get_args(State)

# Why a table is stale. If several reasons apply to a load_date, the first one is named.
#   objects   its object was never read, or was replaced since it was read, or an API is asked for it now
#   lost      the ledger calls it published, but its rows are gone from the database
#   released  it was held, and what it reads or is compared with, its SQL or its checks have changed since
#   decisions somebody decided on its rows, or ruled on a build of it, since it was built
#   inputs    it was built from rows that were replaced since
#   window    an earlier load_date that it reads now, of its window or of itself, was published after it was built
#   removed   its optional object was there when it was built, and is gone
#   sql       its SQL has changed since it was published
#   unbuilt   it was never built
StaleReason = Literal["objects", "lost", "released", "decisions", "inputs", "window", "removed", "sql", "unbuilt"]
STALE_REASONS: tuple[StaleReason, ...] = get_args(StaleReason)


@dataclass(frozen=True)
class LoadDateStatus:
    """The state of one load_date, and one sentence that explains it.

    If a run would change something, the status also has `stale_reason`, `input_fingerprint` and `tables_to_build`.
    """

    load_date: date
    state: State
    reason: str
    landed: int  # the number of its objects on S3
    newest: datetime | None = None  # when the last object landed
    stale_reason: StaleReason | None = None
    input_fingerprint: str = ""  # 16 hex digits: a hash of the objects, SQL and checks that a run would use
    tables_to_build: tuple[str, ...] = ()  # empty: all tables
    summary: str = ""  # the reason without what only this load_date has, so that load_dates can be listed together
    is_complete: bool = False  # whether every object is there that must be, or an API is asked for it
    asked_from: datetime | None = None  # when APIs are asked for objects that lack
    grows: bool = False  # live runs build it as events land

    def is_due(self, *, rebuild_on_sql_change: bool) -> bool:
        """Return whether automation should start a run of the load_date.

        A published load_date is not rebuilt because of changed SQL unless the pipeline is configured so: otherwise
        editing one file would rebuild all load_dates. Nor because an optional object is gone: it may have expired.
        """
        if self.stale_reason in {"objects", "lost", "released", "decisions", "inputs", "window"}:
            return True
        broke_off = self.state == "failed" and self.stale_reason == "unbuilt"
        return self.stale_reason not in {None, "removed"} and (broke_off or rebuild_on_sql_change)
