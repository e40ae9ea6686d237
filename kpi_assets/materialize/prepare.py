"""Prepares a pipeline's database for builds; safe to repeat, and cheap when nothing is missing.

Belongs here: the order of the steps, and which of them need the owner. Not here: roles, schemas and grants
(warehouse/provision.py, reader_rights.py), the migrations (ledger/schema.py), and the SQL of live views
(warehouse/live_views.py).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection
from pydantic import SecretStr

from kpi_assets.ledger import locks, runs, schema
from kpi_assets.materialize import release
from kpi_assets.materialize.retry import LOCK_TIMEOUT, retry_on_lock
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.warehouse import live_views, provision, reader_rights
from kpi_assets.warehouse.connection import WarehouseError, connect
from kpi_assets.warehouse.refusal import find_remedy
from kpi_assets.warehouse.views import View

NONE_DROPPED: Mapping[Relation, View | None] = {}
READER_TIMEOUT = 60.0  # seconds to wait for readers of a live view that must be replaced


def prepare(
    pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None = None, *, as_owner: bool = False
) -> None:
    """Create the database, its schemas, the ops tables and the roles if they are missing, and make the live views.

    If the user does not own the database, only check that nothing is missing, or raise WarehouseError with `as_owner`.
    Also close the rows of the run log that dead processes left open. Raises WarehouseError and DefinitionError.
    """
    try:
        _prepare(pipeline, server, reader_password, as_owner=as_owner)
    except psycopg.Error as error:
        remedy = find_remedy(error) or (
            f"KPI_POSTGRES_URL must name a user who owns that database or has the roles {provision.LOADER} and "
            f"{provision.BUILDER}"
        )
        reason = str(error).splitlines()[0]
        raise WarehouseError(f"The database {pipeline.name!r} cannot be made ready ({reason}): {remedy}.") from error


def check_readable(pipeline: Pipeline, server: SecretStr) -> None:
    """Check that this version of kpi_assets can read the database; nothing is created.

    Rows of the run log that dead processes left open are closed if this user may do that. Raises WarehouseError if the
    database is missing or has another version.
    """
    with connect(server, pipeline.name, "look", read_only=True) as connection:
        lack = _missing(connection, ())  # a missing layer is no error here: its tables are reported as lost
    if lack:
        raise WarehouseError(f"The database {pipeline.name!r} {lack}: `kpi bootstrap` brings it up to date.")
    with (
        suppress(WarehouseError, psycopg.errors.InsufficientPrivilege),  # read-only server; a user who may only read
        connect(server, pipeline.name, "look") as connection,
    ):
        runs.close_dead_rows(connection)


def _prepare(pipeline: Pipeline, server: SecretStr, reader_password: SecretStr | None, *, as_owner: bool) -> None:
    layers, dropped = pipeline.config.layers, NONE_DROPPED
    provision.ensure_database(server, pipeline.name)
    with connect(server, pipeline.name, "prepare") as connection:
        provision.ensure_roles(server, reader_password)
        if provision.owns_database(connection):
            with schema.in_turn(connection):
                provision.ensure_schemas(connection, layers)
            dropped = _migrate(connection)
            with schema.in_turn(connection):
                provision.ensure_grants(connection, layers, pipeline.config.readers)
                reader_rights.ensure_all(connection, pipeline.tables.values(), pipeline.config.readers)
                if reader_password is not None:  # the embedded server, which nobody else uses
                    provision.restrict_advisory_locks(connection)
        elif as_owner:
            raise WarehouseError(
                f"The database {pipeline.name!r} belongs to somebody else: name its owner in KPI_ADMIN_POSTGRES_URL."
            )
        else:
            _check_prepared(connection, layers)
        _ensure_live_views(connection, pipeline, dropped)
        release.catch_up(connection, pipeline)
        runs.close_dead_rows(connection)


def _migrate(connection: Connection[Any]) -> Mapping[Relation, View | None]:
    """Apply the pending migrations, and return the live views that had to be dropped for them."""
    try:
        schema.migrate(connection)
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported):
        with connection.transaction():
            dropped = live_views.drop_all(connection)
            schema.migrate(connection)
        return dropped
    return NONE_DROPPED


def _ensure_live_views(
    connection: Connection[Any], pipeline: Pipeline, dropped: Mapping[Relation, View | None]
) -> None:
    """Make, replace and drop live views until they are as the files say. Raises DefinitionError and WarehouseError."""
    if live_views.are_current(connection, pipeline):
        return

    def change() -> None:
        with connection.transaction():
            connection.execute("select set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            locks.await_turn(connection, "live views")
            live_views.ensure(connection, pipeline, dropped)

    retry_on_lock(change, "replaced", lambda _phase, _done, _total: None, READER_TIMEOUT)


def _check_prepared(connection: Connection[Any], schemas: Iterable[str]) -> None:
    """Raise WarehouseError if the database lacks something that only its owner may create."""
    if lack := _missing(connection, schemas):
        raise WarehouseError(
            f"The database {connection.info.dbname!r} {lack}, and the user of KPI_POSTGRES_URL may not change that: "
            "have an administrator run `kpi bootstrap`."
        )


def _missing(connection: Connection[Any], schemas: Iterable[str]) -> str:
    """Return what the database lacks, as the predicate of a sentence; empty if nothing is missing."""
    if missing := provision.missing_schemas(connection, schemas):
        return f"lacks the schema {missing[0]}"
    return f"is at version {schema.version(connection)} of ops" if schema.pending(connection) else ""
