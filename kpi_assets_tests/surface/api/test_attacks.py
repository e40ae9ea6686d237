"""Hostile requests: nothing in them is executed, and no answer shows what is not for readers."""

import itertools
import json
from urllib.parse import quote

import pytest

from kpi_assets_tests.examples import few
from kpi_assets_tests.surface.api.conftest import Site

HOSTILE = [
    "'",
    "''; drop table marts.heavy; --",
    "1' or '1'='1",
    '"; select pg_sleep(30); --',
    "$$; create table public.owned (); $$",
    "%27%20or%201=1--",
    "\\'; select 1; --",
    "heavy' union select message from ops.data_quality_results --",
    "(select current_user)",
    "weight desc; drop table marts.heavy",
    "1; set role postgres",
    "case when true then label else weight end",
    "pg_sleep(30)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "../../../../etc/passwd",
    "..%2f..%2f",
    "\r\nX-Injected: 1",
    "\x00",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "%s%s%n%(load_date)s",
    "9" * 400,
    "NaN",
    "🙂" * 200,
]
# The parameters of each address, and one that it does not have.
ADDRESSES = {
    "": ("load_date", "as_of", "order"),
    "/series": ("measure", "from", "to", "as_of"),
    "/restatements": ("from", "to"),
    "/rows": ("load_date", "as_of", "limit", "order", "format", "cursor", "label", "label.lt", "weight"),
    "/checks": ("load_date", "as_of"),
    "/lineage": ("load_date", "as_of"),
}
# Words of Python, of PostgreSQL and of this machine that no answer may have.
LEAKS = ("Traceback", "psycopg", "syntax error", "/site-packages/", "select ", "SQLSTATE", "postgresql://")


@pytest.fixture(scope="module")
def before(site: Site) -> list[tuple[object, ...]]:
    return everything(site)


def everything(site: Site) -> list[tuple[object, ...]]:
    """Return what must not change: the tables with their rows, and the ledger."""
    return [
        *site.shop.rows(
            "select relnamespace::regnamespace::text, relname from pg_class where relkind in ('r', 'p', 'v') "
            "and relnamespace::regnamespace::text not in ('pg_catalog', 'pg_toast', 'information_schema') order by 1, 2"
        ),
        *site.shop.rows("select * from marts.heavy order by 1, 2"),
        *site.shop.rows("select publish_id, superseded_at from ops.publishes order by 1"),
    ]


@pytest.mark.parametrize("end", few(2, ADDRESSES))
def test_nothing_in_a_parameter_is_executed(site: Site, before: list[tuple[object, ...]], end: str) -> None:
    seen = set()
    for name, text in itertools.product(ADDRESSES[end], HOSTILE):
        found = site.client.get(f"{site.base}{end}?{name}={quote(text)}")
        seen.add(found.status)
        assert found.status in (404, 422) or (found.status == 200 and is_a_filter(end, name)), (name, text, found.data)
        assert not leaks(found.data, text), (name, text, found.data)
        assert "X-Injected" not in found.headers
        if found.status == 200:
            assert b'"rows":[]' in found.data or name == "label.lt", (text, "no row has such a label")
    assert 422 in seen
    assert everything(site) == before


def is_a_filter(end: str, name: str) -> bool:
    """Any text is a label: such a filter finds the rows that have it, and there are none."""
    return end == "/rows" and name.startswith("label")


def leaks(data: bytes, text: str) -> bool:
    said = data.decode().replace(text, "").replace(json.dumps(text)[1:-1], "")
    return any(word in said for word in LEAKS if word not in text)


@pytest.mark.parametrize("end", ["", "/rows"])
def test_nothing_in_an_address_is_executed(site: Site, before: list[tuple[object, ...]], end: str) -> None:
    for text in HOSTILE:
        for path in (f"{site.shop.name}/{quote(text, safe='')}", f"{quote(text, safe='')}/heavy"):
            found = site.client.get(f"/api/v1/kpis/{path}{end}")
            assert found.status == 404, (text, found.data)
            assert not leaks(found.data, text)
    assert everything(site) == before


def test_readers_act_as_a_role_that_can_change_nothing(site: Site) -> None:
    with site.shop.reader() as reader:
        [(role, read_only)] = reader.execute("select current_user, current_setting('transaction_read_only')").fetchall()
    assert (role, read_only) == ("kpi_reader", "on")
    for _ in range(2):
        assert site.client.get(site.base).status == 200


def test_a_label_that_is_html_is_only_a_text(site: Site) -> None:
    found = site.client.get(f"{site.base}/rows")
    assert found.headers["Content-Type"] == "application/json"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in found.headers["Content-Security-Policy"]
