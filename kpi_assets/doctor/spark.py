"""The engine of tables on the lake: login, TLS, where it listens, its session, and the catalogs of the pipelines.

Belongs here: what is asked, with one sentence each. Not here: the session (lake/session.py), and what a pipeline has on
the lake. The client of the engine is imported only for pipelines with such tables.
"""

import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Protocol

import psutil

from kpi_assets.doctor.finding import Finding, advice, broken, clock, errors_as_findings, ok
from kpi_assets.errors import UserError
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.settings import Settings
from kpi_assets.spark_address import SparkAddress

EXTENSION = "IcebergSparkSessionExtensions"
WAIT = 1.0  # seconds for an address of this machine to answer
_NEEDED = {"spark.sql.ansi.enabled": ("true", "ANSI mode"), "spark.sql.session.timeZone": ("UTC", "the time zone UTC")}


class Session(Protocol):
    """What is needed of a session with the engine, which lake/session.py has."""

    version: str

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement. Raises UserError."""

    def close(self) -> None:
        """End the session."""


Connect = Callable[[Settings, bool], Session]  # with or without the token


def open_session(settings: Settings, with_token: bool) -> Session:
    """Open a session with the engine of the settings. Raises UserError."""
    from kpi_assets.lake.session import Engine  # noqa: PLC0415  an extra, and slow to import

    assert settings.spark_url is not None
    return Engine.connect(settings.spark_url, settings.spark_token if with_token else None, name="doctor")


def spark(settings: Settings, pipelines: Collection[Pipeline], connect: Connect = open_session) -> Iterator[Finding]:
    """Examine the engine, if a pipeline has tables on the lake."""
    on_lake = [pipeline for pipeline in pipelines if pipeline.lake_tables]
    if not on_lake:
        return
    subject = "Spark"
    if settings.spark is None:
        names = " and ".join(pipeline.name for pipeline in on_lake)
        yield broken(
            subject,
            f"nothing says where Spark Connect is, so no table of {names} on the lake can be built: set KPI_SPARK_URL "
            "to sc://host:port",
        )
        return
    yield from errors_as_findings(subject, lambda: _examine(settings, on_lake, connect))


def _examine(settings: Settings, pipelines: Collection[Pipeline], connect: Connect) -> Iterator[Finding]:
    address = settings.spark
    assert address is not None
    session = connect(settings, True)
    try:
        yield from _version(address, session)
        yield from _login(settings, address, connect)
        yield from _transport(address)
        yield from _session(session)
        yield from _catalogs(session, pipelines)
    finally:
        session.close()


def _version(address: SparkAddress, session: Session) -> Iterator[Finding]:
    if session.version.split(".")[0] == "4":
        yield ok("Spark", f"{address.place} answers: Spark {session.version}")
    else:
        yield broken(
            "Spark", f"{address.place} is Spark {session.version}, and SQL is translated for Spark 4: use one of 4.x"
        )


def _login(settings: Settings, address: SparkAddress, connect: Connect) -> Iterator[Finding]:
    """Say whether a session opens without a token: then whoever reaches the port may read and write all tables."""
    subject = "login of Spark"
    if settings.spark_token is not None:
        try:
            connect(settings, False).close()
        except UserError as error:
            if error.transient:
                yield advice(subject, f"whether it asks for the token is not known: {error}")
            else:
                yield ok(subject, "it opens no session without the token")
            return
    reached = "Whoever has a login on this machine" if address.is_loopback else "Whoever reaches the port"
    also = " and KPI_SPARK_TOKEN" if settings.spark_token is None else ""
    yield advice(
        subject,
        f"it asks for no token. {reached} can read and write the tables on the lake: set "
        f"spark.connect.authenticate.token of the server{also}",
    )


def _transport(address: SparkAddress) -> Iterator[Finding]:
    if address.is_loopback:
        yield from _listening(address)
    if address.has_tls:
        yield ok("TLS of Spark", "the connection is encrypted")
    elif not address.is_loopback:
        yield advice(
            "TLS of Spark",
            "rows and statements cross the network in the clear, as KPI_SPARK_PLAIN_TEXT allows: put TLS before the "
            "server, and write use_ssl=true in KPI_SPARK_URL",
        )


def _listening(address: SparkAddress) -> Iterator[Finding]:
    """Look whether a server of this machine can be reached at another address, as it can unless it is told not to."""
    subject = "address of Spark"
    found = [host for host in own_addresses() if _answers(host, address.port)]
    if found:
        yield broken(
            subject,
            f"it also listens on {', '.join(found)}, where other machines may reach it: set "
            "spark.connect.grpc.binding.address to 127.0.0.1",
        )
    else:
        yield ok(subject, "it listens for this machine only")


def own_addresses() -> list[str]:
    """Return the addresses of this machine that others may reach, without those of a single link."""
    families = (socket.AF_INET, socket.AF_INET6)
    every = (each for of in psutil.net_if_addrs().values() for each in of if each.family in families)
    local = ("127.", "::1", "fe80:", "169.254.")
    return sorted({each.address for each in every if not each.address.startswith(local)})


def _answers(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), WAIT):
        return True
    return False


def _session(session: Session) -> Iterator[Finding]:
    subject = "session of Spark"
    found = {name: _setting(session, name) for name in (*_NEEDED, "spark.sql.extensions")}
    wrong = {name: what for name, (value, what) in _NEEDED.items() if found[name].lower() != value.lower()}
    for name, what in wrong.items():
        yield broken(subject, f"it has {name} = {found[name]}, and needs {what}: let sessions set it")
    if not wrong:
        yield ok(subject, "it has ANSI mode and the time zone UTC")
    if EXTENSION not in found["spark.sql.extensions"]:
        yield broken(
            subject,
            "Iceberg's extension is missing, which knows branches and tags: add "
            f"org.apache.iceberg.spark.extensions.{EXTENSION} to spark.sql.extensions of the cluster",
        )
    [(micros,)] = session.rows("select unix_micros(current_timestamp()) as now")
    yield clock("clock of Spark", datetime.fromtimestamp(micros / 1e6, timezone.utc))


def _setting(session: Session, name: str) -> str:
    rows = session.rows(f"set {name}")
    return str(rows[0][1]) if rows else ""


def _catalogs(session: Session, pipelines: Collection[Pipeline]) -> Iterator[Finding]:
    """Look into each catalog once, and name the pipelines that have their tables in it."""
    names: Mapping[str, list[str]] = {}
    for pipeline in pipelines:
        assert pipeline.config.lake is not None
        names = {**names, pipeline.config.lake.catalog: [*names.get(pipeline.config.lake.catalog, []), pipeline.name]}
    for name, of in names.items():
        subject = f"catalog {name}"
        try:
            count = len(session.rows(f"show namespaces in `{name}`"))
        except UserError as error:
            yield broken(
                subject,
                f"{error} The cluster needs spark.sql.catalog.{name}, or `lake` of {' and '.join(of)} another name.",
            )
        else:
            yield ok(subject, f"it can be read, and has {count} namespace{'s' * (count != 1)}")
