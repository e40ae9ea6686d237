"""The embedded servers as one stack that processes share: the first process starts it, the last one stops it.

Belongs here: which processes use the stack, and what they find in their environment. Not here: the servers themselves.

Each process that uses a stack holds a shared lock on run/users.lock, which ends with the process. On entering, it takes
the start lock, then the shared lock, then starts the servers that do not run. On leaving, it releases the shared lock
and tries to take an exclusive one without waiting. If it gets the lock, it is the last user and stops the servers while
it holds the lock. Processes that enter meanwhile wait for their shared lock, and then start the servers again.
"""

import atexit
import os
import urllib.request
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import NamedTuple, TypeVar

from pydantic import SecretStr

from kpi_assets.embedded import locks
from kpi_assets.embedded.apis import ApiNames, Apis, merged, needed_apis, shadowing_variables
from kpi_assets.embedded.broker import Broker, needed_streams
from kpi_assets.embedded.home import Credentials, Home
from kpi_assets.embedded.postgres import Postgres
from kpi_assets.embedded.s3 import REGION, S3
from kpi_assets.embedded.server import Server, ServerStatus
from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_sound, pipeline_names
from kpi_assets.scrub import keep_secret
from kpi_assets.settings import Settings
from kpi_assets.settings import settings as current_settings
from kpi_assets.simulators.api import SIMULATED

_for_life, _joining = ExitStack(), Lock()
T = TypeVar("T")
PATIENCE = 180  # seconds to wait while another process starts or stops the servers


