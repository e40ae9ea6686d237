"""DuckDB with the gates of the hand-written job, which its raw tables must pass."""

from bench import duck
from bench.context import BenchContext, Kpis
from bench.hand_written import GATES

NAME = "DuckDB, with gates"


def prepare(context: BenchContext) -> None:
    """Remove the file of an earlier run."""
    duck.prepare(context)


def run(context: BenchContext) -> None:
    """Build all tables, until the file is complete and closed."""
    duck.build(context, [gate.replace("raw.", "") for gate in GATES])


def kpis(context: BenchContext) -> Kpis:
    """Return the computed KPIs."""
    return duck.kpis(context)
