"""Where a number comes from, on its page: the files, tables and checks on the way, each asset once.

A window of 28 load_dates is made of hundreds of publishes: of each asset the newest is shown, and the others counted.
Not here: walking the ledger (read/lineage.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.titles import asset_title, day
from kpi_assets.read.lineage import CheckOnTheWay, Lineage, Node
from kpi_assets.surface.render import count, size, things

_MOST_FILES = 12  # of one stage
_STAGES = {"raw": "As delivered", "staging": "Cleaned", "marts": "Marts and this KPI"}


@dataclass(frozen=True)
class Box:
    """A file or a table: its name, its address on hover, and what is known of it."""

    name: str
    full: str
    lines: Sequence[str]
    mono: str
    is_this: bool = False


@dataclass(frozen=True)
class Stage:
    """One column of the flow."""

    title: str
    boxes: Sequence[Box]


@dataclass(frozen=True)
class Gates:
    """The checks of one asset: those of the newest load_date, and those of others that did not pass."""

    title: str
    asset: str
    checks: Sequence[CheckOnTheWay]
    others: int  # of earlier load_dates, which passed


def stages_of(lineage: Lineage) -> list[Stage]:
    """Return the columns of the flow; a stage without any table has none."""
    by_asset: dict[str, list[Node]] = {}
    for node in lineage.nodes:
        by_asset.setdefault(node.asset, []).append(node)
    groups = [sorted(nodes, key=lambda node: node.load_date) for nodes in by_asset.values()]
    stages = [Stage("Files on S3", list(_files(groups)))]
    for layer, title in _STAGES.items():
        boxes = [_box(nodes, lineage.publish) for nodes in groups if (nodes[-1].layer or "raw") == layer]
        stages.append(Stage(title, boxes))
    return [stage for stage in stages if stage.boxes]


def gates_of(pipeline: Pipeline, lineage: Lineage) -> list[Gates]:
    """Return the checks by asset, in the order of the way."""
    by_asset: dict[str, list[CheckOnTheWay]] = {}
    for check in lineage.checks:
        by_asset.setdefault(check.asset, []).append(check)
    found = []
    for asset, checks in by_asset.items():
        newest = max(check.load_date for check in checks)
        shown = [check for check in checks if check.load_date == newest or check.status != "pass"]
        found.append(Gates(asset_title(pipeline, asset), asset, shown, len(checks) - len(shown)))
    return found


def _files(groups: Sequence[Sequence[Node]]) -> Iterator[Box]:
    boxes = []
    for nodes in groups:
        for node in [each for each in nodes if each.files][-1:]:
            older = sum(len(each.files) for each in nodes) - len(node.files)
            for number, file in enumerate(node.files):
                rows = things(file.rows, "row") if file.rows is not None else "rows not counted"
                lines = [f"{rows} · {size(file.size_bytes)}"]
                if older and number == len(node.files) - 1:
                    lines.append(f"and {things(older, 'file')} of earlier days")
                digest = f"sha256 {file.sha256[:12]}" if file.sha256 else f"etag {file.etag[:12]}"
                boxes.append(Box(file.key.rsplit("/", 1)[-1], file.url, lines, digest))
    yield from boxes[:_MOST_FILES]
    if len(boxes) > _MOST_FILES:
        yield Box(f"{count(len(boxes) - _MOST_FILES)} more files", "", ["They are in the JSON."], "")


def _box(nodes: Sequence[Node], this: Node) -> Box:
    node = nodes[-1]
    rows = things(node.rows, "row")
    lines = [f"{rows}, {things(node.set_aside, 'record')} set aside" if node.set_aside else rows]
    if node.is_history:
        lines.append("as known on the day")
    elif node.load_date != this.load_date:
        lines.append(f"of {day(node.load_date)}")
    if len(nodes) > 1:
        older = things(len(nodes) - 1, "earlier publish", "earlier publishes")
        lines.append(f"and {older}, from {day(nodes[0].load_date)}")
    name = node.asset.partition(".")[2] or node.asset
    return Box(name, node.asset, lines, f"publish {node.publish_id} · {node.code_version[:7]}", node is this)
