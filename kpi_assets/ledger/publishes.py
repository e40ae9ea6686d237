"""The publish ledger, ops.publishes: what readers see, and the objects, code and run that it was made from."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Json

from kpi_assets.model.lake import Snapshot
from kpi_assets.model.manifest import NO_OBJECT
from kpi_assets.model.names import InputName, Relation

COLUMNS = (
    "publish_id, asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, size_bytes, "
    "inputs, published_at, columns, rulings, lacks, place, checksum_kind"
)


@dataclass(frozen=True)
class Publish:
    """One row of ops.published."""

    publish_id: int
    asset: str
    load_date: date
    build_id: int
    run_id: str
    manifest_hash: str
    code_version: str
    rows: int
    checksum: str
    size_bytes: int
    inputs: dict[str, int]
    published_at: datetime
    columns: list[tuple[str, str]] | None  # (name, type) in order; None if an earlier version published it
    rulings: list[int] = field(default_factory=list)  # by which it, or what it was made from, was published
    lacks: list[str] = field(default_factory=list)  # inputs (InputName as text) that were due and absent
    place: str | None = None  # the Snapshot of the lake that has its rows, as text; None if they are in Postgres
    checksum_kind: str | None = None  # whose hashes the checksum sums; None for those of Postgres

    @property
    def content(self) -> tuple[str | None, str]:
        """What two publishes with the same rows have in common: the checksum, within its kind."""
        return self.checksum_kind, self.checksum

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot of the lake that has its rows; None if they are in Postgres."""
        return Snapshot.parse(self.place) if self.place else None

    @property
    def types(self) -> dict[str, str] | None:
        """The types of its columns, by name."""
        return None if self.columns is None else dict(self.columns)


class State(NamedTuple):
    """What was published of a table and is no more: each publish or removal changes it, and none restores it."""

    last: int
    publishes: int
    superseded: int
    removed: int


def state_of(connection: Connection[Any], relation: Relation) -> State:
    """The state of a table in the ledger."""
    [found] = connection.execute(
        "select coalesce(max(publish_id), 0), count(*), count(superseded_at), count(removed_at) from ops.publishes "
        "where asset = %s",
        [str(relation)],
    ).fetchall()
    return State(*found)


def newest(connection: Connection[Any]) -> tuple[int, int]:
    """The last publish and the last row of the run log: as long as both stay the same, nothing was built."""
    [found] = connection.execute(
        "select coalesce((select max(publish_id) from ops.publishes), 0), "
        "coalesce((select max(id) from ops.pipeline_runs), 0)"
    ).fetchall()
    return found[0], found[1]


