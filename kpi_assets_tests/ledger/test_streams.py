"""What landing reports of its streams: positions of any length, the instant through which all is landed, closings."""

from dataclasses import replace
from datetime import date, datetime, timezone

from kpi_assets.ledger import streams
from kpi_assets.ledger.streams import Position
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness

NINE, TEN = (datetime(2026, 3, 1, hour, tzinfo=timezone.utc) for hour in (9, 10))
KINESIS = 49590338271490256608559692538361571095921575989136588898


def test_the_latest_report_of_each_partition_counts(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    first = [
        Position("clicks", 0, None, None, None),
        Position("clicks", 1, KINESIS, KINESIS + 1, NINE),
        Position("orders", 0, 7, 9, NINE, "The chain is cut."),
    ]
    later = Position("clicks", 0, 5, 5, TEN)
    with lab.session() as session:
        streams.write_positions(session, first)
        assert [replace(each, written_at=None) for each in streams.positions(session)] == first
        assert streams.through(session, "clicks") is None, "one partition has not said anything yet"
        streams.write_positions(session, [later])
        assert [replace(each, written_at=None) for each in streams.positions(session)] == [later, *first[1:]]
        assert streams.through(session, "clicks") == NINE
        assert streams.through(session, "orders") == NINE
        assert streams.through(session, "nothing") is None
    assert lab.rows("select count(*) from ops.stream_positions where written_at > now() - interval '1 minute'") == [
        (3,)
    ]


def test_a_load_date_is_closed_once(lab: PipelineHarness) -> None:
    lab.file("raw/things.sql", RAW_THINGS)
    lab.prepared()
    with lab.session() as session:
        for day in (2, 1, 2):
            streams.close(session, "clicks", date(2026, 3, day))
        found = streams.closings(session, "clicks")
        assert [(each.stream, each.load_date) for each in found] == [
            ("clicks", date(2026, 3, 1)),
            ("clicks", date(2026, 3, 2)),
        ]
        assert found[1].closed_at < found[0].closed_at
        assert streams.closings(session, "orders") == []
