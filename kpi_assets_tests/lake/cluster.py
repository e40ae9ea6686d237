"""A standalone cluster of Spark on this machine, whose workers can be killed while they work.

Belongs here: its processes, and what a worker is doing. Not here: what is computed on it.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from kpi_assets_tests.machine import PATIENCE, eventually, free_port
from kpi_assets_tests.model.portable.spark_install import SPARK, packages

_RUNNING = re.compile(r"Running task (\S+) in stage (\d+)")
_FINISHED = re.compile(r"Finished task (\S+) in stage (\d+)")


@dataclass
class Worker:
    """One worker, and the folder in which its executors write what they do."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    seen: int = 0  # bytes of what was written before

    def _written(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("*/*/stderr")))

    def tasks(self) -> int:
        """Return how many tasks the worker has finished."""
        return len(set(_FINISHED.findall(self._written().decode(errors="replace"))))

    def mark(self) -> None:
        """Forget what was done so far."""
        self.seen = len(self._written())

    def busy_stage(self) -> int | None:
        """Return a stage of which the worker has done a task and does another one; None if there is none."""
        text = self._written()[self.seen :].decode(errors="replace")
        done = {(task, stage) for task, stage in _FINISHED.findall(text)}
        running = {(task, stage) for task, stage in _RUNNING.findall(text)} - done
        found = [int(stage) for _, stage in running if any(stage == of for _, of in done)]
        return max(found, default=None)

    def kill_when_busy(self) -> int:
        """Kill the worker and its executors in the middle of a stage, and return that."""
        end = time.monotonic() + PATIENCE
        while (stage := self.busy_stage()) is None:
            assert time.monotonic() < end, "the worker does nothing"
            time.sleep(0.02)
        of_worker = psutil.Process(self.process.pid)
        for each in (of_worker, *of_worker.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(signal.SIGKILL)
        return stage


@dataclass(frozen=True)
class Cluster:
    """A master and its workers."""

    master: str
    workers: list[Worker]
    memory_mb: int = 1024  # of each worker

    @property
    def settings(self) -> dict[str, str]:
        """What a Spark needs to compute there, one task at a time on each worker."""
        return {
            "spark.master": self.master,
            "spark.executor.memory": f"{self.memory_mb - 324}m",
            "spark.executor.cores": "1",
            "spark.cores.max": str(len(self.workers)),
            "spark.sql.shuffle.partitions": "4",
        }


@contextmanager
def cluster(folder: Path, workers: int = 2, memory_mb: int = 1024) -> Iterator[Cluster]:
    """Start a cluster that ends with the block."""
    home, port = packages(SPARK) / "pyspark", free_port()
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    with ExitStack() as stack:

        def start(name: str, *words: str) -> "subprocess.Popen[bytes]":
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            command = ["bash", home / "bin" / "spark-class", *words]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(_end, process)
            return process

        of_deploy = "org.apache.spark.deploy"
        start("master", f"{of_deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        found = Cluster(f"spark://127.0.0.1:{port}", [], memory_mb)
        for number in range(workers):
            of_worker = folder / f"worker{number}"
            of_worker.mkdir()
            words = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", f"{memory_mb}m"]
            process = start(
                f"worker{number}", f"{of_deploy}.worker.Worker", *words, "--work-dir", str(of_worker), found.master
            )
            found.workers.append(Worker(process, of_worker))
        for number in range(workers):
            log = folder / f"worker{number}.log"
            eventually(lambda log=log: b"Successfully registered with master" in log.read_bytes())
        yield found


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(psutil.NoSuchProcess):
        of_process = psutil.Process(process.pid)
        for each in (*of_process.children(recursive=True), of_process):
            with suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()
