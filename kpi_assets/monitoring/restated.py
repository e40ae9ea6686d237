"""Final numbers that were restated: people are told once of each, with what it was, what it is, and why.

A number is final when its time has come and nothing lacked behind it (model/kpi.py). Whatever changes it afterwards is
told: a build that its check `final` let through, one that somebody waived, and a rollback. There is nothing to recover:
the incident is over as soon as it is told. Of a KPI whose rows are final by their own day, the check itself alerts.

Belongs here: the sentences. Not here: finding what was restated (ledger/causes.py), recording incidents
(ledger/incidents.py), and what readers are told (read/restated.py).
"""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import causes, incidents
from kpi_assets.ledger.causes import Cause, Restated
from kpi_assets.model.kpi import Kpi
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline

NEWS = timedelta(days=7)  # a publish that is older is not told any more
_NAMED = 3  # tables at the root
_WHY: dict[Cause, str] = {
    "objects": "other objects",
    "decision": "a decision on rows that were set aside",
    "sql": "other SQL",
    "window": "a load_date of its window that came or went",
    "inputs": "an input that was corrected",
    "rollback": "a rollback",
    "erasure": "persons who were erased",
    "rebuilt": "it was built again, and nothing that it was made from differs",
}


def report_restated(connection: Connection[Any], pipeline: Pipeline) -> None:
    """Tell of each publish that changed final numbers.

    It is safe to call this repeatedly, and cheap if no KPI says when its numbers are final.
    """
    kpis = {str(relation): table.header.kpi for relation, table in pipeline.tables.items() if table.header.kpi}
    after_days = {name: kpi.final.after_days for name, kpi in kpis.items() if kpi.final and not kpi.final.by}
    if not after_days:
        return
    with connection.transaction():
        incidents.await_turn(connection)
        for each in causes.restated(connection, after_days, NEWS):
            incidents.report_restated(
                connection,
                *(pipeline.name, each.kpi, each.load_date, each.run_id, each.publish_id),
                _sentences(kpis[each.kpi], each),
            )


def _sentences(kpi: Kpi, restated: Restated) -> list[str]:
    assert kpi.final
    since = f"{restated.kpi} of {restated.load_date} was final since {kpi.final.at(restated.load_date):%Y-%m-%d}"
    measures = [
        f"{measure.title}: {write(was, measure.format)} → {write(now, measure.format)} {measure.unit}".rstrip()
        for name, was, now in restated.measures
        if (measure := kpi.measures.get(name))
    ]
    return [since, *(measures or ["no measure of it has another value, and its rows are others"]), _why(restated)]


def _why(restated: Restated) -> str:
    first = min((each.rank for each in restated.differences), default=0)
    roots = dict.fromkeys(f"{each.asset} of {each.load_date}" for each in restated.differences if each.rank == first)
    names = [*roots][:_NAMED] + ([f"{len(roots) - _NAMED} more"] if len(roots) > _NAMED else [])
    return f"the cause: {_WHY[restated.cause]}" + (f" ({', '.join(names)})" if names else "")
