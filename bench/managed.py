"""kpi_assets on a server of which it may change nothing: its log is kept for replicas, its settings are the defaults,
and the login has two roles and no power. Measured as ours.py is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from bench import ours
from bench.place import LOAD_DATE, Kpis, Place
from kpi_assets.embedded.stack import Stack

NAME = "kpi_assets, as a guest"
LOGIN, PASSWORD = "kpi_bench", "of the bench alone"
# What PostgreSQL itself has where kpi's own server has something else.
DEFAULTS = {
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
    "shared_buffers": "128MB",
    "jit": "on",
    "io_method": "worker",
}


@contextmanager
def elsewhere(home: Path, place: Place) -> Iterator[Place]:
    """The same files, beside a server of that kind."""
    with Stack(home) as stack, psycopg.connect(stack.environment()["KPI_POSTGRES_URL"], autocommit=True) as connection:
        for name, value in DEFAULTS.items():
            connection.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    with Stack(home) as stack:  # which took another start
        environment = stack.environment()
        stack.make_bucket("kpi-instacart")
        yield replace(place, server=environment["KPI_POSTGRES_URL"], environment=environment)


def prepare(place: Place) -> None:
    """An empty warehouse, in which an administrator has made the roles."""
    ours.prepare(place)
    place.call([ours.KPI, "bootstrap"], KPI_ADMIN_POSTGRES_URL=place.server, KPI_POSTGRES_URL=_guest(place))


def run(place: Place) -> None:
    """All of it, every gate on."""
    command = [ours.KPI, "run", "instacart", "--load-date", LOAD_DATE, "--select", ours.TABLES]
    place.call(command, KPI_POSTGRES_URL=_guest(place))


def kpis(place: Place) -> Kpis:
    """What readers see."""
    return ours.kpis(place)


def _guest(place: Place) -> str:
    parts = urlsplit(place.server)
    user = f"{LOGIN}:{PASSWORD.replace(' ', '%20')}"
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()
