"""The metadata that the UI shows for an asset: schema, lineage, SQL and file, and for each build its figures.

Belongs here: turning models and outcomes into Dagster metadata. Not here: yielding it (factory.py), drawing (chart.py).
"""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import dagster as dg

from kpi_assets.materialize.context import BuildOutcome, ObjectOutcome
from kpi_assets.materialize.fetch import ASKED_AT, PAGES, RECORDS, TOTAL
from kpi_assets.model.excerpt import RECORD, cut
from kpi_assets.model.lookback import Window
from kpi_assets.model.names import LOAD_DATE, OBJECTS, Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import CheckResult
from kpi_assets.model.ruling import Ruling
from kpi_assets.model.table import Table
from kpi_assets.printable import printable, strict_json
from kpi_assets.read.kpi_state import kpi_id

_EXACT = 2**53  # below it a float is every whole number
CELL = 80  # characters of a value in a preview


def column_schema(table: Table) -> dg.TableSchema:
    """Return the columns with their types and descriptions, as in the database."""
    partition = dg.TableColumn(LOAD_DATE, "date", "Day on which the source files landed; the partition.")
    has_partition = table.storage.has_load_date and not table.storage.keeps_versions
    return dg.TableSchema(
        columns=[
            *([partition] if has_partition else []),
            *(dg.TableColumn(name, each.type, each.description) for name, each in table.header.readable.items()),
        ]
    )


def column_lineage(pipeline: Pipeline, table: Table) -> dg.TableColumnLineage:
    """Map each column to the columns that it is computed from; for a raw table, to the column of its object."""
    if table.has_object or table.stream:
        origin = object_key(table)
        return dg.TableColumnLineage(
            {name: [dg.TableColumnDep(asset_key=origin, column_name=name)] for name in table.columns}
        )
    return dg.TableColumnLineage(
        {
            name: [
                dg.TableColumnDep(asset_key=table_key(pipeline.name, relation), column_name=c) for relation, c in deps
            ]
            for name, deps in pipeline.lineage(table).items()
        }
    )


def table_key(pipeline: str, relation: Relation) -> dg.AssetKey:
    """Return the asset key of a table."""
    return dg.AssetKey([pipeline, *relation])


def object_key(table: Table) -> dg.AssetKey:
    """Return the asset key of a raw table's object."""
    return dg.AssetKey([table.pipeline, OBJECTS, table.relation.table])


def definition_metadata(pipeline: Pipeline, table: Table) -> dict[str, Any]:
    """Return the metadata of a table that is known before its first build."""
    return {
        "dagster/column_schema": column_schema(table),
        "dagster/relation_identifier": f"{pipeline.name}.{table.relation}",
        **code_reference(table),
        **({"SQL": sql_text(table)} if table.query else {}),
    }


def pages_metadata(pipeline: Pipeline, table: Table, serve_url: str | None) -> dict[str, Any]:
    """Return the link to a KPI's page for readers and its tile, which the browser loads anew; nothing for others.

    `serve_url` is the address of `kpi serve`; None if nobody said it.
    """
    if table.header.kpi is None or not serve_url:
        return {}
    name = kpi_id(pipeline, table)
    page = dg.MetadataValue.url(f"{serve_url}/kpi/{name}")
    if not table.header.kpi.measures:
        return {"dashboard": page}
    return {"dashboard": page, "tile": dg.MetadataValue.md(f"![tile]({serve_url}/embed/{name}.svg)")}


def value_metadata(values: Mapping[str, Decimal | None]) -> dict[str, int | float]:
    """Return the measures of a KPI that the UI plots: whole numbers exactly, others as the nearest float.

    ops.kpi_values has every digit. A measure without a value, or with one that JSON does not have, is left out.
    """
    found: dict[str, int | float] = {}
    for name, value in values.items():
        number = None if value is None else _number(value)
        if isinstance(number, float):
            is_whole = number.is_integer() and abs(number) < _EXACT
            found[f"kpi/{name}"] = int(number) if is_whole and value == int(number) else number
    return found


def code_reference(table: Table) -> dict[str, Any]:
    """Return the link to the file below sql/."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        file = dg.LocalFileCodeReference(file_path=str(table.path.resolve()), line_number=1, label=table.path.name)
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[file])}


def sql_text(table: Table) -> dg.MarkdownMetadataValue:
    """Return the SELECT as it is written in the file."""
    assert table.query is not None
    text = table.query.sql.strip()
    fence = "`" * (2 + max(map(len, re.findall("`+", text)), default=1))  # longer than any in the text
    return dg.MetadataValue.md(f"{fence}sql\n{text}\n{fence}")


def object_metadata(outcome: ObjectOutcome) -> dict[str, Any]:
    """Return the manifest of an object as metadata, and how an API was asked for it."""
    manifest = outcome.manifest
    if manifest is None:
        return {"object": "none: it is optional"}
    return {
        "dagster/uri": manifest.url,
        "bytes": manifest.size_bytes,
        "etag": manifest.etag,
        "last_modified": dg.MetadataValue.timestamp(manifest.last_modified),
        "manifest_hash": manifest.hash,
        **({"version_id": manifest.version_id} if manifest.version_id else {}),
        **({"objects": len(manifest.parts)} if manifest.parts else {}),
        **asked_metadata(outcome.asked),
    }


def asked_metadata(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return how an API was asked for an object; nothing if a person landed it."""
    numbers = {f"api/{name}": int(asked[name]) for name in (RECORDS, TOTAL, PAGES) if asked.get(name, "").isdecimal()}
    return {**numbers, **({"api/asked_at": asked[ASKED_AT]} if ASKED_AT in asked else {})}


