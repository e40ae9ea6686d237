"""What tests share: one embedded stack for the session, and a laboratory with a pipeline of its own for each test."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from botocore.loaders import JSONFileLoader

from kpi_assets.embedded.stack import Stack, embedded_servers
from kpi_assets.settings import default_sql_dir, settings
from kpi_assets_tests import other_server, template, tiers
from kpi_assets_tests.clicks_pipeline import ClicksPipeline
from kpi_assets_tests.lookback import RECENT
from kpi_assets_tests.machine import end_all_in
from kpi_assets_tests.pipeline_harness import MART, RAW_THINGS, PipelineHarness
from kpi_assets_tests.sales_api import SalesPipeline, sales_api
from kpi_assets_tests.sql.cases import missing
from kpi_assets_tests.two_source_pipeline import TwoSourcePipeline

if TYPE_CHECKING:
    from kpi_assets_tests.retail_apis import Retailers, RetailPipeline

MEMORY, ENOUGH_MEMORY = Path("/dev/shm"), 10 << 30
REAL_ROWS = Path(__file__).resolve().parents[2] / "shared" / "data" / "instacart"


_load_file = JSONFileLoader.load_file


@cache
def _read_once(path: str) -> Any:
    return _load_file(JSONFileLoader(), path)


def _temporary_folder() -> Path:
    """Make the session's temporary folder, in memory if there is enough of it.

    Each test copies a database: on a disk that takes more of the processor than the tests themselves.
    """
    free = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) if MEMORY.is_dir() else 0
    usable = free >= ENOUGH_MEMORY and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    return Path(tempfile.mkdtemp(prefix="kpi-tests-", dir=MEMORY if usable else None))


def pytest_configure(config: pytest.Config) -> None:
    """The server that is named is there; and a temporary folder of this session's own.

    pytest's usual one is shared by all sessions of a user, and each new session shuts it to the account that the
    embedded Postgres runs under when root tests.
    """
    if problem := other_server.problem():
        raise pytest.UsageError(problem)
    # A shell's background job ignores SIGINT, and all that it starts would too; Dagster ignores SIGTERM then as well.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # boto3 reads S3's description, a megabyte of JSON, for each client whose session is new: here once for all.
    JSONFileLoader.load_file = lambda _, path: _read_once(path)
    if not config.option.basetemp:
        config.option.basetemp = _temporary_folder()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> tiers.Groups:
    """Which worker runs what."""
    return tiers.Groups(config, log)  # type: ignore[arg-type]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where fast tests alone are asked for, files of which none is fast are not even imported."""
    return True if config.option.markexpr == "fast" and tiers.has_none_fast(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """No garbage is collected meanwhile: of ten thousand tests nothing is garbage, and looking takes a quarter."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Each test has its tier, before anybody selects by it."""
    item.add_marker(tiers.tier(item))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest is run first."""
    tiers.arrange(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """What a fast test needs starts no process."""
    with tiers.without_processes(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Nor does the test."""
    with tiers.without_processes(item):
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind, also where a worker was interrupted and ended no server."""
    if not hasattr(config, "workerinput"):
        end_all_in(Path(config.option.basetemp))
    shutil.rmtree(config.option.basetemp, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which server it was, where it is not the embedded one, and which files below sql/ nothing tests."""
    for sentence in missing(default_sql_dir()):
        terminalreporter.write_line(sentence)
    if other_server.NAMED:
        terminalreporter.write_line(f"The warehouse of these tests was {other_server.version()}, {other_server.NAMED}")


def _forget_settings() -> None:
    """No setting of the person who runs the tests reaches them."""
    for name in [
        name
        for name in os.environ
        if name.startswith(("KPI_", "AWS_", "AZURE_", "PG", "DAGSTER_")) or name == "RUN_DATE"
    ]:
        del os.environ[name]
    settings.cache_clear()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The KPI_HOME of the session."""
    _forget_settings()
    os.environ["KPI_HOME"] = str(tmp_path_factory.mktemp("kpi") / "home")
    settings.cache_clear()
    return Path(os.environ["KPI_HOME"])


@pytest.fixture(scope="session")
def stack(home: Path) -> Iterator[Stack]:
    """Real Postgres and S3, up for the whole session and named in the environment; Postgres waits for no disk."""
    with ExitStack() as opened:
        if other_server.NAMED:
            os.environ["KPI_POSTGRES_URL"] = opened.enter_context(other_server.other_server(home.parent / "other"))
            settings.cache_clear()
        started = opened.enter_context(embedded_servers(settings())).stack
        assert started is not None
        server = settings().postgres_url
        assert server is not None
        template.give_up_durability(server)
        yield started


@pytest.fixture
def lab(stack: Stack, tmp_path: Path) -> Iterator[PipelineHarness]:
    """A pipeline, a database and a bucket that no other test sees."""
    with PipelineHarness.open(stack, tmp_path) as opened:
        yield opened


@pytest.fixture
def things(lab: PipelineHarness) -> PipelineHarness:
    """A lab with a raw table and a mart on it."""
    lab.file("raw/things.sql", RAW_THINGS)
    lab.file("marts/weighed.sql", MART)
    return lab


@pytest.fixture(scope="module")
def open_shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoSourcePipeline]:
    """The shop that the tests of one module share."""
    with TwoSourcePipeline.open(stack, tmp_path_factory.mktemp("shop")) as opened:
        assert isinstance(opened, TwoSourcePipeline)
        opened.stock().prepared()
        yield opened


@pytest.fixture
def shop(open_shop: TwoSourcePipeline) -> TwoSourcePipeline:
    """A pipeline of two objects and four tables, with load_dates that no other test sees."""
    return open_shop.stock()


@pytest.fixture(scope="module")
def open_clicks(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClicksPipeline]:
    """The stream of clicks that the tests of one module share."""
    with ClicksPipeline.open(stack, tmp_path_factory.mktemp("clicks")) as opened:
        assert isinstance(opened, ClicksPipeline)
        yield opened


@pytest.fixture
def clicks(open_clicks: ClicksPipeline) -> ClicksPipeline:
    """A stream and the tables that grow with it, with load_dates that no other test sees."""
    return open_clicks.stock()


@pytest.fixture(scope="module")
def open_sales(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SalesPipeline]:
    """The shops with APIs that the tests of one module share."""
    with SalesPipeline.open(stack, tmp_path_factory.mktemp("sales")) as opened:
        assert isinstance(opened, SalesPipeline)
        yield opened


@pytest.fixture
def sales(open_sales: SalesPipeline) -> Iterator[SalesPipeline]:
    """A pipeline of two shops, whose sales come from a server of HTTP, with load_dates that no other test sees."""
    with sales_api() as server:
        yield open_sales.stock(server)


@pytest.fixture(scope="module")
def retailers(stack: Stack) -> Iterator["Retailers"]:
    """Three retailers, whose sales are in databases on the server, and are asked for over HTTP."""
    from kpi_assets_tests.retail_apis import open_retailers  # noqa: PLC0415  needs a web server, and few tests do

    server = settings().postgres_url
    assert server is not None
    with open_retailers(server) as found:
        yield found


@pytest.fixture
def retail(stack: Stack, retailers: "Retailers", tmp_path: Path) -> Iterator["RetailPipeline"]:
    """The shipped pipeline retail, under another name."""
    from kpi_assets_tests.retail_apis import RETAIL, RetailPipeline  # noqa: PLC0415

    with RetailPipeline.open(stack, tmp_path, RETAIL) as opened:
        assert isinstance(opened, RetailPipeline)
        opened.asked = retailers
        yield opened


@pytest.fixture
def looks_back(shop: TwoSourcePipeline) -> None:
    """The shop has a table that looks back three load_dates, and ten load_dates that no other test sees."""
    shop.day += timedelta(days=10)
    shop.file("marts/recent.sql", RECENT)


@pytest.fixture
def real_rows() -> Path:
    """The folder of real Instacart rows, which is not part of this project."""
    if not REAL_ROWS.is_dir():
        pytest.skip("the real rows lie beside a developer's checkout only: their licence is not ours to pass on")
    return REAL_ROWS