class Stack:
    """The embedded servers of one home, in use for as long as the context lasts."""

    def __init__(
        self,
        home: Path,
        *,
        postgres: bool = True,
        s3: bool = True,
        apis: ApiNames | None = None,
        streams: Collection[str] = (),
        s3_program: Path | None = None,
        broker_program: Path | None = None,
    ):
        """With `apis`, pipelines and names of their APIs, the simulated APIs run too, and stand in for these.

        With `streams`, the broker runs too, on the S3 of this stack, and has a topic for each. The programs run instead
        of those that are installed.
        """
        self._home = Home(home)
        self._postgres = Postgres(self._home) if postgres else None
        self._s3 = S3(self._home, s3_program) if s3 else None
        self.simulated: ApiNames = apis or {}
        self._apis = Apis(self._home) if apis else None
        self._streams = streams
        self._broker = Broker(self._home, self._s3, broker_program) if streams and self._s3 else None
        self._lock_fd: int | None = None

    def __enter__(self) -> "Stack":
        """Start the servers that do not run yet, and wait until they answer.

        Raises UserError if a program is missing, a server does not come up, or the folder is not ours.
        """
        servers = self._servers
        for server in servers:
            server.check_installed()
        with _os_errors_as_user_errors(self._home), ExitStack() as undo:
            self._home.create()
            with _start_lock(self._home):
                _ = self._home.erasure_salt  # so that no two processes make one
                self._lock_fd = locks.take(self._home.users_lock, locks.SHARED, PATIENCE)
                if self._lock_fd is None:
                    raise UserError(
                        f"The servers in {self._home.root} have been stopping for {PATIENCE} s: run `kpi down`."
                    )
                undo.callback(self._release)
                for server in servers:
                    if server is not self._broker:
                        server.launch()
                for server in servers:
                    self._prepare_for(server)
                    server.await_ready()
                if self._broker:
                    self._broker.ensure_topics(self._streams)
            undo.pop_all()
        return self

    def _prepare_for(self, server: Server) -> None:
        """Do what a server needs of those before it, which answer by now."""
        if server is self._broker:
            self._broker.launch()
        elif server is self._apis and self._postgres:
            self._apis.ensure_databases(SecretStr(self._postgres.url()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _os_errors_as_user_errors(self._home):
            self._release()

    @property
    def _servers(self) -> list[Server]:
        """The servers of this stack, each after those that it needs: the APIs' databases are on the PostgreSQL, and the
        broker's events on the S3.
        """
        return [server for server in (self._s3, self._postgres, self._broker, self._apis) if server]

    @property
    def lock_fd(self) -> int:
        """Descriptor of the shared lock. A child that inherits it (pass_fds) keeps the stack in use while it lives."""
        assert self._lock_fd is not None, "the stack is not in use"
        return self._lock_fd

    @property
    def credentials(self) -> Credentials:
        """Passwords and keys of this home, `reader_password` among them."""
        return self._home.credentials

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead clients to the embedded servers. They hold passwords."""
        found = {"KPI_HOME": str(self._home.root)}
        if self._postgres:
            found["KPI_POSTGRES_URL"] = self._postgres.url()
            found["KPI_ERASURE_SALT"] = self._home.erasure_salt.get_secret_value()
        if self._s3:
            keys = self.credentials
            found["KPI_S3_ENDPOINT_URL"] = self._s3.url()
            found["AWS_ACCESS_KEY_ID"] = keys.s3_access_key_id.get_secret_value()
            found["AWS_SECRET_ACCESS_KEY"] = keys.s3_secret_access_key.get_secret_value()
            found["AWS_DEFAULT_REGION"] = REGION
        if self._broker:
            found["KPI_STREAM_URL"] = self._broker.url()
        if self._apis:
            urls, secrets = self._of_apis(self._apis)
            found |= merged("KPI_API_URLS", urls)
            found |= merged("KPI_API_SECRETS", {pipeline: _revealed(each) for pipeline, each in secrets.items()})
        return found

    def _of_apis(self, apis: Apis) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, SecretStr]]]:
        """Return the URLs and the secrets of the simulated APIs by pipeline."""
        secrets = apis.secrets().of_apis
        urls = {pipeline: {name: apis.url(name) for name in names} for pipeline, names in self.simulated.items()}
        return urls, {pipeline: {name: secrets[name] for name in names} for pipeline, names in self.simulated.items()}

    def add_servers_to(self, settings: Settings) -> Settings:
        """Return the settings with the URLs of these servers, and register the passwords as secrets."""
        changes: dict[str, object] = {"home": self._home.root}
        if self._postgres:
            changes["postgres_url"] = SecretStr(self._postgres.url())
            changes["erasure_salt"] = settings.erasure_salt or self._home.erasure_salt
        if self._s3:
            changes["s3_endpoint_url"] = self._s3.url()
            keep_secret([self.credentials.s3_secret_access_key.get_secret_value()])
        if self._broker:
            changes |= {"stream_url": self._broker.url(), "stream_user": None, "stream_password": None}
        if self._apis:
            urls, secrets = self._of_apis(self._apis)
            changes["api_urls"] = _beside(settings.api_urls, urls)
            changes["api_secrets"] = _beside(settings.api_secrets, secrets)
        complete = settings.model_copy(update=changes)
        keep_secret(complete.secrets())
        return complete

    def make_bucket(self, name: str) -> None:
        """Make a bucket on the embedded S3 if it is missing.

        Raises UserError for a name that S3 would refuse.
        """
        assert self._s3 is not None, "this stack has no S3"
        self._s3.make_bucket(name)

    def vacuum(self, bucket: str) -> bool:
        """Free the bytes of replaced and deleted objects on the embedded S3; return False if this stack has none.

        Raises UserError.
        """
        if self._s3 is None:
            return False
        self._s3.vacuum(bucket)
        return True

    def check_alive(self) -> None:
        """Raise UserError if a server has exited while it is in use."""
        for server in self._servers:
            server.check_alive()

    def _release(self) -> None:
        """Release the shared lock, and stop the servers if no other process holds it."""
        os.close(self.lock_fd)
        self._lock_fd = None
        try:
            # Take it on a new descriptor, so that a child that still shares the old one counts as another user.
            alone = locks.take(self._home.users_lock, locks.EXCLUSIVE)
        except FileNotFoundError:  # the home was removed meanwhile, so no other process can enter
            for own in reversed(self._servers):
                own.stop()
            return
        if alone is not None:
            try:
                for server in _servers(self._home):
                    server.stop()
            finally:
                os.close(alone)


class Servers(NamedTuple):
    """Settings that name every server, and the stack of the embedded ones; None if the given settings named all."""

    settings: Settings
    stack: Stack | None

    @property
    def postgres(self) -> SecretStr:
        """The warehouse server's URL."""
        assert self.settings.postgres_url is not None
        return self.settings.postgres_url


@contextmanager
def embedded_servers(settings: Settings, pipelines: Iterable[Pipeline] = ()) -> Iterator[Servers]:
    """Run embedded servers for those that the settings do not name, as long as the context lasts.

    The simulated APIs are among them if one of the pipelines needs them (apis.py). Afterwards the servers are stopped
    unless another process uses them. Within the context, this process's environment names the servers too, for
    libraries (boto3, libpq), Dagster and child processes. Afterwards it is restored.
    """
    if not (settings.embedded_postgres or settings.embedded_s3):
        yield Servers(settings, None)
        return
    pipelines = [*pipelines]
    apis, streams = needed_apis(settings, pipelines), needed_streams(settings, pipelines)
    stack = Stack(
        settings.home,
        postgres=settings.embedded_postgres,
        s3=settings.embedded_s3,
        apis=apis,
        streams=streams,
        s3_program=settings.s3_program,
        broker_program=settings.broker_program,
    )
    with _environ(_neutral_environment(settings, apis, streams)), stack, _environ(_of_stack(stack, settings)):
        yield Servers(stack.add_servers_to(settings), stack)


def servers_for_life() -> Servers:
    """Return the servers of this process, and start the embedded ones if the settings name no warehouse server.

    For processes that no command of `kpi` has started, such as those of `dagster dev`: the servers are in use until the
    process ends. Raises UserError as Stack does.
    """
    with _joining:
        if current_settings().embedded_postgres:
            _for_life.enter_context(embedded_servers(current_settings(), _pipelines_with_apis(current_settings())))
            atexit.register(_for_life.close)
        return Servers(current_settings(), None)


def _pipelines_with_apis(settings: Settings) -> list[Pipeline]:
    """Return the sound pipelines of the tree that may need the simulated APIs."""
    names = {api.pipeline for api in SIMULATED.values()}
    if not names & {*pipeline_names(settings.sql_dir)}:
        return []
    sound, _ = load_sound(settings.sql_dir, settings.min_rows)
    return [pipeline for name, pipeline in sound.items() if name in names]


def stop(home: Path) -> list[str]:
    """Stop the servers of a home, whoever uses them. Return the names of those that were running."""
    place = Home(home)
    with _os_errors_as_user_errors(place):
        if not place.run.exists():
            return []
        with _start_lock(place):
            return [server.name for server in _servers(place) if server.stop()]


def status(home: Path) -> list[ServerStatus]:
    """Return the status of the servers of a home. Changes nothing."""
    place = Home(home)
    with _os_errors_as_user_errors(place):
        return [server.status() for server in _servers(place)]


def _servers(home: Home) -> list[Server]:
    """Return the servers that may run in a home, the broker before the S3 that it needs.

    The broker and the simulated APIs are among them only where they have been started.
    """
    s3 = S3(home)
    broker, apis = Broker(home, s3), Apis(home)
    found: list[Server] = [Postgres(home), *([broker] if broker.was_started else []), s3]
    return [*found, *([apis] if apis.was_started else [])]


def _revealed(secrets: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


def _beside(theirs: Mapping[str, Mapping[str, T]], ours: Mapping[str, Mapping[str, T]]) -> dict[str, dict[str, T]]:
    """Return the values of both; ours count for an API that has two."""
    return {name: {**theirs.get(name, {}), **ours.get(name, {})} for name in {**theirs, **ours}}


@contextmanager
def _start_lock(home: Home) -> Iterator[None]:
    lock = locks.take(home.start_lock, locks.EXCLUSIVE, PATIENCE)
    if lock is None:
        raise UserError(
            f"Another kpi command has been starting the servers in {home.root} for {PATIENCE} s: "
            "stop it, then try again."
        )
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _os_errors_as_user_errors(home: Home) -> Iterator[None]:
    """Turn an OSError into a UserError of one sentence."""
    try:
        yield
    except TimeoutError as error:  # of a request to one of them; it is an OSError too
        raise UserError(
            f"An embedded server in {home.root} does not answer in time: "
            "end what else keeps this machine busy, then try again."
        ) from error
    except OSError as error:
        raise UserError(
            f"The embedded servers cannot use {error.filename or home.root} ({error.strerror}): "
            "give yourself read and write access to it, or set KPI_HOME to another folder."
        ) from error


def _of_stack(stack: Stack, settings: Settings) -> dict[str, str]:
    """Return the variables that lead to the embedded servers; a salt that the user has set stays."""
    kept = {"KPI_ERASURE_SALT"} if settings.erasure_salt else set()
    return {name: value for name, value in stack.environment().items() if name not in kept}


def _neutral_environment(settings: Settings, apis: ApiNames, streams: Collection[str]) -> dict[str, str | None]:
    """Return new values (None: unset) for the user's variables that would lead clients past the embedded servers.

    They are the defaults of libpq (PGSSLMODE, PGSERVICE) and of boto3 (AWS_PROFILE, AWS_SESSION_TOKEN), the proxy, the
    login for a broker, and secrets for APIs that are simulated.
    """
    changes: dict[str, str | None] = dict.fromkeys(shadowing_variables(apis))
    if settings.embedded_postgres:
        changes |= {name: None for name in os.environ if name.startswith("PG")}
    if settings.embedded_s3:
        changes |= {name: None for name in os.environ if name.startswith("AWS_")}
        if streams:
            logins = {"KPI_STREAM_USER", "KPI_STREAM_PASSWORD", "KPI_STREAM_SASL", "KPI_STREAM_CA"}
            changes |= {name: None for name in os.environ if name.upper() in logins}
        if "http" in urllib.request.getproxies() and not urllib.request.proxy_bypass("127.0.0.1"):
            kept = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
            direct = f"{kept},127.0.0.1" if kept else "127.0.0.1"
            changes |= {"no_proxy": direct, "NO_PROXY": direct}
    return changes


@contextmanager
def _environ(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables (None: unset) within the context. The settings are read again after each change."""
    before = {name: os.environ.get(name) for name in changes}
    try:
        _set_environ(changes)
        yield
    finally:
        _set_environ(before)


def _set_environ(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    current_settings.cache_clear()
