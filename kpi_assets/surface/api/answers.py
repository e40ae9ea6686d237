"""What the API answers: typed, the same for every KPI, and with the trust that each number deserves.

Belongs here: the form of answers, made from what read/ found. Not here: reading it (read/), addresses (kpis.py,
rows.py, checks.py), and how it becomes JSON (exact.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from kpi_assets.ledger.causes import Cause
from kpi_assets.model.number_format import write
from kpi_assets.read import said
from kpi_assets.read.breakdown import dimensions_of
from kpi_assets.read.kpis import KpiGate, KpiState, Point, Stop
from kpi_assets.read.lineage import CheckOnTheWay, Lineage, Node, SourceFile
from kpi_assets.read.tiles import Tile, tile_of
from kpi_assets.surface.api.exact import Exact

API = "/api/v1"


class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class Gate(Answer):
    """What is known of the newest load_date: whether it passed, or what stopped it."""

    state: KpiGate = Field(
        description="`published` and `warned` are current; with any other state, see `reason`. `waived` is current, "
        "too, and published on a person's word although checks failed."
    )
    since: datetime | None = Field(default=None, description="Since when a load_date is stopped.")
    load_date: date | None = Field(default=None, description="The load_date that is stopped: others may be shown.")
    table: str | None = Field(default=None, description="The table, or the object `s3.x`, at which it stopped.")
    reason: str | None = Field(default=None, description="Why, in a few words. It never quotes a row that failed.")


class WaivedAnswer(Answer):
    """A person's word by which a table was published although checks of it failed."""

    table: str = Field(description="The table whose checks failed: the KPI itself, or one that it was made from.")
    load_date: date
    checks: list[str] = Field(description="The checks that failed.")
    by: str = Field(description="Who decided so.")
    reason: str = Field(description="Why, in the words of the person.")
    until: datetime = Field(description="Until when the table could be published first; what was published stays.")
    revoked_by: str | None = Field(description="Who revoked that: the rows stay until the table is built again.")
    revoke_reason: str | None


class Trust(Answer):
    """Whether a number can be trusted: of which load_date and publish it is, and what is known of them."""

    load_date: date | None = Field(description="The load_date of the numbers; null if nothing is published.")
    publish_id: int | None = Field(description="The publish that they are from.")
    published_at: datetime | None
    as_of: datetime | None = Field(default=None, description="The instant that was asked for; null for now.")
    gate: Gate
    late: bool = Field(description="Whether the newest published load_date is older than the KPI's freshness allows.")
    due_by: datetime | None = Field(description="When the next load_date must be published; null without a freshness.")
    through: datetime | None = Field(
        default=None,
        description="All events that the brokers took before this instant are in the numbers, and after `due_by` they "
        "are late; null of a KPI whose freshness does not count in minutes.",
    )
    checks: int = Field(description="The checks that were made of the KPI's table before it was published.")
    warnings: int = Field(description="The checks among them that warned.")
    waived: list[WaivedAnswer] = Field(
        description="By whose word the numbers, or what they were made from, are published although checks failed. "
        "Empty if all checks passed."
    )
    restated: int = Field(description="How often numbers of this load_date were replaced by others.")
    final: bool | None = Field(
        description="Whether the numbers are final; false while they are provisional. Null if the header of the KPI "
        "does not say when they are, and of a KPI whose rows are of several days, some of which are final."
    )
    final_at: datetime | None = Field(
        description="When they are final, unless an earlier load_date that they look back on was not there. Null of a "
        "KPI whose rows are of several days."
    )
    final_through: date | None = Field(
        description="The last day whose rows are final, of a KPI whose rows are of several days. Null if a load_date "
        "that they look back on was not there."
    )
    rows: int | None = Field(description="The rows of the publish, with those of low volume.")
    code_version: str | None = Field(description="Changes when the SQL of the KPI might give other rows.")
    owner: str


class TargetAnswer(Answer):
    """What a measure should be, and whether it is."""

    at_least: Exact | None
    at_most: Exact | None
    met: bool | None = Field(description="Null if the measure has no value.")


class Compared(Answer):
    """An earlier load_date, as many days before as the header says."""

    load_date: date
    value: Exact
    text: str = Field(description="The difference as people read it, such as `+3.0 %`.")
    direction: Literal["up", "down", "flat"]
    good: bool | None = Field(description="Null if nothing changed, or if the header does not say what is better.")


