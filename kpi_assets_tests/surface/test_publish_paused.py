"""A publish that is paused before it commits: each answer, and what each command prints, is of one publish."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from kpi_assets.cli import ask, show
from kpi_assets.embedded.stack import Stack
from kpi_assets.materialize import publish
from kpi_assets.read.ask import answer, prepare_question
from kpi_assets.read.diff import read_difference
from kpi_assets.read.sides import Published
from kpi_assets.read.trace import trace_rows
from kpi_assets.settings import settings
from kpi_assets.surface.api import rows as rows_of_api
from kpi_assets.warehouse import reader_locks
from kpi_assets.warehouse.connection import connect
from kpi_assets_tests.machine import PATIENCE
from kpi_assets_tests.paused import pause_after
from kpi_assets_tests.read.kpi_shop import KPI, KpiShop
from kpi_assets_tests.surface.server import serving

HEAVY = KPI.replace("grain:", "storage: partitions\ngrain:")
QUESTION = """\
/* @question
title: How much do things weigh?
description: The weight of things.
owner: team:tests
columns:
  label: {title: Label}
  weight: {title: Weight}
@end */
select label, weight from marts.heavy where load_date = %(load_date)s order by label
"""
LABELS = b"thing_id,label\n1,heavy\n2,light\n"
OLD = {"heavy": "20.50", "light": "0.10"}
NEW = {"heavy": "37.50"}
WAITS = """
select l.mode, split_part(a.query, ' ', 1) from pg_locks as l inner join pg_stat_activity as a on a.pid = l.pid
where l.relation = 'marts.heavy'::regclass and not l.granted
"""
READER = ("AccessShareLock", "lock")  # it locks before it reads
SWAP = ("AccessExclusiveLock", "lock")
Told = tuple[int, dict[str, str]]  # the publish that is named, and the weights that are shown


@pytest.fixture(scope="module")
def opened(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KpiShop]:
    with KpiShop.open(stack, tmp_path_factory.mktemp("shop")) as made:
        assert isinstance(made, KpiShop)
        yield made


@pytest.fixture
def shop(opened: KpiShop) -> KpiShop:
    """The KPI of a load_date is published with the OLD weights, and the NEW ones are those of its next build."""
    opened.stock()
    opened.file("marts/heavy.sql", HEAVY)
    opened.file("questions/weights.sql", QUESTION)
    opened.prepared()
    land(opened, b"1,anvil,20.50\n2,feather,0.10\n")
    assert set(opened.run().values()) == {"published"}
    land(opened, b"1,anvil,37.50\n")
    for name in ("raw.things", "raw.labels", "marts.weighed"):
        assert not opened.build(name, opened.day).held
    return opened


def land(shop: KpiShop, things: bytes) -> None:
    shop.land(things=b"thing_id,name,weight\n" + things, labels=LABELS)


def current(shop: KpiShop) -> tuple[int, str]:
    """Return the publish of the KPI, and its checksum."""
    [found] = shop.rows(
        f"select publish_id, checksum from ops.published where asset = 'marts.heavy' and load_date = '{shop.day}'"
    )
    return int(found[0]), str(found[1])


def asked(shop: KpiShop, path: str) -> Any:
    with serving(settings(), {shop.name: shop.pipeline()}) as client:
        found = client.get(path.format(name=shop.name, day=shop.day))
        assert found.status == 200, found.data
        return found


def weights(found: Any) -> dict[str, str]:
    return {row["label"]: row["weight"] for row in json.loads(found.data, parse_float=str)["rows"]}


def by_rows(shop: KpiShop) -> Told:
    found = asked(shop, "/api/v1/kpis/{name}/heavy/rows?load_date={day}")
    assert found.json()["trust"]["publish_id"] == int(found.headers["X-Publish-Id"])
    return int(found.headers["X-Publish-Id"]), weights(found)


def by_csv(shop: KpiShop) -> Told:
    found = asked(shop, "/api/v1/kpis/{name}/heavy/rows?load_date={day}&format=csv")
    lines = csv.DictReader(io.StringIO(found.data.decode()))
    return int(found.headers["X-Publish-Id"]), {each["label"]: each["weight"] for each in lines}


def by_question(shop: KpiShop) -> Told:
    found = asked(shop, "/api/v1/questions/{name}/weights?load_date={day}")
    [made_of] = found.json()["made_of"]
    return made_of["publish_id"], weights(found)


def by_page(shop: KpiShop) -> Told:
    text = asked(shop, "/kpi/{name}/heavy?load_date={day}").data.decode()
    [publish_id] = {each.publish_id for each in shop.kpi().points if each.load_date == shop.day}
    assert f"publish {publish_id} " in text, "where it comes from"
    return publish_id, OLD if "light" in text else NEW


def by_page_of_question(shop: KpiShop) -> Told:
    text = asked(shop, "/questions/{name}/weights?load_date={day}").data.decode()
    publish_id, _ = current(shop)  # the page names no number
    return publish_id, OLD if "light" in text else NEW


def by_ask(shop: KpiShop) -> Told:
    work, pipeline = work_of(shop), shop.pipeline()
    question = pipeline.question("weights")
    with ask._snapshot(work, question) as session:
        found = prepare_question(session, pipeline, question, {}, shop.day)
        made = answer(session, pipeline, found)
    [read] = found.read
    assert read.publish_id
    return read.publish_id, {str(label): str(weight) for label, weight in made.rows}


def by_trace(shop: KpiShop) -> Told:
    pipeline = shop.pipeline()
    with connect(shop.server, shop.name, "test", read_only=True) as session:
        step = trace_rows(session, pipeline, pipeline.table("marts.heavy"), {}, shop.day, place="the test")
    [of] = step.published.values()
    return of.publish_id, {str(row.values["label"]): str(row.values["weight"]) for row in step.rows}


def by_diff(shop: KpiShop) -> Told:
    pipeline, before = shop.pipeline(), shop.day - timedelta(days=1)
    with connect(shop.server, shop.name, "test", read_only=True) as session:
        table = pipeline.table("marts.heavy")
        found = read_difference(session, pipeline, table, Published(before), Published(shop.day), place="the test")
    publish_id, checksum = current(shop)
    assert found.after.checksum == checksum
    return publish_id, {str(each.key[0]): str(each.columns["weight"][1]) for each in found.changes}


def work_of(shop: KpiShop) -> Any:
    work = SimpleNamespace(pipeline=shop.pipeline(), server=shop.server, place="the test")
    work.readable = lambda: work
    return work


WAYS: dict[str, Callable[[KpiShop], Told]] = {
    "rows": by_rows,
    "csv": by_csv,
    "question": by_question,
    "page": by_page,
    "page of a question": by_page_of_question,
    "kpi ask": by_ask,
    "kpi trace": by_trace,
    "kpi diff": by_diff,
}


def wait_until_it_waits(shop: KpiShop, what: tuple[str, str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := shop.rows(WAITS)) != [what]:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_asked_while_a_partition_is_swapped_is_of_the_publish_that_it_names(
    shop: KpiShop, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "kpi diff":
        shop.land(shop.day - timedelta(days=1), b"thing_id,name,weight\n1,anvil,1.00\n", LABELS)
        assert set(shop.run(shop.day - timedelta(days=1)).values()) == {"published"}
    old, _ = current(shop)
    pause = pause_after(monkeypatch, publish, "release")
    with ThreadPoolExecutor(2) as pool:
        build = pool.submit(shop.build, "marts.heavy", shop.day)
        try:
            pause.wait()
            found = pool.submit(WAYS[way], shop)
            wait_until_it_waits(shop, READER)
        finally:
            pause.over.set()
        publish_id, shown = found.result(timeout=PATIENCE)
        assert build.result(timeout=PATIENCE).rows == 1
    new, _ = current(shop)
    assert new > old
    assert (publish_id, shown) == (new, NEW)


def test_rows_that_are_being_read_are_swapped_once_they_are_sent(
    shop: KpiShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = current(shop)
    publishing = pause_after(monkeypatch, publish.measures, "of_candidate")
    answering = pause_after(monkeypatch, rows_of_api, "day_of")  # it has read the ledger, and no rows yet
    with ThreadPoolExecutor(2) as pool:
        build = pool.submit(shop.build, "marts.heavy", shop.day)
        try:
            publishing.wait()
            found = pool.submit(by_rows, shop)
            answering.wait()
            publishing.over.set()
            wait_until_it_waits(shop, SWAP)
        finally:
            publishing.over.set()
            answering.over.set()
        assert found.result(timeout=PATIENCE) == (old, OLD)
        assert build.result(timeout=PATIENCE).rows == 1
    new, _ = current(shop)
    assert by_rows(shop) == (new, NEW)


def test_kpi_show_prints_as_many_rows_as_the_publish_has(
    shop: KpiShop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "find_waiting", lambda *_: [])
    pause = pause_after(monkeypatch, publish, "release")
    with ThreadPoolExecutor(2) as pool:
        build = pool.submit(shop.build, "marts.heavy", shop.day)
        try:
            pause.wait()
            shown = pool.submit(show.show_table, work_of(shop), "marts.heavy", shop.day, show.RowFormat.table)
            wait_until_it_waits(shop, READER)
        finally:
            pause.over.set()
        shown.result(timeout=PATIENCE)
        assert build.result(timeout=PATIENCE).rows == 1
    printed = capsys.readouterr().out
    assert "37.50" in printed
    assert "light" not in printed
    assert "rows: --limit" not in printed, "1 of 2 rows"


def test_an_answer_that_waits_for_too_long_says_so(shop: KpiShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_locks, "PATIENCE", 0.5)
    pause = pause_after(monkeypatch, publish, "release")
    with ThreadPoolExecutor(1) as pool, serving(settings(), {shop.name: shop.pipeline()}) as client:
        build = pool.submit(shop.build, "marts.heavy", shop.day)
        try:
            pause.wait()
            path = f"/api/v1/kpis/{shop.name}/heavy"
            found = client.get(f"{path}/rows?load_date={shop.day}")
            assert client.json(f"{path}/series")["id"] == f"{shop.name}/heavy", "the ledger alone is read at any time"
        finally:
            pause.over.set()
        assert build.result(timeout=PATIENCE).rows == 1
    assert found.status == 503
    assert found.json()["detail"] == (
        "The rows of marts.heavy are being replaced, and could not be read for 0 seconds: ask again in a moment."
    )
