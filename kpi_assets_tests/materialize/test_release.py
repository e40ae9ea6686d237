"""`release: together`: readers are shown a load_date once all of its KPIs are published, and all of them at once."""

import shutil
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.errors import UserError
from kpi_assets.ledger import kpis, releases
from kpi_assets.materialize.prepare import prepare
from kpi_assets.model.names import Relation
from kpi_assets.model.strict_yaml import ModelError
from kpi_assets.model.tree import load_pipelines
from kpi_assets.read import said
from kpi_assets.read.kpis import KpiState, read_kpis
from kpi_assets.read.newest import newest_load_date
from kpi_assets.read.rows import read_rows
from kpi_assets.settings import settings
from kpi_assets.warehouse.connection import LEDGER_ALONE, connect, one_snapshot
from kpi_assets.warehouse.provision import READER
from kpi_assets_tests.pipeline_harness import DAY, NEXT, PipelineHarness
from kpi_assets_tests.surface.server import serving

KPI = """\
/* @asset
description: A number.
owner: team:tests
grain: [n]
kpi:
  title: {title}
  chart: {{x: n, y: number}}
  measures: {{number: {{title: Number, value: sum(number), better: up}}}}
columns:
  n: {{type: integer, description: Number of the row.}}
  number: {{type: integer, description: Its number.}}
checks: {{range: {{number: [0, 99]}}}}
@end */
select n, number from (values (1, {number})) as v (n, number)
"""
NAMES = ("marts.apples", "marts.pears", "marts.plums")
AFTER = NEXT + timedelta(days=1)
LATEST = " union all ".join(f"select '{name}', load_date, number from {name}_latest" for name in NAMES)


