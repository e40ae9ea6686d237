"""Runs whose process died: what `kpi run` was killed in the middle of is closed as failed by whoever comes next.

Runs that the daemon launched are watched by Dagster's own run monitoring.
"""

import socket

import dagster as dg
import psutil

# Tags; what begins so is kept out of the UI's list of runs.
HOST, PROCESS, SINCE = ".dagster/kpi_host", ".dagster/kpi_process", ".dagster/kpi_process_since"
_UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED]


def process_tags() -> dict[str, str]:
    """Tags that tell which process executes a run; a recycled process id is told by its start time."""
    process = psutil.Process()
    return {HOST: socket.gethostname(), PROCESS: str(process.pid), SINCE: f"{process.create_time():.2f}"}


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report as failed the unfinished runs of this machine whose process is gone; returns their ids."""
    closed = []
    found = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={HOST: socket.gethostname()}))
    for run in found:
        if not _is_alive(int(run.tags[PROCESS]), run.tags[SINCE]):
            instance.report_run_failed(run, "The process that executed this run died before it could finish.")
            closed.append(run.run_id)
    return closed


def _is_alive(pid: int, since: str) -> bool:
    try:
        return f"{psutil.Process(pid).create_time():.2f}" == since
    except psutil.NoSuchProcess:
        return False
