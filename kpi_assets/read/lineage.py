"""Where the numbers of one publish come from: every table and object on the way, as they were for this very publish.

Belongs here: walking the inputs of publishes in the ledger, and the checks and records on the way. Not here: single
rows (trace.py), and whether a build would read other publishes now (plan/).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from kpi_assets.errors import UserError
from kpi_assets.lake_places import object_url
from kpi_assets.materialize import object_checks
from kpi_assets.model.names import AS_PUBLISHED, OBJECTS, InputName, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.pipeline_config import Layer


@dataclass(frozen=True)
class SourceFile:
    """One object on S3, as it was when a publish was made from it. `rows` and `sha256` are known once it was read."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    sha256: str | None
    rows: int | None
    last_modified: datetime
    version_id: str | None = None

    @property
    def url(self) -> str:
        """The address of the object."""
        return object_url(self.bucket, self.key)


@dataclass(frozen=True)
class Node:
    """A publish on the way. `reads` are the publish_ids of the nodes that it was made from.

    A history (`is_history`) was read with all its earlier load_dates; only the one of the load_date itself is followed
    further. The load_date before of a table that carries on from its own rows (`is_before`) is not followed either.
    `files` are the objects of a raw table, and `set_aside` is the number of records or rows that were not loaded.
    """

    publish_id: int
    asset: str
    load_date: date
    layer: Layer | None  # None of a table that the pipeline has no more, and of decisions
    build_id: int
    run_id: str
    rows: int
    code_version: str
    published_at: datetime
    superseded_at: datetime | None
    reads: Sequence[int]
    files: Sequence[SourceFile] = ()
    records: int | None = None  # in the objects of a raw table; None if it is not recorded
    set_aside: int = 0
    is_history: bool = False
    is_before: bool = False
    is_followed: bool = True  # whether the nodes that it reads are there


@dataclass(frozen=True)
class CheckOnTheWay:
    """The result of one check of a build on the way, or of an object."""

    asset: str
    load_date: date
    name: str
    status: Literal["pass", "warn", "fail", "error"]
    metric: Decimal | None
    threshold: Decimal | None
    description: str  # what the check demands, as the file says now; empty if it has no such check any more
    checked_at: datetime


@dataclass(frozen=True)
class Lineage:
    """All that one publish was made from: `nodes` with the publish itself last, each after those that it reads."""

    nodes: Sequence[Node]
    checks: Sequence[CheckOnTheWay]

    @property
    def publish(self) -> Node:
        """The publish itself."""
        return self.nodes[-1]

    @property
    def files(self) -> list[SourceFile]:
        """Every object, once."""
        return list(dict.fromkeys(file for node in self.nodes for file in node.files))

    @property
    def raw(self) -> list[Node]:
        """The publishes that were loaded from objects."""
        return [node for node in self.nodes if node.files]

    @property
    def records(self) -> int | None:
        """The records in all objects; None if the number of one of them is not recorded."""
        found = [node.records for node in self.raw]
        return None if None in found else sum(number or 0 for number in found)

    @property
    def set_aside(self) -> int:
        """The records of objects that were not loaded, because they were set aside."""
        return sum(node.set_aside for node in self.raw)

    @property
    def is_accounted(self) -> bool:
        """Whether every record of the objects was loaded or set aside."""
        return all(node.records == node.rows + node.set_aside for node in self.raw)

    @property
    def passed(self) -> int:
        """The number of checks that passed."""
        return sum(check.status == "pass" for check in self.checks)


def read_lineage(connection: Connection[Any], pipeline: Pipeline, publish_id: int) -> Lineage:
    """Return all that a publish was made from, also of one that is superseded.

    Call it inside one snapshot. Raises UserError if there is no such publish.
    """
    publishes = _walk(connection, publish_id)
    if publish_id not in publishes:
        raise UserError(f"The ledger of {pipeline.name} has no publish {publish_id}.")
    walked = sorted(publishes.values(), key=lambda each: each.publish.publish_id)  # a build reads earlier publishes
    files = _read_files(connection, walked)
    builds = _read_builds(connection, walked)
    histories = {
        str(name.relation)
        for each in walked
        for name in map(InputName.parse, each.publish.inputs)
        if name.is_up_to and each.end is None
    }
    nodes = [_node(pipeline, each, publishes, files, builds, histories) for each in walked]
    return Lineage(nodes, _read_checks(connection, pipeline, nodes))


