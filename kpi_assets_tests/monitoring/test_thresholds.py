"""A measure beyond its threshold is one incident until it is not so any more; nothing is told while a gate holds."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection

from kpi_assets.fixtures.database import clear_ledger
from kpi_assets.ledger import incidents, kpi_values
from kpi_assets.ledger.kpi_values import Value
from kpi_assets.model.names import Relation
from kpi_assets.monitoring.declared_kpis import record_declared
from kpi_assets.monitoring.recovery import close_recovered
from kpi_assets.monitoring.thresholds import report_breached
from kpi_assets_tests.ledger.test_incidents import closed, publish
from kpi_assets_tests.pipeline_harness import DAY, MART, RAW_THINGS, PipelineHarness

KPI = """\
kpi:
  chart: {x: thing_id, y: weight}
  measures:
    things: {title: Things, value: count(*), compare: 2, alert: ALERT}
@end"""
NAME = "marts.weighed"
ALERTS = "select kind, load_date, job, measure, details[1], occurrences, closed_at is null from ops.alerts order by id"
DAYS = [DAY + timedelta(days=number) for number in range(8)]


@pytest.fixture(scope="module")
def shared(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("thresholds")) as opened:
        opened.file("raw/things.sql", RAW_THINGS)
        opened.file("marts/weighed.sql", MART)
        opened.prepared()
        yield opened


class Shop:
    """A KPI whose values are given, and whose thresholds are judged."""

    def __init__(self, lab: PipelineHarness, session: Connection[Any]) -> None:
        self.lab, self.session = lab, session

    def declare(self, alert: str, value: str = "count(*)") -> None:
        self.lab.file("marts/weighed.sql", MART.replace("@end", KPI.replace("ALERT", alert).replace("count(*)", value)))

    def show(self, *values: int | str | None, first: date = DAY) -> None:
        """Publish load_dates with these values, and judge them at the end of the run."""
        version = self.lab.pipeline().tables[Relation.parse(NAME)].header.kpi.measures["things"].version  # type: ignore[union-attr]
        for number, value in enumerate(values):
            day = first + timedelta(days=number)
            publish(self.session, NAME, f"run of {day}", day)
            [(publish_id,)] = self.session.execute(
                "select publish_id from ops.published where (asset, load_date) = (%s, %s)", [NAME, day]
            ).fetchall()
            number_ = None if value is None else Decimal(value)
            kpi_values.record(self.session, [Value(publish_id, "things", version, number_)])
        self.end_run()

    def end_run(self) -> None:
        pipeline = self.lab.pipeline()
        record_declared(self.session, pipeline)
        report_breached(self.session, pipeline)
        close_recovered(self.session, pipeline)

    def alerts(self) -> list[tuple[Any, ...]]:
        return self.session.execute(ALERTS).fetchall()

    def told(self) -> list[tuple[str, str]]:
        return [(kind, detail.partition("; it was")[0]) for kind, _, _, _, detail, _, _ in self.alerts()]


@pytest.fixture
def shop(shared: PipelineHarness) -> Iterator[Shop]:
    with shared.session() as session:
        clear_ledger(session)
        yield Shop(shared, session)


def test_a_value_below_is_one_incident_until_it_is_not_below_any_more(shop: Shop) -> None:
    shop.declare("{below: 5000}")
    shop.show(5000)
    assert shop.alerts() == []
    shop.show("4999.6", first=DAYS[1])
    first = f"{NAME}: Things is 5,000, below 5,000, on 2025-03-02"
    assert shop.alerts() == [("breached", DAYS[1], NAME, "things", first, 1, True)]
    shop.end_run()
    assert shop.alerts() == [("breached", DAYS[1], NAME, "things", first, 1, True)], "the same is not counted again"
    shop.show(4120, first=DAYS[2])
    then = f"{NAME}: Things is 4,120, below 5,000, on 2025-03-03"
    assert shop.alerts() == [("breached", DAYS[2], NAME, "things", then, 2, True)]
    shop.show(5001, first=DAYS[3])
    [breached, recovered] = shop.alerts()
    assert breached == ("breached", DAYS[2], NAME, "things", then, 2, False)
    assert (*recovered[:4], *recovered[5:]) == ("recovered", DAYS[3], NAME, "things", 1, False)
    [(opened,)] = shop.session.execute(
        "select to_char(opened_at, 'YYYY-MM-DD HH24:MI') from ops.alerts where kind = 'breached'"
    ).fetchall()
    assert recovered[4] == f"{NAME}: Things is 5,001 on 2025-03-04; it was breached since {opened} UTC"
    shop.show(1, first=DAYS[4])
    assert [row[0] for row in shop.alerts()] == ["breached", "recovered", "breached"]


def test_a_value_above(shop: Shop) -> None:
    shop.declare("{above: 10, below: 5}")
    shop.show(10, 5)
    assert shop.told() == []
    shop.show(11, first=DAYS[2])
    assert shop.told() == [("breached", f"{NAME}: Things is 11, above 10, on 2025-03-03")]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (70, None),
        (130, None),
        (69, "Things is 69, 31.0 % less than 100 on 2025-03-01, on 2025-03-03"),
        (131, "Things is 131, 31.0 % more than 100 on 2025-03-01, on 2025-03-03"),
    ],
)
def test_a_value_that_differs_too_much_from_the_one_that_it_is_compared_with(
    shop: Shop, value: int, said: str | None
) -> None:
    shop.declare("{change: {more_than: 0.3}}")
    shop.show(100, 100, value)
    assert shop.told() == ([("breached", f"{NAME}: {said}")] if said else [])


def test_a_change_from_nothing_and_one_that_cannot_be_compared(shop: Shop) -> None:
    shop.declare("{change: {more_than: 0.3}}")
    shop.show(1, 0)
    assert shop.told() == [], "there is nothing two days before"
    shop.show(None, 5, first=DAYS[2])
    assert shop.told() == [("breached", f"{NAME}: Things is 5, changed from 0 on 2025-03-02, on 2025-03-04")]
    shop.show(5, first=DAYS[4])
    assert [row[0] for row in shop.alerts()] == ["breached"], "what cannot be compared is as it was"


def test_it_must_last_for_so_many_load_dates_that_are_due(shop: Shop) -> None:
    shop.declare("{below: 5, for: 3 load_dates}")
    path = shop.lab.folder / "pipeline.yaml"
    text = path.read_text()
    path.write_text(f"{text}calendar: {{every: day, except: [2025-03-03]}}\n")
    try:
        shop.show(1, 1)
        assert shop.told() == [], "there are no three load_dates"
        shop.show(1, first=DAYS[3])
        assert shop.told() == [("breached", f"{NAME}: Things is 1, below 5, on 2025-03-04, for 3 load_dates")]
        shop.show(6, 1, 1, first=DAYS[4])
        assert [kind for kind, _ in shop.told()] == ["breached", "recovered"]
        publish(shop.session, NAME, day=DAYS[7])
        shop.show(1, first=DAYS[7])
        assert [kind for kind, _ in shop.told()] == ["breached", "recovered", "breached"]
    finally:
        path.write_text(text)


def test_nothing_is_opened_or_repeated_while_a_gate_holds_a_newer_load_date(shop: Shop) -> None:
    shop.declare("{below: 5}")
    shop.show(6)
    held = closed(shop.session, "raw.things", "held", "r", DAYS[3])
    shop.show(1, first=DAYS[1])
    assert shop.told() == [("held", "raw.things: ")]
    shop.session.execute("update ops.pipeline_runs set status = 'success' where id = %s", [held])
    shop.end_run()
    assert [kind for kind, _ in shop.told()] == ["held", "breached"]
    shop.session.execute("update ops.pipeline_runs set status = 'held' where id = %s", [held])
    shop.show(2, first=DAYS[2])
    assert shop.alerts()[1][5] == 1, "it is not repeated"
    shop.show(7, first=DAYS[2])
    assert [kind for kind, _ in shop.told()] == ["held", "breached", "recovered"], "it may end"


def test_restated_values_are_judged_again_and_a_correction_of_an_earlier_load_date_is_not(shop: Shop) -> None:
    shop.declare("{below: 5}")
    shop.show(6, 6)
    shop.show(1)
    assert shop.told() == []
    shop.show(4, first=DAYS[1])
    shop.show(6, first=DAYS[1])
    assert shop.told() == [
        ("breached", f"{NAME}: Things is 4, below 5, on 2025-03-02"),
        ("recovered", f"{NAME}: Things is 6 on 2025-03-02"),
    ]


def test_a_measure_without_a_value_or_of_another_version_stays_as_it_is(shop: Shop) -> None:
    shop.declare("{below: 5}")
    shop.show(None)
    assert shop.told() == []
    shop.show(1, None, first=DAYS[1])
    assert shop.told() == []
    shop.show(1, first=DAYS[3])
    assert [row[-1] for row in shop.alerts()] == [True]
    shop.declare("{below: 5}", "count(weight)")
    shop.show(9, first=DAYS[3])
    shop.declare("{below: 5}", "sum(weight)")
    shop.end_run()
    assert [row[0] for row in shop.alerts()] == ["breached", "recovered"]


def test_a_threshold_that_nobody_asks_for_any_more_ends_without_a_word(shop: Shop) -> None:
    shop.declare("{below: 5}")
    shop.show(1)
    shop.lab.file("marts/weighed.sql", MART)
    shop.end_run()
    assert [(row[0], row[-1]) for row in shop.alerts()] == [("breached", False)]


def test_a_load_date_that_is_whole_and_one_that_is_not_due_do_not_end_it(shop: Shop) -> None:
    shop.declare("{below: 5}")
    closed(shop.session, "s3.things", "success", "r0", DAY)
    publish(shop.session, "raw.things")
    shop.show(1)
    shop.end_run()
    assert [(row[0], row[-1]) for row in shop.alerts()] == [("breached", True)]
    with shop.session.transaction():
        incidents.await_turn(shop.session)
        incidents.close_of_table(shop.session, Relation.parse(NAME))
    assert [(row[0], row[-1]) for row in shop.alerts()] == [("breached", False)]
