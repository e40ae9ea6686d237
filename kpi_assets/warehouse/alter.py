"""Alters the columns of a published table so that it can take a build with the columns that its file declares.

Belongs here: the ALTER TABLE for the changes that shape.py plans. Not here: that plan, and which load_dates there are.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import psycopg
from psycopg import Connection, sql

from kpi_assets.model.names import LOAD_DATE, Relation
from kpi_assets.model.table import Table
from kpi_assets.warehouse import references
from kpi_assets.warehouse.candidates import Candidate
from kpi_assets.warehouse.ddl import DefinitionError, identifier, types_of
from kpi_assets.warehouse.error_reasons import one_line
from kpi_assets.warehouse.shape import Changes, Published, UnlikeTypesError, common_type, plan_changes
from kpi_assets.warehouse.views import without_views


def find_changes(table: Table, stored: Mapping[str, str], others: Sequence[Published]) -> Changes:
    """Find the changes that a table with the `stored` columns needs before a build; `others` keep their rows.

    Raises DefinitionError if no type holds the values of both the declared type and that of other load_dates.
    """
    try:
        return plan_changes({name: type_ for name, type_ in stored.items() if name != LOAD_DATE}, table.types, others)
    except UnlikeTypesError as error:
        pipeline, relation = table.pipeline, table.relation
        raise DefinitionError(
            f"{table.path}: {error}: keep the type, give the column another name, or run "
            f"`kpi drop {pipeline} {relation}` and backfill."
        ) from None


def alter_columns(connection: Connection[Any], table: Table, needed: Changes) -> None:
    """Add columns and widen types. Raises DefinitionError if other objects of the database depend on the columns."""
    name = identifier(table.relation)
    steps = [
        sql.SQL("add column {} {}").format(sql.Identifier(column), sql.SQL(type_))
        for column, type_ in needed.add.items()
    ]
    stored = types_of(connection, table.relation)
    for column, type_ in needed.retype.items():
        # If the two types have no common one, no load_date that stays has a value in the column.
        via = "" if common_type(stored[column], type_) else "::text"
        alter = "alter column {0} type {1} using {0}" + via + "::{1}"
        steps.append(sql.SQL(alter).format(sql.Identifier(column), sql.SQL(type_)))
    if needed.retype:  # the references would be checked with the new types
        references.drop_incoming(connection, table.relation, needed.retype)
        references.drop_outgoing(connection, table.relation, needed.retype)
    try:
        with without_views(connection, table.relation) if needed.retype else nullcontext():
            if steps:
                connection.execute(sql.SQL("alter table {} {}").format(name, sql.SQL(", ").join(steps)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported, psycopg.DataError) as error:
        raise DefinitionError(
            f"{table.path}: {table.relation} cannot be altered to the header's columns ({one_line(error, table.pii)}): "
            "drop what depends on it, or keep the column."
        ) from None


def drop_columns(connection: Connection[Any], relation: Relation, columns: Sequence[str]) -> None:
    """Drop columns that no load_date has. A column that somebody's view reads stays, with NULL in every row."""
    for column in columns:
        with suppress(psycopg.errors.DependentObjectsStillExist), connection.transaction():
            connection.execute(
                sql.SQL("alter table {} drop column {}").format(identifier(relation), sql.Identifier(column))
            )


def match_columns(connection: Connection[Any], candidate: Candidate, there: Mapping[str, str]) -> None:
    """Give a candidate the columns and types that its published table has, also those kept for other load_dates.

    Rows that were kept may have columns which no load_date has any more.
    """
    here = types_of(connection, candidate.relation)
    steps = [
        sql.SQL("alter column {0} type {1} using {0}::{1}" if name in here else "add column {} {}").format(
            sql.Identifier(name), sql.SQL(type_)
        )
        for name, type_ in there.items()
        if here.get(name) != type_
    ]
    steps += [sql.SQL("drop column {}").format(sql.Identifier(name)) for name in here if name not in there]
    if steps:
        connection.execute(sql.SQL("alter table {} {}").format(candidate.name, sql.SQL(", ").join(steps)))
