"""Waived tables: which are published on a person's word although checks failed, and what became of that word.

Each ruling by which a table is published is an incident of its own. It is over when the table is published without it.
When the ruling expires, the incident is told again, because the rows stay. It ends as well when the ruling is revoked:
the next build is held then, which is told as such. A ruling that expired unused is told once.

Belongs here: which rulings are told, and the sentences. Not here: the rulings themselves (ledger/rulings.py), and
recording incidents (ledger/incidents.py).
"""

from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import incidents, publishes, results, rulings
from kpi_assets.ledger.incidents import PartOfTable
from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline

NEWS = timedelta(days=1)  # a ruling that expired unused before that is not told any more


def report_waived(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Open the incident of each ruling by which a table is published, and close those that are over.

    It is safe to call this repeatedly, and cheap if nothing is waived. Call it before recovered incidents are closed:
    what is published on a person's word has not recovered.
    """
    standing = {(each.asset, each.object_key): each for each in _standing(connection)}
    unused = rulings.expired_unused(connection, NEWS)
    if not standing and not unused and not incidents.open_parts(connection, "ruling"):
        return
    with connection.transaction():
        incidents.await_turn(connection)
        now, since = results.now(connection), incidents.opened(connection, "ruling")
        for name, key in (each for each in since if each not in standing):
            if over := _over(connection, pipeline, name, key):
                incidents.close_part(connection, over)
        news = {
            each
            for each, ruling in standing.items()
            if each in since and ruling.expires_at and since[each] < ruling.expires_at <= now
        }
        incidents.close_unwatched(connection, "ruling", [each for each in standing if each not in news])
        for ruling in standing.values():
            is_over = ruling.expires_at is not None and ruling.expires_at <= now
            incidents.report_part(connection, _of(pipeline, ruling, _sentence(ruling, is_over=is_over)))
        for ruling in unused:
            checks = ", ".join(ruling.checks)
            waiver = f"the waiver of {checks} by {ruling.ruled_by} has expired unused ({ruling.reason})"
            sentence = f"{ruling.asset}: {waiver}"
            incidents.report_unused(connection, _of(pipeline, ruling, sentence))


def _standing(connection: Connection[Any]) -> list[RecordedRuling]:
    found = rulings.shown(connection, date.min, date.max)
    return [each for each in found if each.kind == "waive" and each.revoked_at is None]


def _sentence(ruling: RecordedRuling, *, is_over: bool) -> str:
    later = "; that time is over, and readers see these rows until others are published" if is_over else ""
    return f"{ruling.sentence}{later}"


def _of(pipeline: Pipeline, ruling: RecordedRuling, sentence: str) -> PartOfTable:
    return PartOfTable(pipeline.name, ruling.asset, ruling.load_date, sentence, ruling=ruling.object_key)


def _over(connection: Connection[Any], pipeline: Pipeline, name: str, key: str) -> PartOfTable | None:
    """Return that a table is published without its ruling now; None if it is not: then nothing has recovered."""
    ruling = rulings.of_key(connection, key)
    if ruling is None or ruling.revoked_at is not None:
        return None
    table = Relation.parse(name)
    publish = publishes.current(connection, [table], ruling.load_date).get(table)
    if publish is None:
        return None
    return _of(pipeline, ruling, f"{name} of {ruling.load_date} is published, and nobody had to waive a check of it")
