"""The audit on the engine: counts, samples, errors and scans, on rows of which each is bad in a known way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from kpi_assets.lake.audit import audit
from kpi_assets.lake.session import Engine
from kpi_assets.lake.statements import Pin, Statements
from kpi_assets.lake.tables import LakeTable, Tables
from kpi_assets.model.checks.base import AuditFacts
from kpi_assets.model.names import Relation
from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.results import CheckResult
from kpi_assets.model.tree import load_pipelines
from kpi_assets.warehouse.audit import Audit
from kpi_assets_tests.lake.server import CATALOG, LakeServer
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS

pytestmark = pytest.mark.nightly
DAY = date(2025, 3, 1)
RAW = RAW_THINGS.replace("grain: [thing_id]\n", "grain: [thing_id]\nstorage: lake\n", 1)
STG = """\
/* @asset
description: Things that were weighed.
owner: team:tests
grain: [thing_id]
storage: lake
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
  parent: {type: integer, description: Thing that it is part of.}
  weight: {type: "numeric(6,2)", description: Kilograms.}
  amount: {type: bigint, description: Amount.}
checks:
  not_null: [name, parent]
  range: {weight: [0, 100]}
  accepted_values: {name: [anvil, nail]}
  unique: {parent: [parent]}
  foreign_key: {parent: raw.things.thing_id}
  reconcile: {source: raw.things, dropped: {unweighed: weight is null}}
  kilograms:
    reconcile: {source: raw.things, sum: weight}
  never_overflows:
    bad_rows: select * from {this} where amount * 2 < 0
  heavy_in_all:
    bad_rows: select sum(weight) as weight from {this} having sum(weight) > 50
@end */
select
    thing_id,
    name,
    thing_id as parent,
    weight,
    1::bigint as amount
