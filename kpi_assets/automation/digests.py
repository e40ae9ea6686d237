"""The daily digest: recorded once a day by the sensor `alerts`, after the time that pipeline.yaml says.

Not here: what it says (read/digest.py), and its delivery, which is that of alerts (alerts/delivery.py).
"""

from datetime import datetime

from pydantic import SecretStr

from kpi_assets.ledger import digests
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.digest import read_digest
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot


def record_due(server: SecretStr, pipeline: Pipeline, now: datetime) -> bool:
    """Record the digest of today if it is due and was not recorded; return whether it was. Raises UserError.

    A digest whose time passed while nothing ran is recorded later on the same day, and not on another one.
    """
    due = pipeline.config.automation.digest
    if due is None or now.strftime("%H:%M") < due:
        return False
    with connect(server, pipeline.name, "digest") as connection:
        if digests.is_recorded(connection, pipeline.name, now.date()):
            return False
        with one_snapshot(connection, LEDGER_ALONE):
            found = read_digest(connection, pipeline, now)
        return found is not None and digests.record(connection, pipeline.name, now.date(), found.texts)
