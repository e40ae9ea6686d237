"""A replay gives the same rows: exact sums on parallel workers; floating-point sums that only Postgres can detect."""

import random
from collections.abc import Iterator

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

ROWS = 100_000
RAW = """\
/* @asset
description: Readings as delivered.
owner: team:tests
grain: [reading_id]
storage: partitions
source: {object: "raw/readings/load_date={load_date}/readings.csv", format: csv}
columns:
  reading_id: {type: integer, description: Reading.}
  meter: {type: integer, description: Meter.}
  value: {type: double precision, description: What it said.}
  note: {type: text, description: Note.}
@end */
"""
MART = """\
/* @asset
description: Readings by meter.
owner: team:tests
grain: [meter]
columns:
  meter: {type: integer, description: Meter.}
  total: {type: TYPE, description: Sum.}
@end */
select meter, EXPRESSION as total
from raw.readings
where load_date = %(load_date)s
group by meter
"""
PARALLEL = (
    "max_parallel_workers_per_gather = 4",
    "parallel_setup_cost = 0",
    "parallel_tuple_cost = 0",
    "min_parallel_table_scan_size = 0",
)


@pytest.fixture(scope="module")
def readings(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    """A pipeline with readings of three meters, on a database whose sessions prefer parallel plans."""
    numbers = random.Random(7)
    lines = (f"{n},{n % 3},{numbers.uniform(-1e9, 1e9)!r},x" for n in range(ROWS))
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("readings")) as lab:
        lab.file("raw/readings.sql", RAW)
        body = "reading_id,meter,value,note\n" + "\n".join(lines) + "\n"
        lab.put(f"raw/readings/load_date={DAY}/readings.csv", body.encode())
        assert not lab.build("raw.readings").held
        for setting in PARALLEL:
            lab.in_postgres(f"alter database {lab.name} set {setting}")
        yield lab


def mart(lab: PipelineHarness, expression: str, type_: str) -> None:
    lab.file("marts/totals.sql", MART.replace("EXPRESSION", expression).replace("TYPE", type_))


def test_ten_replays_on_parallel_workers_give_one_checksum(readings: PipelineHarness) -> None:
    mart(readings, "sum(value::numeric)", "numeric")
    day = f"from raw.readings where load_date = '{DAY}' group by meter"
    plan = "\n".join(line for (line,) in readings.rows(f"explain select meter, sum(value::numeric) {day}"))
    assert "Workers Planned: " in plan
    assert {readings.build("marts.totals").checksum for _ in range(10)} == {readings.build("marts.totals").checksum}
    [(there,)] = readings.rows("select count(*) from marts.totals")
    assert there == 3


def test_a_sum_of_floating_point_numbers_depends_on_the_order_and_is_refused(readings: PipelineHarness) -> None:
    both = "sum(value order by reading_id) <> sum(value order by reading_id desc)"
    assert (True,) in readings.rows(f"select {both} from raw.readings group by meter")
    mart(readings, "sum(value)", "double precision")
    with pytest.raises(ModelError, match=r"totals\.sql:9: sum\(value\) adds up floating-point numbers"):
        readings.pipeline()


def test_a_sorted_sum_of_floating_point_numbers_gives_one_checksum(readings: PipelineHarness) -> None:
    mart(readings, "sum(value order by value)", "double precision")
    assert len({readings.build("marts.totals").checksum for _ in range(3)}) == 1


FOUND_BY_POSTGRES = {
    "sum(value * date_part('day', load_date))": "sum(double precision)",
    "avg(pg_catalog.float4(value))": "avg(real)",
    "stddev_pop(value * length(note))": "stddev_pop(double precision)",
    "sum(greatest(value, length(note))) filter (where note like '%%x')": "sum(double precision)",
    "max(meter) + sum(sum(length(note) * value)) over (order by meter)": "sum(double precision)",
}


@pytest.mark.parametrize(("expression", "function"), FOUND_BY_POSTGRES.items(), ids=FOUND_BY_POSTGRES)
def test_a_floating_point_sum_that_only_postgres_can_detect_is_refused_by_the_build(
    readings: PipelineHarness, expression: str, function: str
) -> None:
    mart(readings, expression, "double precision")
    with pytest.raises(DefinitionError) as caught:
        readings.build("marts.totals")
    assert str(caught.value) == (
        f"{readings.folder}/marts/totals.sql: {function} adds up floating-point numbers, and another order of the rows "
        "gives another result: cast what it adds up to numeric."
    )
    [(status,)] = readings.rows(
        "select status from ops.pipeline_runs where job = 'marts.totals' order by id desc limit 1"
    )
    assert status == "failed"


EXACT_FOR_POSTGRES = {
    "sum(length(note))": "bigint",
    "sum(load_date - date '2025-01-01' + length(note) * (value > 0)::integer)": "bigint",
    "sum(length(note)) + sum(value * length(note) order by value * length(note))": "double precision",
    "sum(length(note)) + sum(distinct value * length(note))": "double precision",
    "avg(value::numeric * length(note)) filter (where note <> '} {AGGREF :aggfnoid 2111}')": "numeric",
}


@pytest.mark.parametrize(("expression", "type_"), EXACT_FOR_POSTGRES.items(), ids=EXACT_FOR_POSTGRES)
def test_a_sum_that_postgres_finds_exact_or_sorted_is_built(
    readings: PipelineHarness, expression: str, type_: str
) -> None:
    mart(readings, expression, type_)
    assert readings.pipeline().table("marts.totals").query.has_unknown_sums  # type: ignore[union-attr]
    assert not readings.build("marts.totals").held


def test_the_types_of_a_select_over_a_window_are_looked_up_as_well(readings: PipelineHarness) -> None:
    text = MART.replace("grain:", "lookback: {days: 3, rows: all}\ngrain:").replace("TYPE", "bigint")
    text = text.replace("EXPRESSION", "sum(length(note))").replace("= %(load", "between %(window_start)s and %(load")
    readings.file("marts/totals.sql", text)
    readings.build("marts.totals")
    assert readings.rows("select sum(total) from marts.totals") == [(ROWS,)]
