"""Reading pages of records from an API's database, none of them slower for being far behind the first.

Of the days that were asked for, the program keeps in mind how many records there are and where each MARK-th begins, so
that a page is a short scan of the index. What it keeps is good for one state of the table: each page is read together
with `changes.number`, and when that has changed, it counts anew. So a page and its total are of one moment.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from kpi_assets.simulators.api import SimulatedApi
from kpi_assets.simulators.faults import ApiFault
from kpi_assets.simulators.requests import BadRequestError

MARK = 500
KEPT = 400  # ranges of days that are kept in mind
ATTEMPTS = 20  # to count while others change the table

Place = tuple[date, int]  # a record's day and key
Days = tuple[date, date]  # the first and the last


class Database:
    """The one session of an API on its database. It is opened anew when it was lost."""

    def __init__(self, url: Callable[[], str]):
        self._url = url
        self._connection: AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def rows(self, query: sql.Composed, values: Sequence[object] = ()) -> list[Any]:
        """Run a query and return its rows. Raises psycopg.Error."""
        async with self._turn:
            try:
                return await self._ask(query, values)
            except psycopg.OperationalError:  # such as a server that was started again
                await self.close()
                return await self._ask(query, values)

    async def close(self) -> None:
        """End the session."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _ask(self, query: sql.Composed, values: Sequence[object]) -> list[Any]:
        if self._connection is None:
            self._connection = await AsyncConnection.connect(self._url(), autocommit=True, connect_timeout=10)
        cursor = await self._connection.execute(query, values)
        return await cursor.fetchall()


@dataclass(frozen=True)
class Counted:
    """What is known of the records of some days, as long as `changes` is the number in the database."""

    changes: int
    total: int
    marks: Sequence[Place]  # of the first record, and of each MARK-th after it
    last_key: int | None


@dataclass(frozen=True)
class Page:
    """Some records as JSON, with a comma between; `last` is the place of the last one, if more come after it."""

    records: str
    count: int
    total: int
    last: Place | None


class Reader:
    """Reads the records of one API."""

    def __init__(self, api: SimulatedApi, database: Database):
        self._database = database
        self._counted: OrderedDict[Days, Counted] = OrderedDict()
        words = {
            "table": sql.Identifier(api.table),
            "day": sql.Identifier(api.day),
            "key": sql.Identifier(api.key),
            "fields": sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in api.fields),
        }
        self._count = sql.SQL(
            "with numbered as (select {day} as day, {key} as key, row_number() over (order by {day}, {key}) as number "
            "from {table} where {day} between %s and %s) "
            "select (select number from changes), (select count(*) from numbered), "
            "(select coalesce(array_agg(day order by number), '{{}}') from numbered where number %% %s = 1), "
            "(select coalesce(array_agg(key order by number), '{{}}') from numbered where number %% %s = 1), "
            "(select key from numbered order by number desc limit 1)"
        ).format(**words)
        # The place alone says where the scan begins: a further condition on the first day would make it begin there.
        self._read = sql.SQL(
            "with page as materialized (select t.{day} as day, t.{key} as key, "
            "(select row_to_json(shown)::text from (select {fields}) as shown) as record from {table} as t "
            "where (t.{day}, t.{key}) >= (%s, %s) and t.{day} <= %s order by 1, 2 limit %s offset %s) "
            "select (select number from changes), count(*), coalesce(string_agg(record, ',' order by day, key), ''), "
            "max(day), (array_agg(key order by day desc, key desc))[1] from page"
        ).format(**words)
        self._state = sql.SQL("select id, name, number from faults order by id").format()
        self._latest = sql.SQL("select max({day}) from {table} where {day} between %s and %s").format(**words)

    async def faults(self) -> dict[str, tuple[int, ApiFault]]:
        """Return the faults that the API has now: by name, each with a number that no later one has."""
        rows = await self._database.rows(self._state)
        return {name: (number, ApiFault(name, value)) for number, name, value in rows}

    async def latest(self, first: date, last: date) -> date | None:
        """Return the latest day of these that has records."""
        [(found,)] = await self._database.rows(self._latest, [first, last])
        return found if isinstance(found, date) else None

    async def page(self, days: Days, size: int, *, skip: int = 0, after: Place | None = None) -> Page:
        """Return at most `size` records of some days: all but the first `skip`, or those after a place."""
        for _ in range(ATTEMPTS):
            counted = self._counted.get(days) or await self._count_days(days)
            start, offset = _beginning(counted, days, skip) if after is None else ((after[0], after[1] + 1), 0)
            limit = 0 if after is None and skip >= counted.total else size
            [(changes, count, records, day, key)] = await self._database.rows(
                self._read, [*start, days[1], limit, offset]
            )
            if changes == counted.changes:
                return Page(records, count, counted.total, (day, key) if count and key != counted.last_key else None)
            self._counted.pop(days, None)
        raise BadRequestError("The records change faster than they can be counted.", 503)

    async def _count_days(self, days: Days) -> Counted:
        [(changes, total, marked, keys, last)] = await self._database.rows(self._count, [*days, MARK, MARK])
        counted = Counted(changes, total, list(zip(marked, keys, strict=True)), last)
        self._counted[days] = counted
        while len(self._counted) > KEPT:
            self._counted.popitem(last=False)
        return counted


def _beginning(counted: Counted, days: Days, skip: int) -> tuple[Place, int]:
    """Return the nearest mark before a record, and how many records lie between the two."""
    mark = min(skip // MARK, len(counted.marks) - 1)
    return (counted.marks[mark], skip - mark * MARK) if counted.marks and skip < counted.total else ((days[0], 0), 0)
