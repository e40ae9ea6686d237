"""A small pipeline with its own database and bucket, whose files and objects a test writes itself."""

import itertools
import os
import shutil
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from psycopg import Connection, sql
from pydantic import SecretStr

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import runs, schema
from kpi_assets.materialize.build import build
from kpi_assets.materialize.context import BuildContext, BuildOutcome, ObjectOutcome
from kpi_assets.materialize.prepare import prepare
from kpi_assets.materialize.verify_object import verify
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import CheckResult
from kpi_assets.model.tree import load_pipelines
from kpi_assets.settings import settings
from kpi_assets.sources.s3_objects import client
from kpi_assets.sources.store import Store
from kpi_assets.warehouse import provision
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests import template

DAY = date(2025, 3, 1)
NEXT = date(2025, 3, 2)

_numbers = itertools.count(1)

PIPELINE_YAML = """\
description: A pipeline of one test.
bucket: {bucket}
start_date: 2025-01-01
layers: {{raw: raw, stg: staging, marts: marts}}
readers: [marts]
"""

# A raw table with one column of each kind that matters, for tests of the content of objects.
RAW_THINGS = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
source:
  object: raw/things/load_date={load_date}/things.csv
  format: csv
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: "Name, any text."}
  weight: {type: "numeric(6,2)", description: "Kilograms; NULL if it was not weighed."}
@end */
"""
# Two objects of the table, the second of which is held, and a mart that reads it.
GOOD = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,\n"
DOUBLED = b"thing_id,name,weight\n1,anvil,20.50\n1,anvil again,20.50\n"
MART = """\
/* @asset
description: Things that were weighed.
owner: team:tests
grain: [thing_id]
columns:
  thing_id: {type: integer, description: Thing.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
checks:
  reconcile: {source: raw.things, dropped: {unweighed: weight is null}}
@end */
select
    thing_id,
    weight
from raw.things
where load_date = %(load_date)s and weight is not null
"""
# Finds a table or view in one of our schemas that another role owns.
TO_HAND_OVER = (
    "select 1 from pg_class where relkind in ('r', 'p', 'v') and relnamespace = any(%s::text[]::regnamespace[]) "
    "and pg_get_userbyid(relowner) <> all(%s::text[]) limit 1"
)


@cache
def _client(endpoint: str | None, _key: str) -> Any:
    """The client of all harnesses: making one takes long. Objects get no checksum but their ETag."""
    s3 = client(settings())
    s3.meta.config.request_checksum_calculation = "when_required"
    return s3


class PipelineHarness:
    """The pipeline of one test; `run_id` is the run of all its builds unless a test names another one.

    If `copies` is false, its database is prepared from nothing, and again before each build, as the product does.
    """

    copies = True
    _ready: Hashable = None  # the shape for which the database was prepared

    def __init__(self, stack: Stack, folder: Path, files: Path | None = None, name: str = "") -> None:
        self.name = name or f"lab{os.getpid()}_{next(_numbers)}"
        self.stack, self.root = stack, folder / "sql"
        self.folder = self.root / self.name
        self.bucket = f"kpi-{self.name.replace('_', '-')}"
        self.run_id = "run-of-the-test"
        if files:
            shutil.copytree(files, self.folder)
        else:
            self.folder.mkdir(parents=True)
            (self.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=self.bucket))
        stack.make_bucket(self.bucket)
        self.s3 = _client(settings().s3_endpoint_url, os.environ["AWS_ACCESS_KEY_ID"])
        self.store = Store.open(settings(), self.bucket, self.s3)
        self._parsed: tuple[object, Pipeline] | None = None  # the files, and what they were read as

    @classmethod
    @contextmanager
    def open(cls, stack: Stack, folder: Path, files: Path | None = None, name: str = "") -> Iterator["PipelineHarness"]:
        """Yield a pipeline whose database is dropped at the end; it starts as a copy of `files`, or empty."""
        lab = cls(stack, folder, files, name)
        try:
            yield lab
        finally:
            with connect(lab.server, "postgres", "lab") as connection:
                connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(lab.name)))

    @property
    def server(self) -> SecretStr:
        """The warehouse server of the test session."""
        server = settings().postgres_url
        assert server is not None
        return server

    def file(self, name: str, text: str) -> Path:
        """Write a file of the pipeline, `schema/table.sql`; return its path."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
        return path

    def pipeline(self, minimum_rows: Mapping[str, int] | None = None) -> Pipeline:
        """The pipeline as its files are now. It is parsed again only if one of them has changed."""
        if minimum_rows:
            return load_pipelines(self.root, minimum_rows)[self.name]
        files = [(path, path.read_bytes() if path.is_file() else path.lstat()) for path in sorted(self.root.rglob("*"))]
        if self._parsed is None or self._parsed[0] != files:
            self._parsed = files, load_pipelines(self.root)[self.name]
        return self._parsed[1]

    def put(self, key: str, body: bytes) -> None:
        """Upload an object, replacing the one under its key."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def put_things(self, body: bytes, day: date = DAY) -> None:
        """Upload the object of RAW_THINGS."""
        self.put(f"raw/things/load_date={day}/things.csv", body)

    def context(self, **changes: Any) -> BuildContext:
        """Return the context of a build of this pipeline."""
        return BuildContext(self.pipeline(), self.server, self.store, **{"run_id": self.run_id, **changes})

    def verify(self, name: str, day: date = DAY) -> ObjectOutcome:
        """Verify the object of the raw table `schema.table`."""
        context = self.prepared()
        return verify(context, context.pipeline.table(name), day)

    def build(self, name: str, day: date = DAY, **changes: Any) -> BuildOutcome:
        """Build `schema.table`; a raw table's object is verified first."""
        context = self.prepared(**changes)
        table = context.pipeline.table(name)
        if table.has_object:
            outcome = verify(context, table, day)
            assert not outcome.held, outcome.results
        return build(context, table, day)

    def prepared(self, **changes: Any) -> BuildContext:
        """Return a context whose database is prepared."""
        context = self.context(**changes)
        shape = template.shape(context.pipeline)
        if self._ready is None and self.copies and template.copy(context.pipeline, self.server):
            self._ready = shape
        if self._ready != shape or not self._still_ready(context.pipeline):
            prepare(context.pipeline, self.server)
            self._ready = shape
        return context

    def _still_ready(self, pipeline: Pipeline) -> bool:
        """Return whether preparing again would change nothing; if so, close dead runs, as preparing does too."""
        schemas = [*pipeline.config.layers, provision.BUILDS]
        with self.session() as session:
            if provision.missing_schemas(session, schemas) or schema.pending(session):
                return False
            if session.execute(TO_HAND_OVER, [schemas, list(provision.MAKERS)]).fetchone():
                return False
            runs.close_dead_rows(session)
        return self.copies

    @contextmanager
    def session(self) -> Iterator[Connection[Any]]:
        """Open a session on the database of the pipeline."""
        with connect(self.server, self.name, "test") as connection:
            yield connection

    def in_postgres(self, query: str, *values: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Return the rows of a query in another database than that of the pipeline."""
        with connect(self.server, database, "test") as connection:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query in the database of the pipeline."""
        with self.session() as connection:
            return connection.execute(query).fetchall()


def failed(results: list[CheckResult]) -> dict[str, CheckResult]:
    """Return the results that did not pass, by name."""
    return {result.name: result for result in results if not result.passed}
