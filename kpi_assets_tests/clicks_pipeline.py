"""A pipeline of one stream: clicks, each click once, clicks by minute, and two KPIs of the last of these.

Its objects are laid into the store as `kpi stream` lands them. It stands for what landing reports, too.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

from kpi_assets.fixtures.database import clear_ledger
from kpi_assets.ledger import streams
from kpi_assets.stream.frame import Frame, encode, key_of
from kpi_assets.stream.reader import Event
from kpi_assets_tests.pipeline_harness import DAY, PipelineHarness

PIPELINE_YAML = """\
description: A stream of one test.
bucket: {bucket}
start_date: 2025-01-01
layers: {{raw: raw, stg: staging, marts: marts}}
readers: [marts]
live: {{tick_seconds: 0.1, stay_minutes: 1, close_after_minutes: 10}}
"""
RAW_CLICKS = """\
/* @asset
description: Clicks as the stream delivered them.
owner: team:tests
grain: [stream_partition, stream_position]
storage: partitions
source: {stream: clicks, object: "raw/clicks/load_date={load_date}/", format: ndjson}
quarantine: {share: 0.5}
columns:
  event_id: {type: text, description: Event.}
  event_type: {type: text, description: What happened.}
  occurred_at: {type: timestamp with time zone, description: When.}
checks:
  not_null: [event_id]
@end */
"""
CLICKS = """\
/* @asset
description: Each click once.
owner: team:tests
grain: [event_id]
storage: partitions
repeats: {keep: first, load_dates: 2}
columns:
  event_id: {type: text, description: Event.}
  event_type: {type: text, description: What happened.}
  occurred_at: {type: timestamp with time zone, description: When.}
  stream_partition: {type: integer, description: Partition.}
  stream_position: {type: numeric, description: Position.}
checks:
  accepted_values: {event_type: [view, cart]}
@end */
select event_id, event_type, occurred_at, stream_partition, stream_position
from raw.clicks
where load_date = %(load_date)s and batch = %(batch)s
"""
BY_MINUTE = """\
/* @asset
description: Clicks by minute, of one batch.
owner: team:tests
grain: [batch, minute]
storage: partitions
columns:
  minute: {type: timestamp with time zone, description: Minute.}
  clicks: {type: bigint, description: Clicks.}
@end */
select date_trunc('minute', occurred_at, 'UTC') as minute, count(*) as clicks
from stg.clicks
where load_date = %(load_date)s and batch = %(batch)s
group by 1
"""
KPI = """\
/* @asset
description: Clicks by minute.
owner: team:tests
grain: [minute]
kpi:
  chart: {x: minute, y: clicks}
  measures: {clicks: {title: Clicks, value: sum(clicks), unit: clicks, better: up}}
columns:
  minute: {type: timestamp with time zone, description: Minute.}
  clicks: {type: bigint, description: Clicks.}
@end */
select minute, sum(clicks)::bigint as clicks
from stg.clicks_by_minute
where load_date = %(load_date)s
group by minute
"""
TOTAL = """\
/* @asset
description: Clicks of the day.
owner: team:tests
grain: [clicks]
kpi:
  chart: {x: clicks, y: clicks}
columns:
  clicks: {type: numeric, description: Clicks.}
@end */
select sum(clicks) as clicks
from marts.kpi_clicks
where load_date = %(load_date)s
"""
TABLES = {
    "raw/clicks.sql": RAW_CLICKS,
    "stg/clicks.sql": CLICKS,
    "stg/clicks_by_minute.sql": BY_MINUTE,
    "marts/kpi_clicks.sql": KPI,
    "marts/kpi_total.sql": TOTAL,
}
DIGITS = 16


class ClicksPipeline(PipelineHarness):
    """The pipeline; tests of one module share its database, and each has load_dates and a ledger of its own.

    The load_dates are those from `day` on.
    """

    day = DAY

    def stock(self) -> "ClicksPipeline":
        """Write the files as in this module, empty the ledger, and advance to load_dates that no test has used."""
        for path in self.folder.rglob("*.sql"):
            path.unlink()
        for name, text in TABLES.items():
            self.file(name, text)
        (self.folder / "pipeline.yaml").write_text(PIPELINE_YAML.format(bucket=self.bucket))
        self.prepared()
        with self.session() as session:
            clear_ledger(session)
        self.day += timedelta(days=4)
        self.next_position: dict[tuple[date, int], int] = {}
        return self

    def land(self, *event_ids: str, day: date | None = None, partition: int = 0, kind: str = "view") -> str:
        """Land one object with a click for each id, as the next link of its partition; return its key."""
        values = [self.event(event_id, day or self.day, kind) for event_id in event_ids]
        return self.land_values(values, day=day, partition=partition)

    def event(self, event_id: str, day: date, kind: str = "view") -> bytes:
        """Return a click at noon as bytes."""
        said = {"event_id": event_id, "event_type": kind, "occurred_at": f"{day} 12:00:00+00"}
        return json.dumps(said).encode()

    def land_values(self, values: Sequence[bytes], *, day: date | None = None, partition: int = 0) -> str:
        """Land one object with these events."""
        load_date = day or self.day
        start = self.next_position.get((load_date, partition), 0)
        at = int(datetime.combine(load_date, time(12), timezone.utc).timestamp() * 1000)
        events = [Event(partition, start + n, at + start + n, None, value) for n, value in enumerate(values)]
        self.next_position[load_date, partition] = start + len(values)
        frame = Frame("clicks", partition, start, start + len(values), len(values), "1" * 16)
        key = key_of(f"raw/clicks/load_date={load_date}/", 12, partition, start, DIGITS)
        self.put(key, encode(frame, events))
        return key

    def report(self, through: datetime, lag: int = 0, partition: int = 0) -> None:
        """Report as `kpi stream` does how far the stream is landed."""
        end = self.next_position.get((self.day, partition), 0)
        with self.session() as session:
            streams.write_positions(session, [streams.Position("clicks", partition, end, end + lag, through)])

    def close(self, day: date | None = None) -> None:
        """Close a load_date as `kpi stream` does."""
        with self.session() as session:
            streams.close(session, "clicks", day or self.day)

    def total(self, day: date | None = None) -> Any:
        """Return the number of clicks that readers see."""
        rows = self.rows(f"select clicks from marts.kpi_total where load_date = '{day or self.day}'")
        return rows[0][0] if rows else None