class MeasureWords(Answer):
    """What the header says of a measure."""

    name: str
    title: str
    description: str | None
    unit: str
    format: str = Field(description="`integer`, `decimal2`, `percent1` (of a share of 1), `EUR2`.")
    better: Literal["up", "down"] | None


class MeasureAnswer(MeasureWords):
    """A measure with its value."""

    value: Exact | None
    text: str = Field(description="The value as people read it.")
    target: TargetAnswer | None
    compared: Compared | None


class Column(Answer):
    """A column: its type is one of PostgreSQL."""

    name: str
    type: str
    description: str


class KpiAnswer(Answer):
    """A KPI with the values of its measures."""

    id: str
    pipeline: str
    table: str = Field(description="The table in PostgreSQL.")
    title: str
    description: str
    dimensions: list[Column] = Field(description="The columns by which its rows may be filtered.")
    measures: list[MeasureAnswer] = Field(description="In the order of the header; the first is the headline.")
    trust: Trust
    links: dict[str, str]


class KpisAnswer(Answer):
    """Every KPI."""

    kpis: list[KpiAnswer]
    mixed: bool = Field(
        description="Whether numbers of it rest on different publishes of one raw table: a load_date is being "
        "restated, or a KPI of it is held."
    )
    links: dict[str, str]


class SeriesPoint(Answer):
    """The value of one load_date."""

    load_date: date
    value: Exact | None = Field(description="Null if it was not computed for this publish, or has no value.")
    text: str
    publish_id: int
    published_at: datetime
    warnings: int
    measure_version: str | None = Field(
        description="The version of the expression that gave the value; null without one. Only values of one version "
        "can be compared."
    )
    restated_from: list[Exact | None] = Field(description="What readers were shown before, the oldest first.")


class NotPublished(Answer):
    """A load_date whose latest build did not reach readers."""

    load_date: date
    state: Literal["held", "failed", "running", "waiting"]
    table: str = Field(description="The table, or the object `s3.x`, at which it stopped.")
    since: datetime
    reason: str
    shown_instead: int | None = Field(description="The publish of this load_date that is still shown; null for none.")


class SeriesAnswer(Answer):
    """A measure over load_dates."""

    id: str
    measure: MeasureWords
    points: list[SeriesPoint] = Field(description="The load_dates that are shown, the oldest first.")
    not_published: list[NotPublished]
    trust: Trust
    links: dict[str, str]


class Restated(Answer):
    """A measure that was shown with another value before."""

    load_date: date
    measure: str
    was: Exact | None
    now: Exact | None
    was_text: str
    now_text: str
    was_publish_id: int
    publish_id: int
    at: datetime = Field(description="When the one took the place of the other.")
    why: str
    cause: Cause = Field(
        description="What counts most of `why`; `rebuilt` if nothing that the number was made from differs."
    )
    caused_by: list[int] = Field(
        description="The publishes at the root: those whose object, SQL or decisions differ, or that came or went."
    )


class RestatementsAnswer(Answer):
    """Every value that was replaced by another one, the newest load_date first."""

    id: str
    restatements: list[Restated]
    trust: Trust
    links: dict[str, str]


class CheckAnswer(Answer):
    """One check of a table or an object that the number comes from."""

    table: str
    load_date: date
    name: str
    status: Literal["pass", "warn", "fail", "error"]
    measured: Exact | None
    threshold: Exact | None
    description: str
    checked_at: datetime


class ChecksAnswer(Answer):
    """Every check on the way from the objects to the number."""

    id: str
    passed: int
    not_passed: int
    checks: list[CheckAnswer]
    trust: Trust
    links: dict[str, str]


class FileAnswer(Answer):
    """An object on S3, as it was read."""

    url: str
    size_bytes: int
    etag: str
    version_id: str | None
    sha256: str | None
    records: int | None
    last_modified: datetime


class NodeAnswer(Answer):
    """A publish on the way."""

    publish_id: int
    table: str
    load_date: date
    layer: str | None
    rows: int
    records: int | None = Field(description="Records in the objects of a raw table.")
    set_aside: int = Field(description="Rows or records that were not loaded, because they broke a rule.")
    code_version: str
    published_at: datetime
    superseded_at: datetime | None
    reads: list[int] = Field(description="The publishes that it was made from.")
    files: list[FileAnswer]
    is_history: bool = Field(description="Whether it is a history, read up to this publish.")


