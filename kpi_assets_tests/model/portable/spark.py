"""Spark for tests: a process beside them that answers one statement after another.

Not here: installing it (spark_install.py), and what is asked of it.
"""

import base64
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

import pytest

from kpi_assets.model.portable.types import Engine
from kpi_assets_tests.model.portable.probes import Answer, rows_by_id
from kpi_assets_tests.model.portable.spark_engine import view
from kpi_assets_tests.model.portable.spark_install import FOLDER, SPARK, packages

_WORKER = Path(__file__).parent / "spark_worker.py"


class OnSpark:
    """A Spark that answers one statement after another."""

    engine: Engine = "spark"

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.failure = ""  # what the last statement failed with

    @classmethod
    @contextmanager
    def open(
        cls, settings: Mapping[str, str] | None = None, *, by_connect: bool = False, within: Path = FOLDER
    ) -> Iterator["OnSpark"]:
        """Yield a running Spark; with `by_connect`, one that is spoken to by Spark Connect."""
        if not shutil.which("java"):
            pytest.skip("Spark needs Java 17 or 21: install it (on Debian: the package openjdk-17-jre-headless)")
        environment = {
            **os.environ,
            "PYTHONPATH": str(packages(SPARK, within)),
            **({"KPI_TEST_SPARK_CONNECT": "1"} if by_connect else {}),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "KPI_TEST_SPARK_SETTINGS": json.dumps(settings or {}),
        }
        with subprocess.Popen(
            [sys.executable, _WORKER],
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

    @property
    def pid(self) -> int:
        """The number of the process; Java is below it."""
        return self._process.pid

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
        raise RuntimeError("Spark ended: is the Java of this machine 17 or 21?")

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
