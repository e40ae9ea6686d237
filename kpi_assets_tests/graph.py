"""The asset graph as text, one fact a line, for the snapshot in graph.txt.

`python -m kpi_assets_tests.graph` prints it: redirect it into graph.txt after an intended change of the graph.
"""

from collections.abc import Iterator

import dagster as dg

from kpi_assets.assets.resources import plain_s3
from kpi_assets.definitions import build_defs


def describe(defs: dg.Definitions) -> Iterator[str]:
    """Yield assets with group, kinds, owner, dependencies and checks (`!`: blocking), then jobs, sensors, schedules."""
    graph = defs.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        partitions = node.partitions_def
        when = "live"
        if partitions is not None:
            assert isinstance(partitions, dg.DailyPartitionsDefinition)
            daily = f"daily from {partitions.start:%Y-%m-%d} {partitions.timezone}"
            when = f"{daily} end_offset={partitions.end_offset}"
        yield (
            f"{key.to_user_string()} group={node.group_name} kinds={','.join(sorted(node.kinds))} "
            f"owners={','.join(node.owners)} {when}"
        )
        if policy := node.freshness_policy:
            yield f"  fresh for {policy.fail_window.to_timedelta()}"
        for parent in sorted(node.parent_keys):
            mapping = graph.get_partition_mapping(key, parent)
            window = isinstance(mapping, dg.TimeWindowPartitionMapping) and mapping.start_offset
            yield f"  reads {parent.to_user_string()}" + (f" from {window} days on" if window else "")
        for check_key in sorted(node.check_keys, key=lambda found: found.name):
            check = graph.get(check_key)
            assert check.partitions_def == partitions
            yield f"  check {'!' if check.blocking else '?'} {check_key.name}"
    for job in sorted(defs.resolve_all_job_defs(), key=lambda found: found.name):
        if not job.name.startswith("__"):
            yield f"job {job.name}: {job.description}"
    for sensor in sorted(defs.sensors or [], key=lambda found: found.name):
        every = f"every {sensor.minimum_interval_seconds} s"
        yield f"sensor {sensor.name} {every}, {sensor.default_status.value}: {sensor.description}"
    for schedule in sorted(defs.schedules or [], key=lambda found: found.name):
        at = f"at {schedule.cron_schedule} {schedule.execution_timezone}"
        yield f"schedule {schedule.name} {at}, {schedule.default_status.value}: {schedule.description}"


if __name__ == "__main__":
    print("\n".join(describe(build_defs({"s3": plain_s3}))))  # noqa: T201
