"""Incidents of sensors and schedules that fail again and again.

An incident is recorded in the outbox of its pipeline. If that cannot be used, and for a sensor of all pipelines, it is
recorded in the first outbox that can be used. The sensor `alerts` records all of them but its own,
which the sensors of the pipelines and the commands record.
"""

from collections.abc import Collection, Sequence
from typing import Any

import dagster as dg
from psycopg import Connection

from kpi_assets.alerts.channels import channels
from kpi_assets.alerts.delivery import deliver
from kpi_assets.embedded.stack import servers_for_life
from kpi_assets.instance import ticks
from kpi_assets.instance.starters import ALERTS_SENSOR, pipeline_sensor_of
from kpi_assets.instance.ticks import Stalled
from kpi_assets.ledger import incidents
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.read.addresses import pages_of
from kpi_assets.warehouse.connection import connect

CHANNEL_SECONDS = 5.0  # for a channel, if a pipeline's sensor delivers


def record_stalled(connection: Connection[Any], pipeline: str, found: Sequence[Stalled]) -> None:
    """Open an incident for each stalled sensor or schedule that has none open."""
    for each in found:
        incidents.report_stalled(connection, pipeline, each.starter.name, each.sentence)


def record_if_alerts_stalled(instance: dg.DagsterInstance, connection: Connection[Any], pipeline: str) -> None:
    """Open the incident of the sensor `alerts`, if it is stalled."""
    record_stalled(connection, pipeline, ticks.find_stalled(instance, [ALERTS_SENSOR]))


def stand_in(instance: dg.DagsterInstance, pipeline: Pipeline, others: Collection[Pipeline]) -> None:
    """Record and deliver that the sensor `alerts` is stalled. The sensor of each pipeline calls this in every tick.

    Only one of them does it: the first by name that works. Raises UserError.
    """
    found = ticks.find_stalled(instance, [ALERTS_SENSOR])
    before = [other for other in others if other.name < pipeline.name] if found else []
    if not found or any(ticks.is_working(instance, pipeline_sensor_of(other)) for other in before):
        return
    servers = servers_for_life()
    config, server = servers.settings, servers.postgres
    with connect(server, pipeline.name, "alerts") as connection:
        record_stalled(connection, pipeline.name, found)
    deliver(
        *(server, pipeline.name, channels(config), config.ui_url, CHANNEL_SECONDS),
        run_history_days=config.run_history_days,
        pages=pages_of(pipeline, config.serve_url),
    )