from raw.things
where load_date = %(load_date)s and weight is not null
"""
GOOD = "(1, 'anvil', 1, 20.50, 1), (2, 'nail', 2, 0.25, 1)"
BAD = (
    "(1, 'anvil', 1, 20.50, 1), (1, 'nail', null, 100.01, 1), (3, null, 1, -1.00, 1), (4, 'saw', 9, null, "
    "9223372036854775807), (null, 'anvil', 2, 1.00, 1)"
)
SOURCE = "(1, 'anvil', 20.50), (2, 'nail', 0.25), (3, 'feather', null)"


@pytest.fixture(scope="module")
def shared(server: LakeServer) -> Iterator[Engine]:
    with server.connect() as connected:
        yield connected


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder: Path = tmp_path_factory.mktemp("audit") / "sql"
    for name, text in (("raw/things", RAW), ("stg/weighed", STG)):
        (folder / "audited" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "audited" / f"{name}.sql").write_text(text)
    words = PIPELINE_YAML.format(bucket="none") + f"lake: {{engine: spark, catalog: {CATALOG}}}\n"
    (folder / "audited" / "pipeline.yaml").write_text(words)
    return load_pipelines(folder)["audited"]


@pytest.fixture(scope="module")
def source(shared: Engine, pipeline: Pipeline) -> Iterator[Pin]:
    """The rows of raw.things in the lake."""
    tables, table = Tables(shared, "audited"), _lake(pipeline, "raw.things")
    tables.ensure(table)
    yield Pin(table.name, tables.fill(table, DAY, 1, f"select * from values {SOURCE} as v(thing_id, name, weight)"))
    tables.drop(table)


def _lake(pipeline: Pipeline, name: str) -> LakeTable:
    table = pipeline.table(name)
    return LakeTable(CATALOG, f"audited_{table.relation.schema}", table.relation.table, table.types)


def _audit(shared: Engine, pipeline: Pipeline, source: Pin, rows: str) -> tuple[Audit, int]:
    """Audit a build of stg.weighed with these rows; return the audit, and how many statements it took."""
    tables, lake, table = Tables(shared, "audited"), _lake(pipeline, "stg.weighed"), pipeline.table("stg.weighed")
    tables.ensure(lake)
    snapshot = tables.fill(lake, DAY, 2, f"select * from values {rows} as v(thing_id, name, parent, weight, amount)")
    things = Relation.parse("raw.things")
    facts = AuditFacts(DAY, source_rows={things: 3})
    statements = Statements(pipeline, table, {things: {DAY: source}}, facts.parameters, lake.rows(DAY, snapshot))
    before = shared.statements
    found = audit(shared, statements, table.checks, facts)
    took = shared.statements - before
    assert (found.rows, found.checksum) == tables.rows_and_checksum(lake, DAY, snapshot)
    tables.drop(lake)
    return found, took


def _by_name(found: Audit) -> dict[str, CheckResult]:
    return {result.name: result for result in found.results}


def test_good_rows_pass_in_one_scan_and_a_query_for_each_check_that_needs_one(
    shared: Engine, pipeline: Pipeline, source: Pin
) -> None:
    found, took = _audit(shared, pipeline, source, GOOD)
    assert {name: result.passed for name, result in _by_name(found).items()} == dict.fromkeys(_by_name(found), True)
    assert found.rows == 2
    assert _by_name(found)["reconcile"].message == "3 rows of raw.things = 2 here + 1 dropped by unweighed"
    assert _by_name(found)["kilograms"].metric == 0
    # The scan; grain, unique, foreign_key and heavy_in_all; the rows that unweighed drops; the kilograms of the source.
    assert took == 7


def test_bad_rows_are_counted_and_shown(shared: Engine, pipeline: Pipeline, source: Pin) -> None:
    found, _ = _audit(shared, pipeline, source, BAD)
    results = _by_name(found)
    assert {name: result.metric for name, result in results.items() if not result.errored} == {
        "grain": 2,
        "not_null": 2,
        "range__weight": 2,
        "accepted_values__name": 1,
        "unique__parent": 1,
        "foreign_key__parent": 1,
        "reconcile": -3,
        "kilograms": float(Decimal("20.75") - Decimal("120.51")),
        "heavy_in_all": 1,
    }
    assert sorted(results["grain"].samples, key=repr) == [{"thing_id": 1, "rows": 2}, {"thing_id": None, "rows": 1}]
    assert results["foreign_key__parent"].samples == [
        {"thing_id": 4, "name": "saw", "parent": 9, "weight": None, "amount": 9223372036854775807}
    ]
    assert results["heavy_in_all"].samples == [{"weight": 120.51}]
    assert results["unique__parent"].samples == [{"parent": 1, "rows": 2}]
    assert results["never_overflows"].errored
    assert "ARITHMETIC_OVERFLOW" in results["never_overflows"].message
    assert found.blocks_publish


def test_personal_values_are_masked(shared: Engine, pipeline: Pipeline, source: Pin) -> None:
    words = STG.replace("name: {type: text, description: Name.}", "name: {type: text, description: Name., pii: name}")
    table = pipeline.table("stg.weighed")
    path = table.path
    path.write_text(words)
    masked = load_pipelines(path.parent.parent.parent)["audited"]
    try:
        assert masked.table("stg.weighed").pii.hides("name")
        lake, tables = _lake(masked, "stg.weighed"), Tables(shared, "audited")
        tables.ensure(lake)
        rows = f"select * from values {BAD} as v(thing_id, name, parent, weight, amount)"
        snapshot, things = tables.fill(lake, DAY, 3, rows), Relation.parse("raw.things")
        facts = AuditFacts(DAY, source_rows={things: 3}, pii=masked.table("stg.weighed").pii)
        statements = Statements(
            masked, masked.table("stg.weighed"), {things: {DAY: source}}, facts.parameters, lake.rows(DAY, snapshot)
        )
        found = _by_name(audit(shared, statements, masked.table("stg.weighed").checks, facts))
        assert found["accepted_values__name"].samples == [
            {"thing_id": 4, "name": "(masked)", "parent": 9, "weight": None, "amount": 9223372036854775807}
        ]
        assert found["never_overflows"].message.endswith("(ARITHMETIC_OVERFLOW)")
        tables.drop(lake)
    finally:
        path.write_text(STG)


def test_a_column_that_a_publish_lacks_is_null(shared: Engine, source: Pin) -> None:
    older = replace(source, columns={"thing_id": "integer", "name": "text"})
    rows = shared.rows(older.rows(DAY, {"thing_id": "integer", "weight": "numeric(6,2)"}))
    assert sorted(rows) == [(1, None), (2, None), (3, None)]
