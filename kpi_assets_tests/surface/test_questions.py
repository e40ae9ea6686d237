"""Questions on pages and in the API: the same answer everywhere, and nothing of a hostile value but its text."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from kpi_assets.embedded.stack import Stack
from kpi_assets.fixtures.database import publish
from kpi_assets.ledger import runs
from kpi_assets.settings import settings
from kpi_assets.warehouse.snapshots import OURS
from kpi_assets_tests.pipeline_harness import RAW_THINGS, PipelineHarness
from kpi_assets_tests.read.test_ask import COMPARED, DAY, HOSTILE, NAMED, SALES, TABLE, THINGS
from kpi_assets_tests.surface.server import Client, serving

XSS = '<script>alert("xss")</script><img src=x onerror=alert(1)>'
ROWS = f'thing_id,name,weight\n1,anvil,20.50\n2,feather,\n3,"{XSS.replace(chr(34), chr(34) * 2)}",0.10\n4,=1+1,5\n'
HELD = DAY + timedelta(days=1)


@dataclass
class Site:
    """The app, and the pipeline whose questions it answers."""

    client: Client
    lab: PipelineHarness
    publish_id: int

    def page(self, name: str, query: str = "") -> str:
        """Return the page of a question, which must be there."""
        found = self.client.get(f"/questions/{self.lab.name}/{name}?{query}")
        assert found.status == 200, found.data
        return found.data.decode()

    def api(self, name: str) -> str:
        """Return the address of a question in the API."""
        return f"/api/v1/questions/{self.lab.name}/{name}"


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with PipelineHarness.open(stack, tmp_path_factory.mktemp("asked")) as lab:
        lab.file("raw/things.sql", RAW_THINGS)
        for name in ("things", "sales"):
            lab.file(f"marts/{name}.sql", TABLE)
        lab.file("questions/named.sql", NAMED)
        lab.file("questions/compared.sql", COMPARED)
        lab.prepared()
        pipeline = lab.pipeline()
        with lab.session() as session:
            for relation in (THINGS, SALES):
                publish_id = publish(session, pipeline, relation, DAY, ROWS.encode())
            publish(session, pipeline, THINGS, DAY - timedelta(days=1), ROWS.encode())
            build = runs.open_row(session, run_id="r", pipeline=lab.name, job="raw.things", load_date=HELD)
            session.execute("update ops.pipeline_runs set status = 'held', ended_at = now() where id = %s", [build])
        with serving(settings(), {lab.name: pipeline}) as client:
            yield Site(client, lab, publish_id)


def test_all_questions_are_listed(site: Site) -> None:
    found = site.client.json("/api/v1/questions")["questions"]
    assert [each["name"] for each in found] == ["compared", "named"]
    assert found[1]["parameters"] == [
        {
            "name": "name",
            "title": "Name",
            "type": "text",
            "default": "anvil",
            "lowest": None,
            "highest": None,
            "choices": [],
        }
    ]
    page = site.client.get("/questions").data.decode()
    assert f'<a href="/questions/{site.lab.name}/named">Which things are there?</a>' in page


def test_the_answer_is_exact_and_says_what_it_is_made_of(site: Site) -> None:
    found = site.client.get(site.api("named") + "?name=every")
    assert '"weight":20.50,' in found.data.decode()
    answer = found.json()
    assert [row["name"] for row in answer["rows"]] == ["anvil", "feather", XSS, "=1+1"]
    assert (answer["load_date"], answer["parameters"]) == (str(DAY), {"name": "every"})
    assert answer["made_of"][0] == {"table": "marts.sales", "load_date": str(DAY), "publish_id": site.publish_id}
    assert answer["newer"]["load_date"] == str(HELD)
    assert (answer["newer"]["state"], answer["newer"]["table"]) == ("held", "raw.things")
    assert site.client.json(answer["links"]["self"]) == answer
    assert [column["type"] for column in answer["columns"]] == ["text", "numeric(6,2)", "boolean"]


def test_files_have_the_same_rows(site: Site) -> None:
    found = site.client.get(site.api("named") + "?name=every&format=csv")
    assert found.headers["X-Load-Date"] == str(DAY)
    assert found.headers["Content-Disposition"] == f'attachment; filename="{site.lab.name}_named_{DAY}.csv"'
    rows = list(csv.reader(io.StringIO(found.data.decode())))
    assert rows[1:3] == [["anvil", "20.50", "true"], ["feather", "", ""]]
    assert rows[3:] == [[XSS, "0.10", "false"], ["'=1+1", "5.00", "false"]]
    table = pq.read_table(io.BytesIO(site.client.get(site.api("named") + "?name=every&format=parquet").data))
    assert [str(value) for value in table.column("weight").to_pylist()] == ["20.50", "None", "0.10", "5.00"]
    assert table.schema.metadata[b"load_date"] == str(DAY).encode()
    statement = site.client.get(site.api("named") + "?name=every&format=sql").data.decode()
    assert [row[0] for row in site.lab.rows(statement)] == ["anvil", "feather", XSS, "=1+1"]


def test_the_page_has_the_answer_and_where_it_comes_from(site: Site) -> None:
    page = site.page("named", "name=every")
    assert "<h1>Which things are there?</h1>" in page
    assert '<option value="2025-03-10" selected>Mon 10 Mar 2025</option>' in page
    assert "Tue 11 Mar 2025 is held, at things; the newest answer is of Mon 10 Mar, the last good day." in page
    assert "<code>marts.sales</code> as published for Mon 10 Mar; " in page
    assert "all of one day, read in one transaction." in page
    assert "from marts.things as t" in page
    assert "alert(" in unescape(page)
    assert "<script>alert" not in page
    assert "<img" not in page
    other = site.page("compared")
    assert "<code>marts.things</code> of Mon 3 Mar, not published; each of one day, read in one transaction." in other


def test_an_earlier_day_is_told_from_the_latest(site: Site) -> None:
    page = site.page("compared", f"load_date={DAY - timedelta(days=1)}")
    assert "<strong>You see Sun 9 Mar 2025.</strong> The latest day with an answer is Mon 10 Mar 2025." in page


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("nam=x", 422, "There is no parameter 'nam'."),
        ("name=a&name=b", 422, "The parameter name is given more than once."),
        ("name=a%00b", 422, "The parameter name is wrong."),
        (f"name={'x' * 201}", 422, "The parameter name is wrong."),
        ("load_date=2025-02-30", 422, "load_date"),
        ("load_date=2025-03-09", 404, ""),
    ],
)
def test_a_wrong_word_is_refused_with_a_sentence(site: Site, query: str, status: int, said: str) -> None:
    for address in (f"/questions/{site.lab.name}/named", site.api("named")):
        found = site.client.get(f"{address}?{query}")
        assert found.status == status
        assert said in unescape(found.data.decode()).replace('\\"', '"')
    assert site.client.get(site.api("lost")).status == 404
    assert site.client.get("/questions/lost/named").status == 404


def test_a_hostile_value_is_a_text_and_nothing_else(site: Site) -> None:
    for text in [*HOSTILE, XSS]:
        found = site.client.get(site.api("named") + f"?name={quote(text)}")
        assert found.status == 200, (text, found.data)
        assert [row["name"] for row in found.json()["rows"]] == [text] * (text == XSS)
        page = site.page("named", f"name={quote(text)}")
        assert "<script>alert" not in page
        assert "<img" not in page
    assert len(site.lab.rows("select 1 from marts.things")) == 8


def test_an_unchanged_answer_is_not_sent_again(site: Site) -> None:
    first = site.client.get(site.api("named"))
    assert site.client.get(site.api("named"), If_None_Match=first.headers["ETag"]).status == 304
    assert site.client.get(site.api("named"), "POST").status == 405


def test_a_publish_waits_for_the_snapshot_of_an_answer(site: Site) -> None:
    """Its sessions must not be named as those of ours that take a new snapshot for each statement."""
    site.client.json(site.api("compared"))
    found = site.lab.rows("select distinct application_name from pg_stat_activity where usename is not null")
    assert "kpi_serve" in {name for (name,) in found}
    assert not any(name.startswith(f"{OURS}serve") for (name,) in found)


def test_a_pipeline_that_was_never_run_has_no_answer_yet(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    lab = PipelineHarness(site.lab.stack, tmp_path_factory.mktemp("new"))
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/things.sql", TABLE)
    lab.file("questions/compared.sql", COMPARED)
    with serving(settings(), {lab.name: lab.pipeline()}) as client:
        assert "There is no answer yet" in client.get(f"/questions/{lab.name}/compared").data.decode()
        assert client.get(f"/api/v1/questions/{lab.name}/compared").status == 503
