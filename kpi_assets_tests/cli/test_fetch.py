"""`kpi fetch` asks the APIs of a load_date; `kpi run`, `backfill`, `plan` and `status` work with what they give."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from kpi_assets_tests.cli.command import CliHarness
from kpi_assets_tests.pipeline_harness import PIPELINE_YAML
from kpi_assets_tests.sales_api import APIS, FILES, SECRET, SalesApi, sales_api

NAME, BUCKET = "sales", "kpi-sales"
START = date(2025, 1, 1)


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sales")
    texts = {**FILES, "pipeline.yaml": PIPELINE_YAML.format(bucket=BUCKET) + APIS}
    for name, text in texts.items():
        path = folder / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def api() -> Iterator[SalesApi]:
    with sales_api() as server:
        yield server


@pytest.fixture
def shops(kpi: CliHarness, sql: Path, api: SalesApi, monkeypatch: pytest.MonkeyPatch) -> CliHarness:
    """The command with the pipeline of both shops, whose addresses and secrets are settings."""
    words = {
        "KPI_SQL_DIR": str(sql),
        "KPI_API_URLS__SALES__NORTH": api.url,
        "KPI_API_URLS__SALES__SOUTH": api.url,
        "KPI_API_SECRETS__SALES__NORTH": SECRET,
        "KPI_API_SECRETS__SALES__SOUTH": "south-secret-91bd",
    }
    for name, value in words.items():
        monkeypatch.setitem(kpi.environment, name, value)
    monkeypatch.setattr(kpi, "secrets", [*kpi.secrets, SECRET, "south-secret-91bd"])
    return kpi


def key(shop: str, day: date) -> str:
    return f"raw/{shop}/year={day:%Y}/month={day:%m}/day={day:%d}/sales_data.json"


def place(shop: str, day: date) -> str:
    return f"s3://{BUCKET}/{key(shop, day)}"


def test_objects_are_fetched_once_and_asked_for_again_with_the_option(shops: CliHarness, api: SalesApi) -> None:
    day = START
    said = shops.process("fetch", NAME, "--load-date", day)
    assert said.line(place("north", day)).startswith(f"landed {place('north', day)} (3 records in 2 pages, 146 bytes, ")
    assert said.line(place("south", day)).startswith(f"landed {place('south', day)} (3 records in 2 pages, ")
    head = shops.s3.head_object(Bucket=BUCKET, Key=key("north", day))
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    asked_at = datetime.fromisoformat(metadata.pop("asked-at"))
    assert metadata == {"records": "3", "pages": "2", "total": "3"}
    assert abs(datetime.now(timezone.utc) - asked_at) < timedelta(minutes=1)
    api.asked.clear()
    again = shops("fetch", NAME, "--load-date", day)
    assert again.line("north") == (
        f"unchanged {place('north', day)}: it is there, so nothing is asked for it; --replace asks again"
    )
    assert api.asked == []
    api.sales = 1
    replaced = shops("fetch", NAME, "--replace", "--table", "raw.south_sales", RUN_DATE=str(day))
    assert replaced.line("replaced").startswith(f"replaced {place('south', day)} (1 record in 1 page, ")
    assert f"the bucket {BUCKET} keeps no versions" in replaced.line("gone ")
    assert {shop for _, shop, _, _ in api.asked} == {"south"}


def test_one_api_that_fails_keeps_no_other_from_landing(shops: CliHarness, api: SalesApi) -> None:
    day = START + timedelta(days=1)
    api.down = {"north"}
    said = shops("fetch", NAME, "--load-date", day, code=1)
    assert said.out.startswith(f"landed    {place('south', day)} (3 records")
    assert said.err.startswith("error: API north of sales, GET ")
    assert said.err.count("\n") == 1


def test_what_cannot_be_fetched_is_refused_in_a_sentence(shops: CliHarness, api: SalesApi) -> None:
    today = datetime.now(timezone.utc).date()
    none = "No API gives anything to instacart: its files name none in source.api. `kpi land` lands its files."
    sql = {"KPI_SQL_DIR": str(Path(__file__).resolve().parents[2] / "sql")}
    shops.fails(none, "fetch", "instacart", "--load-date", START, code=2, **sql)
    early = START - timedelta(days=1)
    assert "its first is 2025-01-01" in shops("fetch", NAME, "--load-date", early, code=2).err
    over = f"{today + timedelta(days=1)} 00:00 UTC"
    waits = [
        f"s3.{shop}_sales of {today} cannot be had now: the API {shop} is asked for it from {over}"
        for shop in ("north", "south")
    ]
    shops.fails(f"{'; '.join(waits)}.", "fetch", NAME, "--load-date", today, code=2)
    other = "marts.all_sales does not come from an API: those of sales that do are raw.north_sales, raw.south_sales."
    shops.fails(other, "fetch", NAME, "--load-date", START, "--table", "marts.all_sales", code=2)
    shops.fails(
        "The setting KPI_API_URLS__SALES__NORTH cannot be read (write http://host:port or https://host/path, without a "
        "user, a password or a query): correct it in the environment.",
        *("fetch", NAME, "--load-date", START + timedelta(days=2)),
        code=2,
        KPI_API_URLS__SALES__NORTH="somewhere",
    )
    assert api.asked == []


def test_a_run_of_a_load_date_that_is_not_over_is_refused_and_the_plan_says_from_when(shops: CliHarness) -> None:
    today = datetime.now(timezone.utc).date()
    at = f"{today + timedelta(days=1)} 02:00 UTC"
    shops.fails(
        f"s3.north_sales of {today} is not there: the API north is asked for it from {at}.",
        *("run", NAME, "--load-date", today),
        code=2,
    )
    # By itself: until 02:00 the day before is not asked for either, and both would be one line.
    said = shops("plan", NAME, "--from", today, "--to", today)
    assert said.line(str(today), "missing").endswith(
        f"missing None of its 2 objects lies on S3; their APIs are asked from {at}."
    )
    said = shops("plan", NAME, "--from", today - timedelta(days=2), "--to", today)
    assert "0 of its 2 objects landed, APIs are asked for the others; nothing of it is published." in said.out
    asked = f"sales: APIs are asked for load_date {today} from {at} on."
    assert asked in shops("status").out


@pytest.mark.nightly
def test_run_and_backfill_fetch_what_lacks(shops: CliHarness, api: SalesApi) -> None:
    first, last = START + timedelta(days=10), START + timedelta(days=12)
    api.down = {"south"}
    said = shops("run", NAME, "--load-date", first, code=1)
    assert said.line("failed s3.south_sales: API south of sales, GET ")
    assert shops("plan", NAME, "--from", first, "--to", first, code=1).line(str(first), "failed")
    api.down = set()
    api.asked.clear()
    shops("backfill", NAME, "--from", first, "--to", last)
    assert api.of("north") == [(str(day), page) for day in (first + timedelta(days=1), last) for page in ("1", "2")]
    rows = shops.rows("select load_date, count(*) from marts.all_sales group by 1 order by 1", database=NAME)
    assert rows == [(first + timedelta(days=n), 6) for n in range(3)]