class LineageAnswer(Answer):
    """All that one publish was made from; each node after those that it reads, the publish itself last."""

    id: str
    records: int | None = Field(description="Records in all objects; null if one of them was not counted.")
    set_aside: int
    every_record_accounted: bool = Field(description="Whether each record was loaded or set aside.")
    nodes: list[NodeAnswer]
    trust: Trust
    links: dict[str, str]


class RowsAnswer(Answer):
    """Rows of one publish of a KPI, as readers see them."""

    id: str
    columns: list[Column]
    rows: list[dict[str, object]] = Field(
        description="Column -> value. Numbers have all their digits; NaN and infinities, dates and times are texts."
    )
    total: int = Field(description="The rows that readers see and the filters let through: this page may have fewer.")
    left_out: int = Field(description="Rows that readers are not shown, for their low volume.")
    trust: Trust
    links: dict[str, str] = Field(description="`next` is the next page; there is none after the last.")


class PipelineVersion(Answer):
    """The state of a pipeline."""

    publish_id: int = Field(description="The newest publish.")
    version: str = Field(description="Differs if anything that is shown of the pipeline does.")


class VersionAnswer(Answer):
    """The state of everything that is shown."""

    version: str = Field(description="Of the program.")
    pipelines: dict[str, PipelineVersion]


class BuiltAnswer(Answer):
    """How old the numbers of a KPI are whose freshness counts in minutes."""

    through: datetime = Field(description="All events that the brokers took before this instant are in the numbers.")
    due_by: datetime = Field(description="When they are late, unless they are built through a later instant.")


class PipelineNews(Answer):
    """What is new of a pipeline."""

    publish_id: int = Field(description="The newest publish.")
    version: str = Field(description="Differs if anything that is shown of the pipeline does.")
    built: dict[str, BuiltAnswer] = Field(description="By the `id` of the KPI.")


class NewsAnswer(Answer):
    """An event of the stream: the state of each pipeline that shows something else than before."""

    pipelines: dict[str, PipelineNews]


class ProblemAnswer(Answer):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str | None = None


def link(path: str, **query: object) -> str:
    """Return an address with the parameters that are not None."""
    given = {name: value for name, value in query.items() if value is not None}
    return path + (f"?{urlencode(given)}" if given else "")


def links_of(kpi: KpiState, itself: str | None = None, *, load_date: date | None = None) -> dict[str, str]:
    """Return where to go on from a KPI; of one load_date if it is given. `itself` is the address that was asked."""
    base = f"{API}/kpis/{kpi.id}"
    as_of = kpi.as_of.isoformat() if kpi.as_of else None
    return {
        "self": itself or link(base, load_date=load_date, as_of=as_of),
        "page": link(f"/kpi/{kpi.id}", load_date=load_date, as_of=as_of),
        "series": link(f"{base}/series", as_of=as_of),
        "rows": link(f"{base}/rows", load_date=load_date, as_of=as_of),
        "csv": link(f"{base}/rows", load_date=load_date, as_of=as_of, format="csv"),
        "restatements": link(f"{base}/restatements", as_of=as_of),
        "checks": link(f"{base}/checks", load_date=load_date, as_of=as_of),
        "lineage": link(f"{base}/lineage", load_date=load_date, as_of=as_of),
        "picture": f"/embed/{kpi.id}.svg",
    }


def reason_of(kpi: KpiState, stop: Stop) -> str:
    """Return why a load_date did not reach readers, for readers."""
    return "; ".join(said.reasons(kpi.pipeline, stop))


def trust_of(kpi: KpiState, point: Point | None = None) -> Trust:
    """Return the trust of a KPI's latest load_date, or of another one that is shown."""
    shown, stop = point or kpi.latest, kpi.stop
    gate = Gate(state=kpi.gate)
    if kpi.latest and kpi.gate == "waived":
        gate = Gate(state=kpi.gate, reason="; ".join(said.waived(kpi.pipeline, each) for each in kpi.latest.waived))
    if stop:
        gate = Gate(
            state=kpi.gate, since=stop.since, load_date=stop.load_date, table=stop.asset, reason=reason_of(kpi, stop)
        )
    return Trust(
        load_date=shown.load_date if shown else None,
        publish_id=shown.publish_id if shown else None,
        published_at=shown.published_at if shown else None,
        as_of=kpi.as_of,
        gate=gate,
        late=kpi.late,
        due_by=kpi.due_by,
        through=kpi.through,
        checks=shown.checks if shown else 0,
        warnings=shown.warnings if shown else 0,
        waived=waived_of(shown) if shown else [],
        restated=_times_restated(kpi, shown) if shown else 0,
        final=kpi.is_final(shown) if shown else None,
        final_at=kpi.final_at(shown.load_date) if shown else None,
        final_through=kpi.final_through(shown) if shown else None,
        rows=shown.rows if shown else None,
        code_version=shown.code_version if shown else None,
        owner=kpi.table.header.owner,
    )


