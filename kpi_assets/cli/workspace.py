"""What a command works on: a pipeline with its servers at hand.

Belongs here: finding pipelines, starting the embedded servers, making databases and buckets ready.
Not here: what a command does there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from kpi_assets.cli.terminal import err, say
from kpi_assets.embedded.stack import Servers, Stack, embedded_servers
from kpi_assets.errors import UsageError, UserError
from kpi_assets.materialize.prepare import check_readable, prepare
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import Broken, load_sound
from kpi_assets.settings import Settings, settings
from kpi_assets.warehouse.provision import has_database


def pipeline_of(name: str) -> Pipeline:
    """The pipeline of that name. Raises ModelError where it cannot be read, UsageError that lists the known ones."""
    sound, broken = read_tree()
    if name in broken:
        raise broken[name].error
    if name not in sound:
        known = ", ".join(sorted({*sound, *broken}))
        raise UsageError(f"There is no pipeline {name!r} in {settings().sql_dir}: there is {known}.")
    return sound[name]


def sound_pipelines() -> list[Pipeline]:
    """Every pipeline that can be read; of each of the others a line on stderr says so."""
    sound, broken = read_tree()
    for name in broken:
        say(f"warning: {name} is left out, since its files cannot be read: `kpi check {name}` says why.", console=err)
    return list(sound.values())


@cache
def read_tree() -> tuple[dict[str, Pipeline], dict[str, Broken]]:
    """The pipelines that can be read, and the others. Read once a process: it takes a fifth of a second."""
    config = settings()
    return load_sound(config.sql_dir, config.min_rows)


@dataclass(frozen=True)
class Workspace:
    """A pipeline with its servers at hand."""

    pipeline: Pipeline
    servers: Servers

    @property
    def settings(self) -> Settings:
        """Settings that name every server."""
        return self.servers.settings

    @property
    def server(self) -> SecretStr:
        """The warehouse server's URL."""
        return self.servers.postgres

    @property
    def stack(self) -> Stack | None:
        """The embedded servers; None where the user named all."""
        return self.servers.stack

    def ready(self) -> "Workspace":
        """Make the pipeline's database and bucket where they are missing."""
        prepare_bucket(self.stack, self.pipeline)
        reader = self.stack.credentials.reader_password if self.stack and self.embedded_postgres else None
        prepare(self.pipeline, self.server, reader)
        return self

    def looked_at(self) -> "Workspace":
        """Make sure that the pipeline's database can be read, and change nothing there.

        On the embedded server it is made where nothing has been run yet. Raises WarehouseError.
        """
        prepare_bucket(self.stack, self.pipeline)
        if not has_database(self.server, self.pipeline.name):
            if self.embedded_postgres:
                return self.ready()
            raise UserError(
                f"The database {self.pipeline.name!r} does not exist yet: `kpi bootstrap` makes it, or the first run."
            )
        check_readable(self.pipeline, self.server)
        return self

    @property
    def place(self) -> str:
        """Where its data was looked for: the home, or the server and bucket of the user's."""
        named = conninfo_to_dict(self.server.get_secret_value())
        server = f"the server {named.get('host', 'localhost')}:{named.get('port', 5432)}"
        bucket = self.settings.s3_buckets.get(self.pipeline.name) or self.settings.s3_bucket
        if self.embedded_postgres:
            server = f"the home {self.settings.home}"
        elif bucket is None:
            return f"{server} and the home {self.settings.home}"
        return f"{server} and the bucket {bucket}" if bucket else server

    @property
    def embedded_postgres(self) -> bool:
        """Whether the warehouse is the embedded one."""
        return self.stack is not None and "KPI_POSTGRES_URL" in self.stack.environment()


def prepare_bucket(stack: Stack | None, pipeline: Pipeline) -> None:
    """On the embedded S3 the pipeline's bucket is made; elsewhere it is somebody's to give."""
    if stack is not None and "KPI_S3_ENDPOINT_URL" in stack.environment():
        stack.make_bucket(pipeline.config.bucket)


@contextmanager
def open_workspace(name: str) -> Iterator[Workspace]:
    """A pipeline and its servers, started where the environment names none and left as they were found."""
    pipeline = pipeline_of(name)
    with embedded_servers(settings()) as servers:
        yield Workspace(pipeline, servers)
