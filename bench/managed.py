"""kpi_assets on a managed server, whose settings it cannot change.

The settings are PostgreSQL's defaults, with the write-ahead log for replicas, and the login has two roles and no
special rights. It is measured as ours.py is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from bench import ours
from bench.context import LOAD_DATE, BenchContext, Kpis
from kpi_assets.embedded.stack import Stack

NAME = "kpi_assets, as a guest"
LOGIN, PASSWORD = "kpi_bench", "of the bench alone"
# PostgreSQL's defaults for the settings that differ on the embedded server.
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
def own_server(home: Path, context: BenchContext) -> Iterator[BenchContext]:
    """Yield a context with the same files and such a server."""
    with Stack(home) as stack, psycopg.connect(stack.environment()["KPI_POSTGRES_URL"], autocommit=True) as connection:
        for name, value in DEFAULTS.items():
            connection.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    with Stack(home) as stack:  # the settings take effect at this start
        environment = stack.environment()
        stack.make_bucket("kpi-instacart")
        yield replace(context, server=environment["KPI_POSTGRES_URL"], environment=environment)


def prepare(context: BenchContext) -> None:
    """Make an empty warehouse, in which an administrator has created the roles."""
    ours.prepare(context)
    context.call([ours.KPI, "bootstrap"], KPI_ADMIN_POSTGRES_URL=context.server, KPI_POSTGRES_URL=_guest(context))


def run(context: BenchContext) -> None:
    """Build everything from the objects to the KPIs, with every gate."""
    command = [ours.KPI, "run", "instacart", "--load-date", LOAD_DATE, "--select", ours.TABLES]
    context.call(command, KPI_POSTGRES_URL=_guest(context))


def kpis(context: BenchContext) -> Kpis:
    """Return the published KPIs."""
    return ours.kpis(context)


def _guest(context: BenchContext) -> str:
    parts = urlsplit(context.server)
    user = f"{LOGIN}:{PASSWORD.replace(' ', '%20')}"
    return parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}").geturl()
