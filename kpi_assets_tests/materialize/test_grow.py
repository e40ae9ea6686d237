"""A load_date grows by audited batches, and has the rows that one build of all its objects gives."""

import random
from datetime import datetime, timezone
from typing import Any

import pytest

from kpi_assets.ledger import batches
from kpi_assets.materialize import grow as growing
from kpi_assets.materialize.grow import Grown, grow
from kpi_assets.stream import links
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness, failed
from kpi_assets_tests.streams import RAW_CLICKS, StreamLab, click, write_files

TABLES = ("raw.clicks", "stg.clicks", "marts.clicks_by_type")
SHOWN = "select asset, load_date, rows, checksum, manifest_hash from ops.published where load_date = '{}' order by 1"


@pytest.fixture(autouse=True)
def sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call lists the objects, since tests do not wait for a minute."""
    monkeypatch.setattr(links, "SWEEP_SECONDS", 0.0)
    monkeypatch.setattr(links, "FULL_SECONDS", 0.0)


@pytest.fixture
def stream(lab: PipelineHarness) -> StreamLab:
    write_files(lab)
    return StreamLab(lab)


def grown(stream: StreamLab, *tables: str) -> list[Grown]:
    """Grow tables as a tick does."""
    context = stream.lab.prepared()
    return [each for name in tables or TABLES for each in grow(context, context.pipeline.table(name), stream.day)]


def published(stream: StreamLab) -> list[tuple[Any, ...]]:
    return stream.lab.rows(SHOWN.format(stream.day))


def totals(stream: StreamLab) -> dict[str, tuple[int, ...]]:
    """Return (rows, records, repeats, quarantined) of each growing table, from its last batch."""
    with stream.lab.session() as session:
        relations = {name: stream.lab.pipeline().table(name).relation for name in TABLES}
        found = {name: batches.last(session, relation, stream.day) for name, relation in relations.items()}
    return {
        name: (each.total_rows, each.total_records, each.total_repeats, each.total_quarantined)
        for name, each in found.items()
        if each
    }


def replayed(stream: StreamLab) -> None:
    """Build the whole load_date, as `kpi run` does."""
    for name in TABLES:
        assert not stream.lab.build(name, stream.day).held


def test_a_batch_goes_from_the_objects_to_the_rollup(stream: StreamLab) -> None:
    stream.land(0, [click(n) for n in range(10)])
    stream.land(1, [click(n) for n in range(10, 15)])
    raw, stg, rollup = grown(stream)
    assert (raw.batch, raw.objects, raw.records, raw.rows, raw.held) == (1, 2, 15, 15, False)
    assert (stg.batch, stg.records, stg.rows, stg.repeats) == (1, 15, 15, 0)
    assert rollup.rows == 3
    assert raw.through == datetime(2025, 3, 1, 0, 0, 0, 9000, timezone.utc)
    assert grown(stream) == []

    stream.land(0, [click(15, user_id=None, colour={"a": [1.50]}), click(0)])
    raw, stg, rollup = grown(stream)
    assert (raw.batch, raw.records, raw.rows) == (2, 2, 2)
    assert (stg.batch, stg.records, stg.rows, stg.repeats) == (2, 2, 1, 1)
    assert (rollup.batch, rollup.rows) == (2, 1)
    assert stream.lab.rows(
        "select user_id, amount::text, unexpected, tags, batch from raw.clicks where user_id is null "
        "and event_id = 'e000015'"
    ) == [(None, "15.25", {"colour": {"a": [1.5]}}, {"n": 15, "deep": [1, "zwei", None]}, 2)]
    assert stream.lab.rows(
        "select asset, rows, (inputs ->> 'raw.clicks') is null from ops.published order by asset"
    ) == [
        ("marts.clicks_by_type", 4, True),
        ("raw.clicks", 17, True),
        ("stg.clicks", 16, False),
    ]


def land_at_random(stream: StreamLab, seed: int, objects: int = 24) -> None:
    """Land objects of three partitions with repeats, poison and unknown fields; a key stays in its partition."""
    chosen = random.Random(seed)
    for number in range(objects):
        partition = number % 3
        values: list[Any] = []
        for _ in range(chosen.randrange(1, 40)):
            identity = chosen.randrange(200) * 3 + partition
            kind = chosen.random()
            if kind < 0.02:
                values.append(b"no json \xff")
            elif kind < 0.04:
                values.append(click(identity, amount="much"))
            elif kind < 0.06:
                values.append(click(identity, sudden=kind))
            else:
                values.append(click(identity))
        stream.land(partition, values)


@pytest.mark.parametrize("at_once", [1, 5, 24])
def test_growth_gives_what_a_replay_gives(lab: PipelineHarness, at_once: int) -> None:
    write_files(lab)
    lab.file("raw/clicks.sql", RAW_CLICKS.replace("share: 0.01", "share: 0.2"))
    stream = StreamLab(lab)
    whole = StreamLab(lab, NEXT)
    bodies: list[int] = []
    chosen = random.Random(3)
    for _ in range(24 // at_once):
        land_at_random(stream, chosen.randrange(1000), at_once)
        bodies.append(len(grown(stream)))
    assert bodies == [3] * (24 // at_once)
    before, of_growth = published(stream), totals(stream)

    replayed(stream)

    assert whole.day == NEXT
    assert published(stream)[1:] == before[1:]  # the grain of the rollup names the batch
    after = totals(stream)
    assert {name: after[name] for name in TABLES[:2]} == {name: of_growth[name] for name in TABLES[:2]}
    assert after["raw.clicks"][3] > 0
    assert after["stg.clicks"][2] > 0
    assert lab.rows("select sum(events)::bigint from marts.clicks_by_type") == [(after["stg.clicks"][0],)]