class _Publish(NamedTuple):
    """A row of ops.publishes."""

    publish_id: int
    asset: str
    load_date: date
    build_id: int
    run_id: str
    manifest_hash: str
    code_version: str
    rows: int
    published_at: datetime
    superseded_at: datetime | None
    inputs: Mapping[str, int]


End = Literal["history", "before"] | None  # why a publish is not followed further


class _Walked(NamedTuple):
    publish: _Publish
    end: End


def _walk(connection: Connection[Any], publish_id: int) -> dict[int, _Walked]:
    """Return a publish and all that it was made from, by publish_id. The inputs are read level by level."""
    found: dict[int, _Walked] = {}
    level: dict[int, End] = {publish_id: None}
    while level:
        rows = connection.execute(
            "select publish_id, asset, load_date, build_id, run_id, manifest_hash, code_version, rows, published_at, "
            "superseded_at, inputs from ops.publishes where publish_id = any(%s)",
            [[*level]],
        ).fetchall()
        below: dict[int, End] = {}
        for publish in map(_Publish._make, rows):
            end = level[publish.publish_id]
            found[publish.publish_id] = _Walked(publish, end)
            for name, read in {} if end else publish.inputs.items():
                of_input = _end_of(publish, InputName.parse(name))
                known = found.get(read)
                if known is None or (known.end and not of_input):
                    below[read] = of_input and below.get(read, of_input)
        level = below
    return found


def _end_of(publish: _Publish, read: InputName) -> End:
    if read.is_up_to:
        return "history"
    return "before" if str(read.relation) == publish.asset else None


def _node(
    pipeline: Pipeline,
    walked: _Walked,
    publishes: Mapping[int, _Walked],
    files: Mapping[int, Sequence[SourceFile]],
    builds: Mapping[int, tuple[int | None, int | None]],
    histories: Collection[str],
) -> Node:
    publish, end = walked
    relation = Relation.parse(publish.asset)
    extracted, quarantined = builds.get(publish.build_id, (None, None))
    of_raw = () if end else files.get(publish.publish_id, ())
    known = [file.rows for file in of_raw]
    return Node(
        publish.publish_id,
        publish.asset,
        publish.load_date,
        pipeline.layer(relation) if relation.schema in pipeline.config.layers else None,
        publish.build_id,
        publish.run_id,
        publish.rows,
        publish.code_version,
        publish.published_at,
        publish.superseded_at,
        [] if end else sorted({*publish.inputs.values()} & {*publishes}),
        of_raw,
        (extracted if None in known else sum(number or 0 for number in known)) if of_raw else None,
        quarantined or 0,
        is_history=publish.asset in histories,
        is_before=end == "before",
        is_followed=end is None,
    )


def _read_files(connection: Connection[Any], walked: Sequence[_Walked]) -> dict[int, list[SourceFile]]:
    """Return the objects of each publish of a raw table, in the order of their keys."""
    wanted = [each.publish for each in walked if each.end is None]
    rows = connection.execute(
        """
        select
            w.publish_id, m.bucket, coalesce(o.key, m.key), coalesce(o.size_bytes, m.size_bytes),
            btrim(coalesce(o.etag, m.etag), '"'), case when o.key is null then m.sha256 else o.sha256 end,
            case when o.key is null then m.rows else o.rows end, coalesce(o.last_modified, m.last_modified),
            case when o.key is null then m.version_id else o.version_id end
        from unnest(%s::bigint[], %s::text[], %s::date[], %s::text[]) as w (publish_id, object, load_date, hash)
        inner join ops.manifests as m
        on m.object = w.object and m.load_date = w.load_date and m.manifest_hash = w.hash
        left join ops.manifest_parts as o using (manifest_id)
        order by w.publish_id, coalesce(o.key, m.key) collate "C"
        """,
        [
            [each.publish_id for each in wanted],
            [Relation.parse(each.asset).table for each in wanted],
            [each.load_date for each in wanted],
            [each.manifest_hash for each in wanted],
        ],
    ).fetchall()
    found: dict[int, list[SourceFile]] = {}
    for publish_id, *file in rows:
        found.setdefault(publish_id, []).append(SourceFile(*file))
    return found