def build_metadata(pipeline: Pipeline, table: Table, outcome: BuildOutcome) -> dict[str, Any]:
    """Return the figures of a published build. The UI plots numbers over the load_dates."""
    seconds = sum(outcome.seconds.values())
    return {
        "verdict": verdict(outcome.results),
        **value_metadata(outcome.measures),
        "dagster/row_count": outcome.rows,
        "dagster/partition_row_count": outcome.rows,
        **version_metadata(outcome),
        "dagster/column_schema": column_schema(table),
        "dagster/column_lineage": column_lineage(pipeline, table),
        "dagster/relation_identifier": f"{pipeline.name}.{table.relation}",
        "bytes": outcome.size_bytes,
        "seconds": round(seconds, 3),
        **{f"seconds/{phase}": round(spent, 3) for phase, spent in outcome.seconds.items()},
        "rows_per_second": round(outcome.rows / seconds) if seconds else 0,
        "checksum": outcome.checksum,
        "publish_id": outcome.publish_id,
        "manifest_hash": outcome.manifest_hash,
        "preview": markdown_table(outcome.preview),
        **({"SQL": sql_text(table)} if table.query else {}),
        **{result.name: result.metric for result in outcome.results if result.is_report},
        **set_aside_metadata(outcome),
        **window_metadata(outcome.window),
        **lake_metadata(outcome),
        **({"read_as_published_before": "\n".join(outcome.warnings)} if outcome.warnings else {}),
    }


def version_metadata(outcome: BuildOutcome) -> dict[str, Any]:
    """Return what a build changed in the versions of a history."""
    if outcome.versions is None:
        return {}
    return {f"versions/{name}": getattr(outcome.versions, name) for name in ("new", "changed", "ended")}


def lake_metadata(outcome: BuildOutcome) -> dict[str, Any]:
    """Return the snapshot that a build has written to the lake, and the statements that the engine executed for it."""
    snapshot = {"snapshot": outcome.place} if outcome.place else {}
    return {**snapshot, **({"statements": outcome.statements} if outcome.statements else {})}


def set_aside_metadata(outcome: BuildOutcome) -> dict[str, Any]:
    """Return how many rows rules set aside, by rule and by what became of them, and the first of them or of records."""
    found = outcome.set_aside
    listed = {"quarantine": markdown_table(outcome.bad_rows)} if outcome.bad_rows else {}
    if found is None:
        return listed
    counts = {name: getattr(found, name) for name in ("waiting", "corrected", "accepted", "discarded")}
    return {
        **{f"set_aside/{name}": count for name, count in counts.items()},
        **{f"set_aside/by {rule}": count for rule, count in found.by_rule.items()},
        **listed,
    }


def verdict(results: Sequence[CheckResult]) -> str:
    """Return one line on the checks of a build: how many passed, and the message of each that did not."""
    failed = [f"{result.name} ({result.message})" for result in results if not result.passed]
    passed = f"{len(results) - len(failed)} of {len(results)} checks passed"
    return cut("; ".join([passed, *failed]), RECORD)


def window_metadata(window: Window | None) -> dict[str, Any]:
    """Return from how many load_dates of its window a table with `lookback` was built."""
    if window is None:
        return {}
    return {
        "window/load_dates": len(window.load_dates),
        "window/load_dates_there": len(window.there),
        "window/absent": window.absent or "none",
    }


def check_metadata(result: CheckResult, where: Mapping[str, str], waiver: Ruling | None = None) -> dict[str, Any]:
    """Return the figures of a check and a few bad rows; `where` maps a kind to the relation or object to look at.

    `waiver` is the ruling by which its failure let the build be published.
    """
    found: dict[str, Any] = {**where}
    if waiver:
        until = f"{waiver.until:%Y-%m-%d %H:%M} UTC" if waiver.until else ""
        found |= {"waived_by": waiver.by, "waived_because": waiver.reason, "waived_until": until, "ruling": waiver.key}
    if result.metric is not None:
        found["metric"] = _number(result.metric)
    if result.threshold is not None:
        found["threshold"] = _number(result.threshold)
    if result.dimension is not None:
        found |= {"dimension": result.dimension, "rows_examined": result.examined, "rows_bad": result.bad}
    # As text: the UI would show a table only after a click.
    if result.is_report:
        for row in result.samples:
            found |= {row["dimension"]: row["score"], f"{row['dimension']}/checks": strict_json(row["checks"])}
    else:
        found |= {f"bad_row_{number}": strict_json(row) for number, row in enumerate(result.samples, start=1)}
    return found


def _number(value: float | Decimal) -> float | str:
    """Return a number that the UI can plot; as text if JSON has no such number, for example NaN."""
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return number if math.isfinite(number) else str(value)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    """Return a few rows as a table."""
    if not rows:
        return dg.MetadataValue.md("no rows")
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([cell(row.get(name)) for name in names] for row in rows)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def cell(value: Any, letters: int = CELL) -> str:
    """Return a value for a cell of a Markdown table: without markup, and cut after `letters` characters."""
    if value is None:
        return "*NULL*"
    text = printable(value)
    text = text if len(text) <= letters else text[: letters - 1] + "…"
    return re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", text)
