"""Readers who look at the published tables all the time, and note each look at which ledger and rows differ.

Each publish of a load_date of these pipelines may have another number of rows than the one before.
"""

import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from threading import Event

import psycopg
from psycopg import sql

from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline

READERS = 2
COUNTS = sql.SQL(
    "select p.load_date, p.rows, (select count(*) from {} as t where t.load_date = p.load_date) "
    "from ops.published as p where p.asset = {}"
)
# A server that was killed, or a table that no build has published yet
NOT_THERE = (psycopg.OperationalError, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
AWAY = 0.5  # seconds to wait for them


@dataclass
class Reader:
    """What one look after another has shown. A load_date counts from the second look at which it was published."""

    looks: int = 0
    mixtures: list[str] = field(default_factory=list)
    _seen: set[tuple[str, Relation, date]] = field(default_factory=set)

    def look(self, connection: psycopg.Connection, pipeline: str, relation: Relation) -> None:
        """Compare, in one statement, the rows of a table with those of the ledger."""
        query = COUNTS.format(sql.Identifier(relation.schema, relation.table), sql.Literal(str(relation)))
        before = set(self._seen)  # another thread may see meanwhile what is published for the first time
        for day, told, there in connection.execute(query).fetchall():
            if (pipeline, relation, day) in before and told != there:
                self.mixtures.append(f"{pipeline}: {relation} of {day}: {told} rows are published, {there} were seen")
            self._seen.add((pipeline, relation, day))
        self.looks += 1


@contextmanager
def reading(urls: Mapping[str, str], pipelines: Mapping[str, Pipeline]) -> Iterator[Reader]:
    """Look at random tables until the end of the block."""
    found = Reader()
    over = Event()
    places = [
        (name, table.relation)
        for name, pipeline in pipelines.items()
        for table in pipeline.tables.values()
        if table.storage.name in ("rows", "partitions")
    ]

    def read(number: int) -> None:
        draw = random.Random(number)
        while not over.is_set():
            name, relation = draw.choice(places)
            try:
                with psycopg.connect(urls[name], autocommit=True) as connection:
                    found.look(connection, name, relation)
            except NOT_THERE:
                time.sleep(AWAY)

    with ThreadPoolExecutor(READERS) as pool:
        try:
            readers = [pool.submit(read, number) for number in range(READERS)]
            yield found
        finally:
            over.set()
        for reader in readers:
            reader.result()
