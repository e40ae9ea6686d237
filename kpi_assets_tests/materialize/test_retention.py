"""Retention: old rows of raw and staging go, marts stay, the ledger says so, and S3 gives the same again."""

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


class Attic(TwoSourcePipeline):
    """The shop with a retention, raw.things in partitions, and a staging view of it."""

    def stock(self) -> "Attic":
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
        """What of its day and the next is older than it is kept."""
        return [f"{p.asset} {p.load_date}" for p in self.old(today)]

    def old(self, today: date | None = None) -> list[publishes.Publish]:
        with self.session() as session:
            found = find_due(session, self.pipeline(), today or date.today())  # noqa: DTZ011
            return [publish for publish in found if publish.load_date in {self.day, self.next}]

    def drop(self, found: list[publishes.Publish] | None = None, timeout: float = 5.0) -> list[tuple[str, str]]:
        """Drop what is due, or the given; (asset, why it was left)."""
        wanted = self.old() if found is None else found
        return [(publish.asset, why) for publish, why in drop_due(self.context(), wanted, timeout)]

    def landed(self) -> "Attic":
        """With its day published."""
        self.land()
        assert set(self.run().values()) == {"published"}
        return self


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attic]:
    with Attic.open(stack, tmp_path_factory.mktemp("attic")) as shop:
        assert isinstance(shop, Attic)
        shop.stock().prepared()
        yield shop


@pytest.fixture
def attic(opened: Attic) -> Attic:
    return opened.stock()


def test_what_is_due_is_older_than_its_layer_is_kept_and_stored(attic: Attic) -> None:
    attic.landed()
    assert attic.due(attic.day + timedelta(days=KEPT)) == []
    due = [f"raw.labels {attic.day}", f"raw.things {attic.day}"]
    assert attic.due(attic.day + timedelta(days=KEPT + 1)) == due, "the view goes with what it shows, marts stay"
    [labels, things] = totals_by_table(attic.old())
    assert (labels.asset, labels.load_dates, labels.rows) == ("raw.labels", 1, 1)
    assert (things.asset, things.first, things.last, things.rows) == ("raw.things", attic.day, attic.day, 2)


def test_rows_are_dropped_and_marts_stay_and_nothing_is_missing_or_stale(attic: Attic) -> None:
    attic.landed()
    attic.land(attic.next)
    attic.run(attic.next)
    [(partition,)] = attic.rows(f"select distinct tableoid::regclass from raw.things where load_date = '{attic.day}'")
    before = [publish for publish in attic.old() if publish.load_date == attic.day]
    assert attic.drop(before) == [("raw.labels", ""), ("raw.things", "")]
    one_day = f"where load_date = '{attic.day}'"
    for table, rows in (
        ("raw.things", 0),
        ("raw.labels", 0),
        ("stg.things", 0),
        ("marts.weighed", 1),
        ("marts.heavy", 1),
    ):
        assert attic.rows(f"select count(*) from {table} {one_day}") == [(rows,)], table
    assert attic.rows(f"select count(*) from raw.labels where load_date = '{attic.next}'") == [(1,)]
    assert attic.rows(f"select to_regclass('{partition}')") == [(None,)], "its disk is free"
    dropped = f"select asset, rows from ops.publishes {one_day} and dropped_at = superseded_at order by asset"
    assert attic.rows(dropped) == [("raw.labels", 1), ("raw.things", 2), ("stg.things", 2)]
    found = attic.status()
    assert (found.state, found.is_due(rebuild_on_sql_change=True)) == ("published", False)
    assert found.reason.endswith("The rows of 3 were dropped by retention.")
    assert attic.drop(before) == [(asset, "it was published again meanwhile") for asset in ("raw.labels", "raw.things")]


def test_a_kpi_whose_inputs_were_dropped_says_how_to_replay_and_the_replay_gives_the_same(attic: Attic) -> None:
    before = attic.landed().rows(PUBLISHED.format(attic.day))
    assert len(before) == 5
    attic.drop()
    rest = f"were dropped by retention; `kpi run {attic.name} --load-date {attic.day}` replays them from S3."
    rows = f"the rows of raw.things, stg.things of {attic.day}"
    with pytest.raises(UpstreamError) as told:
        attic.build("marts.weighed", attic.day)
    assert str(told.value) == f"marts.weighed of {attic.day} cannot be built: {rows} {rest}"
    context = attic.context()
    with pytest.raises(UpstreamError, match=r"the rows of raw\.things of .* were dropped by retention"):
        recheck(context, context.pipeline.table("raw.things"), attic.day)

    assert set(attic.run().values()) == {"published"}
    assert attic.rows(PUBLISHED.format(attic.day)) == before
    assert attic.due() == [], "somebody wanted it"
    today = date.today()  # noqa: DTZ011
    assert attic.due(today + timedelta(days=KEPT - 1)) == []
    assert len(attic.due(today + timedelta(days=KEPT + 2))) == 2, "as long as something new"


def test_a_gate_compares_with_a_load_date_before_that_was_dropped(attic: Attic) -> None:
    path = attic.folder / "raw/things.sql"
    path.write_text(path.read_text().replace("@end", "checks: {min_rows: {of_previous: 0.5}}\n@end"))
    four = b"thing_id,name,weight\n" + b"".join(b"%d,x,1\n" % number for number in range(4))
    attic.land(things=four, labels=None)
    assert not attic.build("raw.things", attic.day).held
    assert attic.drop() == [("raw.things", "")]
    attic.land(attic.next, things=SPARSE, labels=None)
    outcome = attic.build("raw.things", attic.next)
    [floor] = [result for result in outcome.results if result.name == "min_rows"]
    assert (outcome.held, floor.metric, floor.threshold) == (True, 1, 2.0)


def test_a_run_of_the_load_date_is_waited_for(attic: Attic) -> None:
    attic.landed()
    with attic.session() as running:
        assert try_lock(running, run_lock(attic.day))
        left = "a run of its load_date is in progress"
        assert attic.drop(timeout=0) == [("raw.labels", left), ("raw.things", left)]
    assert attic.drop() == [("raw.labels", ""), ("raw.things", "")]
    with attic.session() as next_run:
        assert try_lock(next_run, run_lock(attic.day)), "its turn is given back"
        unlock(next_run, run_lock(attic.day))


def test_a_reader_is_waited_for_and_what_he_reads_stays(attic: Attic) -> None:
    attic.landed()
    things = [publish for publish in attic.old() if publish.asset == "raw.things"]
    with attic.session() as reader, reader.transaction():
        count = f"select count(*) from raw.things where load_date = '{attic.day}'"
        assert reader.execute(count).fetchone() == (2,)
        [(_, why)] = attic.drop(things, timeout=0)
        assert why.startswith("A reader has held the table for ")
        assert "so it was not dropped" in why
        assert reader.execute(count).fetchone() == (2,)
        assert attic.rows(f"select rows from ops.published where publish_id = {things[0].publish_id}") == [(2,)]
    assert attic.drop(things) == [("raw.things", "")]
