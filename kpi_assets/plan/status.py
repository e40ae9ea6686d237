"""What the plan says of one load_date: its state, what that means, and whether a run should start for it."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

State = Literal["missing", "incomplete", "late", "new", "stale", "lost", "held", "failed", "running", "published"]
STATES: tuple[State, ...] = get_args(State)

# Why a table is not what a build would make of it now. The first that applies to a load_date is the one that is named.
#   objects   its object was never read, or was replaced since it was read
#   lost      the ledger calls it published, but its rows are gone from the database
#   released  it was held, and what it reads, its SQL or its checks have changed since
#   inputs    it was built from rows that were replaced since
#   window    a load_date of its window was published after it was built
#   sql       its SQL has changed since it was published
#   unbuilt   it was never built
StaleReason = Literal["objects", "lost", "released", "inputs", "window", "sql", "unbuilt"]
STALE_REASONS: tuple[StaleReason, ...] = get_args(StaleReason)


@dataclass(frozen=True)
class LoadDateStatus:
    """The state of one load_date, and one sentence that explains it.

    Where a run would change something, it also has `stale_reason`, `input_fingerprint` and `tables_to_build`.
    """

    load_date: date
    state: State
    reason: str
    landed: int  # how many of its objects lie on S3
    newest: datetime | None = None  # when the last of them landed
    stale_reason: StaleReason | None = None
    input_fingerprint: str = ""  # 16 hex digits of the objects, SQL and checks that the outcome of a run depends on
    tables_to_build: tuple[str, ...] = ()  # empty: all tables

    def is_due(self, *, rebuild_on_sql_change: bool) -> bool:
        """Whether a run of it should start without a person asking.

        A published load_date is not rebuilt because of changed SQL, unless the pipeline asks for that. Otherwise the
        edit of one file would rebuild all load_dates.
        """
        if self.stale_reason in {"objects", "lost", "released", "inputs", "window"}:
            return True
        broke_off = self.state == "failed" and self.stale_reason == "unbuilt"
        return self.stale_reason is not None and (broke_off or rebuild_on_sql_change)