def waived_of(point: Point) -> list[WaivedAnswer]:
    """Return by whose word a load_date, or what it was made from, is published although checks failed."""
    return [
        WaivedAnswer(
            table=each.asset,
            load_date=each.load_date,
            checks=[check.name for check in each.checks],
            by=each.by,
            reason=each.reason,
            until=each.until,
            revoked_by=each.revoked_by,
            revoke_reason=each.revoke_reason,
        )
        for each in point.waived
    ]


def finality_of(kpi: KpiState, point: Point) -> dict[str, str]:
    """Return what `trust` says of when numbers are final, as texts for headers and files; nothing that is null."""
    is_final, at, through = kpi.is_final(point), kpi.final_at(point.load_date), kpi.final_through(point)
    return {
        **({"final": str(is_final).lower()} if is_final is not None else {}),
        **({"final_at": at.isoformat()} if at else {}),
        **({"final_through": through.isoformat()} if through else {}),
    }


def _times_restated(kpi: KpiState, point: Point) -> int:
    """Return how often a reader saw the numbers of a load_date change; the rows, of a KPI without measures."""
    if not kpi.measures:
        return len(point.restated)
    found = [each for name in kpi.measures for each in tile_of(kpi, name).restated if each.load_date == point.load_date]
    return len({each.publish_id for each in found})


def kpi_answer(kpi: KpiState, load_date: date | None = None, *, itself: str | None = None) -> KpiAnswer:
    """Return a KPI with the values of a load_date that is shown, by default the latest."""
    point = kpi.point(load_date) if load_date else kpi.latest
    assert kpi.table.header.kpi
    return KpiAnswer(
        id=kpi.id,
        pipeline=kpi.pipeline.name,
        table=str(kpi.table.relation),
        title=kpi.title,
        description=kpi.table.header.description,
        dimensions=columns_of(kpi, dimensions_of(kpi.table)),
        measures=[_measure(tile_of(kpi, name, load_date)) for name in kpi.measures],
        trust=trust_of(kpi, point),
        links=links_of(kpi, itself, load_date=load_date),
    )


def columns_of(kpi: KpiState, names: Sequence[str], types: Mapping[str, str] | None = None) -> list[Column]:
    """Return columns of a KPI with their types and descriptions, which a publish of an earlier file may not have."""
    header, types = kpi.table.header, types or kpi.table.types
    texts = {name: column.description for name, column in header.columns.items()}
    return [Column(name=name, type=types[name], description=texts.get(name, "")) for name in names if name in types]


def _words(kpi: KpiState, name: str) -> dict[str, object]:
    measure = kpi.measures[name]
    return {
        "name": name,
        "title": measure.title,
        "description": measure.description,
        "unit": measure.unit,
        "format": measure.format,
        "better": measure.better,
    }


def _measure(tile: Tile) -> MeasureAnswer:
    target, delta = tile.measure.target, tile.delta
    return MeasureAnswer.model_validate(
        {
            **_words(tile.kpi, tile.name),
            "value": tile.value,
            "text": tile.text,
            "target": target
            and TargetAnswer(
                at_least=target.at_least, at_most=target.at_most, met=tile.target.met if tile.target else None
            ),
            "compared": delta
            and Compared(
                load_date=delta.load_date,
                value=delta.value,
                text=delta.text,
                direction=delta.direction,
                good=delta.good,
            ),
        }
    )


