"""The inputs of a build: resolved from the publish ledger first, and compared with it again before the publish.

Belongs here: which publishes those are, of its own load_date and of a window before it, and that they stay. Not here:
the ledger's rows (ledger/publishes.py), and which rows of a window count (model/lookback.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import publishes, runs
from kpi_assets.ledger.publishes import Publish
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.retention import explain_replay
from kpi_assets.materialize.retry import block_publishes
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import InputName, Relation
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.model.query import digest
from kpi_assets.warehouse.content import lost


@dataclass(frozen=True)
class Inputs:
    """The publishes that a build of a table and load_date reads; it has `earlier` ones only with `lookback`."""

    table: Table
    load_date: date
    of_day: Mapping[Relation, Publish]
    earlier: tuple[Publish, ...] = ()
    window: Window | None = None

    @property
    def all(self) -> list[Publish]:
        """Those of the load_date itself and the earlier ones."""
        return [*self.of_day.values(), *self.earlier]

    @property
    def publish_ids(self) -> dict[str, int]:
        """The publish_id of each by its name, as the ledger records them."""
        earlier = {str(InputName(Relation.parse(each.asset), each.load_date)): each.publish_id for each in self.earlier}
        return {**{str(relation): each.publish_id for relation, each in self.of_day.items()}, **earlier}

    @property
    def manifest_hash(self) -> str:
        """The hash of all manifests from which the inputs were made."""
        return digest(*sorted(publish.manifest_hash for publish in self.all))

    def warnings(self, connection: Connection[Any]) -> list[str]:
        """A sentence for each input whose latest build was not published."""
        return [
            f"{each.asset} of {each.load_date} is read as published on {each.published_at:%Y-%m-%d %H:%M:%S} UTC; "
            f"its latest build is {status}"
            for each in self.all
            if (status := runs.latest_status(connection, Relation.parse(each.asset), each.load_date)) != "success"
        ]

    def check_unchanged(self, connection: Connection[Any]) -> None:
        """Raise UpstreamError if one was published again; resolve_inputs locked the earlier ones against that."""
        now = publishes.current(connection, self.of_day, self.load_date)
        changed = [str(relation) for relation in self.of_day if now.get(relation) != self.of_day[relation]]
        if changed:
            raise UpstreamError(
                f"{self.table.relation} of {self.load_date} was not published: {', '.join(changed)} was published "
                "again while it was being built; build it again."
            )


def resolve_inputs(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> Inputs:
    """Look up the publish of every table that it reads, also through views. Raises UpstreamError if one is missing.

    With `lookback` also those of earlier load_dates of the window, but only of load_dates that are published in every
    table of the window. Nothing can be published into these tables until the session ends, so that the rows that are
    read are those of the publishes that the ledger will record.
    """
    window_inputs = context.pipeline.window_inputs_of(table)
    for relation in window_inputs:
        block_publishes(connection, relation, context.on_progress)
    of_day = _of_day(context, connection, table, load_date)
    _check_columns(context.pipeline, table, load_date, of_day)
    _check_stored(context.pipeline, connection, table, load_date, [of_day])
    if not window_inputs:
        return Inputs(table, load_date, of_day)
    first = context.pipeline.window_start(table, load_date)
    found = publishes.current_between(connection, window_inputs, first, load_date - timedelta(days=1))
    there = {day: found[day] for day in sorted(found) if len(found[day]) == len(window_inputs)}
    for of in there.values():
        _check_columns(context.pipeline, table, load_date, of)
    _check_stored(context.pipeline, connection, table, load_date, there.values())
    earlier = tuple(publish for of in there.values() for publish in of.values())
    return Inputs(table, load_date, of_day, earlier, Window(first, load_date, (*there, load_date)))


def _check_columns(pipeline: Pipeline, table: Table, load_date: date, published: Mapping[Relation, Publish]) -> None:
    """Raise UpstreamError if a publish lacks a column that is read, or has it in another type than declared.

    A column that was added after the publish would be NULL in its rows without anybody noticing.
    """
    for relation in (each for each in table.reads if each in published):
        there, columns = pipeline.tables[relation].origin
        publish, declared = published.get(there), pipeline.tables[there].types
        if publish is None or publish.types is None:
            continue
        for name, column in columns.items():
            if name in table.names_read and publish.types.get(column) != declared[column]:
                raise UpstreamError(
                    f"{table.relation} of {load_date} cannot be built: {there} of {publish.load_date} was published "
                    f"before its column {column!r} became what its file declares now; build that again first."
                )


def _check_stored(
    pipeline: Pipeline,
    connection: Connection[Any],
    table: Table,
    load_date: date,
    published: Iterable[Mapping[Relation, Publish]],
) -> None:
    """Raise UpstreamError if the rows of a publish are gone from the database: nothing would be read."""
    wanted: dict[Relation, list[date]] = {}
    for of in published:
        for relation, publish in of.items():
            if publish.rows:
                wanted.setdefault(relation, []).append(publish.load_date)
    for relation, days in wanted.items():
        for gone in sorted(lost(connection, pipeline.tables[relation], days)):
            raise UpstreamError(
                f"{table.relation} of {load_date} cannot be built: the rows of {relation} of {gone} are gone from the "
                f"database; `kpi run {pipeline.name} --load-date {gone}` makes them again."
            )


def _of_day(
    context: BuildContext, connection: Connection[Any], table: Table, load_date: date
) -> dict[Relation, Publish]:
    wanted = context.pipeline.inputs_of(table)
    inputs = publishes.current(connection, wanted, load_date)
    missing = [str(each) for each in table.reads if each not in inputs] or [
        str(each) for each in wanted if each not in inputs
    ]
    if missing and (gone := publishes.dropped(connection, wanted, load_date)):
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: {explain_replay(context.pipeline, gone, load_date)}."
        )
    if missing:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: {', '.join(missing)} of that load_date must be "
            "published first; build that."
        )
    return inputs
