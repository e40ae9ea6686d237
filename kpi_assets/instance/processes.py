"""Runs whose process died: the next command on the same machine closes them as failed."""

import socket

import dagster as dg

from kpi_assets.process_identity import ProcessIdentity

# Tags of a run. The UI's list of runs hides tags with this prefix.
HOST, PROCESS = ".dagster/kpi_host", ".dagster/kpi_process"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def process_tags(run_id: str) -> dict[str, str]:
    """Return tags that name this process as the executor. They hold the run's id, because a retry inherits the tags."""
    return {HOST: socket.gethostname(), PROCESS: f"{run_id} {ProcessIdentity.of()}"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report the unfinished runs of this machine whose process is gone as failed, and return their ids."""
    closed = []
    found = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={HOST: socket.gethostname()}))
    for run in found:
        run_id, _, process = run.tags.get(PROCESS, "").partition(" ")
        if run_id == run.run_id and not _may_live(process):
            instance.report_run_failed(run, "The process that executed this run died before it could finish.")
            closed.append(run.run_id)
    return closed


def _may_live(text: str) -> bool:
    """Return whether the process in a tag may be alive. Anybody can set a tag: an unreadable one counts as alive."""
    try:
        return ProcessIdentity.parse(text).process() is not None
    except (ValueError, OverflowError):
        return True