def current(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> dict[Relation, Publish]:
    """The publish of each given table for a load_date; tables that are not published for it are absent."""
    return current_between(connection, relations, load_date, load_date).get(load_date, {})


def current_between(
    connection: Connection[Any], relations: Iterable[Relation], first: date, last: date
) -> dict[date, dict[Relation, Publish]]:
    """The publishes of the given tables for the load_dates of a range, by load_date."""
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        found = cursor.execute(
            f"select {COLUMNS} from ops.published where asset = any(%s) and load_date between %s and %s",  # noqa: S608
            [[str(relation) for relation in relations], first, last],
        ).fetchall()
    by_load_date: dict[date, dict[Relation, Publish]] = {}
    for publish in found:
        by_load_date.setdefault(publish.load_date, {})[Relation.parse(publish.asset)] = publish
    return by_load_date


def all_current(connection: Connection[Any]) -> list[Publish]:
    """Everything that is published, by load_date and table."""
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        return cursor.execute(
            f"select {COLUMNS} from ops.published order by load_date, asset"  # noqa: S608
        ).fetchall()


def shown_as(columns: Mapping[str, str]) -> str:
    """Return the suffix of a view's checksum for columns with these names (name -> name in the table)."""
    return "" if list(columns) == list(columns.values()) else " as " + ",".join(f"{n}={c}" for n, c in columns.items())


# A view's row in the ledger repeats that of its table, with the build_id of the view.
_RECORD_VIEW = """
with before as (
    update ops.publishes set superseded_at = clock_timestamp()
    where asset = %(view)s and superseded_at is null and {which}
    returning asset, load_date, build_id, code_version, checksum, columns
)
insert into ops.publishes (
    asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, size_bytes, inputs, columns,
    rulings, lacks
)
select
    b.asset, b.load_date, b.build_id, %(run_id)s, t.manifest_hash, {code_version}, t.rows, t.checksum || {shown_as}, 0,
    jsonb_build_object(t.asset, t.publish_id), {columns}, t.rulings, t.lacks
from before as b
inner join ops.published as t on t.asset = %(table)s and t.load_date = b.load_date
order by b.load_date
returning publish_id, load_date, code_version
"""
_AS_BEFORE = _RECORD_VIEW.format(
    which="load_date = %(load_date)s",
    code_version="b.code_version",
    shown_as="coalesce(substring(b.checksum from ' as .*'), '')",
    columns="b.columns",
)
_REDEFINED = _RECORD_VIEW.format(
    which="load_date <> %(load_date)s and code_version <> %(code_version)s",
    code_version="%(code_version)s",
    shown_as="%(shown_as)s",
    columns="%(columns)s",
)


class ViewPublish(NamedTuple):
    """A publish of a view that was recorded with that of its table."""

    publish_id: int
    load_date: date
    code_version: str


def record_shown(
    connection: Connection[Any], view: Relation, table: Relation, load_date: date, *, run_id: str
) -> list[ViewPublish]:
    """Record that a view, where it is published, shows the publish of its table that was just recorded.

    Returns the publish of the view; none if it is not published for the load_date.
    """
    parameters = {"view": str(view), "table": str(table), "load_date": load_date, "run_id": run_id}
    return [ViewPublish(*row) for row in connection.execute(_AS_BEFORE, parameters).fetchall()]


def record_redefined(
    connection: Connection[Any],
    view: Relation,
    table: Relation,
    load_date: date,
    *,
    run_id: str,
    code_version: str,
    columns: Mapping[str, str],
    shown_as: str,
) -> list[ViewPublish]:
    """Record that a view which was published with another definition has that definition for all its load_dates.

    Returns its publishes of the other load_dates.
    """
    parameters = {"view": str(view), "table": str(table), "load_date": load_date, "run_id": run_id}
    definition = {"code_version": code_version, "columns": Json(list(columns.items())), "shown_as": shown_as}
    return [ViewPublish(*row) for row in connection.execute(_REDEFINED, {**parameters, **definition}).fetchall()]


def of_build(connection: Connection[Any], build_id: int) -> int | None:
    """The publish_id of a build; None if it was not published. Waits for a transaction that is publishing it."""
    connection.execute("select 1 from ops.pipeline_runs where id = %s for share", [build_id])
    row = connection.execute("select publish_id from ops.publishes where build_id = %s", [build_id]).fetchone()
    return row[0] if row else None


# The latest publish of each earlier load_date that lies a multiple of `every` days back, and whether it counts: none
# that was made without an object and, with `without_waived`, none that was published by a waiver on this table. One
# that inherits a waiver passed the checks of its own.
_EARLIER = """
with latest as (
    select distinct on (p.load_date)
        p.load_date, p.publish_id, p.rows,
        p.manifest_hash <> %(no_object)s and not (%(without_waived)s and exists (
            select 1 from ops.rulings as r
            where r.ruling_id = any(p.rulings) and r.kind = 'waive' and (r.asset, r.load_date) = (p.asset, p.load_date)
        )) as counts
    from ops.publishes as p
    where p.asset = %(asset)s and p.load_date < %(load_date)s and (%(load_date)s - p.load_date) %% %(every)s = 0
        and p.removed_at is null
    order by p.load_date desc, p.publish_id desc
)
"""
_EARLIER_ROWS = f"{_EARLIER} select rows from latest where counts order by load_date desc limit %(count)s"  # noqa: S608
_EARLIER_INPUTS = f"""
{_EARLIER}
select load_date, publish_id from latest
where load_date >= coalesce(
    (select load_date from latest where counts order by load_date desc offset %(count)s - 1 limit 1), '-infinity'
)
order by load_date desc
"""  # noqa: S608


def earlier_rows(
    connection: Connection[Any],
    relation: Relation,
    load_date: date,
    *,
    every: int,
    count: int,
    without_waived: bool = False,
) -> list[int]:
    """The row counts of the `count` latest earlier load_dates that lie a multiple of `every` days back, latest first.

    Counts load_dates that are published or were dropped by retention, but none of a table that was dropped as a whole,
    none that was made without an object and, if asked, none that was published by a waiver on it.
    """
    given = _of_earlier(relation, load_date, every, count, without_waived=without_waived)
    return [int(found) for (found,) in connection.execute(_EARLIER_ROWS, given).fetchall()]


def earlier(
    connection: Connection[Any],
    relation: Relation,
    load_date: date,
    *,
    every: int = 1,
    count: int = 1,
    without_waived: bool = False,
) -> dict[str, int]:
    """The publishes of the load_dates whose rows `earlier_rows` returns, and of those it passes over, as inputs.

    One that it passes over counts as soon as it is published otherwise.
    """
    given = _of_earlier(relation, load_date, every, count, without_waived=without_waived)
    rows = connection.execute(_EARLIER_INPUTS, given).fetchall()
    return {str(InputName(relation, day)): publish_id for day, publish_id in rows}


def _of_earlier(
    relation: Relation, load_date: date, every: int, count: int, *, without_waived: bool
) -> dict[str, object]:
    return {
        "asset": str(relation),
        "load_date": load_date,
        "every": every,
        "count": count,
        "no_object": NO_OBJECT,
        "without_waived": without_waived,
    }


def latest_before(
    connection: Connection[Any], relation: Relation, load_date: date
) -> tuple[date, Publish | None] | None:
    """The latest earlier load_date of a table and its publish; no publish if retention dropped its rows.

    None if no earlier one was published, or the table was dropped as a whole since.
    """
    row = connection.execute(
        "select max(load_date) from ops.publishes where asset = %s and load_date < %s and removed_at is null",
        [str(relation), load_date],
    ).fetchone()
    found: date | None = row[0] if row else None
    return None if found is None else (found, current(connection, [relation], found).get(relation))


def latest_load_date(connection: Connection[Any], relation: Relation, *, before: date | None = None) -> date | None:
    """The latest published load_date of a table, or the latest one before another; None if there is none."""
    row = connection.execute(
        "select max(load_date) from ops.published where asset = %s and load_date < coalesce(%s::date, 'infinity')",
        [str(relation), before],
    ).fetchone()
    return row[0] if row else None


def latest_up_to(connection: Connection[Any], relation: Relation, load_date: date) -> date | None:
    """The latest load_date of a table up to a day, also if retention dropped its rows since; None if there is none."""
    row = connection.execute(
        "select max(load_date) from ops.publishes where asset = %s and load_date <= %s and removed_at is null",
        [str(relation), load_date],
    ).fetchone()
    return row[0] if row else None


def first_load_date(connection: Connection[Any], relation: Relation) -> date | None:
    """The first load_date of a table, also if retention dropped its rows since; None if there is none."""
    row = connection.execute(
        "select min(load_date) from ops.publishes where asset = %s and removed_at is null", [str(relation)]
    ).fetchone()
    return row[0] if row else None


def older_than(
    connection: Connection[Any], kept: Mapping[Relation, int], today: date, *, but_latest: Iterable[Relation] = ()
) -> list[Publish]:
    """The publishes of load_dates that lie more than the given days back, by load_date and table.

    Where rows were published again after retention had dropped them, the days are counted from that publish: somebody
    wanted them. The latest load_date of the tables `but_latest` is left out.
    """
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        return cursor.execute(
            f"select {COLUMNS} from ops.published as p "  # noqa: S608
            "inner join unnest(%(assets)s::text[], %(firsts)s::date[]) as w (asset, first_kept) using (asset) "
            "where load_date < w.first_kept and not exists ("
            "select 1 from ops.publishes as d where d.asset = p.asset and d.load_date = p.load_date "
            "and d.dropped_at is not null and p.published_at >= w.first_kept) and (asset <> all(%(but_latest)s) "
            "or load_date < (select max(n.load_date) from ops.published as n where n.asset = p.asset)) "
            "order by load_date, asset",
            {
                "but_latest": [str(relation) for relation in but_latest],
                "assets": [str(relation) for relation in kept],
                "firsts": [today - timedelta(days=days) for days in kept.values()],
            },
        ).fetchall()


def by_columns(
    connection: Connection[Any], relation: Relation, besides: date | None = None, *, up_to: date = date.max
) -> list[tuple[dict[str, str] | None, date, date, int]]:
    """The column sets with which a table is published, `besides` a load_date: (columns, first, last load_date, count).

    The columns are name -> type; None if an earlier version of kpi_assets published them. No load_date after `up_to`
    counts.
    """
    rows = connection.execute(
        "select columns, min(load_date), max(load_date), count(*) from ops.published "
        "where asset = %s and load_date is distinct from %s and load_date <= %s group by columns order by 2",
        [str(relation), besides, up_to],
    ).fetchall()
    return [(None if columns is None else dict(columns), *rest) for columns, *rest in rows]


def dropped(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> list[Relation]:
    """The given tables whose rows of a load_date were dropped by retention and not published again."""
    rows = connection.execute(
        "select distinct on (asset) asset, dropped_at from ops.publishes "
        "where asset = any(%s) and load_date = %s and removed_at is null "
        "order by asset, publish_id desc",
        [[str(relation) for relation in relations], load_date],
    ).fetchall()
    return [Relation.parse(asset) for asset, dropped_at in rows if dropped_at]


def of_id(connection: Connection[Any], publish_id: int) -> Publish | None:
    """The publish of that number, whether readers see it or not; None if there is none."""
    return of_ids(connection, [publish_id]).get(publish_id)


def of_ids(connection: Connection[Any], publish_ids: Iterable[int]) -> dict[int, Publish]:
    """The publishes of these numbers; those that are deleted are absent."""
    with connection.cursor(row_factory=class_row(Publish)) as cursor:
        found = cursor.execute(
            f"select {COLUMNS} from ops.publishes where publish_id = any(%s)",  # noqa: S608
            [list(publish_ids)],
        ).fetchall()
    return {publish.publish_id: publish for publish in found}


def record_drop(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> None:
    """Record that retention dropped rows; call it in the transaction that drops them."""
    connection.execute(
        "update ops.publishes set superseded_at = statement_timestamp(), dropped_at = statement_timestamp() "
        "where asset = any(%s) and load_date = %s and superseded_at is null",
        [[str(relation) for relation in relations], load_date],
    )


def record_removal(connection: Connection[Any], relation: Relation) -> None:
    """Record that a table was dropped with all its load_dates; call it in the transaction that drops it."""
    connection.execute(
        "update ops.publishes set superseded_at = coalesce(superseded_at, statement_timestamp()), "
        "removed_at = statement_timestamp() where asset = %s and removed_at is null",
        [str(relation)],
    )


def record_load_date_removal(connection: Connection[Any], relations: Iterable[Relation], load_date: date) -> None:
    """Record that one load_date was taken out of tables, as if it had never been published there.

    Call it in the transaction that removes the rows.
    """
    connection.execute(
        "update ops.publishes set superseded_at = coalesce(superseded_at, statement_timestamp()), "
        "removed_at = statement_timestamp() where asset = any(%s) and load_date = %s and removed_at is null",
        [[str(relation) for relation in relations], load_date],
    )


def of_inputs(
    connection: Connection[Any], said: Literal["lacks", "rulings"], inputs: Mapping[str, int], load_date: date
) -> list[Any]:
    """What is said of the publishes that a build reads, each once; of a history, of all its load_dates up to this one.

    `lacks`: what was due in their windows and not there. `rulings`: those by which they are published.
    """
    names = {InputName.parse(name): publish_id for name, publish_id in inputs.items()}
    rows = connection.execute(
        f"select distinct unnest({said}) from ops.publishes where publish_id = any(%s) union "  # noqa: S608
        f"select distinct unnest({said}) from ops.publishes where {said} <> '{{}}' and superseded_at is null "
        "and asset = any(%s) and load_date <= %s order by 1",
        [
            [publish_id for name, publish_id in names.items() if not name.is_up_to],
            [str(name.relation) for name in names if name.is_up_to],
            load_date,
        ],
    ).fetchall()
    return [each for (each,) in rows]


def record(
    connection: Connection[Any],
    relation: Relation,
    load_date: date,
    *,
    build_id: int,
    run_id: str,
    manifest_hash: str,
    code_version: str,
    rows: int,
    checksum: str,
    size_bytes: int,
    inputs: Mapping[str, int],
    columns: Mapping[str, str],
    rulings: Collection[int] = (),
    lacks: Collection[str] = (),
    place: Snapshot | None = None,
    checksum_kind: str | None = None,
) -> int:
    """Record that a build is published, inside the transaction that shows it to readers; returns its publish_id.

    `inputs` are the publishes it was made from (InputName as text -> publish_id); `columns` are name -> type of its
    rows, in order; `rulings` are those by which it, or what it was made from, was published although checks failed;
    `lacks` are the inputs that were due in its window, or in that of what it was made from, and not there;
    `place` is the snapshot of the lake that has its rows, and `checksum_kind` whose hashes the checksum sums, if they
    are not those of Postgres.
    """
    connection.execute(
        "update ops.publishes set superseded_at = clock_timestamp() "
        "where asset = %s and load_date = %s and superseded_at is null",
        [str(relation), load_date],
    )
    row = connection.execute(
        "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, "
        "size_bytes, inputs, columns, rulings, lacks, place, checksum_kind) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "returning publish_id",
        [
            str(relation),
            load_date,
            build_id,
            run_id,
            manifest_hash,
            code_version,
            rows,
            checksum,
            size_bytes,
            Json(dict(inputs)),
            Json(list(columns.items())),
            sorted({*rulings}),
            sorted({*lacks}),
            None if place is None else str(place),
            checksum_kind,
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])
