"""A check with `severity: alert` holds nothing: it is one incident while the latest published rows fail it."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.fixtures.database import clear_ledger
from kpi_assets.ledger import results, runs
from kpi_assets.ledger.runs import Counts
from kpi_assets.materialize.tick import tick
from kpi_assets.model.results import CheckResult
from kpi_assets.monitoring.alerting_checks import report_failing
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets_tests.clicks_pipeline import TOTAL, ClicksPipeline
from kpi_assets_tests.ledger.test_incidents import closed
from kpi_assets_tests.pipeline_harness import DAY, MART, NEXT, RAW_THINGS, PipelineHarness

NAME = "marts.weighed"
CHECK = 'too_heavy: {bad_rows: "select * from {this} where weight > 5", severity: alertFOR}'
ALERTS = "select kind, load_date, job, check_name, details[1], occurrences from ops.alerts order by id"
DAYS = [DAY + timedelta(days=number) for number in range(8)]
SAID = f"{NAME}: too_heavy fails on 2025-03-01 (Too heavy): 2 bad rows"


@pytest.fixture(scope="module")
def shared(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("alerting")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.file("marts/weighed.sql", MART)
        opened.prepared()
        yield opened


class Shop:
    """A table whose check is judged by the results that a test gives."""

    def __init__(self, lab: PipelineHarness, session: Connection[Any]) -> None:
        self.lab, self.session = lab, session

    def declare(self, wait: str = "") -> None:
        check = CHECK.replace("FOR", f", for: {wait}" if wait else "")
        self.lab.file("marts/weighed.sql", MART.replace("checks:\n", f"checks:\n  {check}\n"))

    def build(
        self, bad: int, day: date = DAY, *, ago: timedelta = timedelta(0), held: bool = False, errored: bool = False
    ) -> None:
        """Publish a load_date with so many bad rows, or have its gate hold it; it happened `ago`."""
        status: runs.Status = "held" if held else "success"
        result = CheckResult("too_heavy", not bad, False, bad, 0, f"{bad} bad rows", errored=errored)
        with self.session.transaction():
            build_id = runs.open_row(
                self.session, run_id=f"run of {day}", pipeline=self.session.info.dbname, job=NAME, load_date=day
            )
            results.record(
                self.session,
                [result],
                run_id=f"run of {day}",
                build_id=build_id,
                table=NAME,
                load_date=day,
                subject="candidate",
            )
            runs.close_build(self.session, build_id, status, layer="marts", counts=Counts())
            if not held:
                publish(self.session, NAME, f"run of {day}", day, build_id)
        self.session.execute(
            "update ops.data_quality_results set checked_at = checked_at - %s where build_id = %s", [ago, build_id]
        )

    def judge(self) -> list[tuple[Any, ...]]:
        pipeline = self.lab.pipeline()
        report_failing(self.session, pipeline)
        close_recovered(self.session, pipeline)
        return self.session.execute(ALERTS).fetchall()

    def kinds(self) -> list[str]:
        return [kind for kind, *_ in self.judge()]


def publish(session: Connection[Any], name: str, run_id: str, day: date, build_id: int) -> None:
    session.execute(
        "update ops.publishes set superseded_at = clock_timestamp() where asset = %s and load_date = %s "
        "and superseded_at is null",
        [name, day],
    )
    session.execute(
        "insert into ops.publishes (asset, load_date, build_id, run_id, manifest_hash, code_version, rows, checksum, "
        "size_bytes, inputs) values (%s, %s, %s, %s, 'm', 'c', 1, '1', 1, '{}')",
        [name, day, build_id, run_id],
    )


@pytest.fixture
def shop(shared: PipelineHarness) -> Iterator[Shop]:
    with shared.session() as session:
        clear_ledger(session)
        yield Shop(shared, session)


def test_a_check_that_fails_is_one_incident_until_it_passes(shop: Shop) -> None:
    shop.declare()
    shop.build(0)
    assert shop.judge() == []
    shop.build(2)
    assert shop.judge() == [("breached", DAY, NAME, "too_heavy", SAID, 1)]
    assert shop.judge() == [("breached", DAY, NAME, "too_heavy", SAID, 1)], "the same is not told again"
    shop.build(3, NEXT)
    assert [(row[1], row[5]) for row in shop.judge()] == [(NEXT, 2)]
    shop.build(0, NEXT)
    [breached, recovered] = shop.judge()
    assert breached[0] == "breached"
    assert recovered[:4] == ("recovered", NEXT, NAME, "too_heavy")
    assert recovered[4].startswith(f"{NAME}: too_heavy passes on 2025-03-02; it was breached since ")
    shop.build(9, NEXT)
    assert shop.kinds() == ["breached", "recovered", "breached"]


def test_the_correction_of_an_older_load_date_changes_nothing(shop: Shop) -> None:
    shop.declare()
    shop.build(0, NEXT)
    shop.build(4, DAY)
    assert shop.judge() == []


def test_rows_that_a_gate_held_tell_nobody(shop: Shop) -> None:
    shop.declare()
    shop.build(0)
    shop.build(5, held=True)
    assert shop.kinds() == ["held"]


def test_nothing_is_told_while_a_gate_holds_but_a_recovery_is(shop: Shop) -> None:
    shop.declare()
    shop.build(0)
    closed(shop.session, "raw.things", "held", day=NEXT)
    shop.build(2)
    assert shop.kinds() == ["held"]
    shop.session.execute("update ops.alerts set closed_at = clock_timestamp()")
    assert shop.kinds() == ["held", "breached"]
    shop.session.execute("update ops.alerts set closed_at = null where kind = 'held'")
    shop.build(0)
    assert shop.kinds() == ["held", "breached", "recovered"]


def test_a_check_that_could_not_be_made_judges_nothing(shop: Shop) -> None:
    shop.declare()
    shop.build(2)
    assert shop.kinds() == ["breached"]
    shop.build(0, errored=True)
    assert shop.kinds() == ["breached"], "the result before is the last one that says something"


def test_it_waits_for_load_dates_in_a_row(shop: Shop) -> None:
    shop.declare("3 load_dates")
    for day, bad in zip(DAYS, (1, 0, 1, 1), strict=False):
        shop.build(bad, day)
        assert shop.judge() == []
    shop.build(1, DAYS[4])
    [[kind, load_date, *_, said, _]] = shop.judge()
    assert (kind, load_date) == ("breached", DAYS[4])
    assert said == f"{NAME}: too_heavy fails on 2025-03-05, for 3 load_dates (Too heavy): 1 bad rows"


def test_it_waits_for_a_time_by_the_clock(shop: Shop) -> None:
    minute = timedelta(minutes=1)
    shop.declare("10 minutes")
    shop.build(0, ago=30 * minute)
    shop.build(1, ago=9 * minute)
    shop.build(2)
    assert shop.judge() == [], "it fails since 9 minutes"
    shop.session.execute("update ops.data_quality_results set checked_at = checked_at - interval '2 minutes'")
    assert shop.kinds() == ["breached"]
    assert shop.judge()[0][4] == f"{NAME}: too_heavy fails on 2025-03-01, for 10 minutes (Too heavy): 2 bad rows"


def test_a_result_that_passes_in_between_begins_the_time_anew(shop: Shop) -> None:
    minute = timedelta(minutes=1)
    shop.declare("10 minutes")
    for bad, ago in ((1, 30), (0, 5), (1, 4), (1, 0)):
        shop.build(bad, ago=ago * minute)
    assert shop.judge() == []


def test_the_time_goes_on_at_midnight_and_an_older_load_date_that_is_built_again_does_not_count(shop: Shop) -> None:
    minute = timedelta(minutes=1)
    shop.declare("10 minutes")
    shop.build(1, DAY, ago=12 * minute)
    shop.build(1, NEXT, ago=5 * minute)
    shop.build(0, DAY, ago=3 * minute)
    shop.build(1, NEXT)
    assert shop.kinds() == ["breached"]


def test_an_incident_is_closed_when_the_check_is_taken_out(shop: Shop) -> None:
    shop.declare()
    shop.build(2)
    assert shop.kinds() == ["breached"]
    shop.lab.file("marts/weighed.sql", MART)
    shop.judge()
    assert shop.session.execute("select closed_at is null from ops.alerts").fetchall() == [(False,)]


def test_results_of_many_builds_are_read_only_as_far_back_as_needed(shop: Shop) -> None:
    shop.declare("10 minutes")
    shop.build(0, ago=timedelta(hours=2))
    for second in range(580, 0, -1):
        shop.session.execute(
            "insert into ops.data_quality_results (run_id, build_id, check_name, table_name, load_date, status, "
            "blocking, samples, message, subject, checked_at) "
            "select run_id, build_id, check_name, table_name, load_date, 'warn', false, samples, '1 bad rows', "
            "'published', %s from ops.data_quality_results order by id limit 1",
            [datetime.now().astimezone() - timedelta(seconds=second)],
        )
    assert shop.judge() == []
    shop.session.execute("update ops.data_quality_results set checked_at = checked_at - interval '22 seconds'")
    assert shop.kinds() == ["breached"]


def test_a_growing_kpi_opens_and_closes_it_with_its_publishes(stack: Any, tmp_path: Path) -> None:
    few = 'few: {bad_rows: "select * from {this} where clicks < 3", severity: alert, description: "Three clicks."}'
    with ClicksPipeline.open(stack, tmp_path) as clicks:
        assert isinstance(clicks, ClicksPipeline)
        clicks.stock()
        clicks.file("marts/kpi_total.sql", TOTAL.replace("@end", f"checks:\n  {few}\n@end"))
        clicks.prepared()
        pipeline = clicks.pipeline()
        told = []
        for number in range(3):
            clicks.land(f"click {number}")
            tick(clicks.context(), clicks.day)
            with clicks.session() as session:
                report_failing(session, pipeline)
                told.append([row[0] for row in session.execute("select kind from ops.alerts order by id").fetchall()])
        assert told == [["breached"], ["breached"], ["breached", "recovered"]]
        assert clicks.total() == 3, "it held nothing"
        details = clicks.rows("select details[1] from ops.alerts order by id")
        assert details[0] == (f"marts.kpi_total: few fails on {clicks.day} (Three clicks): 1 bad row",)
