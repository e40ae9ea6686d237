"""Partitions by load_date, and the one place that ties dependencies and checks to them.

Checks must be partitioned too: else one day's pass hides another day's failure. The API for it is marked a preview, so
it is used here only.
"""

import warnings
from collections.abc import Iterable

import dagster as dg

from kpi_assets.model.checks.base import Check
from kpi_assets.model.pipeline import Pipeline


def load_dates(pipeline: Pipeline) -> dg.DailyPartitionsDefinition:
    """One partition a day from the pipeline's start; today's exists today."""
    return dg.DailyPartitionsDefinition(start_date=pipeline.config.start_date.isoformat(), timezone="UTC", end_offset=1)


def dependency(key: dg.AssetKey, lookback: int | None) -> dg.AssetDep:
    """What an asset reads of another: its own load_date, or with a lookback that many up to its own.

    The pipeline's first load_dates have fewer before them than that.
    """
    if lookback is None:
        return dg.AssetDep(key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        window = dg.TimeWindowPartitionMapping(
            start_offset=1 - lookback, end_offset=0, allow_nonexistent_upstream_partitions=True
        )
    return dg.AssetDep(key, partition_mapping=window)


def check_specs(
    key: dg.AssetKey, checks: Iterable[Check], partitions: dg.PartitionsDefinition[str]
) -> list[dg.AssetCheckSpec]:
    """The gates of an asset, one result for each and load_date."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name=check.name,
                asset=key,
                description=check.description,
                blocking=check.blocking,
                partitions_def=partitions,
            )
            for check in checks
        ]
