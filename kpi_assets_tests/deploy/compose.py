"""The services of deploy/compose.yaml as processes of this machine: their commands, environment, secrets and checks.

Folders, free ports and loopback take the place of what a container gives. Postgres
is the embedded one. Its administrator may create roles and databases, and is no superuser.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psycopg
import yaml
from psycopg import Connection

from kpi_assets.embedded.stack import Stack
from kpi_assets.settings import CHECKOUT
from kpi_assets_tests.cli.command import Kpi, Output
from kpi_assets_tests.machine import PATIENCE, eventually, free_port

DEPLOY = CHECKOUT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
BIN = Path(sys.executable).parent
ADMIN = "test_admin"
DATABASE = "instacart"
PIPELINES = ("ecommerce", "instacart")  # several, and not all: every process of a service reads them


def image_environment() -> dict[str, str]:
    """Return the environment that the last stage of the Dockerfile sets."""
    stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    [words] = [line.removeprefix("ENV ").split() for line in stage.splitlines() if line.startswith("ENV ")]
    return dict(word.split("=", 1) for word in words)  # type: ignore[misc]


class Deployment(Kpi):
    """The services that compose.yaml describes, on a server that holds nothing of kpi_assets yet."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.root = stack, folder
        self.superuser = stack.environment()["KPI_POSTGRES_URL"]
        self.postgres_port = urlsplit(self.superuser).port
        there = ("9000", "4000", "3000", "8000", *(str(port) for port in range(9301, 9308)))
        self.ports = {port: free_port() for port in there}
        self.paths = {
            "/var/lib/kpi": folder / "var",
            "/run/secrets": folder / "secrets",
            "/etc/kpi": folder / "etc",
            "/data": folder / "data",
        }
        for path in self.paths.values():
            path.mkdir()
        self._make_secrets()
        (folder / "var" / "dagster" / "storage").mkdir(parents=True)
        self._copy("dagster.yaml", folder / "var" / "dagster")
        self._copy("workspace.yaml", folder / "etc")
        for name, config in COMPOSE["configs"].items():
            [target] = [
                each["target"]
                for found in COMPOSE["services"].values()
                for each in found.get("configs", [])
                if each["source"] == name
            ]
            shutil.copy(DEPLOY / config["file"], self.translated(target))
        for pipeline in PIPELINES:
            shutil.copytree(CHECKOUT / "sql" / pipeline, folder / "sql" / pipeline)
        super().__init__(folder / "var", folder, self.secrets, **self.environment_of("code"))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _make_secrets(self) -> None:
        made = self.root / "made"
        self.run_secrets(made)
        for path in made.iterdir():
            text = path.read_text().replace("//postgres:", f"//{ADMIN}:").replace("@postgres:5432", self.place)
            (self.paths["/run/secrets"] / path.name).write_text(text)
        admin = (made / "postgres_password").read_text()
        with psycopg.connect(self.superuser, autocommit=True) as session:
            session.execute(f"create role {ADMIN} login createrole createdb password '{admin}'".encode())
            session.execute(f"grant connect on database postgres to {ADMIN}".encode())
        self.secrets = [admin, urlsplit(self.secret("kpi_postgres_url")).password or "", self.secret("kpi_ui_token")]
        self.secrets.append(urlsplit(self.secret("kpi_serve_postgres_url")).password or "")

    def run_secrets(self, folder: Path) -> str:
        """Run make-secrets.sh; return its output."""
        return subprocess.run([DEPLOY / "make-secrets.sh", folder], check=True, capture_output=True, text=True).stdout

    @property
    def postgres_version(self) -> str:
        """Return the version of the server, such as 18.4."""
        with self.session(database="postgres") as session:
            return f"{session.info.server_version // 10000}.{session.info.server_version % 10000}"

    @property
    def place(self) -> str:
        return f"@127.0.0.1:{self.postgres_port}"

    def secret(self, name: str) -> str:
        return (self.paths["/run/secrets"] / name).read_text()

    def _copy(self, name: str, to: Path) -> None:
        (to / name).write_text(self.translated((DEPLOY / name).read_text()).replace("host: code", "host: 127.0.0.1"))

    def translated(self, text: str) -> str:
        """Replace the paths and host names of containers in a text by those of this machine."""
        for there, here in self.paths.items():
            text = text.replace(there, str(here))
        text = re.sub(rf"\b({'|'.join(self.ports)})\b", lambda found: str(self.ports[found[0]]), text)
        for there, here in (("0.0.0.0", "127.0.0.1"), ("//s3:", "//127.0.0.1:")):
            text = text.replace(there, here)
        return text.replace("$$", "$")

    def environment_of(self, service: str) -> dict[str, str]:
        """Return the environment that image and compose.yaml set, without any other setting of kpi_assets or AWS."""
        set_here = {**image_environment(), **COMPOSE["services"][service].get("environment", {})}
        # One without a value comes from the environment of docker compose, which has none here.
        translated = {name: self.translated(value) for name, value in set_here.items() if value is not None}
        return {**translated, "KPI_SQL_DIR": str(self.root / "sql"), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def spawn(self, service: str, words: Sequence[str] | None = None, **environment: str) -> "subprocess.Popen[bytes]":
        """Start the process of a service, or another command in its environment."""
        found = COMPOSE["services"][service]
        command = [*found.get("entrypoint", []), *found["command"]] if words is None else words
        log = (self.root / f"{service}.log").open("ab")
        return subprocess.Popen(
            [self.translated(word) for word in command],
            env={**self.environment_of(service), **environment},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def start_service(self, service: str) -> None:
        self.processes[service] = self.spawn(service)

    def is_healthy(self, service: str) -> bool:
        """Run the health check of the service; return whether it passes."""
        assert self.processes[service].poll() is None, (self.root / f"{service}.log").read_text()
        kind, *words = COMPOSE["services"][service]["healthcheck"]["test"]
        assert kind == "CMD"
        return self.spawn(service, words).wait(PATIENCE) == 0

    def bootstrap(self, code: int = 0, **environment: str) -> Output:
        """Run `kpi bootstrap` as the service of that name does."""
        said = self(*COMPOSE["services"]["bootstrap"]["command"][1:], code=code, **environment)
        return Output(said.code, " ".join(said.out.split()), said.err)

    @property
    def s3(self) -> Any:
        """Return a client with the keys of the deployment."""
        return self.s3_as("aws_credentials")

    def s3_as(self, secret: str) -> Any:
        """Return a client with the keys that a secret holds."""
        session = boto3.Session()
        keys = dict(line.split(" = ") for line in self.secret(secret).splitlines()[1:])
        return session.client(
            "s3", endpoint_url=self.environment["KPI_S3_ENDPOINT_URL"], region_name="us-east-1", **keys
        )

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, as the superuser."""
        with self.session() as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def execute(self, statement: str) -> None:
        """Execute a statement that has no rows, as the superuser."""
        with self.session() as connection:
            connection.execute(statement.encode())

    def url_as(self, login: str, password: str) -> str:
        """Return the URL of another login; both arguments are percent-encoded."""
        return f"postgresql://{login}:{password}{self.place}/postgres"

    @contextmanager
    def session(self, url: str | None = None, database: str = DATABASE) -> Iterator[Connection[Any]]:
        """Open a session of the superuser, or of the login of a URL."""
        with psycopg.connect(url or self.superuser, dbname=database, autocommit=True) as connection:
            yield connection

    def published(self, day: object) -> dict[str, int]:
        return dict(self.rows("select asset, publish_id from ops.published where load_date = %s", day))


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """Yield a deployment with Postgres and S3, as `docker compose up` starts them; stop all processes at the end."""
    with Stack(folder / "home", s3=False) as stack, ExitStack() as ending:
        deployment = Deployment(stack, folder)

        def end() -> None:
            for name, process in reversed(deployment.processes.items()):
                process.send_signal(signal.Signals[COMPOSE["services"][name].get("stop_signal", "SIGTERM")])
            for process in deployment.processes.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()  # as Docker does with a service that ignores SIGTERM, such as a busy code server
                process.wait()

        ending.callback(end)
        deployment.start_service("s3")
        eventually(lambda: deployment.is_healthy("s3"), every=0.2)
        yield deployment
