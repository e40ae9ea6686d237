"""Retention drops old rows of raw and staging and records it. Marts stay, and a replay from S3 gives the same rows."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.ledger import publishes
from kpi_assets.ledger.locks import run_lock, try_lock, unlock
from kpi_assets.materialize.context import UpstreamError
from kpi_assets.materialize.recheck import recheck
from kpi_assets.materialize.retention import drop_due, find_due, totals_by_table
from kpi_assets_tests.materialize.test_views import SHOWN
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML, RAW_THINGS
from kpi_assets_tests.two_source_pipeline import WEIGHED, TwoSourcePipeline

KEPT = 400
SPARSE = b"thing_id,name,weight\n1,anvil,20.50\n"
PUBLISHED = "select asset, rows, checksum from ops.published where load_date = '{}' order by 1"


class RetentionPipeline(TwoSourcePipeline):
    """A pipeline with a retention, raw.things stored as partitions, and a staging view of raw.things."""

    def stock(self) -> "RetentionPipeline":
        super().stock()
        self.file("raw/things.sql", RAW_THINGS.replace("grain:", "storage: partitions\ngrain:"))
        self.file("stg/things.sql", SHOWN)
        self.file("marts/weighed.sql", WEIGHED.replace("weight is", "kilograms is").replace("raw.", "stg."))
        weighed = (
            (self.folder / "marts/weighed.sql")
            .read_text()
            .replace("thing_id, weight\n", "thing_id, kilograms as weight\n")
        )
        self.file("marts/weighed.sql", weighed)
        text = PIPELINE_YAML.format(bucket=self.bucket) + f"retention: {{raw: {KEPT}, stg: 5}}\n"
        (self.folder / "pipeline.yaml").write_text(text)
        return self

    def due(self, today: date | None = None) -> list[str]:
        """Return the rows of its two load_dates that are older than their retention, as "asset load_date"."""
        return [f"{p.asset} {p.load_date}" for p in self.old(today)]

    def old(self, today: date | None = None) -> list[publishes.Publish]:
        with self.session() as session:
            found = find_due(session, self.pipeline(), today or date.today())  # noqa: DTZ011
            return [publish for publish in found if publish.load_date in {self.day, self.next}]

    def drop(self, found: list[publishes.Publish] | None = None, timeout: float = 5.0) -> list[tuple[str, str]]:
        """Drop what is due, or `found`. Return (asset, why it was not dropped or "") of each."""
        wanted = self.old() if found is None else found
        return [(publish.asset, why) for publish, why in drop_due(self.context(), wanted, timeout)]

    def publish_day(self) -> "RetentionPipeline":
        """Publish its load_date and return the pipeline."""
        self.land()
        assert set(self.run().values()) == {"published"}
        return self


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RetentionPipeline]:
    with RetentionPipeline.open(stack, tmp_path_factory.mktemp("pipeline")) as shop:
        assert isinstance(shop, RetentionPipeline)
        shop.stock().prepared()
        yield shop


@pytest.fixture
def pipeline(opened: RetentionPipeline) -> RetentionPipeline:
    return opened.stock()


def test_stored_rows_older_than_the_retention_of_their_layer_are_due(pipeline: RetentionPipeline) -> None:
    pipeline.publish_day()
    assert pipeline.due(pipeline.day + timedelta(days=KEPT)) == []
    due = [f"raw.labels {pipeline.day}", f"raw.things {pipeline.day}"]
    assert pipeline.due(pipeline.day + timedelta(days=KEPT + 1)) == due, (
        "the view is dropped with its table, marts stay"
    )
    [labels, things] = totals_by_table(pipeline.old())
    assert (labels.asset, labels.load_dates, labels.rows) == ("raw.labels", 1, 1)
    assert (things.asset, things.first, things.last, things.rows) == ("raw.things", pipeline.day, pipeline.day, 2)


def test_dropping_rows_leaves_marts_and_makes_nothing_missing_or_stale(pipeline: RetentionPipeline) -> None:
    pipeline.publish_day()
    pipeline.land(pipeline.next)
    pipeline.run(pipeline.next)
    [(partition,)] = pipeline.rows(
        f"select distinct tableoid::regclass from raw.things where load_date = '{pipeline.day}'"
    )
    before = [publish for publish in pipeline.old() if publish.load_date == pipeline.day]
    assert pipeline.drop(before) == [("raw.labels", ""), ("raw.things", "")]
    one_day = f"where load_date = '{pipeline.day}'"
    for table, rows in (
        ("raw.things", 0),
        ("raw.labels", 0),
        ("stg.things", 0),
        ("marts.weighed", 1),
        ("marts.heavy", 1),
    ):
        assert pipeline.rows(f"select count(*) from {table} {one_day}") == [(rows,)], table
    assert pipeline.rows(f"select count(*) from raw.labels where load_date = '{pipeline.next}'") == [(1,)]
    assert pipeline.rows(f"select to_regclass('{partition}')") == [(None,)], (
        "the partition is dropped, and its disk space is free"
    )
    dropped = f"select asset, rows from ops.publishes {one_day} and dropped_at = superseded_at order by asset"
    assert pipeline.rows(dropped) == [("raw.labels", 1), ("raw.things", 2), ("stg.things", 2)]
    found = pipeline.status()
    assert (found.state, found.is_due(rebuild_on_sql_change=True)) == ("published", False)
    assert found.reason.endswith("The rows of 3 were dropped by retention.")
    assert pipeline.drop(before) == [
        (asset, "it was published again meanwhile") for asset in ("raw.labels", "raw.things")
    ]


def test_a_table_with_dropped_inputs_names_the_replay_which_gives_the_same_rows(pipeline: RetentionPipeline) -> None:
    before = pipeline.publish_day().rows(PUBLISHED.format(pipeline.day))
    assert len(before) == 5
    pipeline.drop()
    rest = f"were dropped by retention; `kpi run {pipeline.name} --load-date {pipeline.day}` replays them from S3."
    rows = f"the rows of raw.things, stg.things of {pipeline.day}"
    with pytest.raises(UpstreamError) as told:
        pipeline.build("marts.weighed", pipeline.day)
    assert str(told.value) == f"marts.weighed of {pipeline.day} cannot be built: {rows} {rest}"
    context = pipeline.context()
    with pytest.raises(UpstreamError, match=r"the rows of raw\.things of .* were dropped by retention"):
        recheck(context, context.pipeline.table("raw.things"), pipeline.day)

    assert set(pipeline.run().values()) == {"published"}
    assert pipeline.rows(PUBLISHED.format(pipeline.day)) == before
    assert pipeline.due() == [], "a replayed load_date is kept as long as a new one"
    today = date.today()  # noqa: DTZ011
    assert pipeline.due(today + timedelta(days=KEPT - 1)) == []
    assert len(pipeline.due(today + timedelta(days=KEPT + 2))) == 2, "the retention begins with the replay"


def test_a_gate_compares_with_a_previous_load_date_that_was_dropped(pipeline: RetentionPipeline) -> None:
    path = pipeline.folder / "raw/things.sql"
    path.write_text(path.read_text().replace("@end", "checks: {min_rows: {of_previous: 0.5}}\n@end"))
    four = b"thing_id,name,weight\n" + b"".join(b"%d,x,1\n" % number for number in range(4))
    pipeline.land(things=four, labels=None)
    assert not pipeline.build("raw.things", pipeline.day).held
    assert pipeline.drop() == [("raw.things", "")]
    pipeline.land(pipeline.next, things=SPARSE, labels=None)
    outcome = pipeline.build("raw.things", pipeline.next)
    [floor] = [result for result in outcome.results if result.name == "min_rows"]
    assert (outcome.held, floor.metric, floor.threshold) == (True, 1, 2.0)


def test_rows_are_not_dropped_while_their_load_date_runs(pipeline: RetentionPipeline) -> None:
    pipeline.publish_day()
    with pipeline.session() as running:
        assert try_lock(running, run_lock(pipeline.day))
        left = "a run of its load_date is in progress"
        assert pipeline.drop(timeout=0) == [("raw.labels", left), ("raw.things", left)]
    assert pipeline.drop() == [("raw.labels", ""), ("raw.things", "")]
    with pipeline.session() as next_run:
        assert try_lock(next_run, run_lock(pipeline.day)), "the lock of the load_date is released"
        unlock(next_run, run_lock(pipeline.day))


def test_rows_are_not_dropped_while_a_reader_uses_them(pipeline: RetentionPipeline) -> None:
    pipeline.publish_day()
    things = [publish for publish in pipeline.old() if publish.asset == "raw.things"]
    with pipeline.session() as reader, reader.transaction():
        count = f"select count(*) from raw.things where load_date = '{pipeline.day}'"
        assert reader.execute(count).fetchone() == (2,)
        [(_, why)] = pipeline.drop(things, timeout=0)
        assert why.startswith("A reader has held the table for ")
        assert "so it was not dropped" in why
        assert reader.execute(count).fetchone() == (2,)
        assert pipeline.rows(f"select rows from ops.published where publish_id = {things[0].publish_id}") == [(2,)]
    assert pipeline.drop(things) == [("raw.things", "")]
