"""Rows over HTTP: what readers see, filtered, in order, and in pages that are all of one publish."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from kpi_assets.settings import settings
from kpi_assets.surface.api import rows as rows_module
from kpi_assets_tests.surface.api.conftest import CORRECTED, HOSTILE, LABELS, Site
from kpi_assets_tests.surface.api.test_kpis import ask, problem, publishes
from kpi_assets_tests.surface.server import serving

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def labels(found: Any) -> list[str]:
    return [row["label"] for row in found["rows"]]


def test_the_rows_of_a_load_date(site: Site) -> None:
    found = ask(site, f"{site.base}/rows")
    assert found["rows"] == [
        {"label": HOSTILE, "weight": Decimal("0.10")},
        {"label": "heavy", "weight": Decimal("29.90")},
    ]
    assert b'"weight":0.10}' in site.client.get(f"{site.base}/rows").data, "with all its digits"
    assert (found["total"], found["left_out"]) == (2, 0)
    assert found["columns"] == [
        {"name": "label", "type": "text", "description": "Label."},
        {"name": "weight", "type": "numeric", "description": "Kilograms."},
    ]
    assert found["trust"]["load_date"] == str(site.latest)
    assert "next" not in found["links"]


def test_the_rows_equal_what_readers_of_postgres_see(site: Site) -> None:
    found = ask(site, f"{site.base}/rows?load_date={site.first}")
    with site.shop.reader() as reader:
        stored = reader.execute(
            "select label, weight::text from marts.heavy where load_date = %s order by label", [site.first]
        ).fetchall()
    assert [(row["label"], str(row["weight"])) for row in found["rows"]] == stored
    assert dict(stored)["heavy"] == "39.90"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"label": "heavy"}, ["heavy"]),
        ({"label": "no such label"}, []),
        ([("label", "heavy"), ("label", HOSTILE)], [HOSTILE, "heavy"]),
        ({"label.ne": "heavy"}, [HOSTILE]),
        ({"label.ge": "a"}, ["heavy"]),
        ({"order": "-weight"}, ["heavy", HOSTILE]),
        ({"order": "weight,label"}, [HOSTILE, "heavy"]),
        ({"order": "-label"}, ["heavy", HOSTILE]),
    ],
)
def test_filters_and_order(site: Site, query: Any, expected: list[str]) -> None:
    assert labels(ask(site, f"{site.base}/rows?{urlencode(query)}")) == expected


def test_pages_are_of_one_publish(site: Site) -> None:
    first = site.client.get(f"{site.base}/rows?limit=1&order=-weight")
    found = json.loads(first.data)
    assert labels(found) == ["heavy"]
    following = found["links"]["next"]
    assert first.headers["Link"] == f'<{following}>; rel="next"'
    second = ask(site, following)
    assert (labels(second), "next" in second["links"]) == ([HOSTILE], False)
    assert second["links"]["self"] == following
    assert second["trust"]["publish_id"] == found["trust"]["publish_id"]


def test_a_cursor_is_good_for_its_question_alone(site: Site) -> None:
    following = ask(site, f"{site.base}/rows?limit=1")["links"]["next"]
    for query in ("&order=-weight", f"&load_date={site.latest}", "&label=heavy"):
        found = problem(site, following + query, 422)
        assert found["title"] == "The parameter cursor is wrong."
    for cursor in ("1", "1-1-0000000000000000", "0-1-x", "1;drop table x", "9" * 99):
        assert (
            problem(site, f"{site.base}/rows?cursor={quote(cursor)}", 422)["title"] == "The parameter cursor is wrong."
        )


def test_a_later_page_of_a_publish_that_was_replaced_says_to_begin_again(site: Site) -> None:
    day = site.first - timedelta(days=1)
    site.shop.land(day, CORRECTED, LABELS)
    site.shop.run(day)
    first = ask(site, f"{site.base}/rows?limit=1&load_date={day}")
    site.shop.land(day, CORRECTED.replace(b"30.50", b"31.50"), LABELS)
    site.shop.run(day)
    found = problem(site, first["links"]["next"], 410)
    assert found["title"] == f"The rows of publish {first['trust']['publish_id']} are there no more."
    assert found["detail"] == "They were replaced or dropped since. Leave cursor out to begin again."
    with site.shop.session() as session:  # for the other tests, the load_date was never there
        session.execute(
            "update ops.publishes set removed_at = now(), superseded_at = coalesce(superseded_at, now()) "
            "where load_date = %s",
            [day],
        )


def test_rows_of_an_instant_are_there_until_they_are_replaced(site: Site) -> None:
    as_of = quote(site.before.isoformat())
    assert len(ask(site, f"{site.base}/rows?load_date={site.latest}&as_of={as_of}")["rows"]) == 2
    found = problem(site, f"{site.base}/rows?load_date={site.first}&as_of={as_of}", 410)
    assert found["title"] == f"The rows of publish {publishes(site)[0]} are there no more."


def test_csv_for_a_spreadsheet(site: Site) -> None:
    found = site.client.get(f"{site.base}/rows?format=csv")
    day = str(site.latest)
    assert [*csv.reader(io.StringIO(found.data.decode(), newline=""))] == [
        ["load_date", "label", "weight"],
        [day, f"'{HOSTILE}", "0.10"],
        [day, "heavy", "29.90"],
    ]
    assert found.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert found.headers["Content-Disposition"] == f'attachment; filename="{site.shop.name}_heavy_{day}.csv"'
    assert (found.headers["X-Load-Date"], found.headers["X-Publish-Id"], found.headers["X-Gate"]) == (
        *(day, str(publishes(site)[1]), "held"),
    )


def test_parquet_and_arrow_name_their_publish(site: Site) -> None:
    for style, read in (("parquet", parquet.read_table), ("arrow", lambda file: pa.ipc.open_stream(file).read_all())):
        found = site.client.get(f"{site.base}/rows?format={style}&order=-weight")
        table = read(io.BytesIO(found.data))
        assert table.to_pylist() == [
            {"load_date": site.latest, "label": "heavy", "weight": Decimal("29.90")},
            {"load_date": site.latest, "label": HOSTILE, "weight": Decimal("0.10")},
        ]
        assert str(table.schema.field("weight").type) == "decimal128(4, 2)"
        assert table.schema.metadata[b"publish_id"].decode() == found.headers["X-Publish-Id"] == str(publishes(site)[1])
        assert table.schema.metadata[b"gate"] == b"held"


def test_rows_are_read_in_parts_and_none_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ask(site, f"{site.base}/rows")
    monkeypatch.setattr(rows_module, "CHUNK", 1)
    for query in ("?limit=2", "?limit=100"):  # other addresses, so that nothing is kept
        assert ask(site, f"{site.base}/rows{query}")["rows"] == whole["rows"]
    assert len(site.client.get(f"{site.base}/rows?format=csv&limit=3").data.splitlines()) == 3


def test_a_load_date_without_rows_to_show_says_why(site: Site) -> None:
    found = problem(site, f"{site.base}/rows?load_date={site.held}", 404)
    assert found["title"] == f"marts.heavy of {site.held} is not published."


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("limit=0", "The parameter limit is wrong."),
        ("limit=100001", "The parameter limit is wrong."),
        ("limit=99999999999999999999999999", "The parameter limit is wrong."),
        ("limit=-1", "The parameter limit is wrong."),
        ("limit=1.5", "The parameter limit is wrong."),
        ("format=xml", "The parameter format is wrong."),
        ("weight=1", "There is no parameter 'weight'."),
        ("label.like=1", "There is no parameter 'label.like'."),
        ("offset=1", "There is no parameter 'offset'."),
        ("order=", "The parameter order is wrong."),
        ("order=nothing", "The parameter order is wrong."),
        ("order=--weight", "The parameter order is wrong."),
        ("order=weight,weight", "The parameter order is wrong."),
        ("order=load_date", "The parameter order is wrong."),
        ("label=%00", "The filter label is wrong."),
        ("label.lt=a&label.lt=b", "The filter label.lt is given more than once."),
        ("label=" + "x" * 1001, "The filter label is wrong."),
        ("limit=1&limit=2", "The parameter limit is given more than once."),
    ],
)
def test_a_wrong_parameter_is_named(site: Site, query: str, title: str) -> None:
    assert problem(site, f"{site.base}/rows?{query}", 422)["title"] == title


def test_rows_of_a_schema_that_is_not_for_readers_are_not_shown(site: Site) -> None:
    shop = site.shop.pipeline()
    hidden = replace(shop, config=shop.config.model_copy(update={"readers": []}))
    with serving(settings(), {shop.name: hidden}) as client:
        found = client.get(f"{site.base}/rows")
        assert (found.status, found.json()["title"]) == (404, "The rows of marts.heavy are not for readers.")
        assert client.json(site.base)["measures"][1]["value"] == 2
