"""What a person is told who needs rows that retention dropped.

Not here: dropping them (retention.py).
"""

from collections.abc import Sequence
from datetime import date

from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline


def explain_replay(pipeline: Pipeline, relations: Sequence[Relation], load_date: date) -> str:
    """Explain that the rows were dropped and how to replay them, as a clause without a full stop.

    Those of a table that carries on need the rows of all its load_dates before.
    """
    names = ", ".join(map(str, relations))
    command = f"kpi run {pipeline.name} --load-date {load_date}"
    if any(pipeline.tables[relation].carries_on for relation in relations):
        command = f"kpi backfill {pipeline.name} --from {pipeline.config.start_date} --to {load_date}"
    return f"the rows of {names} of {load_date} were dropped by retention; `{command}` replays them from S3"
