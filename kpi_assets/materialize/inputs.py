"""What a build reads: looked up in the publish ledger before, and looked at once more before the build is published.

Belongs here: which publishes those are, of its own load_date and of a window before it, and that they stay; and how
many rows were published before, which its own are compared with. Not here:
the ledger's rows (ledger/publishes.py), and which rows of a window count (model/lookback.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from kpi_assets.ledger import publishes, runs
from kpi_assets.ledger.publishes import Publish, input_name
from kpi_assets.materialize.context import BuildContext, UpstreamError
from kpi_assets.materialize.retention import replay
from kpi_assets.materialize.retry import wait_for_publishes
from kpi_assets.model.checks import SAME_WEEKDAYS, MinRows
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline, Table
from kpi_assets.model.query import digest
from kpi_assets.warehouse.content import lost


@dataclass(frozen=True)
class Inputs:
    """The publishes that a build of a table and load_date reads; those of `earlier` load_dates only with `lookback`."""

    table: Table
    load_date: date
    of_day: Mapping[Relation, Publish]
    earlier: tuple[Publish, ...] = ()
    window: Window | None = None

    @property
    def all(self) -> list[Publish]:
        """Each of them."""
        return [*self.of_day.values(), *self.earlier]

    @property
    def publish_ids(self) -> dict[str, int]:
        """As the ledger has them."""
        earlier = {input_name(Relation.parse(each.asset), each.load_date): each.publish_id for each in self.earlier}
        return {**{str(relation): each.publish_id for relation, each in self.of_day.items()}, **earlier}

    @property
    def manifest_hash(self) -> str:
        """Of the objects behind what is made of them."""
        return digest(*sorted(publish.manifest_hash for publish in self.all))

    def warnings(self, connection: Connection[Any]) -> list[str]:
        """A sentence for each that is published, but whose latest build is not."""
        return [
            f"{each.asset} of {each.load_date} is read as published on {each.published_at:%Y-%m-%d %H:%M:%S} UTC; "
            f"its latest build is {status}"
            for each in self.all
            if (status := runs.latest_status(connection, Relation.parse(each.asset), each.load_date)) != "success"
        ]

    def check_unchanged(self, connection: Connection[Any]) -> None:
        """Raise UpstreamError where one was published again since; look_upstream saw to it for the earlier ones."""
        now = publishes.current(connection, self.of_day, self.load_date)
        changed = [str(relation) for relation in self.of_day if now.get(relation) != self.of_day[relation]]
        if changed:
            raise UpstreamError(
                f"{self.table.relation} of {self.load_date} was not published: {', '.join(changed)} was published "
                "again while it was being built; build it again."
            )


def look_upstream(context: BuildContext, connection: Connection[Any], table: Table, load_date: date) -> Inputs:
    """What is published of every table that it reads, through views too. Raises UpstreamError where one is not.

    With `lookback` also of the load_dates before, of those that are published in every table of the window: one that
    is held or missing is not there. Nothing is published into these tables until the session ends: what is read is
    what the ledger will say.
    """
    window_inputs = context.pipeline.window_inputs_of(table)
    for relation in window_inputs:
        wait_for_publishes(connection, relation, context.on_progress)
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


def rows_before(connection: Connection[Any], table: Table, load_date: date) -> dict[str, Any]:
    """What min_rows compares a load_date of a table with, by the names in Facts; nothing is asked that it does not."""
    found: dict[str, Any] = {}
    for check in table.checks:
        if isinstance(check, MinRows) and check.of_previous:
            latest = publishes.earlier_rows(connection, table.relation, load_date, every=1, count=1)
            found["previous_rows"] = latest[0] if latest else None
        if isinstance(check, MinRows) and check.of_usual:
            found["usual_rows"] = publishes.earlier_rows(
                connection, table.relation, load_date, every=7, count=SAME_WEEKDAYS
            )
    return found


def _check_columns(pipeline: Pipeline, table: Table, load_date: date, published: Mapping[Relation, Publish]) -> None:
    """Raise UpstreamError where a load_date was published before a column changed that is read.

    A column that was added since would be NULL in it, and nobody could tell.
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
    """Raise UpstreamError where the ledger says published, and the rows are gone: it would be built from nothing."""
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
            f"{table.relation} of {load_date} cannot be built: {replay(context.pipeline, gone, load_date)}."
        )
    if missing:
        raise UpstreamError(
            f"{table.relation} of {load_date} cannot be built: {', '.join(missing)} of that load_date must be "
            "published first; build that."
        )
    return inputs
