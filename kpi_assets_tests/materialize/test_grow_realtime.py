"""The shipped stream, with the faults that no gate holds: growth over midnight gives what a replay gives."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize.grow import grow
from kpi_assets.model.names import BATCH
from kpi_assets.samples.realtime import bronze
from kpi_assets.samples.realtime.faults import FAULTS
from kpi_assets.samples.realtime.generator import messages
from kpi_assets.settings import default_sql_dir
from kpi_assets.stream import links
from kpi_assets_tests.pipeline_harness import PipelineHarness, failed

OPENING = datetime(2026, 3, 1, 22, tzinfo=timezone.utc)
DAYS = (date(2026, 3, 1), date(2026, 3, 2))
ROUNDS = 6


@pytest.fixture
def lab(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path, default_sql_dir() / "realtime") as lab:
        yield lab


@pytest.mark.nightly
def test_growth_over_midnight_gives_what_replays_give(lab: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "SWEEP_SECONDS", 0.0)
    context = lab.prepared()
    tables = context.pipeline.growing_tables
    prefixes = {str(table.stream): table.source.object for table in context.pipeline.stream_tables}
    faults = [*(FAULTS.keys() - {"broken-release", "repeats"}), "repeats=0.1"]
    found = bronze.until(messages(OPENING, 0.2, seed=7, faults=faults), OPENING + timedelta(hours=4))
    placed = [*bronze.packed(bronze.objects(bronze.events(found)), prefixes, dict.fromkeys(prefixes, "c"))]
    step = -(-len(placed) // ROUNDS)
    held: list[Any] = []
    for begin in range(0, len(placed), step):
        for key, body in placed[begin : begin + step]:
            lab.put(key, body)
        for day in DAYS:
            for table in tables:
                held += [each for each in grow(context, table, day) if each.held]
    assert [(str(each.relation), each.load_date, failed(each.results)) for each in held] == []
    shown = (
        "select asset, load_date, rows, checksum, manifest_hash from ops.published where asset = any(%s) order by 1, 2"
    )
    comparable = [str(table.relation) for table in tables if BATCH not in table.header.grain]
    counted = (
        "select asset, load_date, sum(records), sum(rows), sum(repeats), sum(quarantined) from ops.batches "
        "where superseded_at is null and asset = any(%s) group by 1, 2 order by 1, 2"
    )
    with lab.session() as session:
        of_growth = [session.execute(query, [comparable]).fetchall() for query in (shown, counted)]
    assert len(of_growth[0]) == 2 * len(comparable)
    repeats, quarantined = (sum(int(row[column]) for row in of_growth[1]) for column in (4, 5))
    assert (repeats > 0, quarantined > 0) == (True, True)

    for day in DAYS:
        for table in tables:
            assert not lab.build(str(table.relation), day).held

    with lab.session() as session:
        assert [session.execute(query, [comparable]).fetchall() for query in (shown, counted)] == of_growth
