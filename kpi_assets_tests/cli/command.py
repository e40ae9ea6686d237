"""The `kpi` command in one home, as a shell starts it, and the output of each call.

Every call is also checked for two things: no stack trace without --debug, and no password or key in its output.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg.conninfo import make_conninfo

from kpi_assets.embedded.stack import Stack
from kpi_assets.samples import GENERATORS
from kpi_assets_tests.cli import forked
from kpi_assets_tests.cli.forked import KPI
from kpi_assets_tests.machine import PATIENCE

SQL = Path(__file__).resolve().parents[2] / "sql"
BUCKET = "kpi-instacart"
OBJECTS = {
    "orders.csv": "orders",
    "order_products__prior.csv": "order_products_prior",
    "products.csv": "products",
    "aisles.csv": "aisles",
    "departments.csv": "departments",
}


@dataclass(frozen=True)
class Output:
    """The output and the exit code of a call."""

    code: int
    out: str
    err: str

    def line(self, *words: str) -> str:
        """Return the only line of either stream that contains all the words, with runs of blanks replaced by one."""
        lines = [" ".join(line.split()) for line in (self.out + "\n" + self.err).splitlines()]
        [found] = [line for line in lines if all(word in line for word in words)]
        return found


def plain_environment() -> dict[str, str]:
    """Return the environment of this process without any setting of kpi_assets, AWS, libpq or Dagster."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KPI_", "AWS_", "PG", "DAGSTER_")) and name != "RUN_DATE"
    }


class _Started(subprocess.Popen[str]):
    """A process that does not outlive a test that failed."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind:
            self.kill()
        super().__exit__(kind, *rest)


class Kpi:
    """The command in one home. No call may print one of the `secrets`."""

    def __init__(self, home: Path, folder: Path, secrets: Sequence[str] = (), **environment: str) -> None:
        self.home, self.folder, self.secrets = home, folder, list(secrets)
        self.environment = {**plain_environment(), "KPI_HOME": str(home), **environment}

    def start(self, *words: object, **environment: str) -> "subprocess.Popen[str]":
        """Start a call and return its process; the caller ends it. In a `with`, an error kills it."""
        return _Started(
            [KPI, *map(str, words)],
            env={**self.environment, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *words: object, code: int = 0, **environment: str) -> Output:
        """Call the command in a fork of a process that has imported it; the call must end with `code`."""
        ended = forked.call(words, {**self.environment, **environment}, self.folder)
        return self._checked(words, code, Output(ended.returncode, ended.stdout, ended.stderr))

    def process(self, *words: object, code: int = 0, **environment: str) -> Output:
        """Call the command as a shell does, which takes a second longer."""
        with self.start(*words, **environment) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return self._checked(words, code, Output(process.returncode, out, err))

    def _checked(self, words: Sequence[object], code: int, said: Output) -> Output:
        """Check what must be true of every call."""
        out, err = said.out, said.err
        assert said.code == code, f"kpi {' '.join(map(str, words))} ended with {said.code}:\n{out}\n{err}"
        if "--debug" not in words:
            assert "Traceback" not in said.out + said.err
        if "url" not in words:
            assert [secret for secret in self.secrets if secret in said.out + said.err] == []
        return said

    def fails(self, sentence: str, *words: object, code: int = 1, **environment: str) -> None:
        """Call the command and check that it prints nothing but this error."""
        said = self(*words, code=code, **environment)
        assert (said.out, said.err) == ("", f"error: {sentence}\n")


class CliHarness(Kpi):
    """The command in a home whose servers stay up, with access to the database and the bucket."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        keys = stack.credentials
        self.secrets = [
            value.get_secret_value()
            for value in (
                keys.postgres_password,
                keys.reader_password,
                keys.s3_secret_access_key,
            )
        ]
        self.servers = {name: value for name, value in stack.environment().items() if name != "KPI_HOME"}
        super().__init__(Path(stack.environment()["KPI_HOME"]), folder, self.secrets)
        stack.make_bucket(BUCKET)
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.servers["KPI_S3_ENDPOINT_URL"],
            aws_access_key_id=self.servers["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.servers["AWS_SECRET_ACCESS_KEY"],
            region_name=self.servers["AWS_DEFAULT_REGION"],
        )

    def url(self, database: str = "instacart") -> str:
        return make_conninfo(self.servers["KPI_POSTGRES_URL"], dbname=database)

    def rows(self, query: str, *values: object, database: str = "instacart") -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            return connection.execute(query, values or None).fetchall()

    def execute(self, *statements: str, database: str = "instacart") -> None:
        """Execute statements that have no rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def count_sessions(self, database: str) -> None:
        """From now on, record at each publish of a pipeline how many sessions there are, its own included."""
        self.execute(
            "create table public.seen (publish_id bigint, sessions bigint)",
            "create function public.count_sessions() returns trigger language plpgsql security definer as $$ begin "
            "insert into public.seen select new.publish_id, count(*) from pg_stat_activity "
            "where backend_type = 'client backend'; return null; end $$",
            "create trigger count_sessions after insert on ops.publishes for each row "
            "execute function public.count_sessions()",
            database=database,
        )

    def sessions(self, database: str) -> list[int]:
        """Return how many sessions there were at each publish since `count_sessions`."""
        query = "select sessions from public.seen order by publish_id"
        return [sessions for (sessions,) in self.rows(query, database=database)]

    def sample(self, day: date, orders: int, faults: Sequence[str] = (), seed: int = 1) -> Path:
        """Write a synthetic load_date into a new folder; return the folder."""
        folder = self.folder / f"{day}-{orders}-{seed}-{'-'.join(faults)}"
        GENERATORS["instacart"].write(folder, load_date=day, orders=orders, seed=seed, faults=faults)
        return folder

    def upload(self, day: date, folder: Path) -> None:
        """Upload the files of a folder to the keys that `kpi land` uses; that command has its own tests."""
        for file in OBJECTS:
            if (folder / file).exists():
                self.s3.put_object(Bucket=BUCKET, Key=key(file, day), Body=(folder / file).read_bytes())

    def published(self, day: date) -> dict[str, int]:
        """Return the published tables of a load_date with their publish ids."""
        return dict(self.rows("select asset, publish_id from ops.published where load_date = %s", day))


def key(file: str, day: date) -> str:
    """Return the key of the object of a file."""
    return f"raw/{OBJECTS[file]}/load_date={day}/{file}"
