"""What people ask of rows on the lake: the first rows, what a row was made from, and what differs between days."""

import pytest

from kpi_assets.errors import UserError
from kpi_assets.ledger import publishes
from kpi_assets.model.names import Relation
from kpi_assets.read import lake_rows
from kpi_assets.read.rows import read_rows
from kpi_assets.read.sides import Published
from kpi_assets.read.trace import trace_rows
from kpi_assets_tests.lake.conftest import LakeHarness
from kpi_assets_tests.lake.test_builds import GOOD, MART, OTHER, RAW, STG
from kpi_assets_tests.pipeline_harness import DAY, NEXT

pytestmark = pytest.mark.nightly


@pytest.fixture
def lab(shop: LakeHarness) -> LakeHarness:
    shop.file("raw/things.sql", RAW)
    shop.file("stg/weighed.sql", STG)
    shop.file("marts/classes.sql", MART)
    for body, day in ((GOOD, DAY), (OTHER, NEXT)):
        shop.put_things(body, day)
        for name in ("raw.things", "stg.weighed", "marts.classes"):
            assert not shop.build(name, day).held
    return shop


def test_rows_of_the_lake_are_read_as_those_of_postgres(lab: LakeHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    table = lab.pipeline().table("stg.weighed")
    with lab.session() as session:
        found = read_rows(session, lab.pipeline(), table, DAY, place="the test")
        assert (found.columns, found.shown) == (["thing_id", "name", "class", "weight"], 3)
        assert found.rows == [
            ("1", "anvil", "2", "20.50"),
            ("3", "nail", "1", "0.25"),
            ("4", "hammer", "1", "2.00"),
        ]
        first = read_rows(session, lab.pipeline(), table, DAY, place="the test", limit=1)
        assert (first.rows, first.shown) == ([("1", "anvil", "2", "20.50")], 3)
        side = Published(NEXT).find(session, lab.pipeline(), table, place="the test")
        rows = session.execute(b"select thing_id, class from " + side.rows.as_bytes(session) + b" as r order by 1")
        assert rows.fetchall() == [(1, 2), (5, 1)]
        monkeypatch.setattr(lake_rows, "MOST", 2)
        publish = publishes.current(session, [Relation.parse("stg.weighed")], DAY)[Relation.parse("stg.weighed")]
        with pytest.raises(UserError, match=r"has 3 rows on the lake, and at most 2 are fetched here: read k\."):
            lake_rows.rows_of_lake(table, publish)
        assert read_rows(session, lab.pipeline(), table, DAY, place="the test", limit=1).rows == first.rows


def test_a_kpi_is_traced_to_its_records_on_the_lake(lab: LakeHarness) -> None:
    with lab.session() as session:
        step = trace_rows(
            session, lab.pipeline(), lab.pipeline().table("marts.classes"), {"class": "1"}, DAY, place="the test"
        )
    assert [row.values["things"] for row in step.rows] == ["2"]
    [weighed] = step.sources
    assert sorted(row.values["name"] or "" for row in weighed.rows) == ["hammer", "nail"]
    [things] = weighed.sources
    assert sorted(row.values["thing_id"] or "" for row in things.rows) == ["3", "4"]
