"""DuckDB with the gates of the old runner: it goes on only with raw tables of which as much is known."""

from bench import duck
from bench.old_runner import GATES
from bench.place import Kpis, Place

NAME = "DuckDB, with gates"


def prepare(place: Place) -> None:
    """No file."""
    duck.prepare(place)


def run(place: Place) -> None:
    """Until the file is closed and whole."""
    duck.build(place, [gate.replace("raw.", "") for gate in GATES])


def kpis(place: Place) -> Kpis:
    """What it came to."""
    return duck.kpis(place)
