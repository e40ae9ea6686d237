"""A foreign key to a dense key is checked by the range of that key, otherwise value by value. Both agree."""

import pytest

from kpi_assets.materialize import check_facts
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness, failed

PARENTS = """\
/* @asset
description: Parents.
owner: team:tests
grain: [parent_id]
source:
  object: raw/parents/load_date={load_date}/parents.csv
  format: csv
columns:
  parent_id: {type: integer, description: Parent.}
@end */
"""
CHILDREN = """\
/* @asset
description: Children.
owner: team:tests
grain: [child_id]
source:
  object: raw/children/load_date={load_date}/children.csv
  format: csv
columns:
  child_id: {type: integer, description: Child.}
  parent_id: {type: integer, description: "Its parent; NULL where it has none."}
checks:
  foreign_key: {parent_id: raw.parents.parent_id}
@end */
"""


def built(
    lab: PipelineHarness, parents: list[int], children: list[str]
) -> tuple[float | None, list[dict[str, object]]]:
    lab.file("raw/parents.sql", PARENTS)
    lab.file("raw/children.sql", CHILDREN)
    lab.put(f"raw/parents/load_date={DAY}/parents.csv", b"parent_id\n" + b"".join(b"%d\n" % each for each in parents))
    lines = "".join(f"{number},{parent}\n" for number, parent in enumerate(children))
    lab.put(f"raw/children/load_date={DAY}/children.csv", f"child_id,parent_id\n{lines}".encode())
    lab.build("raw.parents")
    outcome = lab.build("raw.children")
    result = next(result for result in outcome.results if result.name == "foreign_key__parent_id")
    assert outcome.held == (not result.passed) == bool(failed(outcome.results))
    return result.metric, result.samples


@pytest.mark.parametrize(
    ("parents", "is_dense"),
    [([3, 4, 5, 6], True), ([3, 4, 6], False), ([-1, 0, 1], True), ([7], True)],
)
def test_values_without_a_parent_are_counted_and_shown(
    lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch, parents: list[int], is_dense: bool
) -> None:
    ends = []
    found = check_facts.dense_key_range
    monkeypatch.setattr(check_facts, "dense_key_range", lambda *args: ends.append(found(*args)) or ends[-1])
    children = [str(each) for each in (*parents, *parents, min(parents) - 1, max(parents) + 1, max(parents) + 9)]
    metric, samples = built(lab, parents, [*children, "", "5"])
    orphans = [each for each in [*children, "5"] if int(each) not in parents]
    assert metric == len(orphans)
    assert sorted(str(row["parent_id"]) for row in samples) == sorted(orphans)
    assert ends == [(min(parents), max(parents)) if is_dense else None]


@pytest.mark.parametrize("parents", [[1, 2, 3], [1, 3]])
def test_values_that_all_have_a_parent_pass(lab: PipelineHarness, parents: list[int]) -> None:
    assert built(lab, parents, ["1", "3", "", "1"]) == (0, [])
