"""What a live run tells Dagster: materializations now and then, and the results of checks when a verdict changes.

An event costs Dagster 60 ms and 2 kB for ever, and a tick every two seconds builds twenty tables. So a KPI is
materialized once a minute, any other asset once in five minutes, and each of them when the run ends. A result is
recorded if it is the first of its check in the run, if its verdict differs from the one before, and at the end. Only
with results a materialization has all figures: each of them takes 150 bytes.

Belongs here: which events are due, and their metadata. Not here: when there is a tick (automation/live_run.py).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from kpi_assets.assets.factory import evaluations
from kpi_assets.assets.metadata import object_key, table_key, value_metadata, verdict
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildOutcome
from kpi_assets.materialize.grow import Grown
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import CheckResult

KPI_EVERY, OTHERS_EVERY = 60.0, 300.0  # seconds between two materializations of an asset
Outcome = Grown | BuildOutcome


@dataclass
class _Asset:
    """What the run knows of one asset: what it published last, and what Dagster was told of it."""

    untold: Outcome | None = None  # what it published since its latest materialization
    results: Sequence[CheckResult] = ()
    is_held: bool = False
    told_at: float | None = None
    verdicts: dict[str, tuple[bool, bool]] = field(default_factory=dict)  # check -> (passed, whether it is an error)


class LiveEvents:
    """The events of one live run; `published` finds the publish of a table, and `clock` counts seconds."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        pipeline: Pipeline,
        load_date: date,
        published: Callable[[Relation], Publish | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instance, self._pipeline, self._published, self._clock = instance, pipeline, published, clock
        self._partition = load_date.isoformat()
        self._assets: dict[Relation, _Asset] = {}

    def after(self, outcomes: Sequence[Outcome]) -> Iterator[Any]:
        """Yield the events that are due after a tick with these outcomes, in the order in which they were built."""
        for outcome in outcomes:
            asset = self._assets.setdefault(outcome.relation, _Asset())
            asset.results, asset.is_held = outcome.results, outcome.publish_id is None
            if not asset.is_held:
                asset.untold = outcome
            changed = [each for each in outcome.results if asset.verdicts.get(each.name) != _verdict(each)]
            if changed and not asset.is_held:  # so that the results are about what is published now
                yield from self._materialized(outcome.relation, asset, in_full=True)
            yield from self._evaluated(outcome.relation, asset, changed)
        for relation, asset in self._assets.items():
            every = KPI_EVERY if self._pipeline.tables[relation].header.kpi else OTHERS_EVERY
            if asset.told_at is None or self._clock() - asset.told_at >= every:
                yield from self._materialized(relation, asset)

    def at_end(self) -> Iterator[Any]:
        """Yield a materialization of each asset that has changed since its latest one, and all results about it."""
        for relation, asset in self._assets.items():
            if asset.untold is not None:
                yield from self._materialized(relation, asset, in_full=True)
                if not asset.is_held:
                    yield from self._evaluated(relation, asset, asset.results)

    def _materialized(self, relation: Relation, asset: _Asset, *, in_full: bool = False) -> Iterator[Any]:
        """Yield a materialization of what is untold of an asset, and of the objects of the stream that it reads."""
        outcome, publish = asset.untold, self._published(relation)
        if outcome is None or publish is None:
            return
        table, asset.untold, asset.told_at = self._pipeline.tables[relation], None, self._clock()
        described = {"dagster/row_count": publish.rows, **_described_outcome(outcome)}
        described |= _described_in_full(publish, asset.results) if in_full else {}
        if table.stream:
            yield self._event(object_key(table), publish.manifest_hash, "", _described_outcome(outcome))
        version = f"{publish.rows}-{publish.checksum}"
        yield self._event(table_key(self._pipeline.name, relation), version, publish.code_version, described)

    def _event(
        self, key: dg.AssetKey, data_version: str, code_version: str, described: Mapping[str, Any]
    ) -> dg.AssetMaterialization:
        tags = {"dagster/data_version": data_version, "dagster/code_version": code_version}
        return dg.AssetMaterialization(
            key, partition=self._partition, metadata=described, tags={name: tags[name] for name in tags if tags[name]}
        )

    def _evaluated(self, relation: Relation, asset: _Asset, results: Sequence[CheckResult]) -> Iterator[Any]:
        asset.verdicts |= {result.name: _verdict(result) for result in results}
        key, kind = table_key(self._pipeline.name, relation), "held" if asset.is_held else "published"
        if results:
            where = {kind: f"{self._pipeline.name}.{relation}"}
            yield from evaluations(self._instance, key, self._partition, results, where)


def _verdict(result: CheckResult) -> tuple[bool, bool]:
    return result.passed, result.blocking or result.errored


def _described_in_full(publish: Publish, results: Sequence[CheckResult]) -> dict[str, Any]:
    """Return the figures of what is published that need not be there each minute."""
    return {
        "verdict": verdict(results),
        "dagster/partition_row_count": publish.rows,
        "bytes": publish.size_bytes,
        "checksum": publish.checksum,
        "publish_id": publish.publish_id,
        "manifest_hash": publish.manifest_hash,
    }


def _described_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return the figures of the latest batch of a table that grows, or of the latest build of another one."""
    if isinstance(outcome, BuildOutcome):
        return {**value_metadata(outcome.measures), "seconds": round(sum(outcome.seconds.values()), 3)}
    counts = {name: getattr(outcome, name) for name in ("objects", "records", "rows", "repeats", "quarantined")}
    return {
        "batch": outcome.batch,
        **{f"batch/{name}": count for name, count in counts.items() if count or name == "rows"},
        **({"through": dg.MetadataValue.timestamp(outcome.through)} if outcome.through else {}),
    }
