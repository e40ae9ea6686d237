"""Where a load_date can stand: the states, what they mean, and which of them call for a run."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, get_args

State = Literal["missing", "incomplete", "late", "new", "stale", "lost", "held", "failed", "running", "published"]
STATES: tuple[State, ...] = get_args(State)

# Why a table is not what a build would make of it now, the most telling first: its object was never read, or replaced
# since; its rows are gone from the database; it was held, and what it reads, its SQL or its checks have changed since;
# it was built from rows that were replaced since; a load_date of its window was published since; its SQL has changed;
# it was never built.
StaleReason = Literal["objects", "lost", "released", "inputs", "window", "sql", "unbuilt"]
STALE_REASONS: tuple[StaleReason, ...] = get_args(StaleReason)


@dataclass(frozen=True)
class LoadDateStatus:
    """The state of one load_date, and the reason for it in one sentence.

    What a run would do something about has a cause, and a basis: 16 hex digits of the objects, SQL and checks that the
    run goes by.
    """

    load_date: date
    state: State
    reason: str
    landed: int  # how many of its objects lie on S3
    newest: datetime | None = None  # when the last of them landed
    cause: StaleReason | None = None
    basis: str = ""
    tables: tuple[str, ...] = ()  # all that a run of it has to build; empty where that is everything

    def is_due(self, *, rebuild_on_sql_change: bool) -> bool:
        """Whether a run of it should start by itself.

        What is published stays where only SQL has changed, unless the pipeline wants it otherwise: else the edit of one
        file would build all load_dates again.
        """
        if self.cause in {"objects", "lost", "released", "inputs", "window"}:
            return True
        broken_off = self.state == "failed" and self.cause == "unbuilt"
        return self.cause is not None and (broken_off or rebuild_on_sql_change)
