"""Pages over HTTP: their numbers are those of the ledger, and what was delivered is never markup."""

import re
from datetime import datetime, timedelta, timezone
from html import unescape
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from kpi_assets.model.titles import day
from kpi_assets.read.rows import read_rows
from kpi_assets.surface.draw.lines import short
from kpi_assets.surface.render import clock
from kpi_assets_tests.pipeline_harness import DOUBLED
from kpi_assets_tests.read.kpi_shop import MORE_THINGS, KpiShop
from kpi_assets_tests.surface.server import Client

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>'&"


class Read(HTMLParser):
    """The text of a page as people read it, without its pictures; and what it is made of."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = self.inside or (tag if tag in {"svg", "head"} else "")

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.texts.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


def page(client: Client, path: str, status: int = 200) -> str:
    """Return a page, which obeys the policy of its headers: no script, style or handler of its own."""
    found = client.get(path)
    assert found.status == status, found.data
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    text = found.data.decode()
    tags = Read(text).tags
    scripts = [attributes["src"] for tag, attributes in tags if tag == "script"]
    assert [str(source).partition("?")[0] for source in scripts] == ["/static/app.js"]
    assert not [name for _, attributes in tags for name in attributes if name == "style" or name.startswith("on")]
    assert [tag for tag, _ in tags].count("h1") == 1
    return text


def words(text: str) -> str:
    return Read(text).words


@pytest.fixture
def kpi(kpi_shop: KpiShop) -> str:
    return f"/kpi/{kpi_shop.name}/heavy"


def test_a_published_number_is_that_of_the_warehouse(pages: Client, kpi_shop: KpiShop, kpi: str) -> None:
    kpi_shop.land()
    kpi_shop.run()
    with kpi_shop.reader() as connection:
        rows = read_rows(connection, kpi_shop.pipeline(), kpi_shop.pipeline().table("marts.heavy"), place="here")
    assert [list(row) for row in rows.rows] == [["heavy", "20.50"]]
    text = words(page(pages, "/"))
    assert f"Weight ✓ The newest day, and it passed. {short(kpi_shop.day)} 20.5 kg nothing to compare with yet" in text
    assert "1 nothing to compare with yet target of at least 2 missed" in text
    assert f"All good: the KPI shows {day(kpi_shop.day, year=True)}, whose data passed." in text
    text = words(page(pages, kpi))
    assert "Weight 20.5 Labels 1" in text
    assert "heavy 20.5" in text
    assert "Restated never Definition Kilograms. sum(weight)" in text
    assert "3 records in 2 files, every one accounted for" in text


def test_a_held_day_is_said_once_and_no_failed_row_is_shown(pages: Client, kpi_shop: KpiShop, kpi: str) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(kpi_shop.next, things=DOUBLED)
    kpi_shop.run(kpi_shop.next)
    for path in ("/", kpi):
        text = page(pages, path)
        found = words(text)
        assert found.count("is held: its data did not pass.") == 1
        assert "the last good day" in found
        assert "anvil again" not in text
    assert 'class="stop held"' in text
    after = kpi_shop.next + timedelta(1)
    missing = words(page(pages, f"{kpi}?load_date={after}", 404))
    assert f"heavy has no published {day(after, year=True)}." in missing
    assert "is held: its data did not pass." in words(page(pages, f"{kpi}?load_date={kpi_shop.next}", 404))


def test_a_restated_day_says_what_it_was_and_leads_back(pages: Client, kpi_shop: KpiShop, kpi: str) -> None:
    kpi_shop.land()
    kpi_shop.run()
    kpi_shop.land(things=MORE_THINGS)
    kpi_shop.run()
    text = page(pages, kpi)
    assert "20.5 → 30.5" in words(text)
    assert "the source object of things was replaced" in words(text)
    [before] = re.findall(r'href="([^"]+)">see it before', text)
    found = words(page(pages, unescape(before)))
    assert "These are not today's numbers. The number is kept; the rows behind it were replaced since." in found
    assert "Weight, " in found
    assert ": 20.5 kg" in found
    assert "30.5" not in found
    assert "20.5 → 30.5" in words(page(pages, "/")), "the tile says so too"


def test_names_that_are_markup_are_text(pages: Client, kpi_shop: KpiShop, kpi: str) -> None:
    kpi_shop.land(labels=f'thing_id,label\n1,"{NASTY}"\n'.encode())
    kpi_shop.run()
    text = page(pages, kpi)
    assert NASTY in words(text)
    assert NASTY not in text


def test_an_overview_finds_without_a_script(pages: Client, kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    assert "Weight" in words(page(pages, "/?find=weig"))
    assert "Labels" not in words(page(pages, "/?find=weig"))
    assert "No KPI with “zebra” was found." in words(page(pages, "/?find=zebra"))
    page(pages, f"/?find={quote(NASTY)}")
    assert "Weight" in words(page(pages, f"/pipelines/{kpi_shop.name}"))


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("load_date=2025-02-30", "load_date is not a day."),
        ("from=yesterday", "from is not a day."),
        ("as_of=noon", "as_of is not an instant."),
        ("as_of=0001-01-01T00:00:00%2B14:00", "as_of is not an instant."),
        ("as_of=2999-01-01T00:00:00Z", "as_of is in the future."),
        ("last=7", "last is not one of its words."),
    ],
)
def test_a_wrong_parameter_is_named(pages: Client, kpi: str, query: str, title: str) -> None:
    assert title in words(page(pages, f"{kpi}?{query}", 422))


@pytest.mark.parametrize(
    "path", ["/nothing", "/pipelines/nothing", "/boards/{}/nothing", "/kpi/{}/nothing", "/kpi/{}/heavy?measure=x"]
)
def test_what_is_not_there_has_a_page_that_says_so(pages: Client, kpi_shop: KpiShop, path: str) -> None:
    assert "Back to the overview" in words(page(pages, path.format(kpi_shop.name), 404))


def test_an_empty_field_of_a_form_means_nothing(pages: Client, kpi_shop: KpiShop, kpi: str) -> None:
    kpi_shop.land()
    kpi_shop.run()
    assert "20.5" in words(page(pages, f"{kpi}?measure=&load_date=&from=&to=&as_of=&last="))


def test_a_picture_stands_alone(pages: Client, kpi_shop: KpiShop) -> None:
    kpi_shop.land()
    kpi_shop.run()
    found = pages.get(f"/embed/{kpi_shop.name}/heavy.svg?measure=kilograms")
    assert (found.status, found.headers["Content-Type"].partition(";")[0]) == (200, "image/svg+xml")
    picture = found.data.decode()
    assert ">20.5<" in picture
    assert "<script" not in picture
    assert len(picture) < 4_000
    assert pages.get(f"/embed/{kpi_shop.name}/heavy.svg?measure=nothing").status == 404


def test_a_pipeline_that_was_never_built_says_how_to_begin(pages: Client, kpi_shop: KpiShop) -> None:
    found = words(page(pages, "/"))
    assert f"kpi run {kpi_shop.name} --load-date YYYY-MM-DD" in found


def test_a_clock_is_read_in_utc() -> None:
    at = datetime(2001, 4, 5, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    assert clock(at) == "5 Apr 2001 12:30 UTC"
    assert clock(at.replace(year=datetime.now(timezone.utc).year)) == "5 Apr 12:30 UTC"
