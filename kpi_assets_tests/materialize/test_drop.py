"""Tables without a file are reported, and `kpi drop` removes a table with everything that belongs to it."""

import pytest

from kpi_assets.ledger import incidents
from kpi_assets.materialize.drop import drop_table, orphans
from kpi_assets.model.names import Relation
from kpi_assets.warehouse.ddl import DefinitionError
from kpi_assets_tests.pipeline_harness import DAY, DOUBLED, GOOD, MART, NEXT, RAW_THINGS, PipelineHarness

KPI = "kpi: {chart: {x: thing_id, y: weight}}\ngrain:"
WEIGHED = Relation("marts", "weighed")


def quiet(_phase: str, _done: int, _total: int) -> None:
    """Ignore the progress."""


@pytest.fixture(params=["rows", "partitions"])
def renamed(lab: PipelineHarness, request: pytest.FixtureRequest) -> PipelineHarness:
    """A pipeline whose marts.weighed is published for two load_dates and whose file was renamed since."""
    lab.file("raw/things.sql", RAW_THINGS)
    path = lab.file("marts/weighed.sql", MART.replace("grain:", f"storage: {request.param}\n{KPI}"))
    for day in (DAY, NEXT):
        lab.put_things(GOOD, day)
        lab.build("raw.things", day)
        lab.build("marts.weighed", day)
    path.rename(path.with_name("heavy.sql"))
    return lab


def test_a_renamed_file_leaves_an_orphan_that_is_reported_until_it_is_dropped(renamed: PipelineHarness) -> None:
    pipeline = renamed.pipeline()
    with renamed.session() as session:
        [orphan] = orphans(session, pipeline.tables)
        assert str(orphan) == "marts.weighed (2 load_dates from 2025-03-01 to 2025-03-02, 2 rows)"
    drop_table(renamed.server, renamed.name, WEIGHED, quiet)
    with renamed.session() as session:
        assert orphans(session, pipeline.tables) == []
    left = "select to_regclass('marts.weighed'), to_regclass('marts.weighed_latest')"
    assert renamed.rows(left) == [(None, None)]
    assert renamed.rows("select count(*) from pg_class where relname like 'marts\\_\\_weighed%'") == [(0,)]
    assert renamed.rows(
        "select asset, count(*), count(superseded_at), count(removed_at) from ops.publishes group by asset order by 1"
    ) == [("marts.weighed", 2, 2, 2), ("raw.things", 2, 0, 0)]
    assert renamed.rows("select count(*) from raw.things") == [(4,)]


def test_a_dropped_table_with_a_file_can_be_built_again(renamed: PipelineHarness) -> None:
    (renamed.folder / "marts/heavy.sql").rename(renamed.folder / "marts/weighed.sql")
    drop_table(renamed.server, renamed.name, WEIGHED, quiet)
    assert renamed.build("marts.weighed").rows == 1
    assert renamed.rows("select load_date, thing_id from marts.weighed_latest") == [(DAY, 1)]
    assert renamed.rows("select count(*) from ops.published where asset = 'marts.weighed'") == [(1,)]


def test_a_user_s_view_blocks_the_drop_of_its_table(renamed: PipelineHarness) -> None:
    with renamed.session() as session:
        session.execute("create view public.mine as select thing_id from marts.weighed")
    with pytest.raises(
        DefinitionError,
        match=r"^marts\.weighed cannot be dropped \(.*view public\.mine depends .*\): drop what depends on it first\.$",
    ):
        drop_table(renamed.server, renamed.name, WEIGHED, quiet)
    assert renamed.rows("select count(*) from marts.weighed") == [(2,)]
    assert renamed.rows("select count(*) from marts.weighed_latest") == [(1,)]
    assert renamed.rows("select count(*) from ops.published where asset = 'marts.weighed'") == [(2,)]


def test_dropping_a_table_removes_its_held_build_and_closes_its_incident(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.put_things(DOUBLED)
    held = lab.build("raw.things")
    assert held.held
    drop_table(lab.server, lab.name, Relation("raw", "things"), quiet)
    assert lab.rows(f"select to_regclass('{held.candidate}')") == [(None,)]
    with lab.session() as session:
        assert incidents.open_incidents(session) == []
