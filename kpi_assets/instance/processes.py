"""Runs whose process died: what was killed in the middle is closed as failed by whoever comes next on this machine."""

import socket

import dagster as dg
import psutil

# Tags; what begins so is kept out of the UI's list of runs.
HOST, PROCESS = ".dagster/kpi_host", ".dagster/kpi_process"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that tell that this process executes the run; a run that is tried again has its predecessor's tags too."""
    return {HOST: socket.gethostname(), PROCESS: f"{run_id} {_told(psutil.Process())}"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed the unfinished runs of this machine whose process is gone; returns their ids."""
    closed = []
    found = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={HOST: socket.gethostname()}))
    for run in found:
        run_id, _, process = run.tags.get(PROCESS, "").partition(" ")
        if run_id == run.run_id and not _is_alive(process):
            instance.report_run_failed(run, "The process that executed this run died before it could finish.")
            closed.append(run.run_id)
    return closed


def _told(process: psutil.Process) -> str:
    """A process as text; one that was given the same number later has another start time."""
    return f"{process.pid} {process.create_time():.2f}"


def _is_alive(told: str) -> bool:
    """Whether the process lives that a tag names; nobody closes a run whose tag, which anybody can set, names none."""
    try:
        process = psutil.Process(int(told.partition(" ")[0]))
    except (ValueError, OverflowError):
        return True
    except psutil.NoSuchProcess:
        return False
    try:
        return _told(process) == told and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
