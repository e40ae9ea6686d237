"""Spark for tests: installed into a folder of its own when it is first needed, and run as a process beside the tests.

Not here: what is asked of it.
"""

import base64
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpi_assets.model.portable.types import Engine
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.model.portable.probes import Answer, rows_by_id
from kpi_assets_tests.model.portable.spark_engine import view

FOLDER = CHECKOUT / ".spark"
_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "requirements-spark.txt"


def installed() -> Path:
    """Return the folder with pyspark, which is installed from the pinned requirements if it is not there."""
    version = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()[:16]
    folder = FOLDER / version
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of pytest may need it at once
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            uv = Path(sys.executable).parent / "uv"
            subprocess.run(
                [uv, "pip", "install", "--quiet", "--require-hashes", "--target", folder, "-r", _REQUIREMENTS],
                check=True,
            )
            (folder / "complete").touch()
    return folder


def for_connect() -> Path:
    """Return the folder with what the client of Spark Connect needs, which is installed if it is not there."""
    requirements = _HERE / "requirements-connect.txt"
    folder = FOLDER / "connect"
    if not (folder / "complete").exists():
        uv = Path(sys.executable).parent / "uv"
        subprocess.run([uv, "pip", "install", "--quiet", "--target", folder, "-r", requirements], check=True)
        (folder / "complete").touch()
    return folder


JARS = (
    "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.1",
    "org.apache.iceberg:iceberg-aws-bundle:1.10.1",
    "org.postgresql:postgresql:42.7.8",
)


def jars() -> list[Path]:
    """Return the jars of Iceberg, its S3 client and the driver of its catalog, which Maven's client fetches once."""
    folder = FOLDER / "jars"
    for artifact in JARS:
        _, name, version = artifact.split(":")
        if not (folder / f"{name}-{version}.jar").exists():
            command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return sorted(folder.glob("*.jar"))


class OnSpark:
    """A Spark that answers one statement after another."""

    engine: Engine = "spark"

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.failure = ""  # what the last statement failed with

    @classmethod
    @contextmanager
    def open(cls, settings: Mapping[str, str] | None = None, *, by_connect: bool = False) -> Iterator["OnSpark"]:
        """Yield a running Spark; with `by_connect`, one that is spoken to by Spark Connect."""
        path = [str(installed()), *([str(for_connect())] if by_connect else [])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            **({"KPI_TEST_SPARK_CONNECT": "1"} if by_connect else {}),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "KPI_TEST_SPARK_SETTINGS": json.dumps(settings or {}),
        }
        with subprocess.Popen(
            [sys.executable, _HERE / "spark_worker.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        ) as process:
            try:
                yield cls(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(60)

    def rows(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return the types of the columns and the rows; nothing if the statement fails, whose message is `failure`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(sql) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("answer "):
                self.failure, types, rows = pickle.loads(base64.b64decode(line.removeprefix("answer ")))
                return types, rows
        raise RuntimeError("Spark ended: is Java 17 or 21 installed?")

    def run(self, sql: str) -> Answer:
        """Return the last column of a SELECT, or `fails`."""
        types, rows = self.rows(sql)
        return Answer("fails", ()) if self.failure or not types else Answer(types[-1], rows_by_id(rows))

    def table(self, name: str, types: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Make a view of these rows, or replace it."""
        self.all_rows(view(name, types, rows))

    def all_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT. Raises AssertionError if it fails."""
        _, rows = self.rows(sql)
        assert not self.failure, f"{self.failure} in {sql}"
        return rows
