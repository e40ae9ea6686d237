"""Final numbers that were restated: people are told once of each, with what it was, what it is, and why.

A number is final when its time has come and nothing lacked behind it (model/kpi.py). Whatever changes it afterwards is
told: a build that its check `final` let through, one that somebody waived, and a rollback. There is nothing to recover:
the incident is over as soon as it is told. Of a KPI whose rows are final by their own day, the check itself alerts.

Belongs here: the sentences. Not here: finding what was restated (ledger/causes.py), recording incidents
(ledger/incidents.py), and the words for causes (reasons.py).
"""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import causes, incidents
from kpi_assets.ledger.causes import Restated
from kpi_assets.model.kpi import Kpi
from kpi_assets.model.number_format import write
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.monitoring.reasons import reason

NEWS = timedelta(days=7)  # a publish that is older is not told any more


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
                _sentences(pipeline, kpis[each.kpi], each),
            )


def _sentences(pipeline: Pipeline, kpi: Kpi, restated: Restated) -> list[str]:
    assert kpi.final
    since = f"{restated.kpi} of {restated.load_date} was final since {kpi.final.at(restated.load_date):%Y-%m-%d}"
    measures = [
        f"{measure.title}: {write(was, measure.format)} → {write(now, measure.format)} {measure.unit}".rstrip()
        for name, was, now in restated.measures
        if (measure := kpi.measures.get(name))
    ]
    why = f"the cause: {reason(pipeline, restated.load_date, restated.differences)}"
    return [since, *(measures or ["no measure of it has another value, and its rows are others"]), why]
