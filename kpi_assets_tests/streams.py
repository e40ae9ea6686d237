"""A pipeline with a stream, whose objects a test lands itself: chains of links, in as many objects as it likes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from kpi_assets.stream.frame import Frame, encode, key_of
from kpi_assets.stream.reader import Event
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

RAW_CLICKS = """\
/* @asset
description: Click events as the stream delivered them.
owner: team:tests
grain: [stream_partition, stream_position]
storage: partitions
source: {stream: clicks, object: "raw/clicks/load_date={load_date}/", format: ndjson}
quarantine: {share: 0.01}
columns:
  event_id: {type: text, description: Identity of the event.}
  event_type: {type: text, description: What happened.}
  user_id: {type: bigint, description: NULL of a visitor who is not logged in.}
  occurred_at: {type: timestamp with time zone, description: The clock of the producer.}
  amount: {type: "numeric(10,2)", description: Price.}
  tags: {type: jsonb, description: Anything.}
checks:
  not_null: [event_id]
@end */
"""
STG_CLICKS = """\
/* @asset
description: Each click once.
owner: team:tests
grain: [event_id]
storage: partitions
repeats: {keep: first, load_dates: 2}
columns:
  event_id: {type: text, description: Identity of the event.}
  event_type: {type: text, description: What happened.}
  user_id: {type: bigint, description: NULL of a visitor who is not logged in.}
  received_at: {type: timestamp with time zone, description: When the broker took it.}
  stream_partition: {type: integer, description: Partition.}
  stream_position: {type: numeric, description: Position.}
checks:
  not_null: [event_type]
  reconcile: {source: raw.clicks}
@end */
select
    event_id,
    event_type,
    user_id,
    received_at,
    stream_partition,
    stream_position
from raw.clicks
where load_date = %(load_date)s and batch = %(batch)s
"""
BY_TYPE = """\
/* @asset
description: Clicks of a batch by what happened.
owner: team:tests
grain: [batch, event_type]
storage: partitions
columns:
  event_type: {type: text, description: What happened.}
  events: {type: bigint, description: Number of events.}
checks:
  reconcile: {source: stg.clicks, counted: sum(events)}
@end */
select
    event_type,
    count(*) as events
from stg.clicks
where load_date = %(load_date)s and batch = %(batch)s
group by event_type
"""
KPI = """\
/* @asset
description: Clicks by what happened.
owner: team:tests
grain: [event_type]
kpi: {chart: {x: event_type, y: events}}
columns:
  event_type: {type: text, description: What happened.}
  events: {type: numeric, description: Number of events.}
@end */
select
    event_type,
    sum(events) as events
from marts.clicks_by_type
where load_date = %(load_date)s
group by event_type
"""
DIGITS = 16


def click(number: int, **changes: Any) -> dict[str, Any]:
    """Return an event whose identity rises with its number."""
    event = {
        "event_id": f"e{number:06}",
        "event_type": ("page_view", "add_to_cart", "checkout")[number % 3],
        "user_id": number % 50 or None,
        "occurred_at": f"2025-03-01T00:00:{number % 60:02}.5Z",
        "amount": f"{number}.25",
        "tags": {"n": number, "deep": [1, "zwei", None]},
    }
    return {**event, **changes}


@dataclass
class StreamLab:
    """The objects of one stream of a pipeline of a test."""

    lab: PipelineHarness
    day: date = DAY
    stream: str = "clicks"
    ends: dict[int, int] = field(default_factory=dict)  # partition -> next position
    hour: int = 0

    @property
    def prefix(self) -> str:
        """The folder of the load_date."""
        return f"raw/{self.stream}/load_date={self.day}/"

    def key(self, partition: int, start: int) -> str:
        """Return the key of an object in the current hour."""
        return key_of(self.prefix, self.hour, partition, start, DIGITS)

    def land(
        self, partition: int, values: Sequence[Mapping[str, Any] | bytes], *, put: bool = True
    ) -> tuple[str, bytes]:
        """Land events as the next object of a partition; return its key and bytes. It is not `put` for a gap."""
        start = self.ends.get(partition, 0)
        since = datetime(self.day.year, self.day.month, self.day.day, self.hour, tzinfo=timezone.utc)
        events = [
            Event(
                partition,
                start + number,
                int((since + timedelta(milliseconds=start + number)).timestamp() * 1000),
                None,
                value if isinstance(value, bytes) else json.dumps(value).encode(),
            )
            for number, value in enumerate(values)
        ]
        frame = Frame(self.stream, partition, start, start + len(events), len(events), "c")
        key, body = self.key(partition, start), encode(frame, events)
        self.ends[partition] = frame.next
        if put:
            self.lab.put(key, body)
        return key, body

    def next_day(self, day: date) -> "StreamLab":
        """Return the same stream on another load_date, whose chains go on."""
        return StreamLab(self.lab, day, self.stream, dict(self.ends))


def write_files(lab: PipelineHarness, names: Iterable[str] = ("raw", "stg", "by_type", "kpi")) -> None:
    """Write the files of the pipeline."""
    files = {
        "raw": ("raw/clicks.sql", RAW_CLICKS),
        "stg": ("stg/clicks.sql", STG_CLICKS),
        "by_type": ("marts/clicks_by_type.sql", BY_TYPE),
        "kpi": ("marts/kpi_clicks.sql", KPI),
    }
    for name in names:
        lab.file(*files[name])
