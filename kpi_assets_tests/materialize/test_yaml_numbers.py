"""Constants of a header that look like numbers: good data is published, bad data is held."""

import pytest

from kpi_assets.model.strict_yaml import ModelError
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness, failed

SHIFTS = """\
/* @asset
description: Shifts as delivered.
owner: team:tests
grain: [id]
source: {object: "raw/shifts/load_date={load_date}/shifts.csv", format: csv}
columns:
  id: {type: integer, description: Number.}
  shift: {type: text, description: Begin of the shift.}
  code: {type: integer, description: Code.}
checks:
  accepted_values: {shift: [22:30, 14:00], code: [010, 011]}
  range: {id: [1, 1000]}
@end */
"""


def test_constants_are_read_as_they_look(lab: PipelineHarness) -> None:
    lab.file("raw/shifts.sql", SHIFTS)
    lab.put(f"raw/shifts/load_date={DAY}/shifts.csv", b"id,shift,code\n1,22:30,10\n1000,14:00,11\n")
    assert failed(lab.build("raw.shifts").results) == {}
    assert lab.rows("select id, shift, code from raw.shifts order by id") == [(1, "22:30", 10), (1000, "14:00", 11)]
    lab.put(f"raw/shifts/load_date={DAY}/shifts.csv", b"id,shift,code\n1,1350,8\n1001,14:00,11\n")
    held = failed(lab.build("raw.shifts").results)
    assert {name: result.metric for name, result in held.items()} == {
        "accepted_values__shift": 1,
        "accepted_values__code": 1,
        "range__id": 1,
    }


def test_an_ambiguous_constant_is_refused_with_its_line(lab: PipelineHarness) -> None:
    lab.file("raw/shifts.sql", SHIFTS.replace("1000", "1_000"))
    with pytest.raises(ModelError, match=r"shifts\.sql:12: '1_000' may be a number or a text: "):
        lab.pipeline()
