"""The charts that the web UI serves: the latest published load_date as readers see it, or why there is no chart."""

import asyncio
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from kpi_assets.assets.chart import description
from kpi_assets.instance.charts import Charts, chart_path
from kpi_assets.model.names import Relation
from kpi_assets.settings import settings
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.two_source_pipeline import HEAVY, TwoSourcePipeline

SVG = "{http://www.w3.org/2000/svg}"
KPI = Relation("marts", "heavy")
TWO = b"thing_id,label\n1,heavy\n2,<b>light\n"
WEIGHED_TWO = b"thing_id,name,weight\n1,anvil,20.50\n2,feather,0.50\n"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def words(self) -> list[str]:
        """Return the texts in the chart."""
        return [found.text or "" for found in ET.fromstring(self.body).iter(f"{SVG}text")]


def ask(charts: Charts, path: str, query: str = "") -> Answer:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": []}
    asyncio.run(charts(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return Answer(said[0]["status"], headers, said[1]["body"].decode())


async def dagster(scope: Any, receive: Any, send: Any) -> None:
    """Stands in for Dagster's app."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a page of Dagster"})


@pytest.fixture
def charts(shop: TwoSourcePipeline) -> Charts:
    return Charts(dagster, settings().model_copy(update={"sql_dir": shop.root}))


def path_of(shop: TwoSourcePipeline) -> str:
    return chart_path(shop.name, KPI)


def test_the_latest_published_load_date_is_drawn_and_named(shop: TwoSourcePipeline, charts: Charts) -> None:
    shop.land(things=WEIGHED_TWO, labels=TWO)
    shop.run()
    first = ask(charts, path_of(shop))
    assert first.words == [
        f"Latest published load_date {shop.day}: weight by label", "<b>light", "0.5", "heavy", "20.5"
    ]  # fmt: skip
    assert (first.status, first.headers) == (
        200,
        {
            "content-type": "image/svg+xml",
            "cache-control": "no-store",
            "content-security-policy": "default-src 'none'",
        },
    )
    assert int(ET.fromstring(first.body).attrib["height"]) <= 190

    shop.land(shop.next)
    shop.run(shop.next)
    assert ask(charts, path_of(shop)).words[:1] == [f"Latest published load_date {shop.next}: weight by label"]
    assert ask(charts, path_of(shop), f"load_date={shop.day}").words == [
        f"Load_date {shop.day}: weight by label", *first.words[1:]
    ]  # fmt: skip


def test_a_held_load_date_is_not_drawn(shop: TwoSourcePipeline, charts: Charts) -> None:
    shop.land()
    shop.run()
    shop.land(shop.next, things=DOUBLED)
    assert shop.run(shop.next)["raw.things"] == "held"
    assert ask(charts, path_of(shop)).words[0] == f"Latest published load_date {shop.day}: weight by label"
    held = ask(charts, path_of(shop), f"load_date={shop.next}")
    assert (held.status, held.words) == (
        200,
        ["marts.heavy", f"The load_date {shop.next} of marts.heavy is not published."],
    )


def test_before_anything_is_published_the_picture_says_so(lab: TwoSourcePipeline, charts: Charts) -> None:
    """If the database does not exist yet, the chart says that."""
    lab.file("raw/things.sql", RAW_KPI)
    of_lab = Charts(dagster, settings().model_copy(update={"sql_dir": lab.root}))
    path = chart_path(lab.name, Relation("raw", "things"))
    absent = ask(of_lab, path)
    assert (absent.status, absent.headers["content-type"]) == (503, "image/svg+xml")
    assert f"database '{lab.name}'" in " ".join(absent.words)
    lab.prepared()
    assert ask(of_lab, path).words == ["raw.things", "No load_date of raw.things is published."]


RAW_KPI = """\
/* @asset
description: Things as delivered.
owner: team:tests
grain: [thing_id]
source: {object: "raw/things/load_date={load_date}/things.csv", format: csv}
kpi: {chart: {x: name, y: thing_id}}
columns:
  thing_id: {type: integer, description: Thing.}
  name: {type: text, description: Name.}
@end */
"""


@pytest.mark.parametrize(
    "name",
    [
        "PIPELINE/marts.weighed",  # no KPI
        "PIPELINE/marts.nothing",
        "PIPELINE/ops.publishes",
        "PIPELINE/pg_catalog.pg_authid",
        "postgres/marts.heavy",
        "dagster/public.runs",
    ],
)
def test_a_name_that_is_no_loaded_kpi_is_not_found(shop: TwoSourcePipeline, charts: Charts, name: str) -> None:
    name = name.replace("PIPELINE", shop.name)
    answer = ask(charts, f"/kpi/chart/{name}.svg")
    assert (answer.status, answer.body) == (404, f"There is no KPI {name}: there is {shop.name}/marts.heavy.\n")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["/kpi/", "/kpi/chart/x.svg", "/kpi/chart/X/a.b.svg", "/kpi/chart/../a.b.svg", '/kpi/chart/a/b."c.svg']
)
def test_another_page_is_not_found(charts: Charts, path: str) -> None:
    answer = ask(charts, path)
    assert (answer.status, answer.body) == (
        404,
        "There is no such page: a chart is /kpi/chart/PIPELINE/SCHEMA.TABLE.svg.\n",
    )


@pytest.mark.parametrize("day", ["2025-3-1", "yesterday", "2025-02-30", "'; drop table x"])
def test_a_text_that_is_no_load_date_is_refused(shop: TwoSourcePipeline, charts: Charts, day: str) -> None:
    answer = ask(charts, path_of(shop), f"load_date={day.replace(';', '%3B').replace(' ', '%20')}")
    assert (answer.status, "write it as YYYY-MM-DD" in answer.body) == (400, True)


def test_every_other_path_is_left_to_dagster(charts: Charts) -> None:
    assert [ask(charts, path).body for path in ("/", "/kpi", "/runs", "/graphql")] == ["a page of Dagster"] * 4


def test_a_changed_file_is_read_again_and_a_broken_one_is_named(shop: TwoSourcePipeline, charts: Charts) -> None:
    shop.land(things=WEIGHED_TWO, labels=TWO)
    shop.run()
    assert ask(charts, path_of(shop)).words[1:] == ["<b>light", "0.5", "heavy", "20.5"]
    file = shop.file("marts/heavy.sql", HEAVY.replace("y: weight}", "y: weight, top: 1}"))
    assert ask(charts, path_of(shop)).words[1:] == ["heavy", "20.5"]
    file.write_text(HEAVY.replace("y: weight", "y: nothing"))
    broken = ask(charts, path_of(shop))
    assert (broken.status, broken.words[0]) == (503, "marts.heavy")
    assert "'nothing' is not one of" in " ".join(broken.words)


def test_columns_that_the_published_rows_lack_are_named(shop: TwoSourcePipeline, charts: Charts) -> None:
    shop.land()
    shop.run()
    other = HEAVY.replace("weight}", "kilos}").replace("  weight:", "  kilos:").replace("as weight", "as kilos")
    shop.file("marts/heavy.sql", other)
    assert " ".join(ask(charts, path_of(shop)).words[1:]) == (
        f"marts.heavy of {shop.day} was published without label or kilos: run the load_date again."
    )


def test_lost_rows_are_reported(shop: TwoSourcePipeline, charts: Charts) -> None:
    shop.day += timedelta(days=1)
    shop.land()
    shop.run()
    with shop.session() as session:
        session.execute("delete from marts.heavy where load_date = %s", [shop.day])
    assert " ".join(ask(charts, path_of(shop)).words[1:]) == (
        f"The rows of marts.heavy of {shop.day} are gone from the database: run the load_date again."
    )


def test_a_description_shows_the_chart_below_its_sentence(shop: TwoSourcePipeline) -> None:
    tables = shop.pipeline().tables
    assert description(tables[KPI]) == (
        f"Weight by label.\n\n![Chart of weight by label.](/kpi/chart/{shop.name}/marts.heavy.svg)"
    )
    others = [table for table in tables.values() if not table.header.kpi]
    assert [description(table) for table in others] == [table.header.description for table in others]