def series_answer(
    kpi: KpiState, name: str, first: date | None = None, last: date | None = None, *, itself: str | None = None
) -> SeriesAnswer:
    """Return a measure over the load_dates from `first` to `last`."""
    measure, before = kpi.measures[name], _values_before(kpi, name)
    points = [
        SeriesPoint(
            load_date=point.load_date,
            value=point.values.get(name),
            text=write(point.values.get(name), measure.format),
            publish_id=point.publish_id,
            published_at=point.published_at,
            warnings=point.warnings,
            measure_version=point.versions.get(name),
            restated_from=before.get(point.load_date, []),
        )
        for point in kpi.points
        if _is_between(point.load_date, first, last)
    ]
    stops = [stop for stop in kpi.stops if _is_between(stop.load_date, first, last)]
    return SeriesAnswer(
        id=kpi.id,
        measure=MeasureWords.model_validate(_words(kpi, name)),
        points=points,
        not_published=[not_published(kpi, stop) for stop in stops],
        trust=trust_of(kpi),
        links=links_of(kpi, itself),
    )


def _is_between(day: date, first: date | None, last: date | None) -> bool:
    return (first is None or day >= first) and (last is None or day <= last)


def _values_before(kpi: KpiState, name: str) -> dict[date, list[Decimal | None]]:
    """Return what readers were shown before, by load_date, the oldest first."""
    found: dict[date, list[Decimal | None]] = {}
    for each in reversed(tile_of(kpi, name).restated):
        if each.is_like_shown:
            found.setdefault(each.load_date, []).append(each.was)
    return found


def not_published(kpi: KpiState, stop: Stop) -> NotPublished:
    """Return a load_date that did not reach readers, and why."""
    return NotPublished(
        load_date=stop.load_date,
        state=stop.state,
        table=stop.asset,
        since=stop.since,
        reason=reason_of(kpi, stop),
        shown_instead=stop.kept,
    )


def restatements_answer(
    kpi: KpiState, first: date | None = None, last: date | None = None, *, itself: str | None = None
) -> RestatementsAnswer:
    """Return every value of the load_dates from `first` to `last` that took the place of another one."""
    found = [
        Restated(
            load_date=each.load_date,
            measure=name,
            was=each.was,
            now=each.now,
            was_text=each.was_text,
            now_text=each.now_text,
            was_publish_id=each.was_publish_id,
            publish_id=each.publish_id,
            at=each.at,
            why=each.why,
            cause=each.cause,
            caused_by=list(each.caused_by),
        )
        for name in kpi.measures
        for each in tile_of(kpi, name).restated
        if _is_between(each.load_date, first, last)
    ]
    found.sort(key=lambda each: (each.load_date, each.publish_id), reverse=True)
    return RestatementsAnswer(id=kpi.id, restatements=found, trust=trust_of(kpi), links=links_of(kpi, itself))


def checks_answer(kpi: KpiState, point: Point, lineage: Lineage, itself: str | None = None) -> ChecksAnswer:
    """Return every check on the way to a publish."""
    return ChecksAnswer(
        id=kpi.id,
        passed=lineage.passed,
        not_passed=len(lineage.checks) - lineage.passed,
        checks=[_check(each) for each in lineage.checks],
        trust=trust_of(kpi, point),
        links=links_of(kpi, itself, load_date=point.load_date),
    )


def _check(check: CheckOnTheWay) -> CheckAnswer:
    return CheckAnswer(
        table=check.asset,
        load_date=check.load_date,
        name=check.name,
        status=check.status,
        measured=check.metric,
        threshold=check.threshold,
        description=check.description,
        checked_at=check.checked_at,
    )


def lineage_answer(kpi: KpiState, point: Point, lineage: Lineage, itself: str | None = None) -> LineageAnswer:
    """Return all that a publish was made from."""
    return LineageAnswer(
        id=kpi.id,
        records=lineage.records,
        set_aside=lineage.set_aside,
        every_record_accounted=lineage.is_accounted,
        nodes=[_node(node) for node in lineage.nodes],
        trust=trust_of(kpi, point),
        links=links_of(kpi, itself, load_date=point.load_date),
    )


def _node(node: Node) -> NodeAnswer:
    return NodeAnswer(
        publish_id=node.publish_id,
        table=node.asset,
        load_date=node.load_date,
        layer=node.layer,
        rows=node.rows,
        records=node.records,
        set_aside=node.set_aside,
        code_version=node.code_version,
        published_at=node.published_at,
        superseded_at=node.superseded_at,
        reads=list(node.reads),
        files=[_file(file) for file in node.files],
        is_history=node.is_history,
    )


def _file(file: SourceFile) -> FileAnswer:
    return FileAnswer(
        url=file.url,
        size_bytes=file.size_bytes,
        etag=file.etag,
        version_id=file.version_id,
        sha256=file.sha256,
        records=file.rows,
        last_modified=file.last_modified,
    )
