"""Runs a backfill of Dagster to its end, as its daemon does."""

import logging
import time
from collections.abc import Iterable
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._daemon.backfill import execute_backfill_iteration


def run_backfill(
    instance: dg.DagsterInstance, workspace: Any, name: str, days: Iterable[date], keys: Iterable[dg.AssetKey]
) -> BulkActionStatus:
    """Return how the backfill of these load_dates and assets ended."""
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=workspace.create_request_context().asset_graph,
            partition_names=[str(day) for day in days],
            asset_selection=sorted(keys),
            backfill_timestamp=time.time(),
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    )
    for _ in range(20):
        errors = [error for error in execute_backfill_iteration(workspace, logging.getLogger("backfill")) if error]
        assert errors == []
        backfill = instance.get_backfill(name)
        assert backfill is not None
        if backfill.status != BulkActionStatus.REQUESTED:
            break
    return backfill.status
