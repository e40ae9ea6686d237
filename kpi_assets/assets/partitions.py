"""Partitions by load_date, and the dependencies and checks that use them.

Checks are partitioned too: otherwise a passed check of one day would hide a failed one of another. Dagster marks this
API as a preview, so it is used here only.
"""

import warnings
from collections.abc import Iterable

import dagster as dg

from kpi_assets.model.checks.base import Check
from kpi_assets.model.pipeline import Pipeline


def load_dates(pipeline: Pipeline) -> dg.DailyPartitionsDefinition:
    """Return one partition for each day from the pipeline's start_date to today, including today."""
    return dg.DailyPartitionsDefinition(start_date=pipeline.config.start_date.isoformat(), timezone="UTC", end_offset=1)


def dependency(key: dg.AssetKey, lookback: int | None) -> dg.AssetDep:
    """Return the dependency on another asset: on the same load_date, or on the last `lookback` load_dates up to it.

    The first load_dates of a pipeline have a shorter window.
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
    """Return the checks of an asset, each with one result for each load_date."""
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