@pytest.fixture
def lab(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    with PipelineHarness.open(stack, tmp_path) as made:
        for name in NAMES:
            write(made, name)
        yield made


def write(lab: PipelineHarness, name: str, number: int = 1) -> None:
    lab.file(f"{name.replace('.', '/')}.sql", KPI.format(title=name.partition(".")[2].title(), number=number))


def together(lab: PipelineHarness, *, word: bool = True) -> None:
    """Write the word, or take it out, and prepare the database as the next run does."""
    config = lab.folder / "pipeline.yaml"
    text = config.read_text().replace("release: together\n", "")
    config.write_text(text + "release: together\n" * word)
    prepare(lab.pipeline(), lab.server)


def publish(lab: PipelineHarness, day: date, *names: str) -> None:
    for name in names or NAMES:
        assert not lab.build(name, day).held


def shown(lab: PipelineHarness) -> list[date]:
    """Return the load_dates of the `_latest` views, which are those that pages and other tools say."""
    days = [day for (day,) in lab.rows(" union all ".join(f"select load_date from {name}_latest" for name in NAMES))]
    states = kpi_states(lab)
    assert [kpi.latest.load_date for kpi in states if kpi.latest] == days
    with lab.session() as session:
        pipeline = lab.pipeline()
        assert newest_load_date(session, pipeline) == max(days)
        read = [read_rows(session, pipeline, pipeline.table(name), place="here").load_date for name in NAMES]
        assert kpis.latest(session, [Relation.parse(name) for name in NAMES]) == {
            Relation.parse(name): day for name, day in zip(NAMES, days, strict=True)
        }
    assert read == days
    tiles = dict(lab.rows("select kpi, max(load_date) from ops.kpi_tiles group by kpi"))
    assert [tiles[name] for name in NAMES] == days
    assert [day for (day,) in lab.rows("select load_date from ops.kpi_trust order by kpi")] == days
    assert [kpi.gate for kpi in states] == [gate for (gate,) in lab.rows("select gate from ops.kpi_trust order by kpi")]
    return days


def kpi_states(lab: PipelineHarness, as_of: datetime | None = None) -> list[KpiState]:
    now = datetime.now(timezone.utc)
    with (
        connect(lab.server, lab.name, "test", role=READER, read_only=True) as reader,
        one_snapshot(reader, LEDGER_ALONE),
    ):
        return read_kpis(reader, lab.pipeline(), now=now, as_of=as_of)


def recorded(lab: PipelineHarness) -> list[tuple[Any, ...]]:
    return lab.rows("select load_date, publishes, ended_at is not null from ops.releases order by load_date")


def test_a_load_date_is_shown_once_all_of_its_kpis_are_published(lab: PipelineHarness) -> None:
    together(lab)
    publish(lab, DAY)
    assert shown(lab) == [DAY, DAY, DAY]
    before = datetime.now(timezone.utc)
    publish(lab, NEXT, "marts.apples", "marts.plums")
    assert shown(lab) == [DAY, DAY, DAY]
    publish(lab, NEXT, "marts.pears")
    assert shown(lab) == [NEXT, NEXT, NEXT]
    ids = dict(lab.rows(f"select asset, publish_id from ops.published where load_date = '{NEXT}'"))
    assert recorded(lab)[1] == (NEXT, ids, False)
    assert [kpi.latest.load_date for kpi in kpi_states(lab, before) if kpi.latest] == [DAY, DAY, DAY]


def test_one_that_is_held_keeps_all_at_the_day_before_and_they_say_so(lab: PipelineHarness) -> None:
    together(lab)
    publish(lab, DAY)
    write(lab, "marts.pears", number=100)
    publish(lab, NEXT, "marts.apples", "marts.plums")
    assert lab.build("marts.pears", NEXT).held
    assert shown(lab) == [DAY, DAY, DAY]
    apples, pears, plums = kpi_states(lab)
    assert [kpi.gate for kpi in (apples, pears, plums)] == ["waiting", "held", "waiting"]
    assert apples.stop is not None
    stop = apples.stop
    assert (stop.load_date, stop.asset, stop.kept) == (NEXT, "marts.pears", None)
    assert lab.rows("select stopped_load_date, stopped_at, stopped_since from ops.kpi_trust order by kpi limit 1") == [
        (stop.load_date, stop.asset, stop.since)
    ]
    assert said.headline(apples.stop) == "Sun 2 Mar waits for the other KPIs."
    assert said.reasons(apples.pipeline, apples.stop) == ["Pears is not published yet, and all KPIs are shown together"]
    assert said.gate(apples) == "Sat 1 Mar; Sun 2 Mar waits for the other KPIs"
    assert [(banner.state, len(banner.kpis)) for banner in said.banners([apples, pears, plums])] == [
        ("held", 1),
        ("waiting", 2),
    ]
    with serving(settings(), {lab.name: lab.pipeline()}) as client:
        gate = client.json(f"/api/v1/kpis/{lab.name}/apples")["trust"]["gate"]
        assert (gate["state"], gate["load_date"], gate["table"]) == ("waiting", NEXT.isoformat(), "marts.pears")
        [stopped] = client.json(f"/api/v1/kpis/{lab.name}/apples/series?measure=number")["not_published"]
        assert (stopped["load_date"], stopped["state"]) == (NEXT.isoformat(), "waiting")
        for page in (f"/kpi/{lab.name}/apples", f"/pipelines/{lab.name}"):
            assert "Sun 2 Mar waits for the other KPIs." in client.get(page).data.decode()
        write(lab, "marts.pears", number=5)
        publish(lab, NEXT, "marts.pears")
        assert client.json(f"/api/v1/kpis/{lab.name}/apples")["trust"]["gate"]["state"] == "published"
    assert shown(lab) == [NEXT, NEXT, NEXT]
    assert {kpi.gate for kpi in kpi_states(lab)} == {"published"}


def test_a_day_that_is_shown_is_restated_at_once_and_an_older_one_comes_when_it_comes(lab: PipelineHarness) -> None:
    together(lab)
    publish(lab, DAY, "marts.apples", "marts.plums")
    publish(lab, NEXT)
    write(lab, "marts.apples", number=7)
    publish(lab, NEXT, "marts.apples")
    assert lab.rows("select number from marts.apples_latest") == [(7,)]
    publish(lab, DAY, "marts.pears")
    assert [day for day, _, _ in recorded(lab)] == [DAY, NEXT]
    assert shown(lab) == [NEXT, NEXT, NEXT]


def test_the_word_is_given_and_taken_away(lab: PipelineHarness) -> None:
    publish(lab, DAY)
    publish(lab, NEXT, "marts.apples")
    assert shown(lab) == [NEXT, DAY, DAY]
    together(lab)
    assert [day for day, _, _ in recorded(lab)] == [DAY]
    assert shown(lab) == [DAY, DAY, DAY]
    together(lab)
    assert len(recorded(lab)) == 1
    together(lab, word=False)
    assert shown(lab) == [NEXT, DAY, DAY]
    assert [ended for *_, ended in recorded(lab)] == [True]
    publish(lab, NEXT, "marts.pears")
    assert shown(lab) == [NEXT, NEXT, DAY]
    together(lab)
    assert shown(lab) == [DAY, DAY, DAY]
    (lab.folder / "marts/plums.sql").unlink()
    prepare(lab.pipeline(), lab.server)
    with lab.session() as session:
        assert releases.newest(session) == NEXT, "what a KPI lacks of which the file is gone holds up nobody"


@pytest.mark.nightly
def test_no_read_sees_two_load_dates_while_the_kpis_are_published(lab: PipelineHarness) -> None:
    together(lab)
    publish(lab, DAY)
    over = threading.Event()
    mixed: list[list[tuple[Any, ...]]] = []
    seen: list[date] = []

    def read(*, in_one: bool) -> None:
        with connect(lab.server, lab.name, "test", role=READER, read_only=True) as reader:
            while not over.is_set():
                if in_one:
                    rows = reader.execute(LATEST.encode()).fetchall()
                else:
                    with one_snapshot(reader, LEDGER_ALONE):
                        rows = [row for part in LATEST.split(" union all ") for row in reader.execute(part.encode())]
                seen.append(rows[0][1])
                if len(rows) != len(NAMES) or len({day for _, day, _ in rows}) != 1:
                    mixed.append(rows)

    readers = [threading.Thread(target=read, kwargs={"in_one": number % 2 == 0}) for number in range(4)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 6):
            publish(lab, DAY + timedelta(days=number))
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert mixed == []
    assert len(set(seen)) >= 3 and seen[-1] >= NEXT


def test_publishes_at_the_same_time_release_the_load_date(lab: PipelineHarness) -> None:
    together(lab)
    publish(lab, DAY)
    builds = [threading.Thread(target=publish, args=(lab, NEXT, name)) for name in NAMES]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert shown(lab) == [NEXT, NEXT, NEXT]


def test_a_load_date_that_is_not_shown_yet_can_be_asked_for(lab: PipelineHarness) -> None:
    together(lab)
    publish(lab, DAY)
    publish(lab, NEXT, "marts.apples")
    pipeline = lab.pipeline()
    with lab.session() as session:
        assert read_rows(session, pipeline, pipeline.table("marts.apples"), NEXT, place="here").rows == [("1", "1")]
        with pytest.raises(UserError, match="is not published in here"):
            read_rows(session, pipeline, pipeline.table("marts.pears"), NEXT, place="here")


def test_kpis_that_grow_are_refused(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).resolve().parents[2] / "sql/realtime", tmp_path / "realtime")
    config = tmp_path / "realtime/pipeline.yaml"
    config.write_text(config.read_text() + "release: together\n")
    with pytest.raises(ModelError, match=r"release: together: marts\.\w+ grows all day, and is shown at once: take"):
        load_pipelines(tmp_path)


def test_a_word_that_is_not_known_is_refused(lab: PipelineHarness) -> None:
    config = lab.folder / "pipeline.yaml"
    config.write_text(config.read_text() + "release: apart\n")
    with pytest.raises(ModelError, match="release"):
        lab.pipeline()
