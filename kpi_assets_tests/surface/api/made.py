"""A KPI as read/ would find it, made by hand: what the API makes of it is then known to the last digit."""

from collections.abc import Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from kpi_assets.model.pipeline import Pipeline
from kpi_assets.model.tree import load_pipelines
from kpi_assets.read.kpis import KpiState, Point, Restatement, Stop
from kpi_assets_tests.pipeline_harness import RAW_THINGS
from kpi_assets_tests.read.kpi_shop import KPI
from kpi_assets_tests.two_source_pipeline import RAW_LABELS, WEIGHED

YAML = """\
description: A shop of one test.
bucket: kpi-shop
start_date: 2025-01-01
layers: {raw: raw, marts: marts}
readers: [marts]
"""
DAY, BEFORE, HELD = date(2025, 3, 2), date(2025, 3, 1), date(2025, 3, 3)
NOW = datetime(2025, 3, 3, 12, tzinfo=timezone.utc)


def pipeline(folder: Path) -> Pipeline:
    """Return the pipeline `shop`, whose KPI is marts.heavy."""
    files = {
        "pipeline.yaml": YAML,
        "raw/things.sql": RAW_THINGS,
        "raw/labels.sql": RAW_LABELS,
        "marts/weighed.sql": WEIGHED,
        "marts/heavy.sql": KPI,
    }
    for name, text in files.items():
        path = folder / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return load_pipelines(folder)["shop"]


def at(hour: int, minute: int = 0) -> datetime:
    """Return a time of 3 March."""
    return datetime(2025, 3, 3, hour, minute, tzinfo=timezone.utc)


def values(kilograms: str | None, labels: str = "3") -> Mapping[str, Decimal | None]:
    """Return the values of both measures."""
    return {"kilograms": Decimal(kilograms) if kilograms else None, "labels": Decimal(labels)}


def point(day: date, publish_id: int, found: Mapping[str, Decimal | None], **words: Any) -> Point:
    """Return a load_date that is shown."""
    return Point(
        load_date=day,
        publish_id=publish_id,
        build_id=publish_id + 100,
        run_id="run",
        published_at=at(8),
        rows=3,
        code_version="0123456789abcdef",
        values=found,
        checks=4,
        warnings=words.pop("warnings", 0),
        **words,
    )


def restated(day: date, publish_id: int, was: str, now: str, hour: int) -> Restatement:
    """Return that kilograms were shown otherwise before."""
    return Restatement(day, publish_id, publish_id - 1, at(hour), "its SQL changed", values(was), values(now))


def state(folder: Path, *points: Point, stops: tuple[Stop, ...] = (), **words: Any) -> KpiState:
    """Return the KPI with these load_dates."""
    found = pipeline(folder)
    table = found.table("marts.heavy")
    assert table.header.kpi
    return KpiState(
        found, table, points, stops, None, late=False, measures=table.header.kpi.measures, **{"now": NOW, **words}
    )