def _read_builds(connection: Connection[Any], walked: Sequence[_Walked]) -> dict[int, tuple[int | None, int | None]]:
    """Return how many records each build read, and how many records or rows it set aside."""
    rows = connection.execute(
        "select id, rows_extracted, rows_quarantined from ops.pipeline_runs where id = any(%s)",
        [[each.publish.build_id for each in walked if each.end is None]],
    ).fetchall()
    return {build_id: (extracted, quarantined) for build_id, extracted, quarantined in rows}


# The object of a raw table was verified before the build that read it.
_CHECKS = """
with built as (
    select * from unnest(%(assets)s::text[], %(load_dates)s::date[], %(builds)s::bigint[])
    as w (asset, load_date, build_id)
), verified as (
    select
        o.object as asset, o.load_date,
        (
            select max(r.id) from ops.pipeline_runs as r
            where r.job = o.object and r.load_date = o.load_date and r.id < o.build_id and r.status = 'success'
        ) as build_id
    from unnest(%(objects)s::text[], %(object_dates)s::date[], %(object_builds)s::bigint[])
    as o (object, load_date, build_id)
)
select distinct on (q.build_id, q.check_name)
    q.table_name, q.load_date, q.check_name, q.status, q.metric_value, q.threshold, q.checked_at, q.id
from (select * from built union all select * from verified) as b
inner join ops.data_quality_results as q
on q.table_name = b.asset and q.load_date = b.load_date and q.build_id = b.build_id
order by q.build_id, q.check_name, q.id desc
"""


def _read_checks(connection: Connection[Any], pipeline: Pipeline, nodes: Sequence[Node]) -> list[CheckOnTheWay]:
    """Return the last result of each check of the builds and of their objects, in the order of the nodes."""
    built = [node for node in nodes if node.is_followed]
    loaded = [node for node in built if node.files]
    rows = connection.execute(
        _CHECKS,
        {
            "assets": [node.asset for node in built],
            "load_dates": [node.load_date for node in built],
            "builds": [node.build_id for node in built],
            "objects": [object_of(node.asset) for node in loaded],
            "object_dates": [node.load_date for node in loaded],
            "object_builds": [node.build_id for node in loaded],
        },
    ).fetchall()
    place = {(node.asset, node.load_date): 2 * number + 1 for number, node in enumerate(nodes)}
    place |= {(object_of(node.asset), node.load_date): 2 * n for n, node in enumerate(nodes) if node.files}
    demands = {asset: _demands(pipeline, asset) for asset in {row[0] for row in rows}}
    return [
        CheckOnTheWay(asset, load_date, name, status, metric, threshold, demands[asset].get(name, ""), checked_at)
        for asset, load_date, name, status, metric, threshold, checked_at, _ in sorted(
            rows, key=lambda row: (place[row[0], row[1]], row[-1])
        )
    ]


def object_of(asset: str) -> str:
    """Return the object of a raw table, as the ledger names it."""
    return str(Relation(OBJECTS, Relation.parse(asset).table))


def _demands(pipeline: Pipeline, asset: str) -> dict[str, str]:
    """Return what the checks of a table or object demand, by name."""
    relation = Relation.parse(asset)
    if relation.is_object:
        table = next((each for each in pipeline.object_tables if each.object_name == asset), None)
        return {check.name: check.description for check in object_checks.checks(table)} if table else {}
    found = pipeline.tables.get(relation)
    as_published = {AS_PUBLISHED: "The rows are still those that were published."}
    return as_published | {check.name: check.description for check in found.checks} if found else as_published
