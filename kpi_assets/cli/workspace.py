"""The workspace of a command: a pipeline and its servers.

Belongs here: finding pipelines, starting the embedded servers, preparing databases and buckets.
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
from kpi_assets.sources.store import named_place
from kpi_assets.warehouse.provision import has_database


def pipeline_of(name: str) -> Pipeline:
    """Return the pipeline of that name. Raises ModelError if it cannot be read, and UsageError if there is none."""
    sound, broken = read_tree(name)
    if name in broken:
        raise broken[name].error
    if name not in sound:
        known = ", ".join(sorted({*sound, *broken}))
        raise UsageError(f"There is no pipeline {name!r} in {settings().sql_dir}: there is {known}.")
    return sound[name]


def sound_pipelines() -> list[Pipeline]:
    """Return every pipeline that can be read, and print a warning about each of the others."""
    sound, broken = read_tree()
    for name in broken:
        say(f"warning: {name} is left out, since its files cannot be read: `kpi check {name}` says why.", console=err)
    return list(sound.values())


@cache
def read_tree(only: str | None = None) -> tuple[dict[str, Pipeline], dict[str, Broken]]:
    """Return the pipelines that can be read, and the others; if one is called `only`, no file of another is read.

    They are read once, which takes a fifth of a second for each pipeline.
    """
    config = settings()
    return load_sound(config.sql_dir, config.min_rows, only)


@dataclass(frozen=True)
class Workspace:
    """A pipeline and its servers."""

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
        """Create the pipeline's database and bucket if they are missing."""
        prepare_bucket(self.stack, self.pipeline)
        reader = self.stack.credentials.reader_password if self.stack and self.embedded_postgres else None
        prepare(self.pipeline, self.server, reader)
        return self

    def readable(self) -> "Workspace":
        """Make sure that the pipeline's database can be read, and change nothing there.

        On the embedded server the database is created if it does not exist yet. Raises WarehouseError.
        """
        prepare_bucket(self.stack, self.pipeline)
        if not has_database(self.server, self.pipeline.name):
            if self.embedded_postgres:
                return self.ready()
            raise UserError(
                f"The database {self.pipeline.name!r} does not exist yet: `kpi bootstrap` or the first run creates it."
            )
        check_readable(self.pipeline, self.server)
        return self

    @property
    def place(self) -> str:
        """Where commands look for the data: the home, or the server and bucket that the settings name."""
        named = conninfo_to_dict(self.server.get_secret_value())
        server = f"the server {named.get('host', 'localhost')}:{named.get('port', 5432)}"
        bucket = named_place(self.pipeline, self.settings)
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
    """Create the pipeline's bucket on the embedded S3; elsewhere an administrator creates it."""
    if stack is not None and "KPI_S3_ENDPOINT_URL" in stack.environment():
        stack.make_bucket(pipeline.config.bucket)


@contextmanager
def open_workspace(name: str) -> Iterator[Workspace]:
    """Yield a pipeline and its servers. Embedded servers that were not running are stopped at the end."""
    pipeline = pipeline_of(name)
    with embedded_servers(settings(), [pipeline]) as servers:
        yield Workspace(pipeline, servers)
