"""A running `kpi up`, and the calls that the web UI makes."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import boto3

from kpi_assets.embedded.stack import Stack
from kpi_assets.instance.probe import bearer
from kpi_assets.samples import GENERATORS
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.cli import forked
from kpi_assets_tests.cli.forked import KPI
from kpi_assets_tests.machine import PATIENCE, free_port

ENDINGS = {"SUCCESS", "FAILURE", "CANCELED"}
LOCATION = {"repositoryLocationName": "kpi_assets", "repositoryName": "__repository__"}
# Modules that the parts import: Dagster, the web server, the storage, the code of assets and runs.
PLANTED = [
    "boto3",
    "click",
    "dagster",
    "dagster_graphql",
    "dagster_postgres",
    "dagster_webserver",
    "grpc",
    "kpi_assets",
    "psutil",
    "psycopg",
    "psycopg2",
    "pydantic",
    "sitecustomize",
    "sqlalchemy",
    "sqlglot",
    "starlette",
    "typing_extensions",
    "usercustomize",
    "uvicorn",
    "yaml",
]
NOTHING = "automation: {start: none}\n"  # only launched runs

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
BACKFILL = """
query Backfill($tags: [ExecutionTag!]) {
  runsOrError(filter: {tags: $tags}) { ... on Runs { results { status tags { key value } } } }
}
"""
CHECKS = """
query Checks($key: AssetKeyInput!, $name: String!, $partition: String) {
  assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1, partition: $partition) {
    status
    evaluation { success description partition metadataEntries { label ... on FloatMetadataEntry { floatValue } } }
  }
}
"""
PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { latestMaterializationByPartition { partition } } }
}
"""


@dataclass
class Web:
    """A running `kpi up`."""

    address: str
    environment: dict[str, str]
    token: str | None = None  # its output, with the address
    folder: Path = Path()  # the folder in which it is started

    @classmethod
    @contextmanager
    def open(
        cls, folder: Path, automation: str = NOTHING, pipeline: str = "instacart", **environment: str
    ) -> Iterator["Web"]:
        """Run `kpi up` in a home below a folder, with its own copy of one pipeline; end it with Ctrl-C.

        Each of its processes reads all pipelines that it is given, and ticks their sensors.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KPI_", "AWS_", "DAGSTER_"))}
        path = Path(shutil.copytree(CHECKOUT / "sql" / pipeline, folder / "sql" / pipeline), "pipeline.yaml")
        kept_lines = [line for line in path.read_text().splitlines() if not line.startswith("automation:")]
        path.write_text("\n".join([*kept_lines, automation]))
        places = {"KPI_HOME": str(folder / "home"), "KPI_SQL_DIR": str(folder / "sql")}
        web = cls(
            f"http://127.0.0.1:{free_port()}",
            {**kept, **places, "KPI_SERVE_PORT": str(free_port()), **environment},
            folder=folder / "current",
        )
        web.plant()
        try:
            web.start()
            yield web
        finally:
            if web.process.poll() is None:
                web.process.send_signal(signal.SIGINT)
                web.process.wait(PATIENCE)
            web.kpi("down")  # what it left running if it was killed

    def plant(self) -> None:
        """Put foreign code into the folder in which it is started."""
        self.folder.mkdir()
        for name in PLANTED:
            text = f"open({str(self.folder / 'imported')!r}, 'a').write('{name}\\n')\nraise SystemExit('planted')\n"
            (self.folder / f"{name}.py").write_text(text)
        (self.folder / ".env").write_text("KPI_S3_LEAST_RATE=none\n")  # every process that reads it would fail

    def s3(self) -> Any:
        """Return a client of the embedded S3."""
        found = Stack(Path(self.environment["KPI_HOME"])).environment()
        return boto3.Session().client(
            "s3",
            endpoint_url=found["KPI_S3_ENDPOINT_URL"],
            region_name=found["AWS_DEFAULT_REGION"],
            aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
        )

    def imported(self) -> list[str]:
        """Return what was imported of that code."""
        log = self.folder / "imported"
        return log.read_text().split() if log.exists() else []

    def start(self) -> None:
        """Start it with a relative path in its settings, and wait until it says that it is ready."""
        command = [KPI, "up", "--port", self.address.rpartition(":")[2]]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, "KPI_SQL_DIR": os.path.relpath(self.environment["KPI_SQL_DIR"], self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(self.address), self.process.communicate(timeout=PATIENCE)
        self.link = line.split()[0]
        self.token = self.link.partition("?token=")[2] or None

    def ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", body, {"Content-Type": "application/json", **bearer(self.token)}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            found = json.load(answer)
        assert "errors" not in found, found["errors"]
        data: dict[str, Any] = found["data"]
        return data

    def kpi(self, *words: str) -> forked.Completed:
        return forked.call(words, self.environment, CHECKOUT)

    def launch(self, day: str, *, names: list[list[str]] | None = None, pipeline: str = "instacart") -> str:
        """Launch the whole pipeline, or some assets, for one partition, as the button does; return the run's id."""
        selection = [{"path": [pipeline, *name]} for name in names] if names else None
        params = {
            "mode": "default",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": day}]},
            "runConfigData": "{}",
            "selector": {**LOCATION, "pipelineName": pipeline, "assetSelection": selection},
        }
        launched = self.ask(LAUNCH, {"params": params})["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def materialize(self, day: str, *, names: list[list[str]] | None = None) -> str:
        """Launch a run and wait for its end; return its final status."""
        return self.final_status(self.launch(day, names=names))

    def final_status(self, run_id: str) -> str:
        """Wait for the end of a run; return its final status."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            status: str = self.ask(STATUS, {"id": run_id})["runOrError"]["status"]
            if status in ENDINGS:
                return status
            time.sleep(0.3)
        raise AssertionError(f"the run {run_id} did not end")

    def backfilled(self, backfill_id: str, partitions: int, patience: float = PATIENCE) -> dict[str, str]:
        """Wait for the end of all runs of a backfill; return their final status by partition."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            tags = [{"key": "dagster/backfill", "value": backfill_id}]
            runs = self.ask(BACKFILL, {"tags": tags})["runsOrError"]["results"]
            found = {
                tag["value"]: run["status"] for run in runs for tag in run["tags"] if tag["key"] == "dagster/partition"
            }
            if len(found) == partitions and set(found.values()) <= ENDINGS:
                return found
            time.sleep(0.3)
        raise AssertionError(f"the backfill {backfill_id} did not end")

    def check(self, table: str, name: str, day: str) -> dict[str, Any]:
        """Return the latest execution of a check for a partition."""
        key = {"path": ["instacart", *table.split(".")]}
        [execution] = self.ask(CHECKS, {"key": key, "name": name, "partition": day})["assetCheckExecutions"]
        found: dict[str, Any] = execution
        return found

    def materialized(self, table: str) -> list[str]:
        key = {"path": ["instacart", *table.split(".")]}
        found = self.ask(PARTITIONS, {"key": key})["assetNodeOrError"]["latestMaterializationByPartition"]
        return [event["partition"] for event in found if event]

    def land(self, day: str, folder: Path, faults: Sequence[str] = (), orders: int = 2000) -> None:
        """Land a synthetic load_date; its files stay in `folder`."""
        GENERATORS["instacart"].write(folder, load_date=date.fromisoformat(day), orders=orders, seed=1, faults=faults)
        said = self.kpi("land", "instacart", "--load-date", day, "--from", str(folder))
        assert said.returncode == 0, said.stderr
