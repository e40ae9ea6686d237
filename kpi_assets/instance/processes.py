"""Runs whose process died: what was killed in the middle is closed as failed by whoever comes next on this machine."""

import socket

import dagster as dg

from kpi_assets.process_identity import ProcessIdentity

# Tags; what begins so is kept out of the UI's list of runs.
HOST, PROCESS = ".dagster/kpi_host", ".dagster/kpi_process"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that tell that this process executes the run; a run that is tried again has its predecessor's tags too."""
    return {HOST: socket.gethostname(), PROCESS: f"{run_id} {ProcessIdentity.of()}"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed the unfinished runs of this machine whose process is gone; returns their ids."""
    closed = []
    found = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={HOST: socket.gethostname()}))
    for run in found:
        run_id, _, process = run.tags.get(PROCESS, "").partition(" ")
        if run_id == run.run_id and not _may_live(process):
            instance.report_run_failed(run, "The process that executed this run died before it could finish.")
            closed.append(run.run_id)
    return closed


def _may_live(text: str) -> bool:
    """Whether the process lives that a tag names. Anybody can set the tag: where it names none, no run is closed."""
    try:
        return ProcessIdentity.parse(text).process() is not None
    except (ValueError, OverflowError):
        return True
